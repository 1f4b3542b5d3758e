"""The entries of a directory as the stat cache has them, and what of them is otherwise now.

A directory of thousands in which a few changed is not decoded for these few, and not encoded anew: what stays stays
bytes. Knows nothing of what the entries mean.
"""

from __future__ import annotations

import os
from collections.abc import ItemsView, Iterator, KeysView, Mapping, MutableMapping, ValuesView

from mlvc.worktree.statcache import (
    NO_DIGEST,
    CachedDirectory,
    Stamp,
    decode_directory,
    encode_block,
    names_and_stamps,
    total_size,
)

__all__ = ["Overlay"]

_STAMP_BYTES = 68


class Overlay(MutableMapping[str, Stamp]):
    """The entries of a directory without directories in it, by name.

    To look up, count, change and encode entries costs little for those that are as the cache has them; to go through
    all of them decodes all.

    Attributes:
        base: What the cache knows of the directory, without its entries.
        changed: What is otherwise than there; None for an entry that is gone. Not to be changed from outside.
    """

    __slots__ = ("_all", "_block", "_names", "_stamps", "base", "changed")

    def __init__(self, block: memoryview, base: CachedDirectory, changed: Mapping[str, Stamp | None]) -> None:
        """Begins with the entries of a block of the stat cache, and what is otherwise."""
        names, self._stamps = names_and_stamps(block)
        # Each name has a NUL on both sides, so that a search for it with both finds it whole.
        self._names = b"\0" + names + b"\0" if names else b"\0"
        self._block = block
        self._all: dict[str, Stamp] | None = None
        self.base = base
        self.changed = dict(changed)

    def _find(self, name: str) -> Stamp | None:
        """Returns the stamp in the block."""
        at = self._names.find(b"\0" + os.fsencode(name) + b"\0")
        if at < 0:
            return None
        start = self._names.count(b"\0", 0, at) * _STAMP_BYTES
        return Stamp(self._stamps[start : start + _STAMP_BYTES])

    def _entries(self) -> dict[str, Stamp]:
        if self._all is None:
            known = dict(decode_directory(self._block).entries)
            for name, stamp in self.changed.items():
                if stamp is None:
                    known.pop(name, None)
                else:
                    known[name] = stamp
            self._all = known
        return self._all

    def __getitem__(self, name: str) -> Stamp:
        """Returns the stamp of an entry; KeyError where there is none."""
        if self._all is not None:
            return self._all[name]
        stamp = self.changed[name] if name in self.changed else self._find(name)
        if stamp is None:
            raise KeyError(name)
        return stamp

    def __setitem__(self, name: str, stamp: Stamp) -> None:
        """Replaces or adds an entry."""
        self.changed[name] = stamp
        if self._all is not None:
            self._all[name] = stamp

    def __delitem__(self, name: str) -> None:
        """Removes an entry; KeyError where there is none."""
        if name not in self:
            raise KeyError(name)
        self.changed[name] = None
        if self._all is not None:
            del self._all[name]

    def __len__(self) -> int:
        """Returns how many entries there are."""
        count = len(self._stamps) // _STAMP_BYTES
        for name, stamp in self.changed.items():
            count += (stamp is not None) - (self._find(name) is not None)
        return count

    def __iter__(self) -> Iterator[str]:
        """Yields the names."""
        return iter(self._entries())

    def keys(self) -> KeysView[str]:
        """Returns the names."""
        return self._entries().keys()

    def values(self) -> ValuesView[Stamp]:
        """Returns the stamps."""
        return self._entries().values()

    def items(self) -> ItemsView[str, Stamp]:
        """Returns both."""
        return self._entries().items()

    def unread(self) -> list[str]:
        """Returns the names of the entries whose digest is not known; the cache knows it of all of its own."""
        return [
            name for name, stamp in self.changed.items() if stamp is not None and stamp.endswith(NO_DIGEST)
        ]

    def total_size(self) -> int:
        """Returns the sum of all sizes."""
        size = total_size([self._stamps])
        for name, stamp in self.changed.items():
            old = self._find(name)
            size += (0 if stamp is None else stamp.size) - (0 if old is None else old.size)
        return size

    def encode(self, path: str, directory: CachedDirectory, without: Mapping[str, None]) -> bytes:
        """Returns the block of the directory as it is now.

        Args:
            path: Of the directory.
            directory: Says what there is besides entries.
            without: Names of entries to leave out.
        """
        names, stamps = bytearray(self._names), bytearray(self._stamps)
        for name, stamp in {**self.changed, **without}.items():
            encoded = os.fsencode(name)
            at = names.find(b"\0" + encoded + b"\0")
            if at < 0:
                if stamp is not None:
                    names += encoded + b"\0"
                    stamps += stamp
                continue
            start = names.count(b"\0", 0, at) * _STAMP_BYTES
            if stamp is None:
                del names[at : at + len(encoded) + 1], stamps[start : start + _STAMP_BYTES]
            else:
                stamps[start : start + _STAMP_BYTES] = stamp
        return encode_block(path, names[1:-1], stamps, directory)
