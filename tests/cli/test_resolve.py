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


def test_next_step_names_what_is_there(hooked, git, run_mlvc, agree):
    """Typed below the top as it is said, in a project whose `.gitignore` stands elsewhere."""
    path = hooked / "more" / "x.csv"
    path.parent.mkdir()

    def commit(text):
        path.write_text(text)
        run_mlvc("add", path)
        git("add", "-A")
        git("commit", "-q", "-m", text)

    commit("0")
    git("switch", "-q", "-c", "other")
    commit("1")
    git("switch", "-q", "main")
    commit("2")
    git("merge", "other", check=False)
    said = run_mlvc("checkout", "--theirs", cwd=path.parent).stderr
    assert "next: `git add ../mlvc.lock .gitignore`, then `git commit`\n" == said

    git("add", "../mlvc.lock", ".gitignore", cwd=path.parent)
    git("commit", "-q", "-m", "merged")
    agree()
    assert "1" == path.read_text()


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


@pytest.fixture
def clashes(hooked, git, run_mlvc):
    """Both sides edit two tracked files and two files of a directory, in which each adds another."""
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
    return hooked


def texts(folder, *names):
    return [(folder / name).read_text() for name in names]


def test_conflicts_one_after_the_other(clashes, git, run_mlvc, agree):
    """Each command says what is left; only then the lock can be read again."""
    run_mlvc("checkout", "--theirs", "--", "data/table.csv", "data/run.sh")
    assert "lock-conflict" == run_mlvc("status", "--json", check=CONFLICT).json()["error"]["code"]
    said = run_mlvc("checkout", "--ours", "--", "one.bin").stderr
    assert "next: decide two.bin too\n" == said
    run_mlvc("checkout", "--theirs", "--", "two.bin")

    assert ["theirs", "ours", "theirs"] == texts(clashes, "data/table.csv", "one.bin", "two.bin")
    finish(git, agree)


@pytest.mark.parametrize("first", ["data/table.csv", "data/run.sh"])
@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_files_of_one_directory_from_different_sides(clashes, git, run_mlvc, agree, first, side):
    """File by file, as git's own conflicts are; the directory is decided with the last, and merges entry by entry."""
    last = {"data/table.csv": "data/run.sh", "data/run.sh": "data/table.csv"}[first]
    other = {"ours": "theirs", "theirs": "ours"}[side]
    run_mlvc("checkout", "--ours", "--", "one.bin", "two.bin")

    said = run_mlvc("checkout", f"--{side}", "--", first).stderr

    assert f"data is still in conflict: both sides changed {last}\nnext: decide data too\n" == said
    assert [side, "ours"] == texts(clashes, first, last)
    assert not (clashes / "data" / "theirs.csv").exists()
    git("add", "mlvc.lock")
    assert "marks of a merge conflict" in git("commit", "-m", "too soon", check=False, both=True)
    run_mlvc("checkout", f"--{other}", "--", last)
    assert [side, other, "theirs"] == texts(clashes, first, last, "data/theirs.csv")
    finish(git, agree)


def test_a_choice_inside_a_directory_that_is_put_right_by_hand(clashes, git, run_mlvc, agree):
    """`mlvc add` takes what stands there for the rest, and what was chosen stays chosen."""
    run_mlvc("checkout", "--theirs", "--", "one.bin", "two.bin", "data/run.sh")
    (clashes / "data" / "table.csv").write_text("both")

    run_mlvc("add", "data")

    assert ["theirs", "both", "theirs"] == texts(clashes, "data/run.sh", "data/table.csv", "data/theirs.csv")
    finish(git, agree)


def test_a_choice_that_is_taken_back(clashes, git, run_mlvc, agree):
    """`git checkout -m` puts all conflicts of the lock back; a choice alone does not change what was chosen."""
    run_mlvc("checkout", "--theirs", "--", "data/run.sh")
    again = run_mlvc("checkout", "--ours", "--", "data/run.sh", check=CONFLICT).stderr
    assert "data is still in conflict: both sides changed data/table.csv" in again

    git("checkout", "-m", "mlvc.lock")
    run_mlvc("checkout", "--ours", "--", "data/run.sh")
    run_mlvc("checkout", "--theirs")

    assert ["ours", "theirs", "theirs"] == texts(clashes, "data/run.sh", "data/table.csv", "one.bin")
    finish(git, agree)


def test_a_choice_keeps_edits_and_survives_gc(clashes, home, git, run_mlvc, agree):
    """An edited file is named, and nothing is decided; a file beside the chosen one keeps its edits."""
    (clashes / "data" / "run.sh").write_text("saved nowhere")
    before = (clashes / "mlvc.lock").read_bytes()

    assert "data/run.sh" in run_mlvc("checkout", "--theirs", "--", "data/run.sh", check=CONFLICT).stderr
    assert before == (clashes / "mlvc.lock").read_bytes()
    run_mlvc("checkout", "--theirs", "--", "data/table.csv")

    assert ["saved nowhere", "theirs"] == texts(clashes, "data/run.sh", "data/table.csv")
    settings = home / ".config" / "mlvc" / "config.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("[gc]\nkeep_days = 0\n")
    run_mlvc("gc")
    run_mlvc("checkout", "--theirs", "--force")
    assert ["theirs", "theirs"] == texts(clashes, "data/run.sh", "data/table.csv")
    assert run_mlvc("fsck", "--json").json()["ok"]
    finish(git, agree)


def test_a_file_that_one_side_removed_is_chosen_alone(hooked, change, git, run_mlvc, agree):
    """It goes, or stays, while another file is still in conflict."""
    git("switch", "-q", "-c", "other")
    (hooked / "data" / "run.sh").unlink()
    change("table.csv", "theirs")
    git("switch", "-q", "main")
    change("run.sh", "ours")
    change("table.csv", "ours")
    git("merge", "other", check=False)

    run_mlvc("checkout", "--theirs", "--", "data/run.sh")

    assert not (hooked / "data" / "run.sh").exists()
    run_mlvc("checkout", "--ours", "--", "data/table.csv")
    assert not (hooked / "data" / "run.sh").exists()
    assert "ours" == (hooked / "data" / "table.csv").read_text()
    finish(git, agree)


def edit(folder, run_mlvc, text):
    for name in ("one.bin", "two.bin", "data/table.csv", "data/run.sh", f"data/{text}.csv"):
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
