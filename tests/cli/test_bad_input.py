"""Careless and hostile input ends in one clear error with the next step, at once, and nothing is lost."""

import os
import subprocess

import pytest

from tests.support.command import Mlvc


def told(result):
    """The error, which every `--json` answer here has to have, with a hint and without a bug."""
    error = result.json()["error"]
    assert error["hint"]
    assert "bug" not in error["message"]
    return error


def lock_line(project):
    (line,) = [
        line for line in (project / "mlvc.lock").read_text().splitlines() if line.startswith("directory")
    ]
    return line.removesuffix(" data")


def test_directory_that_is_not_there_is_named_as_typed(project, run_mlvc):
    """`-C` says which, without Python's spelling of bytes."""
    error = told(run_mlvc("-C", "/no where", "status", "--json", check=2))

    assert error["message"].startswith("cannot work in /no where: ")


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "/etc/passwd",
        ".git/hooks/post-checkout",
        ".GIT/config",
        "GIT~1/config",
        ".g%69t/x",
        "%2Fetc",
        "a//b",
        "data/x/../../../y",
        "mlvc.toml",
        "MLVC.Lock",
        ".gitignore",
        "mlvc.lock/x",
    ],
)
def test_hostile_lock_line_is_refused(project, run_mlvc, path):
    """Nothing is written outside the data, also with --force; the hint brings the good lock back."""
    (project / "mlvc.lock").write_text(f"mlvc-lock 1\n{lock_line(project)} {path}\n")
    settings = (project / "mlvc.toml").read_bytes()

    error = told(run_mlvc("checkout", "--force", "--json", check=2))

    assert "mlvc.lock" in error["message"]
    assert "git checkout -- mlvc.lock" in error["hint"]
    assert settings == (project / "mlvc.toml").read_bytes()
    assert not (project.parent / "x").exists()


@pytest.mark.parametrize("contents", [b"", b"garbage\n", b"\xff\xfe\x00", b"mlvc-lock 1\nfile what\n"])
def test_lock_that_cannot_be_read_says_how_to_get_it_back(project, run_mlvc, contents):
    """It is never taken for an empty one."""
    (project / "mlvc.lock").write_bytes(contents)

    error = told(run_mlvc("add", "data", "--json", check=2))

    assert "bad-format" == error["code"]
    assert contents == (project / "mlvc.lock").read_bytes()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_lock_that_is_no_file_is_refused_at_once(project, run_mlvc, make):
    """A named pipe is not waited for."""
    (project / "mlvc.lock").unlink()
    make(project / "mlvc.lock")

    assert "mlvc.lock is no file" == told(run_mlvc("status", "--json", check=2))["message"]


def test_link_on_the_way_is_not_followed(project, run_mlvc, tmp_path):
    """A tracked directory that became a link to elsewhere: nothing appears there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    subprocess.run(["rm", "-r", "data"], cwd=project, check=True)
    (project / "data").symlink_to(outside)

    Mlvc(cwd=project)("checkout", "--force")

    assert [] == list(outside.iterdir())
    assert "a,b\n1,2\n" == (project / "data" / "table.csv").read_text()
    assert not (project / "data").is_symlink()


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b""), lambda path: path.unlink()])
def test_fsck_names_a_damaged_pack_index(project, run_mlvc, damage):
    """The check of everything does not stop at the first thing that is wrong."""
    for index in sorted((project / ".git" / "mlvc" / "store" / "packs").glob("*.idx")):
        index.chmod(0o644)
        damage(index)

    problems = run_mlvc("fsck", "--json", check=1).json()["problems"]

    assert {"damaged-index", "missing-index"} & {problem["kind"] for problem in problems}
    assert "data in mlvc.lock" in [place for problem in problems for place in problem["reaches"]]


def test_store_that_the_command_deleted_is_no_bug(project, run_mlvc):
    """`mlvc run` cannot record, says so, and has a status of its own."""
    script = "rm -rf .git/mlvc; echo once >> times"
    error = run_mlvc("run", "--", "sh", "-c", script, check=125).stderr

    assert "error: cannot lock " in error
    assert "bug" not in error
    assert "once\n" == (project / "times").read_text()


@pytest.mark.parametrize("arguments", [["log"], ["diff", "HEAD"], ["checkout", "HEAD"], ["ls", "HEAD"]])
def test_before_the_first_commit_there_is_a_next_step(git_repo, run_mlvc, arguments):
    """HEAD is no unknown revision to a newcomer."""
    run_mlvc("init")

    error = told(run_mlvc(*arguments, "--json", check=2))

    assert "there is no commit yet" == error["message"]
    assert "mlvc commit" in error["hint"]


def test_machine_without_git_is_told(project, tmp_path):
    """The PATH is to blame, not the directory."""
    error = told(Mlvc(cwd=project)("status", "--json", check=2, env={"PATH": str(tmp_path)}))

    assert "git-missing" == error["code"]
