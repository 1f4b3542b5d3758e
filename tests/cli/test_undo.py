"""`mlvc undo` as a user runs it."""

import datetime

import pytest

from mlvc.errors import MlvcError
from mlvc.model.lock import Lock
from mlvc.worktree.undo import UndoRecord, read_undo, write_undo


def table(project):
    return project / "data" / "table.csv"


def lock(project):
    return (project / "mlvc.lock").read_text()


@pytest.fixture
def journal(project):
    return project / ".git" / "mlvc" / "undo.log"


def test_add_is_undone_and_done_again(project, run_mlvc):
    """The lock goes back; the files are the user's, and stay; a second undo takes back the first."""
    before = lock(project)
    table(project).write_text("second\n")
    run_mlvc("add", "data")
    after = lock(project)

    assert "add" == run_mlvc("undo", "--json").json()["operation"]

    assert (before, "second\n") == (lock(project), table(project).read_text())

    assert "undo" == run_mlvc("undo", "--json").json()["operation"]

    assert (after, "second\n") == (lock(project), table(project).read_text())


def test_add_of_a_new_path_is_undone(project, run_mlvc, git):
    """Its line leaves `.gitignore` too."""
    ignored = (project / ".gitignore").read_text()
    (project / "more").write_text("more")
    run_mlvc("add", "more")

    run_mlvc("undo")

    assert ignored == (project / ".gitignore").read_text()
    assert "?? more\n" == git("status", "--short")
    assert "more" == (project / "more").read_text()


def test_rm_is_undone(project, run_mlvc, git):
    """Promise 5 and more: the lock line, the files, and what was changed in them and deleted by force."""
    table(project).write_text("never added\n")
    run_mlvc("rm", "data", check=2)
    run_mlvc("rm", "--force", "data")
    assert not (project / "data").exists()

    run_mlvc("undo")

    assert "never added\n" == table(project).read_text()
    assert "table.csv" == str((project / "data" / "link").readlink())
    assert (project / "data" / "empty").is_dir()
    assert "modified  data/table.csv\n" == run_mlvc("diff").stdout
    run_mlvc("undo")
    assert not (project / "data").exists()


def test_rm_that_kept_the_files_is_undone(project, run_mlvc):
    """Only the lock changes."""
    before = lock(project)
    run_mlvc("rm", "--cached", "data")
    table(project).write_text("mine\n")

    run_mlvc("undo")

    assert (before, "mine\n") == (lock(project), table(project).read_text())


def test_checkout_by_force_is_undone(project, run_mlvc):
    """The edits that it overwrote come back, bit by bit."""
    table(project).write_text("an edit of an hour\n")
    (project / "data" / "run.sh").chmod(0o644)
    (project / "data" / "link").unlink()
    (project / "data" / "link").symlink_to("elsewhere")
    run_mlvc("checkout", "--force")
    assert "a,b\n1,2\n" == table(project).read_text()

    run_mlvc("undo")

    assert "an edit of an hour\n" == table(project).read_text()
    assert "elsewhere" == str((project / "data" / "link").readlink())
    assert 0o644 == (project / "data" / "run.sh").stat().st_mode & 0o777

    run_mlvc("undo")

    assert "a,b\n1,2\n" == table(project).read_text()


def test_checkout_of_a_revision_is_undone(project, run_mlvc, git):
    """HEAD, code, lock and data, by the branch's name; files that only the other revision had are gone."""
    (project / "train.py").write_text("second\n")
    table(project).write_text("second\n")
    (project / "data" / "only-second").write_text("2")
    git("add", "train.py")
    run_mlvc("commit", "-a", "-m", "second")
    run_mlvc("checkout", "HEAD~1")

    run_mlvc("undo")

    assert "main\n" == git("branch", "--show-current")
    assert "second\n" == (project / "train.py").read_text() == table(project).read_text()
    assert True is run_mlvc("status", "--json").json()["clean"]

    run_mlvc("undo")

    assert "a,b\n1,2\n" == table(project).read_text()
    assert not (project / "data" / "only-second").exists()
    assert True is run_mlvc("status", "--json").json()["clean"]


def test_checkout_of_paths_is_undone(project, run_mlvc):
    """The lock line too."""
    table(project).write_text("second\n")
    run_mlvc("commit", "-a", "-m", "second")
    before = lock(project)
    run_mlvc("checkout", "HEAD~1", "--", "data")
    assert before != lock(project)

    run_mlvc("undo")

    assert (before, "second\n") == (lock(project), table(project).read_text())


def test_work_that_is_stored_nowhere_is_never_lost(project, run_mlvc, git):
    """Promise 5: undo refuses, names the file, and changes nothing, not even its own journal."""
    table(project).write_text("second\n")
    run_mlvc("commit", "-a", "-m", "second")
    run_mlvc("checkout", "HEAD~1")
    table(project).write_text("precious\n")
    head, journal = git("rev-parse", "HEAD"), (project / ".git" / "mlvc" / "undo.log").read_bytes()

    refused = run_mlvc("undo", "--json", check=2).json()["error"]

    assert "unsaved" == refused["code"]
    assert "data/table.csv" in refused["message"]
    assert "precious\n" == table(project).read_text()
    assert (head, journal) == (
        git("rev-parse", "HEAD"),
        (project / ".git" / "mlvc" / "undo.log").read_bytes(),
    )


def test_edited_code_stops_it_before_anything_changes(project, run_mlvc, git):
    """As it stops `mlvc checkout`; data that was brought back goes again."""
    (project / "train.py").write_text("second\n")
    table(project).write_text("second\n")
    git("add", "train.py")
    run_mlvc("commit", "-a", "-m", "second")
    run_mlvc("checkout", "HEAD~1")
    (project / "train.py").write_text("an edit\n")

    assert "checkout-refused" == run_mlvc("undo", "--json", check=2).json()["error"]["code"]

    assert "an edit\n" == (project / "train.py").read_text()
    assert "a,b\n1,2\n" == table(project).read_text()


def test_a_lock_that_something_else_changed_is_not_overwritten(project, run_mlvc, git):
    """By git, by a run, or by hand."""
    table(project).write_text("second\n")
    run_mlvc("add", "data")
    git("checkout", "-q", "--", "mlvc.lock")
    run_mlvc("checkout", "--force")
    text = lock(project) + "environment b3:" + "0" * 64 + "\n"
    (project / "mlvc.lock").write_text(text)

    assert "lock-moved" == run_mlvc("undo", "--json", check=2).json()["error"]["code"]
    assert text == lock(project)


def test_a_head_that_has_moved_on_is_not_moved_back(project, run_mlvc, git):
    """A commit after the checkout would be left behind."""
    table(project).write_text("second\n")
    run_mlvc("commit", "-a", "-m", "second")
    run_mlvc("checkout", "HEAD~1")
    git("commit", "-q", "--allow-empty", "-m", "on")

    assert "lock-moved" == run_mlvc("undo", "--json", check=2).json()["error"]["code"]


def test_nothing_to_undo(project, run_mlvc, journal):
    """In a fresh clone, and after the keep period."""
    journal.unlink()
    assert "nothing-to-undo" == run_mlvc("undo", "--json", check=2).json()["error"]["code"]
    old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=31)
    write_undo(journal, UndoRecord("add", old, Lock(), Lock()))
    assert "nothing-to-undo" == run_mlvc("undo", "--json", check=2).json()["error"]["code"]


def test_gc_keeps_what_undo_needs(project, run_mlvc, home):
    """Promise 6: with no keep period for anything else, what the journal names stays for as long as it is young."""
    table(project).write_text("an edit of an hour\n")
    run_mlvc("checkout", "--force")
    (project / ".git" / "mlvc" / "saved.log").unlink()
    path = home / ".config" / "mlvc" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[gc]\nkeep_days = 1\n")
    run_mlvc("gc")
    run_mlvc("gc")

    run_mlvc("undo")

    assert "an edit of an hour\n" == table(project).read_text()


def test_every_flipped_byte_of_the_journal_is_found(project, run_mlvc, journal):
    """It is refused and named; nothing is undone by halves."""
    table(project).write_text("edit\n")
    run_mlvc("checkout", "--force")
    good = journal.read_bytes()
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1
        journal.write_bytes(bad)
        with pytest.raises(MlvcError, match=r"undo\.log|newer"):
            read_undo(journal)
    refused = run_mlvc("undo", "--json", check=2).json()["error"]
    assert "undo-damaged" == refused["code"]
