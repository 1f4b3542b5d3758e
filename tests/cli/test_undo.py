"""`mlvc undo` as a user runs it."""

import datetime
import shutil

import pytest

from mlvc.errors import MlvcError
from mlvc.model.ids import BlobId
from mlvc.model.lock import Lock
from mlvc.repo import Repo
from mlvc.store.gc import Roots, collect
from mlvc.worktree.undo import UndoRecord, encode_undo, read_undo
from tests.support.reporter import RecordingReporter


def table(project):
    return project / "data" / "table.csv"


def lock(project):
    return (project / "mlvc.lock").read_text()


@pytest.fixture
def journal(project):
    return project / ".git" / "mlvc" / "undo"


def step(journal):
    """The step that the next undo takes back."""
    return max(journal.glob("*.step"))


def state(project):
    """Everything that undo is to bring back: the lock, what git ignores, and every file with its bytes."""
    files = {
        str(path.relative_to(project)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in project.rglob("*")
        if ".git" not in path.parts and (path.is_symlink() or path.is_file())
    }
    return files, sorted(str(path.relative_to(project)) for path in project.glob("data/**/"))


def test_add_is_undone(project, run_mlvc):
    """The lock goes back; the files are the user's, and stay; the same add does it again."""
    before = lock(project)
    table(project).write_text("second\n")
    run_mlvc("add", "data")
    after = lock(project)

    assert "add" == run_mlvc("undo", "--json").json()["operation"]

    assert (before, "second\n") == (lock(project), table(project).read_text())
    run_mlvc("add", "data")
    assert (after, "second\n") == (lock(project), table(project).read_text())


def test_undo_after_undo_goes_further_back(project, run_mlvc, git):
    """Each takes back one operation more, across checkouts of commits, to the first; then it says that none is left."""
    states, told = [], []

    def did(operation, *argv):
        states.append((state(project), git("rev-parse", "HEAD"), git("branch", "--show-current")))
        told.append(operation)
        run_mlvc(*argv)

    table(project).write_text("second\n")
    did("add", "add", "data")
    run_mlvc("commit", "-m", "second")
    did("checkout", "checkout", "HEAD~1")
    table(project).write_text("an edit\n")
    did("checkout", "checkout", "--force")
    did("rm", "rm", "data")
    (project / "more").write_text("more")
    did("add", "add", "more")

    for operation, (wanted, head, branch) in zip(reversed(told), reversed(states), strict=True):
        assert operation == run_mlvc("undo", "--json").json()["operation"]
        found = state(project)
        for files, _ in (wanted, found):
            # `add` did not make it, and undo leaves it.
            files.pop("more", None)
        assert wanted == found, operation
        if operation != "add":
            assert (head, branch) == (git("rev-parse", "HEAD"), git("branch", "--show-current"))
    # What prepared the project.
    assert "add" == run_mlvc("undo", "--json").json()["operation"]
    assert "nothing-to-undo" == run_mlvc("undo", "--json", check=2).json()["error"]["code"]


def test_a_new_step_after_an_undo(project, run_mlvc):
    """It is the next one to be undone; the one that was undone is never done again by an undo."""
    first = lock(project)
    table(project).write_text("second\n")
    run_mlvc("add", "data")
    run_mlvc("undo")
    table(project).write_text("third\n")
    run_mlvc("add", "data")
    third = lock(project)
    table(project).write_text("fourth\n")
    run_mlvc("add", "data")

    run_mlvc("undo")
    assert third == lock(project)
    run_mlvc("undo")
    assert first == lock(project)


def test_add_of_a_new_path_is_undone(project, run_mlvc, git):
    """Its line leaves `.gitignore` too."""
    ignored = (project / ".gitignore").read_text()
    (project / "more").write_text("more")
    run_mlvc("add", "more")

    run_mlvc("undo")

    assert ignored == (project / ".gitignore").read_text()
    assert "?? more\n" == git("status", "--short")
    assert "more" == (project / "more").read_text()


def test_files_of_a_path_that_is_tracked_no_more_are_left_alone(project, run_mlvc):
    """After the undo of an `add` they are a person's again: no checkout deletes them."""
    (project / "more").mkdir()
    (project / "more" / "x").write_text("more")
    run_mlvc("add", "more")
    run_mlvc("undo")

    run_mlvc("checkout")
    run_mlvc("checkout", "--force", "HEAD")

    assert "more" == (project / "more" / "x").read_text()


def test_a_changed_path_whose_add_was_undone_is_changed_again(project, run_mlvc):
    """A checkout replaces it, because it is stored, and an undo of that brings it back."""
    table(project).write_text("second\n")
    run_mlvc("add", "data")
    run_mlvc("undo")
    assert "modified  data/table.csv\n" == run_mlvc("diff").stdout

    run_mlvc("checkout")
    assert "a,b\n1,2\n" == table(project).read_text()
    run_mlvc("undo")

    assert "second\n" == table(project).read_text()


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
    assert (project / "data" / "only-second").exists()
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
    head, steps = git("rev-parse", "HEAD"), state(project / ".git" / "mlvc" / "undo")

    refused = run_mlvc("undo", "--json", check=2).json()["error"]

    assert "unsaved" == refused["code"]
    assert "data/table.csv" in refused["message"]
    assert "precious\n" == table(project).read_text()
    assert (head, steps) == (git("rev-parse", "HEAD"), state(project / ".git" / "mlvc" / "undo"))


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
    last = step(journal)
    shutil.rmtree(journal)
    assert "nothing-to-undo" == run_mlvc("undo", "--json", check=2).json()["error"]["code"]
    old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=31)
    journal.mkdir()
    last.write_bytes(encode_undo(UndoRecord("add", old, Lock(), Lock())))
    assert "nothing-to-undo" == run_mlvc("undo", "--json", check=2).json()["error"]["code"]


def test_steps_of_the_keep_period_are_kept_and_no_others(project, run_mlvc, journal):
    """Those that are older go with the next step, undone or not; younger ones stay, undone or not."""
    run_mlvc("undo")
    young = [path.name for path in journal.iterdir()]
    old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=31)
    for name in ("000000000000.undone", "000000000000.step"):
        (journal / name).write_bytes(encode_undo(UndoRecord("add", old, Lock(), Lock())))

    run_mlvc("add", "data")

    assert ["000000000001.undone"] == young
    assert ["000000000001.undone", "000000000002.step"] == sorted(path.name for path in journal.iterdir())


def test_the_step_that_an_earlier_version_remembered(project, run_mlvc, journal):
    """`undo.log` counts as the first step, and as any other when it was undone."""
    before = lock(project)
    table(project).write_text("second\n")
    run_mlvc("add", "data")
    step(journal).rename(journal.with_name("undo.log"))
    shutil.rmtree(journal)
    added = lock(project)
    (project / "more").write_text("more")
    run_mlvc("add", "more")

    run_mlvc("undo")
    assert added == lock(project)
    run_mlvc("undo")
    assert before == lock(project)
    assert "nothing-to-undo" == run_mlvc("undo", "--json", check=2).json()["error"]["code"]


def keep_one_day(home):
    path = home / ".config" / "mlvc" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[gc]\nkeep_days = 1\n")


def test_gc_keeps_what_undo_needs(project, run_mlvc, home):
    """Promise 6: with no keep period for anything else, what the journal names stays for as long as it is young.

    That of every step, and of those that were undone.
    """
    edits = ["an edit of an hour\n", "another\n"]
    for edit in edits:
        table(project).write_text(edit)
        run_mlvc("checkout", "--force")
    (project / ".git" / "mlvc" / "saved.log").unlink()
    keep_one_day(home)
    # As if every record had been found unneeded a month ago: only a root keeps it now.
    forget_ages(project)
    run_mlvc("gc")
    run_mlvc("undo")
    assert edits[1] == table(project).read_text()
    table(project).write_text("stored, and undone\n")
    run_mlvc("add", "data")
    run_mlvc("undo")
    forget_ages(project)
    run_mlvc("gc")

    # The file is not what any lock says, but stored: it gives way, and is kept.
    run_mlvc("undo")

    assert edits[0] == table(project).read_text()
    forget_ages(project)
    run_mlvc("gc")
    assert Repo.open(project, reporter=RecordingReporter(), environment={}).store.has_blob(
        BlobId.of(b"stored, and undone\n")
    )


def forget_ages(project):
    """Makes gc find that nothing was needed for two days."""
    store = Repo.open(project, reporter=RecordingReporter(), environment={}).store
    now_s = int(datetime.datetime.now(datetime.UTC).timestamp())
    collect(store, lambda: Roots((), ()), RecordingReporter(), now_s=now_s - 2 * 86_400, keep_s=86_400)


@pytest.mark.parametrize("which", ["step", "undone"])
def test_every_flipped_byte_of_the_journal_is_found(project, run_mlvc, journal, which):
    """It is refused and named; nothing is undone by halves."""
    table(project).write_text("edit\n")
    run_mlvc("checkout", "--force")
    path = step(journal)
    good = path.read_bytes()
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1
        path.write_bytes(bad)
        with pytest.raises(MlvcError, match=rf"{path.name}|newer"):
            read_undo(path)
    if which == "undone":
        path.rename(path.with_suffix(".undone"))
        assert "add" == run_mlvc("undo", "--json").json()["operation"]
    else:
        refused = run_mlvc("undo", "--json", check=2).json()["error"]
        assert "undo-damaged" == refused["code"]
    problems = run_mlvc("fsck", "--json", check=1).json()["problems"]
    assert ["damaged-journal"] == [problem["kind"] for problem in problems]
