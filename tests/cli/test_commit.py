"""`mlvc commit`, `log`, `show`, `ls` and `cat` as a user runs them."""

import subprocess
import sys

from tests.support.command import child_environment


def test_one_step_makes_both_commits(project, git, run_mlvc):
    """The data commit links to the SHA that git made, and to the data commit before it."""
    (project / "train.py").write_text("print('more')\n")
    git("add", "train.py")
    (project / "data" / "table.csv").write_text("a,b\n5,6\n")

    made = run_mlvc("commit", "-a", "-m", "second\n\nwith a body", "--json").json()
    first = run_mlvc("show", "HEAD~1", "--json").json()

    assert git("rev-parse", "HEAD").strip() == made["code_sha"]
    assert [first["id"]] == made["parents"]
    assert "second\n\nwith a body" == made["message"]
    assert "Test User <test@example.org>" == made["author"]
    assert made["code_tree"].startswith("b3:")
    assert {"mlvc.lock", "train.py"} == set(git("show", "--format=", "--name-only").split())


def test_commit_with_nothing_staged_is_refused(project, run_mlvc):
    """There is no empty data commit."""
    assert "nothing-to-commit" == run_mlvc("commit", "-m", "x", "--json", check=2).json()["error"]["code"]


def test_plain_git_commit_gets_its_data_commit_later(project, git, run_mlvc):
    """Where git was faster, `mlvc commit` records the data commit of HEAD."""
    (project / "data" / "table.csv").write_text("x\n")
    run_mlvc("add", "data")
    git("commit", "-qam", "by git alone")

    made = run_mlvc("commit", "-m", "unused", "--json").json()

    assert git("rev-parse", "HEAD").strip() == made["code_sha"]
    assert "by git alone" == made["message"]


def test_commit_leaves_unstaged_code_alone(project, git, run_mlvc):
    """Edits that are not staged stay in the work tree; the record does not claim to know the code's tree."""
    (project / "train.py").write_text("edited\n")
    (project / "more").write_text("m")
    run_mlvc("add", "more")

    made = run_mlvc("commit", "-m", "data only", "--json").json()

    assert None is made["code_tree"]
    assert " M train.py\n" == git("status", "--short")


def test_failing_hook_of_the_user_stops_the_commit(project, git, run_mlvc):
    """What the hook said is told, and HEAD stays."""
    hook = project / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
    hook.chmod(0o755)
    head = git("rev-parse", "HEAD")
    (project / "more").write_text("m")
    run_mlvc("add", "more")

    result = run_mlvc("commit", "-m", "refused", check=2)

    assert "not today" in result.stderr
    assert head == git("rev-parse", "HEAD")


def test_commit_of_missing_data_keeps_its_line(project, run_mlvc):
    """`-a` does not take a directory that is not checked out for one that was removed."""
    (project / "more").write_text("m")
    run_mlvc("add", "more")
    (project / "more").unlink()

    result = run_mlvc("commit", "-a", "-m", "without files")

    assert "more is missing" in result.stderr
    assert ["data/", "more"] == run_mlvc("ls").stdout.split()


def test_log_has_the_newest_first(project, git, run_mlvc):
    """Each with id, SHA, message, author and time; `-n` ends it."""
    (project / "more").write_text("m")
    run_mlvc("add", "more")
    run_mlvc("commit", "-m", "second")

    commits = run_mlvc("log", "--json").json()["commits"]

    assert ["second", "first"] == [commit["message"] for commit in commits]
    assert git("rev-list", "HEAD").split() == [commit["code_sha"] for commit in commits]
    assert {"id", "code_sha", "message", "author", "time"} == commits[0].keys()
    assert commits[:1] == run_mlvc("log", "-n", "1", "--json").json()["commits"]
    assert commits[1:] == run_mlvc("log", "HEAD~1", "--json").json()["commits"]


def test_unknown_revision_is_named(project, run_mlvc):
    """In every command that takes one."""
    for command in (
        ["log", "nope"],
        ["show", "nope"],
        ["ls", "nope"],
        ["checkout", "nope"],
        ["cat", "nope:data"],
    ):
        result = run_mlvc(*command, check=2)

        assert "nope" in result.stderr
        assert "hint: " in result.stderr


def test_show_finds_a_commit_by_the_start_of_its_id(project, run_mlvc):
    """And tells what it tracks."""
    (logged,) = run_mlvc("log", "--json").json()["commits"]

    shown = run_mlvc("show", logged["id"][3:12])

    assert logged["id"] in shown.stdout
    assert logged["code_sha"] in shown.stdout
    assert "data" in shown.stdout


def test_ls_looks_into_any_revision(project, run_mlvc):
    """The tracked paths, a directory of one, and a single file, with kinds and sizes in JSON."""
    run_mlvc("rm", "data")
    run_mlvc("commit", "-m", "no data")

    entries = run_mlvc("ls", "HEAD~1:data", "--json").json()["entries"]

    assert "" == run_mlvc("ls").stdout
    assert "data/\n" == run_mlvc("ls", "HEAD~1").stdout
    assert {
        "data/deep": "directory",
        "data/empty": "directory",
        "data/link": "symlink",
        "data/run.sh": "executable",
        "data/table.csv": "file",
    } == {entry["path"]: entry["kind"] for entry in entries}
    assert "data/deep/er/x.bin\n" == run_mlvc("ls", "HEAD~1:data/deep/er/x.bin").stdout
    assert "path-missing" == run_mlvc("ls", "HEAD~1:dat", "--json", check=2).json()["error"]["code"]


def test_cat_writes_the_bytes_as_they_are(project, run_mlvc):
    """Binary, from any revision; a link gives its target, a directory is refused."""
    expected = (project / "data" / "deep" / "er" / "x.bin").read_bytes()
    run_mlvc("rm", "data")
    command = [sys.executable, "-m", "mlvc", "cat", "HEAD:data/deep/er/x.bin"]
    done = subprocess.run(command, cwd=project, env=child_environment({}), capture_output=True, check=True)

    assert expected == done.stdout
    assert "table.csv" == run_mlvc("cat", "HEAD:data/link").stdout
    assert "data/deep is a directory" in run_mlvc("cat", "HEAD:data/deep", check=2).stderr
    assert "names no path" in run_mlvc("cat", "HEAD", check=2).stderr
