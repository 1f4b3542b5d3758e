"""Walks the history, through GitPython."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import git

from mlvc.errors import IntegrityError

if TYPE_CHECKING:
    from mlvc.code.repository import CodeRepository

__all__ = ["CommitInfo", "info", "walk"]


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """One git commit.

    Attributes:
        sha: Hexadecimal digits.
        parents: The SHAs of its parents.
        author: `Name <mail>`.
        time: Author time, ISO 8601 with the author's offset.
        message: Without trailing white space.
    """

    sha: str
    parents: tuple[str, ...]
    author: str
    time: str
    message: str


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


def info(repository: CodeRepository, sha: str) -> CommitInfo:
    """Returns one commit's metadata.

    Raises:
        IntegrityError: Git's object is missing or damaged.
    """
    with git.Repo(repository.root) as opened:
        try:
            return _info(opened.commit(sha))
        except (ValueError, git.GitError) as exc:
            raise IntegrityError(f"git cannot read the commit {sha}: {exc}") from exc


def walk(repository: CodeRepository, rev: str, limit: int | None) -> Iterator[CommitInfo]:
    """Yields commits from `rev` backwards, in git's order, at most `limit`.

    Raises:
        RevisionMissingError: There is no such revision.
    """
    sha = repository.resolve(rev)
    with git.Repo(repository.root) as opened:
        for commit in opened.iter_commits(sha, max_count=-1 if limit is None else limit):
            yield _info(commit)
