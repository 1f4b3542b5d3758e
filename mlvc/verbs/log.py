"""`mlvc log`: the data commits in git's history."""

from __future__ import annotations

from dataclasses import dataclass

from mlvc.model.ids import CommitId
from mlvc.model.objects import Commit
from mlvc.repo import Repo

__all__ = ["LogResult", "Logged", "log"]


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
    for info in repo.code.walk(rev):
        if limit is not None and len(commits) == limit:
            break
        commit_id = repo.index.commit_for_sha(info.sha)
        if commit_id is None:
            continue
        value = repo.store.read_object(commit_id)
        if isinstance(value, Commit):
            commits.append(Logged(commit_id, value))
    return LogResult(tuple(commits))
