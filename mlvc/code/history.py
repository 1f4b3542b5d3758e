"""Walks the history, through GitPython."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import git

from mlvc.code.child import GitError
from mlvc.code.commits import CommitInfo, unreadable

if TYPE_CHECKING:
    from mlvc.code.repository import CodeRepository

__all__ = ["walk", "walk_lock_commits"]


def walk(repository: CodeRepository, rev: str, limit: int | None) -> Iterator[CommitInfo]:
    """Yields commits from `rev` backwards; see `CodeRepository.walk`."""
    sha = repository.resolve(rev)
    with _opened(repository, sha) as opened:
        for commit in opened.iter_commits(sha, max_count=-1 if limit is None else limit):
            yield _info(commit)


def walk_lock_commits(repository: CodeRepository, rev: str) -> Iterator[CommitInfo]:
    """Yields the commits that changed `mlvc.lock`, on every side of a merge; see `CodeRepository`."""
    sha = repository.resolve(rev)
    with _opened(repository, sha) as opened:
        # Without `full_history` git leaves out a side whose changes the merge did not take.
        for commit in opened.iter_commits(sha, paths=["mlvc.lock"], full_history=True):
            yield _info(commit)


@contextlib.contextmanager
def _opened(repository: CodeRepository, sha: str) -> Iterator[git.Repo]:
    try:
        opened = git.Repo(repository.root)
    except git.GitError as exc:
        raise GitError(
            f"GitPython cannot open the repository {repository.root}: {exc}",
            hint="see whether `git status` works there, and repeat",
        ) from exc
    with opened:  # Ends its `git cat-file` children.
        try:
            yield opened
        except (ValueError, git.GitError, git.ODBError) as exc:
            raise unreadable(sha, exc) from exc


def _info(commit: git.Commit) -> CommitInfo:
    message = commit.message if isinstance(commit.message, str) else commit.message.decode("utf-8", "replace")
    return CommitInfo(
        sha=commit.hexsha,
        parents=tuple(parent.hexsha for parent in commit.parents),
        author=f"{_plain(commit.author.name)} <{_plain(commit.author.email)}>",
        time=commit.authored_datetime.isoformat(),
        message=_plain(message).rstrip(),
    )


def _plain(text: str | None) -> str:
    """Returns a text without lone surrogates, which GitPython makes of bytes that are not UTF-8."""
    return (text or "").encode("utf-8", "replace").decode()
