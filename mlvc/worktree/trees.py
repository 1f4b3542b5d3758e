"""Walking and comparing trees in a store, without a work tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

from mlvc.errors import FormatError, MlvcError
from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind, TreeEntry
from mlvc.worktree.scan import MAX_DEPTH, TooDeepError

__all__ = [
    "BoundedTrees",
    "Change",
    "PathChange",
    "RepeatedTreesError",
    "TreeReader",
    "as_tree_entry",
    "blob_of",
    "change_of",
    "check_depth",
    "diff_trees",
    "flatten",
    "only_side",
    "read_directory",
    "tree_of",
]

Change = Literal["added", "modified", "deleted", "type"]
"""`modified` is other contents or another executable bit; `type` is another kind, such as a link for a file."""

_FILES = {Kind.FILE, Kind.EXECUTABLE}
_ALWAYS_ENTRIES = 100_000
_REPEATED = 300
"""So many times may what is stored be named on average, beyond the first entries: forty trees can name 2^40 files."""


_KEPT_TREES, _KEPT_ENTRIES = 500, 200
"""Of trees that are read again, so many so small ones are not read a third time: 20 MB."""


class RepeatedTreesError(MlvcError):
    """A few directories are named again and again, as only a tree does that was made to fill a disk or a memory."""

    code = "repeated-trees"

    def __init__(self, tree: TreeId, entries: int, stored: int) -> None:
        super().__init__(
            f"the directory {tree.short} is one of a few that are named again and again: {entries:,} entries were "
            f"seen, of which {stored:,} are stored",
            hint="`mlvc ls HEAD:PATH` looks at such data; `mlvc checkout -- PATH` brings a part of it",
        )


class TreeReader(Protocol):
    """Reads trees, as an `ObjectReader` does."""

    def read_tree(self, tree: TreeId) -> Sequence[TreeEntry]:
        """Returns the entries of one directory, sorted by name, verified."""
        ...


class BoundedTrees:
    """Reads trees for one walk, whose time and memory are then bounded by what is stored."""

    def __init__(self, reader: TreeReader) -> None:
        self._reader = reader
        self._known: set[TreeId] = set()
        self._kept: dict[TreeId, Sequence[TreeEntry]] = {}
        self._stored = 0
        self._entries = 0

    def read_tree(self, tree: TreeId) -> Sequence[TreeEntry]:
        """Returns the entries of one directory, sorted by name, verified.

        Raises:
            RepeatedTreesError: The walk has seen far more than there is.
            MlvcError: As the reader raises it.
        """
        kept = self._kept.get(tree)
        entries = self._reader.read_tree(tree) if kept is None else kept
        self._entries += len(entries)
        if tree not in self._known:
            self._known.add(tree)
            self._stored += len(entries)
            return entries
        if len(self._kept) < _KEPT_TREES and len(entries) < _KEPT_ENTRIES:
            self._kept[tree] = entries
        if self._entries > _ALWAYS_ENTRIES + _REPEATED * self._stored:
            raise RepeatedTreesError(tree, self._entries, self._stored)
        return entries


class PathChange(NamedTuple):
    """One path that differs.

    Attributes:
        path: Relative to the repository.
        change: How it differs.
        before: What it was; None where it was not there.
        after: What it is; None where it is not there, or where its bytes were not read.
    """

    path: bytes
    change: Change
    before: TreeEntry | None = None
    after: TreeEntry | None = None

    @property
    def name(self) -> str:
        """The path in text form."""
        return encode_name(self.path)


def as_tree_entry(entry: TrackedPath) -> TreeEntry:
    """Returns a tracked path as the entry that it would be in its directory's tree."""
    return TreeEntry(entry.path.rpartition(b"/")[2], entry.kind, entry.id, entry.size_bytes)


def change_of(before: TreeEntry, after_kind: Kind) -> Change:
    """Returns what a difference is called when something stands in both places."""
    same_type = before.kind is after_kind or {before.kind, after_kind} <= _FILES
    return "modified" if same_type else "type"


def read_directory(reader: TreeReader, path: bytes, entry: TreeEntry) -> Sequence[TreeEntry]:
    """Returns the entries of a directory entry at `path`, and none of anything else.

    Raises:
        TooDeepError: It lies too deep, as only a hostile tree does.
        FormatError: The entry is no directory's.
    """
    if entry.kind is not Kind.DIRECTORY:
        return ()
    check_depth(path)
    return reader.read_tree(tree_of(path, entry))


def check_depth(path: bytes) -> None:
    """Refuses a directory that lies too deep, as only a hostile tree makes one.

    Raises:
        TooDeepError: It does.
    """
    if path.count(b"/") > MAX_DEPTH:
        raise TooDeepError(path)


def tree_of(path: bytes, entry: TreeEntry) -> TreeId:
    """Returns the tree of a directory's entry.

    Raises:
        FormatError: It has none.
    """
    if not isinstance(entry.id, TreeId):
        raise FormatError(f"{encode_name(path)} is a directory without a tree")
    return entry.id


def blob_of(path: bytes, entry: TreeEntry) -> BlobId:
    """Returns the blob of an entry that is no directory.

    Raises:
        FormatError: It has none.
    """
    if not isinstance(entry.id, BlobId):
        raise FormatError(f"{encode_name(path)} is no directory and has no blob")
    return entry.id


def flatten(reader: TreeReader, entry: TrackedPath) -> Iterator[tuple[bytes, TreeEntry]]:
    """Yields the entry itself and everything below it, each directory before what is in it, in the order of names.

    Raises:
        ObjectMissingError: A tree is not in the store.
    """
    yield from _flatten(BoundedTrees(reader), entry.path, as_tree_entry(entry))


def _flatten(reader: TreeReader, path: bytes, entry: TreeEntry) -> Iterator[tuple[bytes, TreeEntry]]:
    yield path, entry
    for item in read_directory(reader, path, entry):
        yield from _flatten(reader, path + b"/" + item.name, item)


def only_side(
    reader: TreeReader, path: bytes, entry: TreeEntry, change: Literal["added", "deleted"]
) -> Iterator[PathChange]:
    """Yields a change for each file and empty directory of something that only one side has."""
    items = read_directory(reader, path, entry)
    for item in items:
        yield from only_side(reader, path + b"/" + item.name, item, change)
    if not items:
        before, after = (None, entry) if change == "added" else (entry, None)
        yield PathChange(path, change, before, after)


def diff_trees(
    reader: TreeReader, before: TrackedPath | None, after: TrackedPath | None
) -> Iterator[PathChange]:
    """Yields how one tracked path differs between two locks, by file; equal subtrees are not read.

    Directories are named only where they are empty, or became or ceased to be something else.

    Raises:
        ObjectMissingError: A tree is not in the store.
    """
    if before is None and after is None:
        return
    path = (before or after).path  # type: ignore[union-attr]  # one of them is there
    old = None if before is None else as_tree_entry(before)
    new = None if after is None else as_tree_entry(after)
    yield from _diff(BoundedTrees(reader), path, old, new)


def _diff(
    reader: TreeReader, path: bytes, before: TreeEntry | None, after: TreeEntry | None
) -> Iterator[PathChange]:
    if before is None or after is None:
        if after is not None:
            yield from only_side(reader, path, after, "added")
        if before is not None:
            yield from only_side(reader, path, before, "deleted")
        return
    if before.id == after.id and before.kind is after.kind:
        return
    if before.kind is not Kind.DIRECTORY or after.kind is not Kind.DIRECTORY:
        yield PathChange(path, change_of(before, after.kind), before, after)
    old = {item.name: item for item in read_directory(reader, path, before)}
    new = {item.name: item for item in read_directory(reader, path, after)}
    for name in sorted(old.keys() | new.keys()):
        yield from _diff(reader, path + b"/" + name, old.get(name), new.get(name))
