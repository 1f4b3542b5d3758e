"""Promise 6: every place that git, or a journal of ours, keeps a reference in is a root of gc; with real git."""

import datetime
import shutil
import subprocess

import pytest

from mlvc.repo import Repo
from mlvc.store.local import LocalStore
from mlvc.store.registry import Registration
from mlvc.verbs.add import add
from mlvc.verbs.checkout import checkout
from mlvc.verbs.commit import commit
from mlvc.verbs.gc import gc
from mlvc.verbs.init import init
from mlvc.verbs.roots import RepositoryUnreadableError, read_roots
from tests.support.reporter import RecordingReporter
from tests.support.users import USERS, as_user, needs_users, open_way_to


class Tree:
    """A work tree, every command of which is a new process as far as mlvc can tell."""

    def __init__(self, root):
        self.root = root

    def open(self):
        home = self.root.parent / "home"
        return Repo.open(self.root, reporter=RecordingReporter(), environment={"HOME": str(home)})

    def write(self, text):
        (self.root / "data" / "table.csv").write_text(text)

    def add(self):
        add(self.open(), [str(self.root / "data")])

    def save(self, text):
        self.write(text)
        self.add()
        commit(self.open(), text.strip())

    def checkout(self, *, force=False):
        checkout(self.open(), force=force)

    def gc(self):
        return gc(self.open()).collected

    def stored(self):
        return b"".join(path.read_bytes() for path in self.open().store.layout.packs.glob("*.pack"))


@pytest.fixture
def git(git_repo):
    def call(*arguments, check=True, both=False):
        done = subprocess.run(["git", *arguments], cwd=git_repo, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr if both else done.stdout

    return call


@pytest.fixture
def tree(git_repo):
    """An initialised repository whose gc keeps nothing for a keep period."""
    settings = git_repo.parent / "home" / ".config" / "mlvc"
    settings.mkdir(parents=True)
    (settings / "config.toml").write_text("[gc]\nkeep_days = 0\n")
    init(
        git_repo,
        git=False,
        reporter=RecordingReporter(),
        environment={"HOME": str(git_repo.parent / "home")},
    )
    return Tree(git_repo)


def a_branch(git, project, mlvc):
    git("switch", "-q", "-c", "side")
    mlvc.save("precious\n")
    git("switch", "-q", "main")


def a_tag(git, project, mlvc):
    git("switch", "-q", "--detach")
    mlvc.save("precious\n")
    git("tag", "-a", "v1", "-m", "v1")
    git("switch", "-q", "main")


def a_reflog(git, project, mlvc):
    mlvc.save("precious\n")
    git("reset", "-q", "--hard", "HEAD~1")
    (project / ".git" / "ORIG_HEAD").unlink()


def a_stash(git, project, mlvc):
    mlvc.write("precious\n")
    mlvc.add()
    git("stash", "-q")
    (project / ".git" / "ORIG_HEAD").unlink(missing_ok=True)


def an_older_stash(git, project, mlvc):
    a_stash(git, project, mlvc)
    (project / "train.py").write_text("other\n")
    git("stash", "-q")


def the_index(git, project, mlvc):
    mlvc.write("precious\n")
    mlvc.add()
    git("add", "mlvc.lock")
    git("restore", "--source=HEAD", "--worktree", "mlvc.lock")


def the_work_tree(git, project, mlvc):
    mlvc.write("precious\n")
    mlvc.add()


def a_lock_in_conflict(git, project, mlvc):
    mlvc.write("precious\n")
    mlvc.add()
    lock = project / "mlvc.lock"
    lock.write_text("<<<<<<< ours\n" + lock.read_text() + "=======\n>>>>>>> theirs\n")


def a_merge(git, project, mlvc):
    a_branch(git, project, mlvc)
    mlvc.save("ours\n")
    assert "CONFLICT" in git("merge", "side", check=False, both=True)
    git("branch", "-D", "side")
    git("reflog", "expire", "--expire=now", "--all")


def a_cherry_pick(git, project, mlvc):
    a_branch(git, project, mlvc)
    mlvc.save("ours\n")
    git("cherry-pick", "side", check=False)
    git("branch", "-D", "side")
    git("checkout", "-q", "HEAD", "--", ".")
    git("reflog", "expire", "--expire=now", "--all")
    assert (project / ".git" / "CHERRY_PICK_HEAD").exists()


def a_rebase(git, project, mlvc):
    a_branch(git, project, mlvc)
    mlvc.save("ours\n")
    git("switch", "-q", "side")
    git("rebase", "main", check=False)
    git("checkout", "-q", "HEAD", "--", ".")
    git("reflog", "expire", "--expire=now", "--all")
    assert (project / ".git" / "rebase-merge").is_dir()


def a_file_saved_by_force(git, project, mlvc):
    mlvc.write("precious\n")
    mlvc.checkout(force=True)
    shutil.rmtree(project / ".git" / "mlvc" / "undo")


def a_detached_worktree(git, project, mlvc):
    other = project.parent / "other"
    git("worktree", "add", "-q", "--detach", other)
    there = Tree(other)
    there.checkout()
    there.save("precious\n")


def the_lock_of_a_worktree(git, project, mlvc):
    other = project.parent / "other"
    git("worktree", "add", "-q", "-b", "other", other)
    there = Tree(other)
    there.checkout()
    there.write("precious\n")
    there.add()


@pytest.mark.parametrize(
    "place",
    [
        a_branch,
        a_tag,
        a_reflog,
        a_stash,
        an_older_stash,
        the_index,
        the_work_tree,
        a_lock_in_conflict,
        a_merge,
        a_cherry_pick,
        a_rebase,
        a_file_saved_by_force,
        a_detached_worktree,
        the_lock_of_a_worktree,
    ],
)
def test_whatever_git_or_a_journal_leads_to_stays(tree, git, place):
    """Promise 6, root by root, with no keep period."""
    (tree.root / "data").mkdir()
    (tree.root / "train.py").write_text("print('training')\n")
    git("add", "train.py")
    tree.save("first\n")
    place(git, tree.root, tree)

    tree.gc()

    assert b"precious" in tree.stored()


def test_without_any_root_it_goes(tree):
    """What the test above relies on."""
    (tree.root / "data").mkdir()
    for text in ("first\n", "precious\n", "later\n"):
        tree.write(text)
        tree.add()

    tree.gc()

    assert b"precious" not in tree.stored()
    assert b"later" in tree.stored()


@needs_users
@pytest.mark.parametrize("closed", ["project", "project/.git"])
def test_a_repository_that_only_its_owner_may_enter(tmp_path, closed):
    """It is an error that names it, whichever of its directories is closed."""
    open_way_to(tmp_path)
    root = tmp_path / "project"
    (root / ".git" / "mlvc").mkdir(parents=True)
    store = LocalStore.create(tmp_path / "store")
    store.register(Registration(root / ".git", root / ".git", root))
    (tmp_path / closed).chmod(0o700)

    def look():
        with pytest.raises(RepositoryUnreadableError, match="project uses this store and cannot be read"):
            read_roots(
                store.layout,
                now=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
                keep=datetime.timedelta(),
            )

    as_user(USERS[0], look)
