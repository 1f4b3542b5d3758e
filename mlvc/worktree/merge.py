"""Merges three versions of `mlvc.lock`: by path, and inside a directory entry by entry over the trees.

Knows objects, not files: nothing of the work tree is read or written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mlvc.errors import NotFoundError
from mlvc.model.ids import EnvironmentId
from mlvc.model.lock import Lock, LockConflict, TrackedPath, encode_entry
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind, TreeEntry
from mlvc.worktree.trees import as_tree_entry, flatten, read_directory

if TYPE_CHECKING:
    from mlvc.ports import ObjectReader, ObjectWriter

__all__ = ["LockMerge", "Side", "merge_locks", "settle"]

Side = Literal["ours", "theirs"]


@dataclass(frozen=True, slots=True)
class LockMerge:
    """A merged lock, as far as it could be decided.

    Attributes:
        lock: Every line that is decided.
        conflicts: What is left to the person.
        reasons: For each undecided thing, one sentence; inside a directory, one for each path.
    """

    lock: Lock
    conflicts: tuple[LockConflict, ...]
    reasons: tuple[str, ...]


def merge_locks(
    base: Lock,
    ours: Lock,
    theirs: Lock,
    reader: ObjectReader,
    writer: ObjectWriter,
    chosen: Mapping[bytes, Side] | None = None,
) -> LockMerge:
    """Returns what two sides made of one lock, put together.

    A line that one side changed is taken from it. A directory that both changed is merged over its trees, which
    go into `writer`; they are durable when this returns. No run made a merged line, so it names none.

    Args:
        base: What both sides come from.
        ours: The present side.
        theirs: The side that is merged into it.
        reader: The store that `writer` writes to.
        writer: Takes merged trees; flushed.
        chosen: Which side a person took at a path, and below it, where both changed something.
    """
    merger = _Merger(reader, writer, chosen or {})
    entries: dict[bytes, TrackedPath] = {}
    open_paths: set[bytes] = set()
    for path in sorted(base.entries.keys() | ours.entries.keys() | theirs.entries.keys()):
        before, mine, other = (side.entries.get(path) for side in (base, ours, theirs))
        known = len(merger.reasons)
        merged = merger.line(path, before, mine, other)
        if len(merger.reasons) > known:
            open_paths.add(path)
        elif merged is not None:
            entries[path] = merged
    for outer in _outer_paths(entries):
        merger.reasons.append(
            f"{encode_name(outer)} is tracked on one side, and a path inside it on the other"
        )
        inside = [path for path in entries.keys() | open_paths if path.startswith(outer + b"/")]
        open_paths.difference_update(inside)
        open_paths.add(outer)
        for path in (outer, *inside):
            entries.pop(path, None)
    conflicts = [
        LockConflict(path, tuple(_lines(ours, path)), tuple(_lines(theirs, path)))
        for path in sorted(open_paths)
    ]
    environment = ours.environment
    if base.environment == ours.environment:
        environment = theirs.environment
    elif theirs.environment not in {base.environment, ours.environment}:
        environment = None
        merger.reasons.append("both sides changed the environment")
        conflicts.append(LockConflict(b"", _environment(ours.environment), _environment(theirs.environment)))
    return LockMerge(Lock(entries, environment), tuple(conflicts), tuple(merger.reasons))


def settle(
    path: bytes,
    base: TrackedPath | None,
    ours: TrackedPath,
    theirs: TrackedPath,
    reader: ObjectReader,
    writer: ObjectWriter,
    chosen: Mapping[bytes, Side],
) -> tuple[TrackedPath, TrackedPath]:
    """Returns both sides of a tracked directory, the same wherever both changed something and one was chosen.

    So what is chosen is no conflict any more, and the rest still is. The new trees are durable when this returns.

    Args:
        path: The directory.
        base: What both sides come from.
        ours: The present side.
        theirs: The other side.
        reader: The store that `writer` writes to.
        writer: Takes the new trees; flushed.
        chosen: Which side a person took at a path, and below it.
    """
    merger = _Merger(reader, writer, chosen)
    before, mine, other = (None if side is None else as_tree_entry(side) for side in (base, ours, theirs))
    settled = merger.sides(path, before, mine, other)
    kept, taken = (
        line if entry is None or entry.id == line.id else merger.tracked(path, entry)
        for line, entry in zip((ours, theirs), settled, strict=True)
    )
    return kept, taken


def _outer_paths(entries: Mapping[bytes, TrackedPath]) -> list[bytes]:
    """Returns the tracked paths that hold others and lie in none."""
    outer: list[bytes] = []
    for path in sorted(entries):
        if not any(path.startswith(other + b"/") for other in outer) and any(
            other.startswith(path + b"/") for other in entries
        ):
            outer.append(path)
    return outer


def _lines(side: Lock, path: bytes) -> Iterator[str]:
    for other in sorted(side.entries):
        if other == path or other.startswith(path + b"/"):
            yield encode_entry(side.entries[other])


def _environment(environment: EnvironmentId | None) -> tuple[str, ...]:
    return () if environment is None else (f"environment {environment}",)


class _Merger:
    """Collects why something stays open; whoever asks compares the number of reasons before and after."""

    def __init__(self, reader: ObjectReader, writer: ObjectWriter, chosen: Mapping[bytes, Side]) -> None:
        self._reader = reader
        self._writer = writer
        self._chosen = chosen
        self.reasons: list[str] = []

    def line(
        self, path: bytes, base: TrackedPath | None, ours: TrackedPath | None, theirs: TrackedPath | None
    ) -> TrackedPath | None:
        """Returns the merged line, None for one that is gone; without a meaning once there is a new reason."""
        if theirs in (ours, base):
            return ours
        if base == ours:
            return theirs
        if ours is not None and theirs is not None and (ours.kind, ours.id) == (theirs.kind, theirs.id):
            return ours._replace(run=None)
        before, mine, other = (None if side is None else as_tree_entry(side) for side in (base, ours, theirs))
        side = self._side(path)
        if side is not None and not _are_directories(mine, other):
            return ours if side == "ours" else theirs
        try:
            merged = self._entry(path, before, mine, other)
            return None if merged is None or ours is None else self.tracked(path, merged)
        except NotFoundError as exc:
            self.reasons.append(f"both sides changed {encode_name(path)}, and {exc.message}")
            return None

    def _side(self, path: bytes) -> Side | None:
        while path and path not in self._chosen:
            path = path.rpartition(b"/")[0]
        return self._chosen.get(path)

    def tracked(self, path: bytes, merged: TreeEntry) -> TrackedPath:
        """Returns the line of a merged entry, which is durable then."""
        self._writer.flush()  # Only then can the new trees be read, and be named by a lock.
        entry = TrackedPath(path, merged.kind, merged.id, 1, merged.size_bytes)
        files = sum(item.kind is not Kind.DIRECTORY for _, item in flatten(self._reader, entry))
        return entry._replace(files=files)

    def _entry(
        self, path: bytes, base: TreeEntry | None, ours: TreeEntry | None, theirs: TreeEntry | None
    ) -> TreeEntry | None:
        if theirs in (ours, base):
            return ours
        if base == ours:
            return theirs
        if ours is not None and theirs is not None and _are_directories(ours, theirs):
            return self._directory(path, base, ours, theirs)
        side = self._side(path)
        if side is not None:
            return ours if side == "ours" else theirs
        gone = "" if ours is not None and theirs is not None else ", one by removing it"
        self.reasons.append(f"both sides changed {encode_name(path)}{gone}")
        return ours

    def _directory(
        self, path: bytes, base: TreeEntry | None, ours: TreeEntry, theirs: TreeEntry
    ) -> TreeEntry:
        before, mine, other = self._contents(path, base, ours, theirs)
        merged = [
            entry
            for name in sorted(before.keys() | mine.keys() | other.keys())
            if (entry := self._entry(path + b"/" + name, before.get(name), mine.get(name), other.get(name)))
        ]
        return self._add_directory(ours.name, merged)

    def sides(
        self, path: bytes, base: TreeEntry | None, ours: TreeEntry | None, theirs: TreeEntry | None
    ) -> tuple[TreeEntry | None, TreeEntry | None]:
        """Returns both sides, the same wherever both changed something and one was chosen."""
        if base in (ours, theirs) or ours == theirs:
            return ours, theirs
        if ours is None or theirs is None or not _are_directories(ours, theirs):
            side = self._side(path)
            if side is None:
                return ours, theirs
            return (ours, ours) if side == "ours" else (theirs, theirs)
        before, mine, other = self._contents(path, base, ours, theirs)
        pairs = [
            self.sides(path + b"/" + name, before.get(name), mine.get(name), other.get(name))
            for name in sorted(mine.keys() | other.keys())
        ]
        return (
            self._add_directory(ours.name, [mine for mine, _ in pairs if mine is not None]),
            self._add_directory(theirs.name, [other for _, other in pairs if other is not None]),
        )

    def _contents(self, path: bytes, *sides: TreeEntry | None) -> Iterator[dict[bytes, TreeEntry]]:
        for side in sides:
            yield (
                {} if side is None else {item.name: item for item in read_directory(self._reader, path, side)}
            )

    def _add_directory(self, name: bytes, entries: Sequence[TreeEntry]) -> TreeEntry:
        size_bytes = sum(entry.size_bytes for entry in entries)
        return TreeEntry(name, Kind.DIRECTORY, self._writer.add_tree(entries), size_bytes)


def _are_directories(ours: TreeEntry | None, theirs: TreeEntry | None) -> bool:
    return all(side is not None and side.kind is Kind.DIRECTORY for side in (ours, theirs))
