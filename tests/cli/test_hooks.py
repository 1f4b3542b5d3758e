"""`mlvc hooks`: what stands in git's directory, what runs first, and what happens where mlvc cannot run."""

import io
import os
import shutil
import subprocess
import sys

import pytest

from mlvc.cli.hook import run_hook
from mlvc.cli.session import Session
from tests.support.command import child_environment

NAMES = (
    *("pre-commit", "post-commit", "post-checkout", "post-merge", "post-rewrite", "post-applypatch"),
    "pre-push",
)


def write_hook(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def contents(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mode) for path in folder.iterdir()}


@pytest.fixture
def remove_mlvc(hooked):
    """Makes the hooks look for an interpreter that is gone, on a PATH without mlvc."""
    for name in NAMES:
        hook = hooked / ".git" / "hooks" / name
        lines = [
            f"python={hooked}/gone" if line.startswith("python=") else line
            for line in hook.read_text().split("\n")
        ]
        hook.write_text("\n".join(lines))
    return {"PATH": "/usr/bin:/bin"}


def test_install_twice_and_uninstall_leave_everything_as_it_was(project, run_mlvc):
    """Hooks that were there come back, with their mode; those of nobody are gone."""
    folder = project / ".git" / "hooks"
    write_hook(folder / "pre-commit", "echo before")
    write_hook(folder / "commit-msg", "exit 0")
    (folder / "post-merge").write_text("not executable")
    before = contents(folder)

    first = run_mlvc("hooks", "install", "--json").json()["hooks"]
    assert first == run_mlvc("hooks", "install", "--json").json()["hooks"]
    assert [(name, "installed", name in {"pre-commit", "post-merge"}) for name in NAMES] == [
        (item["name"], item["state"], item["chained"]) for item in first
    ]
    run_mlvc("hooks", "uninstall")
    assert before == contents(folder)
    run_mlvc("hooks", "uninstall")
    assert before == contents(folder)


def test_uninstall_brings_back_what_stood_aside_of_a_hook_that_is_gone(project, run_mlvc):
    """Somebody deleted mlvc's by hand, and with it the one before would be lost."""
    folder = project / ".git" / "hooks"
    write_hook(folder / "pre-commit", "echo before")
    before = contents(folder)
    run_mlvc("hooks", "install")
    (folder / "pre-commit").unlink()
    run_mlvc("hooks", "uninstall")

    assert before == contents(folder)


def test_hooks_path_is_respected(project, run_mlvc, git):
    """As Husky and many teams set it; git's own directory is left alone."""
    git("config", "core.hooksPath", ".githooks")
    before = contents(project / ".git" / "hooks")
    run_mlvc("hooks", "install")

    assert before == contents(project / ".git" / "hooks")
    assert set(NAMES) == {path.name for path in (project / ".githooks").iterdir()}
    (project / "data" / "table.csv").write_text("edited")
    assert "tracked data differs" in git("commit", "--allow-empty", "-m", "x", check=False, both=True)


def test_hooks_of_all_repositories_are_told(project, run_mlvc, git, home):
    """By whoever sets `core.hooksPath` for an account; where mlvc was never used they do nothing."""
    (home / ".gitconfig").write_text(
        "[core]\n\thooksPath = ~/hooks\n[user]\n\tname = a\n\temail = a@example.org\n"
    )

    assert "core.hooksPath is set for all your repositories" in run_mlvc("hooks", "install").stderr
    other = home / "other"
    git("init", "-q", str(other))
    (other / "model.pt").write_text("x")
    git("add", "model.pt", cwd=other)
    assert "" == git("commit", "-q", "-m", "x", cwd=other, both=True)
    (project / "data" / "table.csv").write_text("edited")
    assert "tracked data differs" in git("commit", "--allow-empty", "-m", "x", check=False, both=True)


def test_hook_that_was_there_runs_first_and_its_failure_stops(hooked, run_mlvc, git):
    """Then nothing of mlvc's runs."""
    run_mlvc("hooks", "uninstall")
    write_hook(hooked / ".git" / "hooks" / "pre-commit", "echo first >&2\nexit 3")
    run_mlvc("hooks", "install")
    (hooked / "data" / "table.csv").write_text("edited")
    said = git("commit", "--allow-empty", "-m", "x", check=False, both=True)

    assert "first" in said
    assert "tracked data" not in said


def test_arguments_and_standard_input_reach_both(project, run_mlvc, git, tmp_path):
    """What git tells a pre-push hook: the other side's name and URL, and a line for each ref."""
    write_hook(
        project / ".git" / "hooks" / "pre-push", f'echo "$@" > {tmp_path}/seen\ncat >> {tmp_path}/seen'
    )
    run_mlvc("hooks", "install")
    git("init", "-q", "--bare", str(tmp_path / "server.git"))
    git("remote", "add", "origin", str(tmp_path / "server.git"))
    said = git("push", "-q", "origin", "main", check=False, both=True)

    head = git("rev-parse", "HEAD").strip()
    seen = f"origin {tmp_path}/server.git\nrefs/heads/main {head} refs/heads/main {'0' * 40}\n"
    assert seen == (tmp_path / "seen").read_text()
    assert "data of these commits is in this clone alone" in said


def test_hook_moved_aside_by_another_tool_still_works(hooked, git):
    """The pre-commit framework renames what it finds to NAME.legacy and calls that."""
    hook = hooked / ".git" / "hooks" / "pre-commit"
    hook.rename(hook.with_name("pre-commit.legacy"))
    write_hook(hook, 'exec "$0.legacy" "$@"')
    (hooked / "data" / "table.csv").write_text("edited")

    assert "tracked data differs" in git("commit", "--allow-empty", "-m", "x", check=False, both=True)


def test_hook_that_git_passes_over_is_told_and_mended(hooked, run_mlvc, git):
    """As it comes from an archive, or from a share that keeps no modes: it looks installed and guards nothing."""
    hook = hooked / ".git" / "hooks" / "pre-commit"
    hook.chmod(0o644)
    (state,) = (
        each for each in run_mlvc("hooks", "status", "--json").json()["hooks"] if each["name"] == hook.name
    )
    assert "not-executable" == state["state"]

    run_mlvc("hooks", "install")
    assert "not-executable" not in run_mlvc("hooks", "status").stdout
    (hooked / "data" / "table.csv").write_text("edited")
    assert "tracked data differs" in git("commit", "--allow-empty", "-m", "x", check=False, both=True)

    hook.chmod(0o644)
    run_mlvc("hooks", "uninstall")
    assert not hook.exists()


@pytest.mark.parametrize("shell", ["/bin/sh", "/usr/bin/env sh", "/bin/bash", "/usr/bin/env python3"])
def test_hook_that_was_there_keeps_its_interpreter(project, run_mlvc, git, shell):
    """Whatever it is written in; its failure stops."""
    hook = project / ".git" / "hooks" / "pre-commit"
    hook.write_text(f"#!{shell}\nexit(7)\n" if "python" in shell else f"#!{shell}\nfalse || exit 7\n")
    hook.chmod(0o755)
    run_mlvc("hooks", "install")

    assert 7 == subprocess.run([hook], cwd=project, check=False).returncode


def test_husky(project, run_mlvc, git):
    """Its hooks, all alike, find by their own name what to run, and are written again at each `npm install`."""
    own, team = project / ".husky" / "_", project / ".husky"
    git("config", "core.hooksPath", ".husky/_")

    def husky():
        write_hook(own / "pre-commit", '. "${0%/*}/runner"')
        (own / "runner").write_text(
            'hook=${0%/_/*}/${0##*/}\n[ ! -f "$hook" ] || sh -e "$hook" "$@"\nexit $?\n'
        )

    husky()
    write_hook(team / "pre-commit", "echo the team asks >&2")
    before = contents(own)
    for _ in range(2):
        run_mlvc("hooks", "install")
        (project / "data" / "table.csv").write_text("edited")
        said = git("commit", "--allow-empty", "-m", "x", check=False, both=True)
        assert said.startswith("the team asks\nerror: tracked data differs")
        husky()
    run_mlvc("hooks", "install")
    run_mlvc("hooks", "uninstall")
    assert before == contents(own)


def test_second_hook_to_move_aside_is_refused(hooked, run_mlvc):
    """Neither is lost; nothing is changed."""
    folder = hooked / ".git" / "hooks"
    write_hook(folder / "post-commit.before-mlvc", "echo one")
    write_hook(folder / "post-commit", "echo two")
    before = contents(folder)
    refused = run_mlvc("hooks", "install", "--json", check=2).json()["error"]

    assert "hook-exists" == refused["code"]
    assert before == contents(folder)


def test_without_mlvc_a_commit_is_refused_in_one_line(hooked, git, remove_mlvc):
    """Nobody checked it; git's own switch goes on, and a post- hook only tells."""
    refused = git("commit", "--allow-empty", "-m", "x", check=False, both=True, env=remove_mlvc)
    assert refused.startswith("mlvc cannot be started, so nothing was checked; --no-verify goes on without")
    assert 1 == len(refused.splitlines())

    said = git("commit", "-q", "--no-verify", "--allow-empty", "-m", "x", both=True, env=remove_mlvc)
    assert said.startswith("mlvc cannot be started, so the data may differ from mlvc.lock")
    assert 1 == len(said.splitlines())


def test_without_mlvc_a_repository_without_data_is_left_alone(hooked, git, remove_mlvc):
    """A directory of hooks may serve many repositories."""
    git("rm", "-q", "mlvc.toml", "mlvc.lock")

    assert "" == git("commit", "-q", "-m", "no data", both=True, env=remove_mlvc)


def test_without_mlvc_a_sparse_checkout_is_guarded(hooked, git, remove_mlvc):
    """The commit has `mlvc.toml`, though the work tree has not."""
    git("status")
    git("sparse-checkout", "set", "--no-cone", "/*.py")
    assert not (hooked / "mlvc.toml").exists()
    refused = git("commit", "--allow-empty", "-m", "x", check=False, both=True, env=remove_mlvc)

    assert refused.startswith("mlvc cannot be started, so nothing was checked")


def test_interpreter_without_mlvc_gives_way_to_the_path(hooked, git, tmp_path):
    """An environment that was made anew may not have it."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    hook = hooked / ".git" / "hooks" / "pre-commit"
    text = hook.read_text()
    hook.write_text(text.replace(f"python={sys.executable}", f"python={bare}/bin/python"))
    assert text != hook.read_text()
    (hooked / "data" / "table.csv").write_text("edited")
    environment = {"PYTHONPATH": None, "PATH": "/usr/bin:/bin"}
    refused = git("commit", "--allow-empty", "-m", "x", check=False, both=True, env=environment)
    assert refused.startswith("mlvc cannot be started")

    write_hook(tmp_path / "bin" / "mlvc", f'exec {sys.executable} -m mlvc "$@"')
    found = {"PYTHONPATH": child_environment({}).get("PYTHONPATH"), "PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    refused = git("commit", "--allow-empty", "-m", "x", check=False, both=True, env=found)
    assert "tracked data differs" in refused


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("raise RuntimeError('half installed')", "cannot be started"),
        ("def broken(:", "cannot be started"),
        ("import os; os.kill(os.getpid(), 9)", "was killed (status 137)"),
    ],
)
def test_broken_mlvc_refuses_in_one_line(hooked, git, tmp_path, how, told):
    """A package that was damaged, or that the system kills, checked nothing; there is no traceback."""
    (tmp_path / "broken" / "mlvc").mkdir(parents=True)
    (tmp_path / "broken" / "mlvc" / "__init__.py").write_text(how + "\n")
    environment = {"PYTHONPATH": str(tmp_path / "broken"), "PATH": "/usr/bin:/bin"}

    refused = git("commit", "--allow-empty", "-m", "x", check=False, both=True, env=environment)

    (line,) = [line for line in refused.splitlines() if "Killed" not in line]
    assert line.startswith(f"mlvc {told}, so nothing was checked; --no-verify goes on without")
    assert "first" in git("log", "-1", "--format=%s")


def test_interrupted_while_it_starts(hooked, git, tmp_path):
    """Nothing was checked, and there is no traceback."""
    (tmp_path / "broken" / "mlvc").mkdir(parents=True)
    (tmp_path / "broken" / "mlvc" / "__init__.py").write_text("raise KeyboardInterrupt\n")
    environment = {"PYTHONPATH": str(tmp_path / "broken"), "PATH": "/usr/bin:/bin"}

    assert "" == git("commit", "--allow-empty", "-m", "x", check=False, both=True, env=environment)
    assert "first" in git("log", "-1", "--format=%s")


@pytest.mark.parametrize("environment", [{"PATH": ""}, {"PATH": None}, {"PYTHONHOME": "/gone"}])
def test_environment_of_another_program(hooked, environment):
    """A window may call git with no PATH, or with another Python's settings; nothing of the work tree is executed."""
    for name in ("cat", "env", "git"):
        write_hook(hooked / name, "touch executed")
    (hooked / "data" / "table.csv").write_text("edited")
    git = shutil.which("git")
    said = subprocess.run(
        [git, "commit", "--allow-empty", "-m", "x"],
        cwd=hooked,
        env=child_environment(environment),
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == said.returncode
    assert said.stderr.startswith("error: tracked data differs from mlvc.lock: data/table.csv\nhint: ")
    assert 2 == len(said.stderr.splitlines())
    assert not (hooked / "executed").exists()


def test_interpreter_of_a_script_that_is_gone(hooked, git, remove_mlvc, tmp_path):
    """As pip leaves it where an environment was moved: the `mlvc` on the PATH is there, and cannot be started."""
    script = tmp_path / "bin" / "mlvc"
    write_hook(script, "")
    script.write_text(f"#!{tmp_path}/gone/python\n")

    refused = git(
        *("commit", "--allow-empty", "-m", "x"),
        check=False,
        both=True,
        env={"PATH": f"{tmp_path}/bin:{remove_mlvc['PATH']}"},
    )

    assert refused.startswith("mlvc cannot be started, so nothing was checked")
    assert 1 == len(refused.splitlines())


def test_without_mlvc_a_push_of_data_is_refused_from_any_branch(hooked, git, remove_mlvc, tmp_path):
    """What is pushed counts, not what is checked out; a branch without data is nobody's business."""
    git("init", "-q", "--bare", str(tmp_path / "server.git"))
    git("remote", "add", "origin", str(tmp_path / "server.git"))
    git("switch", "-q", "--orphan", "pages", env=remove_mlvc)
    git("commit", "-q", "--allow-empty", "-m", "pages", env=remove_mlvc)

    refused = git("push", "origin", "main", "pages", check=False, both=True, env=remove_mlvc)
    assert refused.startswith("mlvc cannot be started, so nothing was checked")
    assert "" == git("ls-remote", "origin")

    git("push", "-q", "origin", "pages", env=remove_mlvc)
    assert "refs/heads/pages" in git("ls-remote", "origin")


def test_under_a_command_of_mlvc_nothing_is_started(hooked, git, remove_mlvc):
    """The parent does the work: a hook that would have to tell that mlvc is gone is silent."""
    environment = {**remove_mlvc, "MLVC_HOOK_TOKEN": "1"}

    assert "" == git("commit", "-q", "--allow-empty", "-m", "x", both=True, env=environment)


class Raising:
    """A standard input that cannot be read."""

    def __init__(self, error):
        self.error = error

    @property
    def buffer(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (OSError(5, "broken"), 2, "error: this is a bug in mlvc: OSError: [Errno 5] broken\nhint: report it"),
        (KeyError("x"), 2, "error: this is a bug in mlvc: KeyError: 'x'\nhint: report it"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_whatever_goes_wrong_there_is_no_traceback(hooked, monkeypatch, error, status, told):
    """After a post- hook git goes on, because it has done its work."""
    monkeypatch.chdir(hooked)
    said = io.StringIO()

    def run(*arguments):
        return run_hook(arguments, Session(environment={}, stdin=Raising(error), stderr=said))

    assert status == run("pre-push", "origin", "url")
    assert said.getvalue().startswith(told)
    assert 0 == run("post-rewrite", "rebase")


def test_interpreter_of_any_name(project, git, tmp_path):
    """Its path is written as its bytes are, quoted for the shell."""
    environment = os.fsencode(tmp_path) + b"/it's \xff"
    os.symlink(sys.prefix, environment)
    command = [environment + b"/bin/python", "-m", "mlvc", "hooks", "install"]
    subprocess.run(command, cwd=project, env=child_environment({}), check=True, stdout=subprocess.DEVNULL)
    (project / "data" / "table.csv").write_text("edited")

    assert "tracked data differs" in git("commit", "--allow-empty", "-m", "x", check=False, both=True)


def test_unknown_hook_names_those_there_are(project, run_mlvc):
    """A newer script may call an older mlvc."""
    refused = run_mlvc("hook", "pre-dinner", check=2)

    assert refused.stderr.startswith(
        "error: git has no such hook for mlvc\nhint: one of merge-lock, pre-commit"
    )


def test_wheel_brings_the_hooks(project, root, tmp_path, git):
    """Installed from a wheel, without the checkout, `hooks install` works, and so does the hook."""
    shutil.copytree(root / "mlvc", tmp_path / "source" / "mlvc", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("hooks", "pyproject.toml", "README.md", "LICENSE"):
        (shutil.copytree if (root / name).is_dir() else shutil.copy)(root / name, tmp_path / "source" / name)
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=tmp_path / "source", check=True)
    (wheel,) = tmp_path.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "installed", "zip")
    # Only the wheel may serve: the checkout that these tests run from is left out of the path.
    environment = child_environment({"PYTHONPATH": str(tmp_path / "installed")})
    subprocess.run(
        [sys.executable, "-m", "mlvc", "hooks", "install"], cwd=project, env=environment, check=True
    )

    assert (root / "hooks" / "hook.sh").read_text().replace("python=\n", f"python={sys.executable}\n") == (
        project / ".git" / "hooks" / "pre-push"
    ).read_text()
    assert {"hook.sh"} == {path.name for path in (tmp_path / "installed" / "mlvc" / "hooks").iterdir()}


def test_repository_of_a_newer_mlvc_is_refused(hooked, git):
    """What cannot be read cannot be checked."""
    (hooked / "mlvc.lock").write_text("mlvc-lock 9\n")
    git("add", "mlvc.lock")
    said = git("commit", "-m", "x", check=False, both=True)

    assert said.startswith("error: ")
    assert "Traceback" not in said
    assert "first" in git("log", "-1", "--format=%s")
