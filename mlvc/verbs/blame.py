"""`mlvc blame`: which commit and which run gave each tracked path its present content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
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
        commit: The oldest recorded commit since which it has been so; None while no such commit has it so.
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

    A git commit without a record, as git makes it without hooks, is gone through to those before it.

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
    changes = repo.index.changes(None if path is None else [entry.name for entry in entries])
    names = {entry.name: str(entry.id) for entry in entries}
    since: Mapping[str, CommitId] = {}
    if head is not None:
        since = _since(names, head, _History(changes, repo.code.parents(head)))
    return BlameResult(tuple(_blamed(entry, since.get(entry.name), changes) for entry in entries))


def _blamed(entry: TrackedPath, commit: CommitId | None, changes: Mapping[CommitId, CommitChanges]) -> Blamed:
    if commit is None:
        return Blamed(entry, None, None, entry.run)
    run = _at(changes, commit, entry.name)[1]
    return Blamed(entry, commit, changes[commit].code_sha, entry.run if run is None else RunId.parse(run))


class _History:
    """Recorded commits in the order that git gives them.

    Attributes:
        changes: What each of them changed.
    """

    def __init__(
        self, changes: Mapping[CommitId, CommitChanges], parents: Mapping[str, Sequence[str]]
    ) -> None:
        self.changes = changes
        self._parents = parents
        self._by_sha = {each.code_sha: commit for commit, each in changes.items()}

    def at(self, sha: str) -> Sequence[CommitId]:
        """Returns the record of a git commit, or without one the nearest before it, on every side of a merge."""
        found: dict[CommitId, None] = {}
        seen: set[str] = set()
        pending = [sha]
        while pending:
            each = pending.pop()
            if each in seen:
                continue
            seen.add(each)
            if each in self._by_sha:
                found[self._by_sha[each]] = None
            else:
                pending += reversed(self._parents.get(each, ()))
        return list(found)

    def before(self, commit: CommitId) -> Sequence[CommitId]:
        """Returns the nearest recorded commits before one; of one that git no longer has, those that it names."""
        own = self.changes[commit]
        if own.code_sha not in self._parents:
            return [parent for parent in own.parents if parent in self.changes]
        found = (each for parent in self._parents[own.code_sha] for each in self.at(parent))
        return list(dict.fromkeys(found))


def _since(wanted: Mapping[str, str], head: str, history: _History) -> Mapping[str, CommitId]:
    """Returns the oldest commit since which each path has held the id that is wanted; none where it does not now.

    Paths go back together for as long as nothing changed them, so that it costs what was changed, and not every path
    at every commit.
    """
    since: dict[str, CommitId] = {}
    changes = history.changes
    pending: list[tuple[CommitId, set[str]]] = []
    left = set(wanted)
    for start in history.at(head):
        held = _all_at(changes, start)
        here = {name for name in left if held.get(name) == wanted[name]}
        pending.append((start, here))
        left -= here
    while pending:
        commit, names = pending.pop()
        own, before_it = changes[commit], history.before(commit)
        # Unchanged, and so no need to look further back for what it was.
        going_on = own.base is not None and before_it[:1] == [own.base]
        decided = names.intersection(own.changes) if going_on else names
        earlier: dict[CommitId, set[str]] = defaultdict(set)
        for name in decided:
            before = next(
                (parent for parent in before_it if _at(changes, parent, name)[0] == wanted[name]), None
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
