"""Makes commits and moves HEAD, through git itself: it runs the user's hooks, signs, and knows every setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mlvc.code.child import GitError, git_said, run_git
from mlvc.errors import UnsavedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "CheckoutRefusedError",
    "CommitRefusedError",
    "IdentityMissingError",
    "NothingToCommitError",
    "checkout",
    "commit",
    "stage",
]


class NothingToCommitError(UsageError):
    """Neither the lock nor anything else that is staged differs from HEAD."""

    code = "nothing-to-commit"


class IdentityMissingError(UsageError):
    """Git does not know who commits."""

    code = "identity-missing"


class CommitRefusedError(GitError):
    """Git or one of the user's hooks refused a commit; the message holds what it said."""

    code = "commit-refused"


class CheckoutRefusedError(UnsavedError):
    """`git checkout` would overwrite edits of the user; nothing was changed."""

    code = "checkout-refused"


def stage(root: Path, paths: Sequence[bytes], environment: Mapping[str, str] | None = None) -> None:
    """Adds files to git's index; see `CodeRepository.stage`."""
    if not paths:
        return
    done = run_git(root, "--literal-pathspecs", "add", "--all", "--", *paths, environment=environment)
    if done.returncode != 0:
        raise GitError(f"git add failed: {git_said(done)}")


def commit(root: Path, message: str, paths: Sequence[bytes], environment: Mapping[str, str]) -> None:
    """Stages `paths` and commits what is staged; see `CodeRepository.commit`."""
    if not message.strip():
        raise UsageError("a commit needs a message", hint="give one with -m")
    stage(root, paths)
    if _is_nothing_staged(root):
        raise NothingToCommitError(
            "nothing to commit: no data and no code is staged", hint="mlvc add, or git add"
        )
    # On standard input, because arguments are limited in length and shown to every user of the machine.
    done = run_git(
        root,
        "commit",
        "--quiet",
        "--file=-",
        stdin=message.encode("utf-8", "surrogateescape"),
        environment=environment,
        runs_hooks=True,
    )
    if done.returncode == 0:
        return
    for identity in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
        if run_git(root, "var", identity).returncode != 0:
            raise IdentityMissingError(
                "git does not know who you are",
                hint='git config --global user.name "NAME" and git config --global user.email MAIL',
            )
    said = b"\n".join(part.strip() for part in (done.stdout, done.stderr) if part.strip()).decode(
        "utf-8", "replace"
    )
    raise CommitRefusedError(
        f"git refused the commit:\n{said}", hint="the data is stored and staged; repeat when this is solved"
    )


def checkout(root: Path, rev: str, environment: Mapping[str, str]) -> None:
    """Runs `git checkout REV`; see `CodeRepository.checkout`. `rev` does not look like an option."""
    done = run_git(root, "checkout", "--quiet", rev, "--", environment=environment, runs_hooks=True)
    if done.returncode == 0:
        return
    if b"would be overwritten" in done.stderr:
        raise CheckoutRefusedError(
            f"git cannot check out {rev}: {git_said(done)}", hint="commit or stash your edits, then repeat"
        )
    raise GitError(f"git cannot check out {rev}: {git_said(done)}")


def _is_nothing_staged(root: Path) -> bool:
    if run_git(root, "rev-parse", "--verify", "--quiet", "MERGE_HEAD").returncode == 0:
        return False  # A merge that changes no file is still to be committed.
    return run_git(root, "diff", "--cached", "--quiet").returncode == 0
