"""What git still leads to, for gc: whatever cannot be read stops it, and is never taken for absent."""

import os
import subprocess

import pytest

from mlvc.code.child import GitError
from mlvc.code.roots import commits_of, versions_of
from mlvc.fsio import FileUnreadableError
from tests.support.users import USERS, as_user, needs_users, open_way_to


@pytest.fixture
def git(tmp_path):
    """Runs git in a new repository with two commits on a branch of its own, of which the second has a lock."""
    root = tmp_path / "repo"
    root.mkdir()
    settings = {"HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_")
    } | settings

    def call(*arguments):
        done = subprocess.run(["git", *arguments], cwd=root, env=environment, capture_output=True, check=True)
        return done.stdout.decode().strip()

    call("init", "-q", "-b", "main")
    for setting in ("user.name=x", "user.email=x@example.org"):
        call("config", *setting.split("="))
    (root / "other mlvc.lock").write_text("no lock\n")
    call("add", ".")
    call("commit", "-q", "-m", "one")
    call("switch", "-q", "-c", "team/topic")
    (root / "mlvc.lock").write_text("the lock\n")
    call("add", ".")
    call("commit", "-q", "-m", "two")
    call("switch", "-q", "main")
    call("reflog", "expire", "--expire=now", "--all")
    return call


@pytest.fixture
def common(git, tmp_path):
    return tmp_path / "repo" / ".git"


def locks(common):
    commits, _ = commits_of(common, [common])
    return list(versions_of(common, [commit.encode() for commit in commits], b"mlvc.lock"))


def test_a_commit_without_the_file_has_no_version_of_it(common):
    """The file of another name that ends alike is none, and nothing is missing."""
    assert [b"the lock\n"] == locks(common)


@pytest.mark.parametrize("what", ["team/topic^{tree}", "team/topic:mlvc.lock"])
def test_an_object_that_cannot_be_read_is_not_taken_for_absent(git, common, what):
    """Git calls a file missing, too, whose tree or contents it cannot read."""
    sha = git("rev-parse", what)
    (common / "objects" / sha[:2] / sha[2:]).unlink()

    with pytest.raises(GitError, match="cannot read"):
        locks(common)


@needs_users
@pytest.mark.parametrize(
    "place", ["refs/heads/team", "logs/refs/heads", "logs/HEAD", "refs/heads/team/topic"]
)
def test_references_that_another_user_may_not_read(git, common, tmp_path, place):
    """Git passes over directories of references, and reflogs, that it may not read; gc must not."""
    open_way_to(tmp_path)
    for folder, _, names in os.walk(common.parent):
        for name in (".", *names):
            os.chown(os.path.join(folder, name), USERS[0], USERS[0])
    closed = common / place
    closed.chmod(0)
    os.chown(closed, 0, 0)

    def look():
        with pytest.raises(FileUnreadableError, match="Permission denied"):
            commits_of(common, [common])

    as_user(USERS[0], look)
