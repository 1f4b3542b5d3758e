"""`[hooks]` in mlvc.toml, and what pre-commit compares besides the data: `.gitignore` and the environment."""

import json

import pytest

from tests.support.environments import find_system_python, install, make_venv


@pytest.fixture
def settings(hooked, git):
    """Writes settings of the hooks, and commits them."""

    def call(text):
        with (hooked / "mlvc.toml").open("a") as file:
            file.write(f"\n[hooks]\n{text}\n")
        git("commit", "-q", "-a", "-m", "settings")

    return call


@pytest.mark.parametrize("how", [("-a",), ()])
def test_edited_data_is_added_to_the_commit(hooked, git, agree, settings, how):
    """With `hooks.add = "auto"`: stored, its line staged, and told; also what is new and what is gone."""
    settings('add = "auto"')
    (hooked / "train.py").write_text("edited\n")
    (hooked / "data" / "new.csv").write_text("new\n")
    (hooked / "data" / "table.csv").unlink()
    git("add", "train.py")

    said = git("commit", "-q", *how, "-m", "all at once", both=True)

    assert "mlvc: added data, and staged mlvc.lock (hooks.add)" in said
    agree()
    assert ["mlvc.lock", "train.py"] == git("show", "--name-only", "--format=").split()


def test_new_line_that_was_not_staged_goes_along(hooked, git, run_mlvc, agree, settings):
    """After `mlvc add` of something new, with its line of `.gitignore`."""
    settings('add = "auto"')
    (hooked / "more.bin").write_text("more\n")
    run_mlvc("add", "more.bin")

    git("commit", "-q", "--allow-empty", "-m", "more")

    agree()
    assert [".gitignore", "mlvc.lock"] == git("show", "--name-only", "--format=").split()


def test_lines_of_gitignore_that_a_person_did_not_stage(hooked, git, run_mlvc, settings):
    """They wait, and so do unstaged lines of code; what `mlvc rm` took out goes along."""
    settings('add = "auto"')
    ignore = hooked / ".gitignore"
    with ignore.open("a") as file:
        file.write("*.tmp\n")
    git("add", ".gitignore")
    with ignore.open("a") as file:
        file.write("*.bak\n")
    (hooked / "data" / "table.csv").write_text("edited\n")
    git("commit", "-q", "-m", "edited data")

    assert "/data\n*.tmp\n" == git("show", "HEAD:.gitignore")
    assert " M .gitignore\n" == git("status", "--porcelain")
    (hooked / "more.bin").write_text("more\n")
    run_mlvc("add", "more.bin")
    git("commit", "-q", "--allow-empty", "-m", "more")
    run_mlvc("rm", "more.bin")
    git("commit", "-q", "--allow-empty", "-m", "no more")
    assert "more" not in git("show", "HEAD:.gitignore")


def test_commit_of_named_files_adds_nothing(hooked, git, settings):
    """What is staged there would be gone afterwards, so it is refused as ever."""
    settings('add = "auto"')
    (hooked / "train.py").write_text("edited\n")
    (hooked / "data" / "table.csv").write_text("edited\n")

    said = git("commit", "-m", "x", "train.py", check=False, both=True)

    assert "error: tracked data differs from mlvc.lock: data/table.csv\n" in said
    assert "edited\n" == (hooked / "data" / "table.csv").read_text()


def test_data_that_is_gone_is_not_taken_for_removed(hooked, git, settings):
    """Only `mlvc rm` says so."""
    settings('add = "auto"')
    (hooked / "data").rename(hooked.parent / "elsewhere")
    (hooked / "train.py").write_text("edited\n")

    said = git("commit", "-a", "-m", "x", check=False, both=True)

    assert "error: tracked data differs from mlvc.lock: data" in said
    assert "directory " in (hooked / "mlvc.lock").read_text()


def test_lock_goes_with_its_line_of_gitignore(hooked, git, run_mlvc, agree):
    """Otherwise git would take the data in every other clone."""
    (hooked / "more").mkdir()
    (hooked / "more" / "x.bin").write_text("x\n")
    run_mlvc("add", "more/x.bin")
    git("add", "mlvc.lock")

    said = git("commit", "-m", "x", check=False, both=True)

    assert (
        "error: more/.gitignore keeps git away from tracked data, and has changes that are not staged\n"
        "hint: git add mlvc.lock more/.gitignore\n"
    ) == said
    git("add", "more/.gitignore")
    git("commit", "-q", "-m", "both")
    agree()


@pytest.mark.parametrize(("bound", "is_fit"), [("2 kB", False), ("3 kB", True)])
def test_largest_file_for_git(hooked, git, settings, bound, is_fit):
    """`hooks.max_size`."""
    settings(f'max_size = "{bound}"')
    (hooked / "notes.txt").write_bytes(bytes(2500))
    git("add", "notes.txt")

    said = git("commit", "-m", "x", check=False, both=True)

    assert is_fit == ("error: data would go into git: notes.txt\n" not in said)


@pytest.mark.parametrize(
    ("mode", "start"), [(None, "warning: "), ("refuse", "error: "), ("off", None), ("warn", "warning: ")]
)
def test_environment_that_is_not_the_locked_one(hooked, git, run_mlvc, settings, mode, start):
    """A package was installed since: a warning, a refusal or nothing, as `hooks.environment` says."""
    packages = make_venv(hooked / ".venv", find_system_python())
    install(packages, "example", "1.0", {"example.py": ""})
    with (hooked / ".gitignore").open("a") as ignored:
        ignored.write("/.venv\n")
    run_mlvc("env", "lock")
    git("commit", "-q", "-a", "-m", "locked")
    if mode is not None:
        settings(f'environment = "{mode}"')
    install(packages, "extra", "1.2", {"extra.py": ""})
    (hooked / "train.py").write_text("edited\n")

    said = git("commit", "-a", "-m", "x", check=False, both=True)

    told = "the environment is not the one in mlvc.lock: extra==1.2 is not locked"
    assert (start is not None) == (told in said), said
    assert start is None or f"{start}{told}" in said
    assert (mode == "refuse") == (git("status", "--porcelain") != "")


@pytest.fixture
def server(hooked, git, run_mlvc, tmp_path):
    """A bare git repository as `origin`, and a directory as mlvc's remote; nothing is on either."""
    git("init", "-q", "--bare", str(tmp_path / "server.git"))
    git("remote", "add", "origin", str(tmp_path / "server.git"))
    run_mlvc("remote", "add", "team", (tmp_path / "far").as_uri())
    return tmp_path / "server.git"


def test_push_sends_the_data_first(server, hooked, git, run_mlvc, settings):
    """With `hooks.push = "upload"`, and says how much; the next push sends nothing."""
    settings('push = "upload"')

    said = git("push", "-q", "origin", "main", both=True)

    assert "mlvc: pushed " in said
    assert [] == json.loads(run_mlvc("verify", "--remote", "--json").stdout)["problems"]
    (hooked / "train.py").write_text("edited\n")
    git("commit", "-q", "-a", "-m", "code")
    assert "" == git("push", "-q", "origin", "main", both=True)


def test_push_that_cannot_send_is_refused(server, git, settings, tmp_path):
    """The remote is a file."""
    settings('push = "upload"')
    (tmp_path / "far").write_text("no directory\n")

    said = git("push", "origin", "main", check=False, both=True)

    assert "error: " in said
    assert "" == git("ls-remote", "origin")


def test_push_that_is_not_asked_about(server, git, settings, tmp_path):
    """With `hooks.push = "off"`."""
    settings('push = "off"')

    git("push", "-q", "origin", "main")

    assert not (tmp_path / "far").exists()


def test_diff_is_for_people(hooked, git, change, run_mlvc):
    """A line for each path with files and bytes; the lock as it is where mlvc cannot be started."""
    change("new.csv", "x" * 1500)

    shown = git("show", "--format=", "HEAD", "--", "mlvc.lock")

    (gone, come) = (line for line in shown.splitlines() if line[:2] in {"-d", "+d"})
    assert gone.startswith("-data: 4 files, 283 B, ")
    assert come.startswith("+data: 5 files, 1.8 kB, ")
    assert shown == git("show", "--format=", "HEAD", "--", "mlvc.lock", env={"MLVC_HOOK_TOKEN": "1"})
    driver = git("config", "diff.mlvc.textconv").strip()
    git("config", "diff.mlvc.textconv", driver.replace("python", "nothing-of-that-name"))
    assert "+directory b3:" in git("show", "--format=", "HEAD", "--", "mlvc.lock")
