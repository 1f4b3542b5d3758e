"""Storing what stands at a path, and telling its id."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlvc.errors import FormatError, MlvcError
from mlvc.model.ids import BlobId, TreeId
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind, TreeEntry, amend_tree, check_name, check_names, encode_fields
from mlvc.worktree.contents import add_contents
from mlvc.worktree.overlay import Overlay
from mlvc.worktree.previous import Previous
from mlvc.worktree.scan import Directory, FileChangedError, kind_of, open_child, special_word
from mlvc.worktree.statcache import fields_of

if TYPE_CHECKING:
    from mlvc.ports import ObjectReader, ObjectWriter

__all__ = ["Capture", "UnstorableError", "check_storable", "forget_missing"]

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
    # What has a digest was read because a tree names it, or to be stored: it is a file with a name that may be.
    unread = seen.unread()
    stamps = [seen.entries[name] for name in unread]
    if None in {kind_of(mode) for mode in {mode for mode, _, _ in fields_of(stamps)}}:
        for name, stamp in zip(unread, stamps, strict=True):
            if kind_of(stamp.mode) is None:
                reasons[path + b"/" + os.fsencode(name)] = special_word(stamp.mode)
    names = list(map(os.fsencode, (*unread, *seen.children)))
    try:
        check_names(names)
    except FormatError:
        for refused in filter(_is_refused, names):
            reasons.setdefault(path + b"/" + refused, "a name that no tree may hold")
    for name, child in seen.children.items():
        _find_unstorable(path + b"/" + os.fsencode(name), child, reasons)


def _is_refused(name: bytes) -> bool:
    try:
        check_name(name)
    except FormatError:
        return True
    return False


def forget_missing(store: ObjectReader, seen: Directory) -> bool:
    """Forgets what the stat cache knows and the store has not: it may be another store, or an older one.

    Returns:
        Whether there was any.
    """
    is_otherwise = False
    for child in seen.children.values():
        is_otherwise |= forget_missing(store, child)
    lacking: list[str] = []
    if not seen.is_stored and not store.has_blobs(seen.digests()):
        lacking = [
            name
            for name, stamp in seen.entries.items()
            if stamp.digest and not store.has_blob(BlobId(stamp.digest))
        ]
    if lacking or is_otherwise:
        seen.forget(lacking)
    else:
        seen.release()
    return bool(lacking) or is_otherwise


@dataclass(frozen=True, slots=True)
class Capture:
    """Stores directories that were scanned and checked, and of which all that is known is in the store.

    Attributes:
        store: Asked whether it has the trees that the stat cache knows, and for them.
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
        for name, child in seen.children.items():
            child_path = path + b"/" + os.fsencode(name)
            with open_child(name, fd, child_path) as child_fd:
                self.store_directory(child_fd, child_path, child, previous.child(name))
        # What the cache knows whole has nothing unread, and is not loaded to see that.
        self._store_files(fd, path, seen, [] if seen.tree else seen.unread(), previous)
        tree = TreeId(seen.tree)
        if seen.tree and self.store.has_tree(tree):
            seen.release()
        else:
            tree = self.writer.add_encoded_tree(self._encode(path, seen))
            seen.complete(tree.digest)
        return TreeEntry(path.rpartition(b"/")[2], Kind.DIRECTORY, tree, seen.size)

    def _encode(self, path: bytes, seen: Directory) -> bytes:
        entries = seen.entries
        if isinstance(entries, Overlay) and not seen.children:
            before = TreeId(entries.base.tree)
            changes = dict(_changes(path, entries))
            # Damaged or missing, it does not keep what is new from being stored.
            with contextlib.suppress(MlvcError):
                return amend_tree(self.store.read_encoded_tree(before), changes)
        return encode_fields(_fields(path, seen))

    def _store_files(
        self, fd: int, path: bytes, seen: Directory, names: Sequence[str], previous: Previous
    ) -> None:
        for name in names:
            below = path + b"/" + os.fsencode(name)
            stored = add_contents(fd, name, below, self.writer, self.advance, previous.child(name).blob)
            if stored != seen.entries[name]:
                seen.entries[name] = stored
                seen.tree, seen.is_cached, seen.is_known = b"", False, False


def _changes(path: bytes, entries: Overlay) -> Iterator[tuple[bytes, tuple[Kind, bytes, int] | None]]:
    """Yields what is otherwise than in the tree that the cache knows, as `amend_tree` takes it."""
    for name, stamp in entries.changed.items():
        encoded = os.fsencode(name)
        kind = None if stamp is None else kind_of(stamp.mode)
        if stamp is not None and kind is None:
            raise FileChangedError(path + b"/" + encoded)
        yield encoded, None if stamp is None or kind is None else (kind, stamp.digest, stamp.size)


def _fields(path: bytes, seen: Directory) -> Iterator[tuple[bytes, Kind, bytes, int]]:
    """Yields the entries of a directory as `encode_fields` takes them."""
    for directory, child in seen.children.items():
        yield os.fsencode(directory), Kind.DIRECTORY, child.tree, child.size
    if not seen.entries:
        return
    names = os.fsencode("\0".join(seen.entries)).split(b"\0")
    modes, sizes, digests = zip(*fields_of(seen.entries.values()), strict=True)
    kinds = {mode: kind_of(mode) for mode in set(modes)}
    if None in kinds.values():
        name = next(name for name, mode in zip(names, modes, strict=True) if kinds[mode] is None)
        raise FileChangedError(path + b"/" + name)
    yield from zip(names, map(kinds.__getitem__, modes), digests, sizes, strict=True)
