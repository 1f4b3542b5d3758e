"""How the work tree differs from what is recorded; reads contents only where the stat data cannot tell."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, MutableMapping
from typing import NamedTuple

from mlvc.model.ids import BlobId
from mlvc.model.tree import Kind, TreeEntry
from mlvc.worktree.contents import hash_contents
from mlvc.worktree.scan import Directory, kind_of, open_child
from mlvc.worktree.statcache import Stamp
from mlvc.worktree.trees import PathChange, TreeReader, change_of, only_side, read_directory

__all__ = ["Comparison"]


class Comparison(NamedTuple):
    """Compares recorded entries with what a scan saw.

    Attributes:
        store: Where recorded trees are read.
        advance: Told how many bytes were read.
    """

    store: TreeReader
    advance: Callable[[int], None]

    def _directory(self, fd: int, path: bytes, entry: TreeEntry, seen: Directory) -> Iterator[PathChange]:
        if seen.tree == entry.id.digest:
            return
        recorded = {os.fsdecode(item.name): item for item in read_directory(self.store, path, entry)}
        is_same = recorded.keys() == seen.entries.keys() | seen.children.keys()
        for name in sorted(recorded.keys() | seen.entries.keys() | seen.children.keys()):
            for change in self.entry(fd, name, path + b"/" + os.fsencode(name), recorded.get(name), seen):
                is_same = False
                yield change
        if is_same:
            seen.complete(entry.id.digest)

    def entry(
        self, fd: int, name: str, path: bytes, recorded: TreeEntry | None, seen: Directory
    ) -> Iterator[PathChange]:
        """Yields how what was seen under `name` in a directory differs from `recorded`, and fills in its digests.

        Raises:
            ObjectMissingError: A tree that has to be read is not in the store.
            FileUnreadableError: A file cannot be read.
        """
        child, stamp = seen.children.get(name), seen.entries.get(name)
        if child is not None and recorded is not None and recorded.kind is Kind.DIRECTORY:
            with open_child(name, fd, path) as child_fd:
                yield from self._directory(child_fd, path, recorded, child)
            return
        if stamp is not None and recorded is not None and recorded.kind is not Kind.DIRECTORY:
            yield from self._file(fd, name, path, recorded, seen.entries)
            return
        if recorded is not None:
            if child is not None:
                yield PathChange(path, change_of(recorded, Kind.DIRECTORY), recorded)
            elif stamp is not None:
                yield PathChange(path, "type", recorded)
            if recorded.kind is Kind.DIRECTORY or (child is None and stamp is None):
                yield from only_side(self.store, path, recorded, "deleted")
        elif stamp is not None:
            yield PathChange(path, "added")
        if child is not None and (recorded is None or child.entries or child.children):
            yield from _all_added(path, child)

    def _file(
        self, dir_fd: int, name: str, path: bytes, recorded: TreeEntry, entries: MutableMapping[str, Stamp]
    ) -> Iterator[PathChange]:
        stamp = entries[name]
        kind = kind_of(stamp.mode)
        if kind is None or change_of(recorded, kind) == "type":
            yield PathChange(path, "type", recorded)
            return
        if not stamp.digest and stamp.size == recorded.size_bytes:
            stamp = entries[name] = hash_contents(dir_fd, name, path, self.advance)
        if stamp.digest != recorded.id.digest or kind is not recorded.kind:
            after = TreeEntry(recorded.name, kind, BlobId(stamp.digest), stamp.size) if stamp.digest else None
            yield PathChange(path, "modified", recorded, after)


def _all_added(path: bytes, seen: Directory) -> Iterator[PathChange]:
    if not seen.entries and not seen.children:
        yield PathChange(path, "added")
    for name in sorted(seen.entries.keys() | seen.children.keys()):
        below = path + b"/" + os.fsencode(name)
        if name in seen.entries:
            yield PathChange(below, "added")
        else:
            yield from _all_added(below, seen.children[name])
