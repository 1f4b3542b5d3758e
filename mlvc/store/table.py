"""Finds records by their ids among the indexes of many packs, with eight bytes of memory for each record.

A sorted array holds, for each record, the first four bytes of its id and the number of its entry, counted over all
packs; the pack's index has the rest. A dictionary answers a microsecond sooner, and takes 110 bytes. Nothing in an
array is an object of its own, so a forked process that searches it copies no page of it.
"""

from __future__ import annotations

import heapq
import itertools
import sys
from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mlvc.errors import MlvcError
    from mlvc.model.ids import PackId
    from mlvc.store.pack_index import PackIndex

__all__ = ["Table"]

_MOST_REMEMBERED = 300_000
"""Of so many records the ids of the whole ones are held in memory, once as many were asked for."""

_PREFIX_BYTES = 4
_BITS = 8 * _PREFIX_BYTES
_NUMBER = (1 << _BITS) - 1
_KEY_BYTES = 2 * _PREFIX_BYTES


class Table:
    """What is known at one time; it only grows, so a reader may go on using one that was replaced.

    Attributes:
        packs: The indexes.
        names: The packs that were looked at.
        raw: Those of them that are raw.
        failures: What is wrong with those that cannot be used.
    """

    def __init__(self) -> None:
        self.packs: list[PackIndex] = []
        self.names: set[PackId] = set()
        self.raw: set[PackId] = set()
        self.failures: dict[PackId, MlvcError] = {}
        # Entries are numbered over all packs; those of a pack begin at its number here.
        self._starts: list[int] = []
        self._records = 0
        # Sorted: prefixes of ids, each with the number of its entry in the lower half. Each array is less than half of
        # the one before, so that there are few, and a record is seldom sorted again.
        self._levels: tuple[array[int], ...] = ()
        self._asked = 0
        # By kind, the whole records without parts, each with the number of one entry.
        self._whole: dict[int, dict[bytes, int]] = {}

    def add(self, indexes: Iterable[PackIndex]) -> None:
        """Adds the indexes of packs."""
        keys: list[int] = []
        for index in indexes:
            keys += _keys(index, self._records)
            self.packs.append(index)
            self._starts.append(self._records)
            self._records += index.info.records
            self.names.add(index.info.id)
            if index.info.is_raw:
                self.raw.add(index.info.id)
        if not keys:
            return
        self._asked, self._whole = 0, {}
        levels = list(self._levels)
        while levels and len(levels[-1]) < 2 * len(keys):
            keys += levels.pop()
        # Of several sorted pieces it makes one by merging them.
        keys.sort()
        self._levels = (*levels, array("Q", keys))

    def may_have(self, digest: bytes) -> bool:
        """Returns whether `candidates` would yield any, in a third of the time."""
        key = int.from_bytes(digest[:_PREFIX_BYTES], "big") << _BITS
        for level in self._levels:
            at = bisect_left(level, key)
            if at < len(level) and level[at] <= key | _NUMBER:
                return True
        return False

    def candidates(self, digest: bytes) -> Iterator[tuple[PackIndex, int]]:
        """Yields each pack, and the number in it of each entry, whose id begins as `digest` does."""
        prefix = int.from_bytes(digest[:_PREFIX_BYTES], "big")
        for level in self._levels:
            for at in range(bisect_left(level, prefix << _BITS), len(level)):
                if level[at] >> _BITS != prefix:
                    break
                yield self._place(level[at])

    def _place(self, key: int) -> tuple[PackIndex, int]:
        number = key & _NUMBER
        pack = bisect_right(self._starts, number) - 1
        return self.packs[pack], number - self._starts[pack]

    def alike(self) -> Iterator[list[tuple[PackIndex, int]]]:
        """Yields all entries whose ids begin alike, where there are several: each pack, and the number in it."""
        for _, keys in itertools.groupby(heapq.merge(*self._levels), lambda key: key >> _BITS):
            first, *others = keys
            if others:
                yield [self._place(key) for key in (first, *others)]

    def without_whole(self, digests: Sequence[bytes], kind: int) -> list[bytes]:
        """Returns those digests of which there is no such record, no delta and without a part."""
        known = self._whole.get(kind)
        if known is None:
            self._asked += len(digests)
            if self._records <= min(_MOST_REMEMBERED, 20 * self._asked):
                known = {}
                for start, index in zip(self._starts, self.packs, strict=True):
                    known.update(index.iter_whole(kind, start))
                self._whole[kind] = known
        if known is not None:
            return [digest for digest in digests if digest not in known]
        places = self.find_whole(digests, kind)
        return [digest for digest, place in zip(digests, places, strict=True) if place is None]

    def find_whole(self, digests: Iterable[bytes], kind: int) -> Iterator[tuple[PackIndex, int] | None]:
        """Yields for each digest the pack and the number in it of such a record, no delta and without a part, or None.

        A fraction of the cost of `candidates`, for who asks about very many.
        """
        starts, packs, known = self._starts, self.packs, self._whole.get(kind)
        if known is not None:
            for number in map(known.get, digests):
                yield None if number is None else self._place(number)
            return
        for digest in digests:
            prefix = int.from_bytes(digest[:_PREFIX_BYTES], "big")
            found = None
            for level in self._levels:
                at = bisect_left(level, prefix << _BITS)
                while at < len(level) and (key := level[at]) >> _BITS == prefix:
                    number = key & _NUMBER
                    pack = bisect_right(starts, number) - 1
                    if packs[pack].is_whole_at(number - starts[pack], digest, kind):
                        found = packs[pack], number - starts[pack]
                        break
                    at += 1
                if found is not None:
                    break
            yield found


def _keys(index: PackIndex, start: int) -> array[int]:
    """Returns the key of each entry, in order: the prefix of its id, and in the lower half its number from `start` on.

    A store may have millions, so the bytes of all keys are put together one place at a time, which is a tenth of the
    time of one key at a time.
    """
    records = index.info.records
    numbers = array("I", range(start, start + records))
    if sys.byteorder == "big":
        numbers.byteswap()
    encoded = bytearray(_KEY_BYTES * records)
    for place in range(_PREFIX_BYTES):
        encoded[place::_KEY_BYTES] = memoryview(numbers).cast("B")[place::_PREFIX_BYTES]
        encoded[_KEY_BYTES - 1 - place :: _KEY_BYTES] = index.column(place)
    keys = array("Q", bytes(encoded))
    if sys.byteorder == "big":
        keys.byteswap()
    return keys
