"""`mlvc log`: the data commits in git's history."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from mlvc.model.ids import CommitId
from mlvc.model.objects import Commit
from mlvc.repo import Repo

__all__ = ["LogResult", "Logged", "log"]

_BATCH = 100
"""Git commits that are asked for together."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One data commit."""

    id: CommitId
    commit: Commit


@dataclass(frozen=True, slots=True)
class LogResult:
    """The commits, the newest first, in git's order."""

    commits: tuple[Logged, ...]


def log(repo: Repo, rev: str = "HEAD", *, limit: int | None = None) -> LogResult:
    """Returns the data commits of `rev` and its ancestors; git commits without one are left out.

    Args:
        repo: The repository.
        rev: Where to begin.
        limit: At most so many.

    Raises:
        RevisionMissingError: Git knows no such revision.
    """
    repo.index.catch_up(repo.reporter)
    commits: list[Logged] = []
    walk = repo.code.walk(rev)
    while infos := list(itertools.islice(walk, _BATCH)):
        recorded = repo.index.commits_for_shas([info.sha for info in infos])
        for info in infos:
            if limit is not None and len(commits) == limit:
                return LogResult(tuple(commits))
            value = repo.store.read_object(recorded[info.sha]) if info.sha in recorded else None
            if isinstance(value, Commit):
                commits.append(Logged(recorded[info.sha], value))
    return LogResult(tuple(commits))
