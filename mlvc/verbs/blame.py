"""`mlvc blame`: which commit and which run gave each tracked path its present content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlvc.model.ids import CommitId, RunId
from mlvc.model.lock import TrackedPath
from mlvc.repo import Repo
from mlvc.verbs.remove import NotTrackedError

if TYPE_CHECKING:
    from mlvc.index.answers import CommitChanges

__all__ = ["BlameResult", "Blamed", "blame"]


@dataclass(frozen=True, slots=True)
class Blamed:
    """One tracked path.

    Attributes:
        entry: The path, as the lock has it now.
        commit: The oldest commit since which it has been so; None while that is not committed.
        code_sha: That commit's git commit, or None.
        run: The run that made it, as the commit or else the lock says.
    """

    entry: TrackedPath
    commit: CommitId | None
    code_sha: str | None
    run: RunId | None


@dataclass(frozen=True, slots=True)
class BlameResult:
    """The paths, sorted."""

    paths: tuple[Blamed, ...]


def blame(repo: Repo, path: str | None = None) -> BlameResult:
    """Returns where the present content of tracked paths comes from, through merges to the side that brought it.

    Args:
        repo: The repository.
        path: A tracked path, a path below one or a directory above some; None for all.

    Raises:
        NotTrackedError: Nothing there is tracked.
    """
    lock = repo.read_lock()
    wanted = b"" if path is None else repo.path_of(path)
    entries = [
        entry
        for tracked, entry in sorted(lock.entries.items())
        if not wanted or (tracked + b"/").startswith(wanted + b"/") or wanted.startswith(tracked + b"/")
    ]
    if path is not None and not entries:
        raise NotTrackedError(f"{path} is not tracked", hint="see `mlvc ls`")
    repo.index.catch_up(repo.reporter)
    head = repo.code.head_sha()
    start = None if head is None else repo.index.commit_for_sha(head)
    changes = repo.index.changes(None if path is None else [entry.name for entry in entries])
    return BlameResult(tuple(_blamed(entry, start, changes) for entry in entries))


def _blamed(entry: TrackedPath, start: CommitId | None, changes: Mapping[CommitId, CommitChanges]) -> Blamed:
    wanted, commit = str(entry.id), start
    if commit is None or commit not in changes or _at(changes, commit, entry.name)[0] != wanted:
        return Blamed(entry, None, None, entry.run)
    while True:
        base = changes[commit].base
        if entry.name not in changes[commit].changes and base is not None and base in changes:
            commit = base  # Unchanged, and so no need to look further back for what it was.
            continue
        before = next(
            (
                parent
                for parent in changes[commit].parents
                if parent in changes and _at(changes, parent, entry.name)[0] == wanted
            ),
            None,
        )
        if before is None:
            break
        commit = before
    run = _at(changes, commit, entry.name)[1]
    return Blamed(entry, commit, changes[commit].code_sha, entry.run if run is None else RunId.parse(run))


def _at(
    changes: Mapping[CommitId, CommitChanges], commit: CommitId | None, path: str
) -> tuple[str | None, str | None]:
    """Returns what a commit tracks at a path, and the run that made it."""
    while commit is not None and commit in changes:
        found = changes[commit]
        if path in found.changes:
            return found.changes[path]
        commit = found.base
    return None, None
