"""Which chunk of a file's previous version a new chunk takes the place of; what a delta of it is based on."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlvc.store.pack import Base
    from mlvc.store.recipe import Recipe

__all__ = ["Succession"]

_MAX_CHUNKS = 1 << 20
"""About 64 GiB of file; finding its chunks again takes some 150 MB of memory."""

_SMALLEST_BYTES = 4 << 10
"""A smaller chunk has little to save."""


class Succession:
    """Walks through the chunks of a new version beside those of the previous one.

    Wherever a chunk is in both, what follows it is held to be shifted by as much as that chunk is. A chunk that is new
    takes the place of the old one that covers its middle. So a boundary that an edit moved, made or removed misleads
    one chunk and not all that follow until the next one that did not change.
    """

    def __init__(self, previous: Recipe, read: Callable[[bytes], Base | None]) -> None:
        """Begins at the start of both.

        Args:
            previous: The chunks of the previous version.
            read: Returns a chunk that a delta may be based on in the place of the chunk of that digest, if any.
        """
        self._read = read
        self._digests: list[bytes] = []
        self._starts: list[int] = []
        self._start_of: dict[bytes, int] = {}
        start = 0
        for digest, length in previous.chunks():
            if len(self._digests) == _MAX_CHUNKS:
                break
            self._digests.append(digest)
            self._starts.append(start)
            self._start_of.setdefault(digest, start)
            start += length
        self._shift = 0
        self._position = 0

    def go_to(self, position: int) -> None:
        """Goes on at another place of the new version, which is held to be shifted by as much as the last one was."""
        self._position = position

    def follow(self, digest: bytes, length: int) -> Base | None:
        """Takes the next chunk of the new version; returns what to base it on if it is worth a try."""
        begin = self._position
        self._position += length
        known = self._start_of.get(digest)
        if known is not None:
            self._shift = begin - known
            return None
        if length < _SMALLEST_BYTES:
            return None
        middle = begin - self._shift + length // 2
        return self._read(self._digests[max(0, bisect.bisect_right(self._starts, middle) - 1)])
