"""`mlvc gc` as a user runs it: promise 6 with real git, in every place that git keeps a reference."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.command import Mlvc


@pytest.fixture
def keep_nothing(home):
    """A keep period of no days, so that one gc deletes what it finds."""
    return configure(home, "[gc]\nkeep_days = 0\n")


def configure(home, text):
    path = home / ".config" / "mlvc" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write(project, text):
    (project / "data" / "table.csv").write_text(text)


def save(project, run_mlvc, text):
    """Commits a version of the data and returns nothing but the text."""
    write(project, text)
    run_mlvc("commit", "-a", "-m", text.strip())
    return text


def stored(project):
    """Everything that can be had back: the contents of all packs, as one."""
    return b"".join(
        path.read_bytes() for path in (project / ".git" / "mlvc" / "store" / "packs").glob("*.pack")
    )


def test_default_keeps_everything_for_thirty_days(project, run_mlvc):
    """A version that was added and never committed: told, with the day on which it may go, and still there."""
    write(project, "never committed\n")
    run_mlvc("add", "data")
    write(project, "second\n")
    run_mlvc("add", "data")
    write(project, "third\n")
    run_mlvc("add", "data")
    shutil.rmtree(project / ".git" / "mlvc" / "undo")

    answer = run_mlvc("gc", "--json").json()
    text = run_mlvc("gc").stdout

    assert (0, 30, False) == (answer["freed_bytes"], answer["keep_days"], answer["put_off"])
    assert answer["kept_bytes"] > 0
    assert [str(project)] == answer["repositories"]
    assert answer["kept_until"][:10] in text
    assert b"never committed" in stored(project)


def test_what_no_one_needs_goes(project, run_mlvc, git, keep_nothing):
    """A dry run names it and leaves it; history, files and index stay as they were."""
    save(project, run_mlvc, "rebased away\n")
    run_mlvc("checkout", "HEAD~1")
    git("branch", "-D", "main")
    git("switch", "-q", "-c", "main")
    git("reflog", "expire", "--expire=now", "--all")
    for name in ("ORIG_HEAD",):
        (project / ".git" / name).unlink(missing_ok=True)
    shutil.rmtree(project / ".git" / "mlvc" / "undo")

    told = run_mlvc("gc", "--dry-run", "--json").json()
    assert b"rebased away" in stored(project)
    done = run_mlvc("gc", "--json").json()

    assert told["removed"] == done["removed"]
    assert 1 == len(done["removed"])
    assert b"rebased away" not in stored(project)
    assert "a,b\n1,2\n" == (project / "data" / "table.csv").read_text()
    assert 1 == len(run_mlvc("log", "--json").json()["commits"])
    assert 1 == run_mlvc("index", "show", "--json").json()["tables"]["commits"]
    assert "everything is as it was stored\n" == run_mlvc("fsck").stdout
    run_mlvc("verify")


def test_a_repository_that_cannot_be_read_blocks_it(project, run_mlvc, git, keep_nothing):
    """Promise 6: it is named, with the ways out, and nothing is deleted; afterwards all goes on."""
    other = project.parent / "other"
    git("worktree", "add", "-q", "-b", "other", other)
    there = Mlvc(cwd=other)
    there("checkout")
    (other / "data" / "table.csv").write_text("precious\n")
    there("add", "data")
    other.rename(project.parent / "unmounted")
    before = stored(project)

    refused = run_mlvc("gc", "--json", check=2).json()["error"]

    assert "repository-unreadable" == refused["code"]
    assert str(other) in refused["message"]
    assert "git worktree prune" in refused["hint"]
    assert before == stored(project)
    git("worktree", "prune")
    run_mlvc("gc")
    assert b"precious" not in stored(project)


def test_a_repository_that_was_moved_or_copied_takes_its_store_along(project, run_mlvc, keep_nothing):
    """The register holds relative paths where the store lies inside."""
    copy, moved = project.parent / "copy", project.parent / "moved"
    shutil.copytree(project, copy, symlinks=True)
    project.rename(moved)

    for place in (copy, moved):
        answer = Mlvc(cwd=place)("gc", "--json").json()
        assert [str(place)] == answer["repositories"]
        Mlvc(cwd=place)("verify")


def test_it_never_runs_on_settings_of_the_project(project, run_mlvc):
    """A keep period of none in a stranger's `mlvc.toml` deletes nothing."""
    with (project / "mlvc.toml").open("a") as file:
        file.write("\n[gc]\nkeep_days = 0\n")
    write(project, "second\n")
    run_mlvc("add", "data")
    write(project, "third\n")
    run_mlvc("add", "data")

    assert 30 == run_mlvc("gc", "--json").json()["keep_days"]


def test_a_repository_without_a_commit(git_repo, run_mlvc, keep_nothing):
    """An unborn branch is no error, and the lock's data stays."""
    (git_repo / "x").write_text("precious\n")
    run_mlvc("init")
    run_mlvc("add", "x")
    run_mlvc("gc")

    assert b"precious" in stored(git_repo)


# ---------------------------------------------------------------------------- one store for several repositories


@pytest.fixture
def two(tmp_path, home):
    """Two repositories that share one store."""
    configure(home, f'[store]\npath = "{tmp_path}/shared"\n\n[gc]\nkeep_days = 0\n')
    places = []
    for name in ("one", "two"):
        place = tmp_path / name
        place.mkdir()
        subprocess.run(["git", "init", "-q", "-b", "main", place], check=True)
        for key, value in (("user.name", "T"), ("user.email", "t@example.org")):
            subprocess.run(["git", "config", key, value], cwd=place, check=True)
        there = Mlvc(cwd=place)
        there("init")
        (place / "data").mkdir()
        (place / "data" / "x").write_text(f"data of {name}\n")
        (place / "data" / "both").write_text("the same in both\n")
        there("add", "data")
        there("commit", "-m", "first")
        places.append(there)
    return places


def test_one_store_serves_several_repositories(two, tmp_path):
    """What both have is stored once; gc in one keeps what the other needs."""
    one, other = two
    packs = tmp_path / "shared" / "packs"
    contents = b"".join(path.read_bytes() for path in packs.glob("*.pack"))
    assert 1 == contents.count(b"the same in both")
    assert not (tmp_path / "one" / ".git" / "mlvc" / "store").exists()

    answer = one("gc", "--json").json()

    assert [str(tmp_path / "one"), str(tmp_path / "two")] == answer["repositories"]
    for there in two:
        there("verify")
        assert there("fsck", "--json").json()["ok"]
        assert 1 == len(there("log", "--json").json()["commits"])
    (tmp_path / "two" / "data" / "x").unlink()
    other("checkout")
    assert "data of two\n" == (tmp_path / "two" / "data" / "x").read_text()


def test_an_index_that_cannot_be_made_again_is_told_and_nothing_more(two):
    """What was deleted is deleted: gc goes on to the other indexes, and says what is left to do."""
    one, other = two
    for there in two:
        there("log")
        (there.cwd / "data" / "x").write_text("given up\n")
        there("commit", "-a", "-m", "given up")
        assert 2 == len(there("log", "--json").json()["commits"])
        for command in (["reset", "-q", "--hard", "HEAD~1"], ["reflog", "expire", "--expire=now", "--all"]):
            subprocess.run(["git", *command], cwd=there.cwd, check=True)
        (there.cwd / ".git" / "ORIG_HEAD").unlink()
        shutil.rmtree(there.cwd / ".git" / "mlvc" / "undo")
    settings = one.cwd / "mlvc.toml"
    text = settings.read_text()
    settings.write_text("nonsense")

    done = other("gc")

    assert 2 == done.stdout.count("deleted commit ")
    assert f"warning: the index of {one.cwd} may still list what was deleted" in done.stderr
    assert 2 == other("index", "show", "--json").json()["tables"]["commits"]
    settings.write_text(text)
    one("index", "rebuild")
    assert 2 == one("index", "show", "--json").json()["tables"]["commits"]


def test_a_repository_of_a_shared_store_that_is_gone_blocks_gc(two, tmp_path):
    """Until it is forgotten; what only it needed goes then."""
    one, other = two
    shutil.rmtree(other.cwd)

    refused = one("gc", "--json", check=2).json()["error"]

    assert "repository-unreadable" == refused["code"]
    assert f"mlvc gc --forget {other.cwd}" in refused["hint"]
    wrong = one("gc", "--forget", "nowhere", "--json", check=2).json()["error"]
    assert "not-registered" == wrong["code"]
    assert str(other.cwd) in wrong["hint"]
    assert 1 == one("gc", "--forget", other.cwd, "--json").json()["worktrees"]
    one("gc")
    contents = b"".join(path.read_bytes() for path in (tmp_path / "shared" / "packs").glob("*.pack"))
    assert b"data of two" not in contents
    assert b"the same in both" in contents
    one("verify")


def test_a_repository_with_a_store_of_its_own_is_not_cut_off_from_it(project, run_mlvc, home, tmp_path):
    """Setting `store.path` later is refused with the commands that bring the data along; they work."""
    configure(home, f'[store]\npath = "{tmp_path}/shared"\n')

    refused = run_mlvc("status", "--json", check=2).json()["error"]
    subprocess.run(refused["hint"].partition(": ")[2], shell=True, check=True)

    run_mlvc("verify")
    write(project, "new\n")
    run_mlvc("add", "data")
    assert run_mlvc("fsck", "--json").json()["ok"]


def test_the_projects_own_settings_cannot_move_the_store(project, run_mlvc, tmp_path):
    """`store.path` in `mlvc.toml` has no effect."""
    with (project / "mlvc.toml").open("a") as file:
        file.write(f'\n[store]\npath = "{tmp_path}/elsewhere"\nshared = true\n')
    write(project, "new\n")
    run_mlvc("add", "data")

    assert not (tmp_path / "elsewhere").exists()
    assert b"new\n" in stored(project)


def test_a_relative_store_path_is_refused(project, run_mlvc, home):
    """It would be another store in every directory."""
    configure(home, '[store]\npath = "shared"\n')

    assert "absolute" in run_mlvc("status", "--json", check=2).json()["error"]["message"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("shared", [True, False])
def test_permissions_come_out_right_under_any_umask(git_repo, home, tmp_path, umask, shared):
    """What the umask says, and if shared, that whoever is in the group reads everything and writes where it must."""
    configure(home, f'[store]\npath = "{tmp_path}/shared"\nshared = {str(shared).lower()}\n')
    before = os.umask(umask)
    try:
        there = Mlvc(cwd=git_repo)
        there("init")
        (git_repo / "x").write_text("x" * 100)
        there("add", "x")
        there("gc")
    finally:
        os.umask(before)

    for folder, _, names in os.walk(tmp_path / "shared"):
        mode = os.stat(folder).st_mode & 0o7777
        assert oct(0o777 & ~umask | (0o2070 if shared else 0)) == oct(mode), folder
        for name in names:
            mode = os.stat(Path(folder) / name).st_mode & 0o777
            is_open = name in {"lock", "use", "gc"}
            wanted = (0o666 if is_open else 0o444) & ~umask | (0o060 if is_open else 0o040) * shared
            assert oct(wanted) == oct(mode), (folder, name)
