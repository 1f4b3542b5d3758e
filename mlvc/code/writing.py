"""Writes history, through GitPython."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import git

from mlvc.code.child import GitError, run_git
from mlvc.errors import UsageError

if TYPE_CHECKING:
    from mlvc.code.repository import CodeRepository

__all__ = ["IdentityMissingError", "NothingToCommitError", "commit"]


class NothingToCommitError(UsageError):
    """Neither the lock nor anything else that is staged differs from HEAD."""

    code = "nothing-to-commit"


class IdentityMissingError(UsageError):
    """Git does not know who commits."""

    code = "identity-missing"


def commit(repository: CodeRepository, message: str, paths: Sequence[bytes], environment: Mapping[str, str]) -> str:
    """Stages `paths`, commits what is staged, and returns the new SHA; see `CodeRepository.commit`."""
    repository.stage(paths)
    # Before the first commit there is no HEAD to compare with: then anything in the index can be committed.
    staged = ["diff", "--cached", "--quiet"] if repository.head_sha() else ["ls-files", "--error-unmatch", "."]
    unchanged = run_git(repository.root, *staged).returncode == (0 if repository.head_sha() else 1)
    if unchanged:
        raise NothingToCommitError("nothing to commit: no data and no code is staged", hint="mlvc add, or git add")
    with git.Repo(repository.root) as opened:
        try:
            # `git commit` itself, and not GitPython's own way of writing a commit: it runs the hooks and signs.
            opened.git.commit("--quiet", "--file=-", istream=_pipe(message), env=dict(environment))
        except git.GitCommandError as exc:
            said = "\n".join(part.strip() for part in (str(exc.stdout), str(exc.stderr)) if part.strip())
            if "tell me who you are" in said or "unable to auto-detect email" in said:
                raise IdentityMissingError(
                    "git does not know who you are", hint="git config --global user.name NAME; and user.email MAIL"
                ) from exc
            raise GitError(f"git commit failed:\n{said}") from exc
        return opened.head.commit.hexsha


def _pipe(text: str) -> object:
    """Returns a readable file that holds `text`; an argument would show it to every user of the machine."""
    fd = os.memfd_create("message")
    with open(fd, "wb", closefd=False) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    os.lseek(fd, 0, os.SEEK_SET)
    return open(fd, "rb")
