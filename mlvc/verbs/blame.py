"""`mlvc blame`: which commit and which run gave each tracked path its present content."""

from __future__ import annotations

from collections import defaultdict
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
        raise NotTrackedError(f"{path[:80]} is not tracked", hint="see `mlvc ls`")
    repo.index.catch_up(repo.reporter)
    head = repo.code.head_sha()
    start = None if head is None else repo.index.commit_for_sha(head)
    changes = repo.index.changes(None if path is None else [entry.name for entry in entries])
    names = {entry.name: str(entry.id) for entry in entries}
    since = {} if start is None or start not in changes else _since(names, start, changes)
    return BlameResult(tuple(_blamed(entry, since.get(entry.name), changes) for entry in entries))


def _blamed(entry: TrackedPath, commit: CommitId | None, changes: Mapping[CommitId, CommitChanges]) -> Blamed:
    if commit is None:
        return Blamed(entry, None, None, entry.run)
    run = _at(changes, commit, entry.name)[1]
    return Blamed(entry, commit, changes[commit].code_sha, entry.run if run is None else RunId.parse(run))


def _since(
    wanted: Mapping[str, str], start: CommitId, changes: Mapping[CommitId, CommitChanges]
) -> Mapping[str, CommitId]:
    """Returns the oldest commit since which each path has held the id that is wanted; none where it does not now.

    Paths go back together for as long as nothing changed them, so that it costs what was changed, and not every path
    at every commit.
    """
    since: dict[str, CommitId] = {}
    held = _all_at(changes, start)
    pending = [(start, {name for name, data_id in wanted.items() if held.get(name) == data_id})]
    while pending:
        commit, names = pending.pop()
        own = changes[commit]
        # Unchanged, and so no need to look further back for what it was.
        going_on = own.base is not None and own.base in changes
        decided = names.intersection(own.changes) if going_on else names
        earlier: dict[CommitId, set[str]] = defaultdict(set)
        for name in decided:
            before = next(
                (
                    parent
                    for parent in own.parents
                    if parent in changes and _at(changes, parent, name)[0] == wanted[name]
                ),
                None,
            )
            if before is None:
                since[name] = commit
            else:
                earlier[before].add(name)
        if going_on and own.base is not None and len(decided) < len(names):
            pending.append((own.base, names - decided))
        pending += earlier.items()
    return since


def _all_at(changes: Mapping[CommitId, CommitChanges], commit: CommitId | None) -> Mapping[str, str | None]:
    """Returns what a commit tracks, by path; None where a path is tracked no more."""
    found: dict[str, str | None] = {}
    while commit is not None and commit in changes:
        for path, (data_id, _) in changes[commit].changes.items():
            found.setdefault(path, data_id)
        commit = changes[commit].base
    return found


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
