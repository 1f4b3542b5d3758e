"""A scripted week of plain git with the hooks installed: after every step data, lock and index agree."""

import os

import pytest

from mlvc.repo import Repo
from mlvc.store.local import LocalStore
from tests.support.reporter import RecordingReporter


@pytest.fixture
def data_commits(hooked, git):
    """Which of some revisions have their data commit."""

    def call(revs):
        repo = Repo.open(hooked, reporter=RecordingReporter(), environment={})
        repo.index.catch_up(repo.reporter)
        shas = git("rev-list", revs).split()
        return [repo.index.commit_for_sha(sha) is not None for sha in shas]

    return call


def test_branches_merges_rebases_and_amended_commits(hooked, change, agree, git, data_commits):
    """Two lines of work on one directory, as a team's week goes."""
    table, new = hooked / "data" / "table.csv", hooked / "data" / "new.bin"
    git("checkout", "-q", "-b", "other")
    change("new.bin", "there")
    agree()
    git("checkout", "-q", "main")
    assert not new.exists()
    agree()
    change("table.csv", "here")
    git("branch", "before")
    git("merge", "-q", "other", "-m", "merge")
    agree()
    assert ("here", "there") == (table.read_text(), new.read_text())
    git("commit", "-q", "--amend", "-m", "another message")
    agree()
    git("checkout", "-q", "other")
    change("third.bin", "3")
    git("rebase", "-q", "before")
    agree()
    assert ("here", "there") == (table.read_text(), new.read_text())
    assert [True, True, True, True] == data_commits("other")
    git("checkout", "-q", "--detach", "main")
    agree()
    git("cherry-pick", "other")
    agree()
    assert "3" == (hooked / "data" / "third.bin").read_text()
    git("revert", "--no-edit", "HEAD")
    agree()
    assert not (hooked / "data" / "third.bin").exists()


def test_squash_and_fast_forward(hooked, change, agree, git):
    """A squash leaves lock and data for the commit that follows."""
    git("checkout", "-q", "-b", "other")
    change("third.bin", "3")
    git("checkout", "-q", "main")
    git("merge", "-q", "--squash", "other")
    assert "3" == (hooked / "data" / "third.bin").read_text()
    git("commit", "-q", "-m", "squashed")
    agree()
    git("checkout", "-q", "-b", "ahead")
    change("table.csv", "ahead")
    git("checkout", "-q", "main")
    git("merge", "-q", "--ff-only", "ahead")
    agree()
    assert "ahead" == (hooked / "data" / "table.csv").read_text()


@pytest.mark.parametrize("how", [[], ["--apply"]])
def test_rebase_of_several_steps(hooked, change, agree, git, data_commits, how):
    """Every new commit has its data commit; the file that each step changes is written at the end alone."""
    git("checkout", "-q", "-b", "topic")
    for number in range(3):
        change("steps.bin", str(number))
    git("checkout", "-q", "main")
    (hooked / "train.py").write_text("better")
    git("commit", "-q", "-a", "-m", "code")
    git("checkout", "-q", "topic")
    steps = hooked / "data" / "steps.bin"
    inode = steps.stat().st_ino
    git("rebase", "-q", *how, "main")

    agree()
    assert [True] * 5 == data_commits("topic")
    if how != ["--apply"]:  # That has no state yet when git calls post-checkout.
        assert inode == steps.stat().st_ino


def test_rebase_that_stops(hooked, change, agree, git, run_mlvc):
    """A conflict of data is solved in the middle; what git then adds to it is followed at the end."""
    table = hooked / "data" / "table.csv"
    git("checkout", "-q", "-b", "topic")
    change("table.csv", "mine")
    change("more.bin", "more")
    git("checkout", "-q", "main")
    change("table.csv", "theirs")
    git("checkout", "-q", "topic")
    assert "CONFLICT" in git("rebase", "main", check=False, both=True)
    git("checkout", "--theirs", "mlvc.lock")
    run_mlvc("checkout")
    table.write_text("solved")
    run_mlvc("add", "data")
    git("add", "mlvc.lock")
    git("rebase", "--continue", env={"GIT_EDITOR": "true"})

    agree()
    assert ("solved", "more") == (table.read_text(), (hooked / "data" / "more.bin").read_text())


def test_commit_made_while_a_rebase_stands_still(hooked, change, agree, git):
    """Data that waits for the end is no reason to refuse it; data that was edited is."""
    git("checkout", "-q", "-b", "topic")
    change("one.bin", "1")
    change("two.bin", "2")
    git("checkout", "-q", "main")
    change("main.bin", "m")
    git("checkout", "-q", "topic")
    edit = {"GIT_SEQUENCE_EDITOR": "sed -i 1s/pick/edit/"}
    git("rebase", "-q", "-i", "main", env=edit)
    git("commit", "-q", "--amend", "-m", "reworded")
    (hooked / "data" / "table.csv").write_text("edited")
    assert "tracked data differs" in git("commit", "--amend", "-m", "x", check=False, both=True)
    (hooked / "data" / "table.csv").write_text("a,b\n1,2\n")
    git("rebase", "--continue")

    agree()
    assert {"one.bin", "two.bin", "main.bin"} <= {path.name for path in (hooked / "data").iterdir()}


def test_rebase_with_data_that_is_not_committed(hooked, change, agree, git, run_mlvc):
    """Git puts the edited lock aside and brings it back; its data never moves."""
    git("checkout", "-q", "-b", "topic")
    change("one.bin", "1")
    git("checkout", "-q", "main")
    (hooked / "train.py").write_text("better")
    git("commit", "-q", "-a", "-m", "code")
    git("checkout", "-q", "topic")
    (hooked / "data" / "table.csv").write_text("stored")
    run_mlvc("add", "data")
    git("rebase", "-q", "--autostash", "main")
    assert "stored" == (hooked / "data" / "table.csv").read_text()

    git("commit", "-q", "-a", "-m", "stored")
    agree()


def test_checkout_keeps_data_that_is_not_committed(hooked, change, agree, git, run_mlvc):
    """As git keeps an edited file that both branches have alike; also where the framework hides it meanwhile."""
    git("branch", "other")
    (hooked / "data" / "table.csv").write_text("stored")
    run_mlvc("add", "data")
    edited = (hooked / "mlvc.lock").read_bytes()
    git("checkout", "-q", "other")
    git("checkout", "-q", "--no-overlay", "HEAD", "--", "mlvc.lock")
    run_mlvc("hook", "post-checkout", "HEAD", "HEAD", "1")
    git("update-ref", "ORIG_HEAD", "HEAD")
    run_mlvc("hook", "post-merge", "0")
    (hooked / "mlvc.lock").write_bytes(edited)

    assert "stored" == (hooked / "data" / "table.csv").read_text()
    git("commit", "-q", "-a", "-m", "stored")
    agree()


def test_rebase_that_is_given_up(hooked, change, agree, git):
    """The data never moved."""
    git("checkout", "-q", "-b", "topic")
    change("table.csv", "mine")
    git("checkout", "-q", "main")
    change("table.csv", "theirs")
    git("checkout", "-q", "topic")
    git("rebase", "main", check=False)
    git("rebase", "--abort")

    agree()
    assert "mine" == (hooked / "data" / "table.csv").read_text()


def test_rebase_that_only_goes_forward(hooked, change, agree, git):
    """No commit is written anew, so that git calls no post-rewrite."""
    git("branch", "topic")
    change("table.csv", "later")
    git("checkout", "-q", "topic")
    git("rebase", "-q", "main")

    agree()
    assert "later" == (hooked / "data" / "table.csv").read_text()


def test_patches_by_mail(hooked, change, agree, git, data_commits, tmp_path):
    """`git am` calls neither post-commit nor post-rewrite; each of its commits has its record, and data follows."""
    git("checkout", "-q", "-b", "other")
    change("new.bin", "first")
    change("table.csv", "second")
    git("format-patch", "-q", "-2", "-o", str(tmp_path / "mail"))
    git("checkout", "-q", "main")
    git("commit", "-q", "--allow-empty", "-m", "between")
    git("am", "-q", *sorted(map(str, (tmp_path / "mail").iterdir())))

    assert [True, True] == data_commits("HEAD~2..HEAD")
    assert "second" == (hooked / "data" / "table.csv").read_text()
    agree()


def test_patch_that_does_not_apply_at_once(hooked, change, agree, git, run_mlvc, tmp_path):
    """Merged by the driver, resolved by the person, and recorded as any other."""
    git("checkout", "-q", "-b", "other")
    change("table.csv", "theirs")
    git("format-patch", "-q", "-1", "-o", str(tmp_path / "mail"))
    git("checkout", "-q", "main")
    change("table.csv", "ours")
    said = git("am", "--3way", *map(str, (tmp_path / "mail").iterdir()), check=False, both=True)
    assert "both sides changed data/table.csv" in said
    run_mlvc("checkout", "--theirs")
    git("add", "mlvc.lock")
    git("am", "--continue")

    assert "theirs" == (hooked / "data" / "table.csv").read_text()
    agree()


@pytest.mark.parametrize("verb", ["merge", "cherry-pick", "revert"])
def test_conflict_in_code_alone(hooked, change, agree, git, verb):
    """The lock merged by itself; the data follows the commit that ends it."""
    git("checkout", "-q", "-b", "other")
    (hooked / "train.py").write_text("theirs")
    change("new.bin", "there")
    git("checkout", "-q", "main")
    if verb == "revert":
        git("merge", "-q", "other")
    (hooked / "train.py").write_text("ours")
    git("commit", "-q", "-a", "-m", "ours")
    assert "CONFLICT" in git(verb, "other", check=False, both=True)
    (hooked / "train.py").write_text("both")
    git("add", "train.py")
    git("commit", "-q", "-m", "solved")

    agree()
    assert (verb != "revert") == (hooked / "data" / "new.bin").exists()


def test_stash_and_reset_need_a_checkout(hooked, change, agree, git, run_mlvc):
    """They have no hook: until `mlvc checkout` a commit is refused and says so; nothing is lost."""
    table = hooked / "data" / "table.csv"
    table.write_text("stashed")
    run_mlvc("add", "data")
    git("stash", "-q")
    said = git("commit", "--allow-empty", "-m", "x", check=False, both=True)
    assert "mlvc.lock names another version of it: data/table.csv" in said
    run_mlvc("checkout")
    agree()
    git("stash", "pop", "-q")
    run_mlvc("checkout")
    assert "stashed" == table.read_text()
    git("commit", "-q", "-a", "-m", "unstashed")
    agree()

    change("new.bin", "new")
    git("reset", "-q", "--hard", "HEAD~1")
    run_mlvc("checkout")
    agree()
    assert not (hooked / "data" / "new.bin").exists()


@pytest.mark.parametrize("damage", [b"", b"mlvc-lock 9\n", b"\xff", None])
def test_what_data_was_brought_by_is_only_a_cache(hooked, change, agree, git, run_mlvc, damage):
    """Without it nothing is deleted, nothing is lost, and the next checkout writes it again."""
    change("new.bin", "new")
    path = hooked / ".git" / "mlvc" / "brought.lock"
    whole = path.read_bytes()
    path.unlink() if damage is None else path.write_bytes(damage)
    git("checkout", "-q", "--detach", "HEAD~1")
    assert "new" == (hooked / "data" / "new.bin").read_text()

    git("checkout", "-q", "main")
    agree()
    assert whole == path.read_bytes()


def test_own_commit_changes_no_file(hooked, agree, git, run_mlvc):
    """What is no longer tracked stays, and is an ordinary file again."""
    run_mlvc("rm", "--cached", "data")
    git("commit", "-q", "-a", "-m", "let go")
    assert (hooked / "data" / "table.csv").exists()

    git("checkout", "-q", "-b", "side", "HEAD~1")
    agree()


def test_removed_path_goes_where_git_brings_its_removal(hooked, agree, git, run_mlvc):
    """In a merge, a cherry-pick and at a checkout alike."""
    git("branch", "one")
    git("branch", "two")
    run_mlvc("rm", "data")
    git("commit", "-q", "-a", "-m", "removed")
    for branch, arguments in (("one", ["merge", "-q", "main"]), ("two", ["cherry-pick", "main"])):
        git("checkout", "-q", branch)
        agree()
        assert (hooked / "data" / "table.csv").exists()
        git(*arguments)
        agree()
        assert not (hooked / "data").exists()


def test_linked_worktree_has_data_of_its_own(hooked, change, agree, git, tmp_path):
    """Made with its data, on another branch; neither disturbs the other."""
    git("branch", "other")
    change("table.csv", "here")
    linked = tmp_path / "linked"
    git("worktree", "add", "-q", str(linked), "other")

    agree(linked)
    change("new.bin", "linked", cwd=linked)
    agree(linked)
    agree()
    assert not (hooked / "data" / "new.bin").exists()
    assert "a,b\n1,2\n" == (linked / "data" / "table.csv").read_text()


def test_unsaved_work_stays(hooked, change, git):
    """One message, and git's own work is done."""
    git("checkout", "-q", "-b", "other")
    change("table.csv", "there")
    (hooked / "data" / "table.csv").write_text("unsaved")
    said = git("checkout", "-q", "main", both=True)

    assert "would be lost: data/table.csv" in said
    assert "hint: `mlvc checkout --force`" in said
    assert "unsaved" == (hooked / "data" / "table.csv").read_text()


def test_what_stands_in_the_way_of_data(hooked, change, agree, git, run_mlvc):
    """It stays; git's own work is done, so that the next step is mlvc's."""
    git("checkout", "-q", "-b", "other")
    change("new.bin", "there")
    git("checkout", "-q", "main")
    pipe = hooked / "data" / "new.bin"
    os.mkfifo(pipe)
    said = git("checkout", "-q", "other", both=True)
    assert said.endswith("\nhint: move it away, then `mlvc checkout`\n")

    pipe.unlink()
    run_mlvc("checkout")
    agree()


def test_branch_whose_data_is_not_here(hooked, change, git, run_mlvc, tmp_path):
    """The checkout is done, and the message names the command that brings the data."""
    git("checkout", "-q", "-b", "other")
    change("new.bin", "there")
    run_mlvc("remote", "add", "team", tmp_path / "far")
    run_mlvc("push")
    git("checkout", "-q", "main")
    store = hooked / ".git" / "mlvc" / "store"
    for info in LocalStore(store).packs():
        for path in (store / "packs").glob(f"{info.id.hex}.*"):
            path.unlink()
    said = git("checkout", "-q", "other", both=True)

    assert said.startswith("error: ")
    assert "mlvc pull" in said
    run_mlvc("pull")
    assert "there" == (hooked / "data" / "new.bin").read_text()


def test_damaged_index_leaves_no_commit_without_its_record(hooked, git, agree):
    """It is made again from the objects; git's user is told once."""
    index = hooked / ".git" / "mlvc" / "index.db"
    index.write_bytes(b"no database" * 1000)
    for leftover in ("index.db-wal", "index.db-shm"):
        index.with_name(leftover).unlink(missing_ok=True)

    assert 1 == git("commit", "-q", "--allow-empty", "-m", "x", both=True).count("it is made again")
    agree()


@pytest.mark.parametrize(
    ("name", "content"),
    [("model.safetensors", b"x"), ("Table.PARQUET", b"x"), ("large.txt", b"x" * 10_000_001)],
)
def test_data_does_not_go_into_git(hooked, git, run_mlvc, name, content):
    """The message names the commands that hand it over."""
    (hooked / name).write_bytes(content)
    git("add", name)
    said = git("commit", "-m", "x", check=False, both=True)
    assert f"mlvc add {name}" in said

    git("rm", "-q", "--cached", name)
    run_mlvc("add", name)
    git("add", "mlvc.lock", ".gitignore")
    git("commit", "-q", "-m", "x")


def test_lock_that_is_not_staged_is_refused(hooked, git, run_mlvc):
    """Otherwise the commit would name the data of before."""
    (hooked / "data" / "table.csv").write_text("new")
    run_mlvc("add", "data")
    (hooked / "train.py").write_text("new")
    git("add", "train.py")

    assert "git add mlvc.lock" in git("commit", "-m", "x", check=False, both=True)


def test_partial_clone_in_a_directory_of_any_name(hooked, change, agree, agree_at, git, run_mlvc, tmp_path):
    """Without the contents of git's own files, below a name with a newline and bytes that are no UTF-8."""
    for name in ("one", "two", "three"):
        git("checkout", "-q", "-b", name, "main")
        (hooked / f"{name}.py").write_text(name)
        git("add", f"{name}.py")
        git("commit", "-q", "-m", name)
    change("table.csv", "bad")
    change("table.csv", "worse")
    run_mlvc("remote", "add", "far", tmp_path / "far")
    run_mlvc("push")
    git("config", "uploadpack.allowFilter", "true")
    copy = tmp_path / "a\udcff \n'$x"
    git("clone", "-q", "--no-local", "--filter=blob:none", "--branch=one", hooked.as_uri(), str(copy))
    for key in ("name", "email"):
        git("config", f"user.{key}", "test@example.org", cwd=copy)
    run_mlvc("-C", copy, "hooks", "install")
    run_mlvc("-C", copy, "remote", "add", "far", tmp_path / "far")
    run_mlvc("-C", copy, "pull")

    # Three branches at once, of which one has other data.
    said = git("merge", "-q", "-m", "all", "origin/two", "origin/three", cwd=copy, both=True)
    assert "`mlvc pull` brings them" in said
    run_mlvc("-C", copy, "pull")
    assert "worse" == (copy / "data" / "table.csv").read_text()
    agree_at(copy)
    git("checkout", "-q", "origin/three~1", cwd=copy)
    run_mlvc("-C", copy, "pull")
    git("checkout", "-q", "three", cwd=copy)
    git("bisect", "start", "three", "three~3", cwd=copy)
    said = git("bisect", "run", "sh", "-c", "grep -q a,b data/table.csv", cwd=copy)
    assert f"{git('rev-parse', 'three~1').strip()} is the first bad commit" in said
    git("bisect", "reset", cwd=copy)
    agree_at(copy)
    (copy / "data" / "table.csv").write_text("edited")
    refused = git("commit", "--allow-empty", "-m", "x", check=False, both=True, cwd=copy)
    assert "tracked data differs from mlvc.lock: data/table.csv\n" in refused
