"""`mlvc diff`: the data files that differ between two revisions, or between one and the files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mlvc.model.lock import Lock
from mlvc.repo import Repo
from mlvc.verbs.locate import lock_of
from mlvc.worktree.trees import PathChange, diff_trees

__all__ = ["DiffResult", "diff"]


@dataclass(frozen=True, slots=True)
class DiffResult:
    """The paths that differ, sorted."""

    changes: tuple[PathChange, ...]


def diff(
    repo: Repo, before: str | None = None, after: str | None = None, *, paths: Sequence[str] = ()
) -> DiffResult:
    """Compares two revisions; without `after`, a revision with the files; without either, the lock with the files.

    Args:
        repo: The repository.
        before: A git revision; None for the present `mlvc.lock`.
        after: A git revision; None for the files.
        paths: Only what is at or below these paths, as typed.

    Raises:
        RevisionMissingError: Git knows no such revision.
        ObjectMissingError: A tree that has to be read is not in the store.
    """
    wanted = [repo.path_of(argument) for argument in paths]
    old = lock_of(repo, before)
    new = None if after is None else repo.lock_at(after)
    changes = _with_files(repo, old, wanted) if new is None else _between(repo, old, new, wanted)
    return DiffResult(tuple(change for change in _merged(changes) if _is_within(change.path, wanted)))


def _between(repo: Repo, old: Lock, new: Lock, wanted: Sequence[bytes]) -> Iterator[PathChange]:
    for path in old.entries.keys() | new.entries.keys():
        if _overlaps(path, wanted):
            yield from diff_trees(repo.store, old.entries.get(path), new.entries.get(path))


def _with_files(repo: Repo, old: Lock, wanted: Sequence[bytes]) -> Iterator[PathChange]:
    for path, entry in old.entries.items():
        if _overlaps(path, wanted):
            yield from repo.worktree.differences(entry)
    present = repo.read_lock()
    for path in present.entries.keys() - old.entries.keys():
        if not _overlaps(path, wanted):
            continue
        # Tracked since: everything that is there now is new.
        entry = present.entries[path]
        found = {change.path: change for change in diff_trees(repo.store, None, entry)}
        for change in repo.worktree.differences(entry):
            if change.change == "deleted":
                found.pop(change.path, None)
            else:
                found[change.path] = PathChange(change.path, "added", None, change.after)
        yield from found.values()


def _merged(changes: Iterable[PathChange]) -> list[PathChange]:
    """Joins what was deleted from one tracked path and added to another that holds the same file, and sorts."""
    by_path: dict[bytes, PathChange] = {}
    for change in changes:
        other = by_path.pop(change.path, None)
        if other is None:
            by_path[change.path] = change
            continue
        before, after = change.before or other.before, change.after or other.after
        if before is None or after is None or (before.id, before.kind) != (after.id, after.kind):
            by_path[change.path] = PathChange(change.path, "modified", before, after)
    return [by_path[path] for path in sorted(by_path)]


def _is_within(path: bytes, wanted: Sequence[bytes]) -> bool:
    return not wanted or any(path == top or path.startswith(top + b"/") for top in wanted)


def _overlaps(path: bytes, wanted: Sequence[bytes]) -> bool:
    return _is_within(path, wanted) or any(top.startswith(path + b"/") for top in wanted)
