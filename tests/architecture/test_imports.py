"""What start-up loads, seen from outside: the modules of commands that were really executed.

Milliseconds depend on the machine; modules do not.
"""

import os
import subprocess
import sys

import pytest

from tests.support.command import child_environment

# Prints every module that is loaded when the interpreter ends.
WATCH = "import atexit, sys; atexit.register(lambda: print(*sorted(sys.modules), file=open({!r}, 'w')))\n"

ALWAYS = {"mlvc", "typer", "typing_extensions", "annotated_doc", "shellingham"}
STORE = {"blake3", "xxhash", "zstandard", "pyfastcdc", "cython_runtime"}
HEAVY = {
    "sqlalchemy",
    "git",
    "s3fs",
    "botocore",
    "fsspec",
    "docker",
    "rich",
    "pydantic",
    "click",
    "distributed",
    "dask",
}


@pytest.fixture
def modules_of(git_repo, tmp_path):
    """Runs a command line of mlvc and returns the top-level modules that it loaded, ours and third parties'."""
    watcher, seen = tmp_path / "watcher", tmp_path / "modules"
    watcher.mkdir()
    (watcher / "sitecustomize.py").write_text(WATCH.format(str(seen)))
    paths = os.pathsep.join(filter(None, [str(watcher), child_environment({}).get("PYTHONPATH")]))

    def call(*arguments, module="mlvc", stdin=""):
        command = [sys.executable, "-m", module, *arguments]
        subprocess.run(
            command,
            cwd=git_repo,
            env=child_environment({"PYTHONPATH": paths}),
            check=True,
            capture_output=True,
            input=stdin,
            text=True,
        )
        return seen.read_text().split()

    return call


def third_parties(modules):
    """Top-level modules that are neither Python's own nor part of the interpreter's start."""
    started = {"sitecustomize", "usercustomize", "distutils-precedence", "_distutils_hack", "a1_coverage"}
    top = {name.partition(".")[0] for name in modules if not name.startswith("__")}
    # Editable installs put a finder of their own into site-packages; pyfastcdc brings Cython's runtime.
    helpers = ("_virtualenv", "__editable__", "_cython_")
    return {name for name in top - sys.stdlib_module_names - started if not name.startswith(helpers)}


def test_help_loads_no_command_and_no_library_but_typer(modules_of):
    """`mlvc --help` is written from the table alone."""
    loaded = modules_of("--help")

    assert set() == {
        name for name in loaded if name.startswith(("mlvc.cli.commands.", "mlvc.verbs.", "mlvc.repo"))
    }
    assert third_parties(loaded) <= ALWAYS


def test_status_loads_what_it_uses(modules_of, git_repo, run_mlvc):
    """In a clean repository with tracked data: no database, no GitPython, no remote, no progress bar."""
    (git_repo / "data").mkdir()
    (git_repo / "data" / "x").write_text("x")
    run_mlvc("init")
    run_mlvc("add", "data")
    run_mlvc("commit", "-m", "first")

    loaded = modules_of("status")

    assert third_parties(loaded) <= ALWAYS | STORE
    assert set() == {name for name in loaded if name.startswith(("mlvc.index", "mlvc.engines", "mlvc.repro"))}


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["add", "data"], set()),
        (["ls"], set()),
        (["cat", ":data/x"], set()),
        (["diff"], set()),
        (["checkout"], set()),
        (["fsck"], set()),
        (["log"], {"sqlalchemy", "git"}),
    ],
)
def test_each_command_loads_only_the_heavy_libraries_it_needs(
    modules_of, git_repo, run_mlvc, arguments, needed
):
    """`needed` shows that the watcher would see the others."""
    (git_repo / "data").mkdir()
    (git_repo / "data" / "x").write_text("x")
    run_mlvc("init")
    run_mlvc("add", "data")
    run_mlvc("commit", "-m", "first")

    top = {name.partition(".")[0] for name in modules_of(*arguments)}

    assert needed == top & HEAVY


def test_hooks_that_git_waits_for_load_no_library_but_the_store(modules_of, git_repo, run_mlvc, tmp_path):
    """Around a commit, and before a push whose data was sent: no database, and no S3 for what was seen there."""
    (git_repo / "data").mkdir()
    (git_repo / "data" / "x").write_text("x")
    run_mlvc("init")
    run_mlvc("add", "data")
    run_mlvc("commit", "-m", "first")
    far = tmp_path / "far"
    run_mlvc("remote", "add", "team", far)
    run_mlvc("push")
    for path in (".git/mlvc/remotes.toml", ".git/mlvc/cache/remote-packs.json"):
        text = (git_repo / path).read_text()
        assert far.as_uri() in text
        (git_repo / path).write_text(text.replace(far.as_uri(), "s3://bucket/far"))
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=git_repo, check=True, capture_output=True, text=True
    )
    line = f"refs/heads/main {head.stdout.strip()} refs/heads/main {'0' * 40}\n"

    looking = (["pre-commit"], ["post-checkout", "HEAD", "HEAD", "1"])
    for arguments in (*looking, ["pre-push", "origin", "url"], ["post-commit"]):
        if arguments == ["post-commit"]:
            (git_repo / "code.py").write_text("pass\n")
            for command in (["add", "code.py"], ["commit", "--quiet", "--message", "code"]):
                subprocess.run(["git", *command], cwd=git_repo, check=True)
        loaded = modules_of(*arguments, module="mlvc.cli.hook", stdin=line)
        assert third_parties(loaded) <= STORE | {"mlvc"}, arguments
        if arguments in looking:
            assert {"json", "mlvc.store.local"}.isdisjoint(loaded)
        if arguments == ["pre-commit"]:
            # They load `inspect`, and compile code for each class: a sixth of the time that git may wait.
            assert "dataclasses" not in loaded


def test_a_run_on_this_machine_loads_nothing_that_only_a_sandbox_needs(modules_of, run_mlvc):
    """No engine but the one for this machine, no rebuilding of environments, no comparison, no database."""
    run_mlvc("init")

    loaded = modules_of("run", "-o", "made", "--", "touch", "made")

    assert third_parties(loaded) <= ALWAYS | STORE | {"uv"}
    assert "mlvc.engines.host" in loaded
    sandbox = ("mlvc.engines.docker", "mlvc.engines.bubblewrap", "mlvc.env.rebuild", "mlvc.repro.compare")
    assert set() == {name for name in loaded if name.startswith((*sandbox, "mlvc.repro.execute"))}


def test_training_script_pays_for_the_client_alone():
    """`import mlvc` in a script loads nothing but the standard library."""
    code = "import sys; import mlvc; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=child_environment({}), check=True, capture_output=True, text=True
    )

    assert {"mlvc", "mlvc.client"} == {
        name for name in done.stdout.split() if name.partition(".")[0] == "mlvc"
    }
