"""Storing what stands at a path, and telling its id."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from mlvc.errors import FormatError, MlvcError
from mlvc.model.ids import BlobId, TreeId
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind, TreeEntry, check_name
from mlvc.ports import ObjectReader, ObjectWriter
from mlvc.worktree.contents import add_contents
from mlvc.worktree.previous import Previous
from mlvc.worktree.scan import Directory, FileChangedError, kind_of, open_child, special_word

__all__ = ["Capture", "UnstorableError", "check_storable"]

_NAMED = 20
"""How many paths an error spells out."""


class UnstorableError(MlvcError):
    """Files that no tree can hold: sockets, pipes, devices, or names that could reach outside.

    Attributes:
        reasons: What is wrong, by path.
    """

    code = "unstorable"

    def __init__(self, reasons: dict[bytes, str]) -> None:
        lines = [f"{encode_name(path)} ({reason})" for path, reason in sorted(reasons.items())]
        more = f" and {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
        super().__init__(
            f"these cannot be stored: {', '.join(lines[:_NAMED])}{more}", hint="move them away, or add less"
        )
        self.reasons = reasons


def check_storable(path: bytes, seen: Directory) -> None:
    """Refuses a directory that holds what no tree can hold.

    Raises:
        UnstorableError: It does; every such path is named.
    """
    reasons: dict[bytes, str] = {}
    _find_unstorable(path, seen, reasons)
    if reasons:
        raise UnstorableError(reasons)


def _find_unstorable(path: bytes, seen: Directory, reasons: dict[bytes, str]) -> None:
    if seen.tree:
        return  # It has been stored as it is.
    for name, stamp in seen.entries.items():
        if not stamp.digest and kind_of(stamp.mode) is None:
            reasons[path + b"/" + os.fsencode(name)] = special_word(stamp.mode)
    for name in (*seen.entries, *seen.children):
        encoded = os.fsencode(name)
        try:
            check_name(encoded)
        except FormatError:
            reasons.setdefault(path + b"/" + encoded, "a name that no tree may hold")
    for name, child in seen.children.items():
        _find_unstorable(path + b"/" + os.fsencode(name), child, reasons)


@dataclass(frozen=True, slots=True)
class Capture:
    """Stores directories that were scanned and checked.

    Attributes:
        store: Asked whether it really has what the stat cache knows.
        writer: Where everything else is added.
        advance: Told how many bytes are done.
    """

    store: ObjectReader
    writer: ObjectWriter
    advance: Callable[[int], None]

    def store_directory(self, fd: int, path: bytes, seen: Directory, previous: Previous) -> TreeEntry:
        """Stores an open directory and everything below it; fills in the digests of `seen`.

        Args:
            fd: The directory.
            path: Its path.
            seen: What is in it.
            previous: What was in it before.

        Raises:
            FileChangedError: A file keeps changing, or disappeared.
            FileUnreadableError: A file cannot be read.
        """
        items = [self._store_child(fd, path, name, child, previous) for name, child in seen.children.items()]
        has_blob = self.store.has_blob
        for name, stamp in seen.entries.items():
            # What the cache knows counts only if the store has it: it may be another store, or an older one.
            if not stamp.digest or not has_blob(BlobId(stamp.digest)):
                below = path + b"/" + os.fsencode(name)
                stored = add_contents(fd, name, below, self.writer, self.advance, previous.child(name).blob)
                if stored != stamp:
                    seen.entries[name] = stored
                    seen.tree, seen.is_cached = b"", False
        own_name = path.rpartition(b"/")[2]
        if seen.tree and self.store.has_tree(TreeId(seen.tree)):
            seen.release()
            return TreeEntry(own_name, Kind.DIRECTORY, TreeId(seen.tree), seen.size)
        for name, stamp in seen.entries.items():
            kind = kind_of(stamp.mode)
            if kind is None:
                raise FileChangedError(path + b"/" + os.fsencode(name))
            items.append(TreeEntry(os.fsencode(name), kind, BlobId(stamp.digest), stamp.size))
        tree = self.writer.add_tree(items)
        seen.complete(tree.digest)
        return TreeEntry(own_name, Kind.DIRECTORY, tree, seen.size)

    def _store_child(
        self, fd: int, path: bytes, name: str, child: Directory, previous: Previous
    ) -> TreeEntry:
        child_path = path + b"/" + os.fsencode(name)
        with open_child(name, fd, child_path) as child_fd:
            return self.store_directory(child_fd, child_path, child, previous.child(name))
