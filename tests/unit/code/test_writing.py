"""Commits and checkouts, with the user's hooks and the ways they fail."""

import pytest

from mlvc.code.repository import RevisionMissingError
from mlvc.code.writing import (
    CheckoutRefusedError,
    CommitRefusedError,
    IdentityMissingError,
    NothingToCommitError,
)
from mlvc.errors import UsageError


def hook(project, name, script):
    path = project.write(f".git/hooks/{name}", f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_commits_the_given_paths_and_what_is_staged(project):
    """One commit takes the paths and the user's staged files; other edits stay where they are."""
    project.write("staged.py")
    project.git("add", "staged.py")
    project.write("mlvc.lock", "lock")
    project.write("train.py", "edited\n")

    sha = project.code.commit("data\n\nmore", [b"mlvc.lock"])

    assert project.git("rev-parse", "HEAD") == sha
    assert "mlvc.lock\nstaged.py" == project.git("show", "--format=", "--name-only", "HEAD")
    assert "M train.py" == project.git("status", "--porcelain")
    assert "data\n\nmore" == project.code.info(sha).message


def test_first_commit(unborn):
    """The first commit of a repository is a commit like others."""
    unborn.write("mlvc.lock")

    sha = unborn.code.commit("first", [b"mlvc.lock"])

    assert () == unborn.code.info(sha).parents


@pytest.mark.parametrize("name", [b"a\nb", b"*.py", b"caf\xe9", b"-n", b":(glob)x"])
def test_stages_odd_names(project, name):
    """A path is only a name, whatever is in it."""
    (project.root / name.decode("utf-8", "surrogateescape")).write_text("x")

    project.code.stage([name])

    assert name in project.code.tracked_below(b"")


def test_stages_a_deletion(project):
    """A path that is gone is staged as deleted."""
    (project.root / "train.py").unlink()

    project.code.stage([b"train.py"])

    assert [] == list(project.code.tracked_below(b""))


@pytest.mark.parametrize("message", ["", "  \n"])
def test_a_commit_needs_a_message(project, message):
    """An empty message is refused before git is asked."""
    project.write("mlvc.lock")
    with pytest.raises(UsageError, match="a commit needs a message"):
        project.code.commit(message, [b"mlvc.lock"])


def test_nothing_to_commit(project, unborn):
    """Without a staged change there is nothing to commit, edits or not, and HEAD stays."""
    sha = project.git("rev-parse", "HEAD")
    project.write("train.py", "edited\n")

    with pytest.raises(NothingToCommitError):
        project.code.commit("nothing", [])

    assert sha == project.git("rev-parse", "HEAD")


def test_nothing_to_commit_on_an_unborn_branch(unborn):
    """An empty index on an unborn branch is nothing to commit."""
    with pytest.raises(NothingToCommitError):
        unborn.code.commit("nothing", [])


def test_a_merge_that_changes_no_file(project):
    """A merge is committed even if its files are those of HEAD."""
    project.git("checkout", "--quiet", "-b", "side")
    project.write("side.py")
    project.commit_all("side")
    project.git("checkout", "--quiet", "main")
    project.write("main.py")
    project.commit_all("main")
    project.git("merge", "--quiet", "--no-commit", "--strategy", "ours", "side")

    sha = project.code.commit("merge", [])

    assert 2 == len(project.code.info(sha).parents)


def test_a_hook_sees_the_environment_and_the_users_locale(project, monkeypatch):
    """Hooks run, with the variables that were handed in and the locale of the user."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    hook(project, "pre-commit", 'echo "$MLVC_HOOK_TOKEN $LC_ALL $GIT_OPTIONAL_LOCKS" > seen.txt')
    project.write("mlvc.lock")

    project.code.commit("hooked", [b"mlvc.lock"], environment={"MLVC_HOOK_TOKEN": "secret"})

    assert "secret C.UTF-8 \n" == (project.root / "seen.txt").read_text()


def test_a_failing_hook_is_heard(project):
    """What a hook says on both streams is in the error; nothing is committed, and the paths stay staged."""
    sha = project.git("rev-parse", "HEAD")
    hook(project, "pre-commit", "echo from stdout; echo from stderr >&2; exit 3")
    project.write("mlvc.lock")

    with pytest.raises(CommitRefusedError, match=r"(?s)from stdout.*from stderr|from stderr.*from stdout"):
        project.code.commit("refused", [b"mlvc.lock"])

    assert sha == project.git("rev-parse", "HEAD")
    assert "A  mlvc.lock" == project.git("status", "--porcelain")


def test_no_identity(project):
    """Who git does not know is told how to say it."""
    project.git("config", "user.useConfigOnly", "true")
    project.git("config", "--unset", "user.email")
    project.write("mlvc.lock")

    with pytest.raises(IdentityMissingError, match="git does not know who you are") as caught:
        project.code.commit("nobody", [b"mlvc.lock"])

    assert "git config --global user.email MAIL" in caught.value.hint


def test_checkout(project):
    """A branch is checked out and HEAD follows it; its hook sees the variables."""
    project.git("branch", "other")
    hook(project, "post-checkout", 'echo "$MLVC_HOOK_TOKEN" > seen.txt')

    project.code.checkout("other", environment={"MLVC_HOOK_TOKEN": "secret"})

    assert "other" == project.code.branch()
    assert "secret\n" == (project.root / "seen.txt").read_text()


def test_checkout_prefers_a_revision_to_a_file(project):
    """A file with the name of a branch is not what is checked out."""
    project.write("other", "a file")
    project.commit_all()
    project.git("branch", "other")

    project.code.checkout("other")

    assert "other" == project.code.branch()


def test_checkout_over_edits(project):
    """Edits that would be lost make git refuse; they are named and still there."""
    first = project.git("rev-parse", "HEAD")
    project.write("train.py", "two\n")
    project.commit_all()
    project.write("train.py", "edited\n")

    with pytest.raises(CheckoutRefusedError, match=r"train\.py"):
        project.code.checkout(first)

    assert "edited\n" == (project.root / "train.py").read_text()


@pytest.mark.parametrize("rev", ["nothing", "--force", "-"])
def test_checkout_of_nothing(project, rev):
    """What is no revision, or looks like an option, changes nothing."""
    project.write("train.py", "edited\n")

    with pytest.raises(RevisionMissingError):
        project.code.checkout(rev)

    assert "edited\n" == (project.root / "train.py").read_text()
