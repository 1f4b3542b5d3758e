"""`mlvc checkout` as a user runs it."""

import os

import pytest


@pytest.fixture
def two(project, git, run_mlvc):
    """A second commit with other data, other code and one more tracked path."""
    (project / "data" / "table.csv").write_text("second\n")
    (project / "data" / "only-second").write_text("2")
    (project / "more").write_text("more")
    (project / "train.py").write_text("print('second')\n")
    git("add", "train.py")
    run_mlvc("add", "data", "more")
    run_mlvc("commit", "-m", "second")
    return project


def test_deleted_data_comes_back_exactly(project, run_mlvc):
    """Contents, executable bits, links and empty directories."""
    expected = (project / "data" / "deep" / "er" / "x.bin").read_bytes()
    for name in ("table.csv", "link", "run.sh"):
        (project / "data" / name).unlink()
    (project / "data" / "deep" / "er" / "x.bin").unlink()
    (project / "data" / "empty").rmdir()

    answer = run_mlvc("checkout", "--json").json()

    assert 4 == answer["written"]
    assert expected == (project / "data" / "deep" / "er" / "x.bin").read_bytes()
    assert os.access(project / "data" / "run.sh", os.X_OK)
    assert "table.csv" == os.readlink(project / "data" / "link")
    assert (project / "data" / "empty").is_dir()
    assert "" == run_mlvc("diff").stdout


def test_revision_brings_code_and_data(two, git, run_mlvc):
    """And back again, by the name of the branch."""
    run_mlvc("checkout", "HEAD~1")

    assert "a,b\n1,2\n" == (two / "data" / "table.csv").read_text()
    assert not (two / "data" / "only-second").exists()
    assert not (two / "more").exists()
    assert "print('training')\n" == (two / "train.py").read_text()
    assert True is run_mlvc("status", "--json").json()["clean"]

    run_mlvc("checkout", "main")

    assert "second\n" == (two / "data" / "table.csv").read_text()
    assert "more" == (two / "more").read_text()
    assert "main\n" == git("branch", "--show-current")
    assert "" == git("status", "--short")


def test_unsaved_data_is_refused_before_git_moves(two, git, run_mlvc):
    """HEAD, code and data stay exactly as they were, and the file is named."""
    (two / "data" / "table.csv").write_text("precious\n")
    head = git("rev-parse", "HEAD")

    error = run_mlvc("checkout", "HEAD~1", "--json", check=2).json()["error"]

    assert "unsaved" == error["code"]
    assert "data/table.csv" in error["message"]
    assert head == git("rev-parse", "HEAD")
    assert "precious\n" == (two / "data" / "table.csv").read_text()
    assert "print('second')\n" == (two / "train.py").read_text()


def test_force_stores_what_it_overwrites(two, run_mlvc):
    """The id of the saved file is told, so that the bytes can be had back."""
    (two / "data" / "table.csv").write_text("precious\n")

    (saved,) = run_mlvc("checkout", "--force", "HEAD~1", "--json").json()["saved"]

    assert "data/table.csv" == saved["path"]
    assert 9 == saved["bytes"]
    assert "a,b\n1,2\n" == (two / "data" / "table.csv").read_text()


def test_edited_code_is_refused_before_data_moves(two, git, run_mlvc):
    """Git's own refusal is passed on, and no data file was touched."""
    (two / "train.py").write_text("edited\n")

    error = run_mlvc("checkout", "HEAD~1", "--json", check=2).json()["error"]

    assert "checkout-refused" == error["code"]
    assert "train.py" in error["message"]
    assert "second\n" == (two / "data" / "table.csv").read_text()
    assert True is run_mlvc("status", "--json").json()["clean"]


def test_code_that_was_only_touched_is_no_edit(two, run_mlvc):
    """A file with another time and the same bytes does not keep git from moving."""
    os.utime(two / "train.py", (1, 1))
    run_mlvc("checkout", "HEAD~1")

    assert "print('training')\n" == (two / "train.py").read_text()


def test_data_added_and_not_committed_is_refused(two, run_mlvc):
    """The lock itself would be lost."""
    (two / "data" / "table.csv").write_text("third\n")
    run_mlvc("add", "data")

    assert "checkout-refused" == run_mlvc("checkout", "HEAD~1", "--json", check=2).json()["error"]["code"]
    assert "third\n" == (two / "data" / "table.csv").read_text()


def test_paths_leave_everything_else_alone(two, git, run_mlvc):
    """One file of an older revision, below a tracked directory; code, HEAD and other data stay."""
    head = git("rev-parse", "HEAD")

    run_mlvc("checkout", "HEAD~1", "--", "data/table.csv")

    assert "a,b\n1,2\n" == (two / "data" / "table.csv").read_text()
    assert (two / "data" / "only-second").exists()
    assert head == git("rev-parse", "HEAD")
    assert ["data/table.csv"] == [c["path"] for c in run_mlvc("diff", "--json").json()["changes"]]


def test_whole_tracked_path_of_a_revision_becomes_the_locks(two, run_mlvc):
    """The files and the lock line; extra files of the present version go."""
    run_mlvc("checkout", "HEAD~1", "--", "data")

    answer = run_mlvc("status", "--json").json()

    assert [{"path": "data", "change": "modified"}] == answer["staged"]
    assert [] == answer["changes"]
    assert not (two / "data" / "only-second").exists()


def test_path_that_is_not_tracked_is_named(two, run_mlvc):
    """Nothing is written."""
    assert "path-missing" == run_mlvc("checkout", "--json", "--", "nope", check=2).json()["error"]["code"]


def test_linked_worktree_gets_its_own_files(two, git, run_mlvc, tmp_path):
    """The store is shared, the files are not."""
    git("worktree", "add", "-q", "--detach", str(tmp_path / "linked"), "HEAD~1")

    run_mlvc("checkout", cwd=tmp_path / "linked")

    assert "a,b\n1,2\n" == (tmp_path / "linked" / "data" / "table.csv").read_text()
    assert "second\n" == (two / "data" / "table.csv").read_text()


def test_git_clean_loses_nothing(two, git, run_mlvc):
    """The store is out of its reach."""
    git("clean", "-qxffd")

    run_mlvc("checkout")

    assert "second\n" == (two / "data" / "table.csv").read_text()
    assert True is run_mlvc("status", "--json").json()["clean"]
