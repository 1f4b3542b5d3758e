"""`mlvc log`: the data commits in git's history."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlvc.repo import Repo
from mlvc.verbs.absent import note_absent_records

if TYPE_CHECKING:
    from mlvc.index.answers import CommitRow

__all__ = ["LogResult", "log"]

_BATCH = 100
"""Git commits that are asked for together."""


@dataclass(frozen=True, slots=True)
class LogResult:
    """The commits, the newest first, in git's order."""

    commits: tuple[CommitRow, ...]


def log(repo: Repo, rev: str = "HEAD", *, limit: int | None = None) -> LogResult:
    """Returns the data commits of `rev` and its ancestors; git commits without one are left out.

    Only the index is asked, which has a commit's message and author: the record itself lists all that was tracked.

    Args:
        repo: The repository.
        rev: Where to begin.
        limit: At most so many.

    Raises:
        RevisionMissingError: Git knows no such revision.
    """
    repo.index.catch_up(repo.reporter)
    note_absent_records(repo)
    commits: list[CommitRow] = []
    walk = repo.code.walk(rev)
    while infos := list(itertools.islice(walk, _BATCH)):
        recorded = repo.index.commits_for_shas([info.sha for info in infos])
        for info in infos:
            if limit is not None and len(commits) == limit:
                return LogResult(tuple(commits))
            if info.sha in recorded:
                commits.append(recorded[info.sha])
    return LogResult(tuple(commits))
