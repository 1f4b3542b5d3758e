"""What pre-commit tells a person to type: it works as it stands there, in the directory that the person is in."""

import re
import shutil

import pytest

from mlvc.repo import Repo
from mlvc.verbs.add import add
from tests.support.reporter import RecordingReporter


@pytest.fixture
def refused(git):
    """Commits and returns the commands that the refusal names."""

    def call(*arguments, cwd=None):
        said = git("commit", "-m", "x", *arguments, check=False, both=True, **({"cwd": cwd} if cwd else {}))
        assert said.startswith("error: "), said
        hint = said.partition("\nhint: ")[2]
        return re.findall("`([^`]+)`", hint) or [hint]

    return call


@pytest.fixture
def track(hooked):
    """Makes a file that mlvc tracks."""

    def call(path):
        path.parent.mkdir(exist_ok=True)
        path.write_text("a\n")
        add(Repo.open(hooked, reporter=RecordingReporter(), environment={}), [str(path)])

    return call


@pytest.fixture
def apart(hooked, track, git):
    """A file with blanks and quotes in its name, tracked below a directory that has no other data."""
    path = hooked / "more data" / "it's.csv"
    track(path)
    git("add", "-A")
    git("commit", "-q", "-m", "apart")
    return path


@pytest.mark.parametrize(("place", "is_gone"), [(".", False), ("more data", True)])
def test_edited_data(apart, git, refused, type_in, agree, hooked, place, is_gone):
    """One command takes it over; with the other all is as it was."""
    here = hooked / place

    def edit():
        (hooked / "data" / "table.csv").write_text("edited")
        if is_gone:
            apart.unlink()
        else:
            apart.write_text("edited")

    def ways_out():
        take, back = sorted(refused("--allow-empty", cwd=here), key=lambda line: "checkout" in line)
        return take, back

    edit()
    type_in(ways_out()[1], cwd=here)
    agree()
    edit()
    type_in(ways_out()[0], cwd=here)
    git("commit", "-q", "-m", "taken", cwd=here)
    agree()
    assert is_gone != ("it's" in (hooked / "mlvc.lock").read_text())


def test_data_that_a_sparse_checkout_leaves_out(apart, hooked, git, agree):
    """Git deletes what it ignores in such a directory; it is no reason, and stays tracked."""
    (hooked / "code").mkdir()
    (hooked / "code" / "x.py").write_text("x\n")
    git("add", "code")
    git("commit", "-q", "-m", "code")
    git("sparse-checkout", "set", "--cone", "code")
    assert not apart.exists()
    (hooked / "code" / "x.py").write_text("edited\n")
    git("commit", "-q", "-a", "-m", "edited")
    assert "it's.csv" in git("show", "--no-textconv", "HEAD:mlvc.lock")


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--cone", "code"], "git sparse-checkout add 'more data'"),
        (["--no-cone", "/mlvc*", "/.gitignore"], "git sparse-checkout add '/more data/.gitignore'"),
    ],
)
def test_gitignore_that_a_sparse_checkout_leaves_out(
    apart, hooked, git, run_mlvc, type_in, agree, options, hint
):
    """A new one in its place would lack the lines that it has."""
    with (apart.parent / ".gitignore").open("a") as file:
        file.write("*.tmp\n")
    git("commit", "-q", "-a", "-m", "more lines")
    git("sparse-checkout", "set", *options)
    apart.parent.mkdir(exist_ok=True)
    new = apart.parent / "new.csv"
    new.write_text("new\n")
    for command in (["add", new], ["run", "-o", new, "--", "true"], ["checkout", "HEAD", "--", apart]):
        error = run_mlvc(command[0], "--json", *command[1:], check=False).json()["error"]
        assert ("sparse-checkout", hint) == (error["code"], error["hint"]), command
    type_in(f"{hint} && mlvc checkout")
    run_mlvc("add", new)
    git("add", "mlvc.lock", "more data/.gitignore")
    git("commit", "-q", "-m", "new")

    assert "*.tmp\n" in git("show", "HEAD:more data/.gitignore")
    agree()


@pytest.mark.parametrize(
    ("patterns", "named"),
    [(["/*.py"], "mlvc.lock and mlvc.toml"), (["/*.py", "/mlvc.toml"], "mlvc.lock")],
)
def test_sparse_checkout_that_leaves_out_what_names_the_data(
    hooked, git, run_mlvc, type_in, refused, agree, patterns, named
):
    """No command takes the project for one without data, or for none; what each names brings the files back."""
    git("status")  # Git leaves a file where it is that it has not looked at.
    git("sparse-checkout", "set", "--no-cone", *patterns)
    before = sorted(path.name for path in hooked.iterdir())
    commands = (["status"], ["add", "train.py"], ["commit", "-m", "x"], ["checkout"], ["verify"], ["init"])
    answers = [run_mlvc(*command, "--json", check=2).json()["error"] for command in commands]

    assert {"sparse-checkout"} == {error["code"] for error in answers}
    assert {f"the sparse checkout leaves out {named}"} == {error["message"] for error in answers}
    assert before == sorted(path.name for path in hooked.iterdir())
    (line,) = refused("--allow-empty")
    type_in(line)
    git("commit", "-q", "--allow-empty", "-m", "whole")
    agree()


def test_lock_that_is_not_staged(hooked, git, refused, type_in, agree, track):
    """With the `.gitignore` of the new path and no other: a project may have none at its top."""
    new = hooked / "newer" / "x.bin"
    track(new)
    type_in(refused("--allow-empty", cwd=new.parent)[0], cwd=new.parent)
    git("commit", "-q", "-m", "new")

    agree()
    assert "" == git("status", "--porcelain")


def test_commit_of_named_files(hooked, git, refused, type_in, agree, track):
    """What is staged is not in it, so staging alone would be refused again."""
    track(hooked / "x.bin")
    (hooked / "train.py").write_text("edited")
    git("add", "train.py")
    add, commit = refused("train.py")
    type_in(add)
    assert [add, commit] == refused("train.py")
    type_in(f"{commit} -q -m 'what is staged'")

    agree()


def test_project_whose_lock_was_never_staged(hooked, git, refused, type_in, agree):
    """Its first commit would leave the data of a clone unknown."""
    git("rm", "-q", "--cached", "mlvc.toml", "mlvc.lock")
    type_in(refused()[0])
    assert "" == git("status", "--porcelain")

    git("commit", "-q", "--allow-empty", "-m", "whole")
    agree()


def test_project_that_tracks_nothing_yet(hooked, git, run_mlvc):
    """There is nothing to keep together."""
    run_mlvc("rm", "data")
    git("rm", "-q", "--cached", "mlvc.toml", "mlvc.lock")

    git("commit", "-q", "-m", "later")


@pytest.mark.parametrize("name", ["it's 100% mine.pt", "-\udcff\t.pt"])
def test_data_about_to_go_into_git(hooked, git, refused, type_in, agree, name):
    """It becomes mlvc's, with the `.gitignore` beside it; bytes that nobody can type are written as bash reads them."""
    model = hooked / "models" / name
    model.parent.mkdir()
    model.write_text("x")
    git("add", "models")
    type_in(refused(cwd=model.parent)[0], cwd=model.parent)
    git("commit", "-q", "-m", "tracked")

    agree()
    assert "models/.gitignore\n" == git("ls-files", "models")


def test_git_that_does_not_tell_what_is_staged(hooked, git):
    """Then nobody knows whether that is data."""
    shutil.copy(hooked / "train.py", hooked / "model.pt")
    git("add", "model.pt")
    git("config", "diff.orderFile", str(hooked / "gone"))
    said = git("commit", "-m", "x", check=False, both=True)

    assert said.startswith("error: git does not say what is staged: ")
    assert "first" in git("log", "-1", "--format=%s")
