"""Conflicts of `mlvc.lock`: one side is taken, or the files are put right by hand; the rest merges by itself."""

import pytest

from mlvc.model.ids import BlobId
from mlvc.repo import Repo
from tests.support.reporter import RecordingReporter

CONFLICT = 2


@pytest.fixture
def clash(hooked, change, git, run_mlvc):
    """Both sides edit `table.csv`; each adds a file of its own, and theirs changes another alone."""
    git("switch", "-q", "-c", "other")
    change("theirs.csv", "theirs")
    change("run.sh", "theirs\n")
    change("table.csv", "theirs")
    git("switch", "-q", "main")
    change("ours.csv", "ours")
    change("table.csv", "ours")
    said = git("merge", "other", check=False, both=True)
    assert "mlvc.lock: both sides changed data/table.csv\n" in said
    return hooked / "data"


def finish(git, agree):
    """Commits the merge; both sides' own files are there."""
    git("add", "mlvc.lock")
    git("commit", "-q", "-m", "merged")
    agree()


@pytest.mark.parametrize("path", [("--", "data/table.csv"), ("--", "data"), ()])
@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_one_side_is_taken(clash, git, run_mlvc, agree, side, path):
    """For the file in conflict, by its name or its directory's; everything else merges entry by entry."""
    said = run_mlvc("checkout", f"--{side}", *path)

    assert side == (clash / "table.csv").read_text()
    assert ("ours", "theirs", "theirs\n") == tuple(
        (clash / name).read_text() for name in ("ours.csv", "theirs.csv", "run.sh")
    )
    assert "next: `git add mlvc.lock .gitignore`, then `git commit`\n" == said.stderr
    finish(git, agree)


def test_files_put_right_by_hand(clash, git, run_mlvc, agree):
    """`mlvc add` decides what both changed, and brings what only the other side has."""
    (clash / "table.csv").write_text("ours and theirs")
    (clash / "deep" / "new.csv").write_text("made in between")

    run_mlvc("add", "data")

    assert ("ours and theirs", "theirs", "theirs\n", "made in between") == tuple(
        (clash / name).read_text() for name in ("table.csv", "theirs.csv", "run.sh", "deep/new.csv")
    )
    finish(git, agree)


def test_edits_that_are_saved_nowhere_stay(clash, run_mlvc):
    """They are named, and nothing is decided; `--force` stores them first."""
    (clash / "table.csv").write_text("saved nowhere")
    before = (clash.parent / "mlvc.lock").read_bytes()

    refused = run_mlvc("checkout", "--theirs", "--", "data", check=CONFLICT)

    assert "data/table.csv" in refused.stderr
    assert ("saved nowhere", before) == (
        (clash / "table.csv").read_text(),
        (clash.parent / "mlvc.lock").read_bytes(),
    )
    (kept,) = run_mlvc("checkout", "--json", "--theirs", "--force", "--", "data").json()["saved"]
    assert ("data/table.csv", "theirs") == (kept["path"], (clash / "table.csv").read_text())
    repo = Repo.open(clash.parent, reporter=RecordingReporter(), environment={})
    assert b"saved nowhere" == repo.store.read_blob(BlobId.parse(kept["id"]))
    decided = (clash.parent / "mlvc.lock").read_bytes()
    run_mlvc("undo")
    assert ("saved nowhere", decided) == (
        (clash / "table.csv").read_text(),
        (clash.parent / "mlvc.lock").read_bytes(),
    )


def test_conflicts_one_after_the_other(hooked, git, run_mlvc, agree):
    """Two tracked paths are decided by two commands; in one directory all files of it are."""
    for name in ("one.bin", "two.bin"):
        (hooked / name).write_text("base")
    run_mlvc("add", "one.bin", "two.bin")
    git("add", "-A")
    git("commit", "-q", "-m", "base")
    git("switch", "-q", "-c", "other")
    edit(hooked, run_mlvc, "theirs")
    git("commit", "-q", "-a", "-m", "theirs")
    git("switch", "-q", "main")
    edit(hooked, run_mlvc, "ours")
    git("commit", "-q", "-a", "-m", "ours")
    git("merge", "other", check=False)

    refused = run_mlvc("checkout", "--theirs", "--", "data/table.csv", check=CONFLICT)
    assert "data is still in conflict: both sides changed data/run.sh" in refused.stderr
    run_mlvc("checkout", "--theirs", "--", "data/table.csv", "data/run.sh")
    assert "lock-conflict" == run_mlvc("status", "--json", check=CONFLICT).json()["error"]["code"]
    run_mlvc("checkout", "--ours", "--", "one.bin")
    run_mlvc("checkout", "--theirs", "--", "two.bin")

    assert ["theirs", "ours", "theirs"] == [
        (hooked / name).read_text() for name in ("data/table.csv", "one.bin", "two.bin")
    ]
    finish(git, agree)


def edit(folder, run_mlvc, text):
    for name in ("one.bin", "two.bin", "data/table.csv", "data/run.sh"):
        (folder / name).write_text(text)
    run_mlvc("add", "one.bin", "two.bin", "data")


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_path_that_one_side_removed(hooked, change, git, run_mlvc, agree, side):
    """The files go with the line, or come back with it."""
    git("switch", "-q", "-c", "other")
    change("table.csv", "theirs")
    git("switch", "-q", "main")
    run_mlvc("rm", "data")
    git("add", "-A")
    git("commit", "-q", "-m", "removed")
    git("merge", "other", check=False)

    run_mlvc("checkout", f"--{side}", "--", "data")

    assert (side == "theirs") == (" data\n" in (hooked / "mlvc.lock").read_text())
    if side == "theirs":
        assert "theirs" == (hooked / "data" / "table.csv").read_text()


def test_merge_that_git_did_line_by_line(clash, git, run_mlvc, agree):
    """As on a server, or without mlvc: the marks of git are understood."""
    git("merge", "--abort")
    git("config", "merge.mlvc.driver", "git merge-file -L HEAD -L base -L other %A %O %B")
    git("merge", "other", check=False)
    assert "<<<<<<< HEAD\n" in (clash.parent / "mlvc.lock").read_text()

    run_mlvc("checkout", "--theirs", "--", "data/table.csv")

    assert ("theirs", "ours") == ((clash / "table.csv").read_text(), (clash / "ours.csv").read_text())
    finish(git, agree)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("checkout", "--ours", "--", "train.py"), "train.py is in no conflict"),
        (("add", "train.py"), "train.py is in no conflict"),
        (("checkout", "--ours", "--theirs"), "--ours and --theirs take no revision, and exclude each other"),
        (("checkout", "--ours", "HEAD"), "--ours and --theirs take no revision, and exclude each other"),
    ],
)
def test_what_makes_no_sense(clash, run_mlvc, arguments, told):
    """Exit 2, and the lock is as it was."""
    before = (clash.parent / "mlvc.lock").read_bytes()

    assert f"error: {told}\n" in run_mlvc(*arguments, check=2).stderr
    assert before == (clash.parent / "mlvc.lock").read_bytes()


def test_without_a_conflict_there_is_nothing_to_decide(project, run_mlvc):
    """Exit 2."""
    assert "no-conflict" == run_mlvc("checkout", "--json", "--ours", check=2).json()["error"]["code"]
