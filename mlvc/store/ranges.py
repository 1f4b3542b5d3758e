"""Reads parts of blobs, decoding the chunks that a part touches and no more.

Chunks that have to come from a remote are brought with those that follow, as far as the reader has shown that it
reads on.
"""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING

from blake3 import blake3

from mlvc.model.kinds import RecordKind
from mlvc.store.errors import ObjectDamagedError
from mlvc.store.local import RecordKey

if TYPE_CHECKING:
    from mlvc.model.ids import BlobId
    from mlvc.store.sparse import SparseStore

__all__ = ["BlobRanges"]

_MOST_AHEAD_BYTES = 8 << 20
"""As much as one request brings."""
_KEPT = 2
"""Decoded chunks that stay in memory: a reader of lines asks for a few kB at a time."""


class BlobRanges:
    """One blob, read in any order. Not safe for use from several threads.

    Attributes:
        size_bytes: The length of the blob.
        proven: Whether the bytes are known to be the blob's: each chunk is checked by its own id, but that a recipe
            names the chunks of this blob and no others is only known once all of it was read, or where it is one chunk.
    """

    def __init__(self, store: SparseStore, blob: BlobId) -> None:
        """Reads the recipe, if there is one; of a small blob that has to be brought, the data.

        Raises:
            ObjectMissingError: The blob cannot be had.
            IntegrityError: Its recipe is damaged.
        """
        self._store = store
        self._blob = blob
        self._chunks = store.chunks_of(blob)
        # The one chunk of a small blob has the blob's own id.
        self.proven = len(self._chunks) == 1 and self._chunks[0][0] == blob.digest
        self._ends = list(itertools.accumulate(length for _, length in self._chunks))
        self.size_bytes = self._ends[-1]
        self._decoded: dict[int, bytes] = {}
        self._hasher = blake3()
        self._hashed = 0
        self._next = 0
        self._ahead_bytes = 0

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Returns bytes of the blob, each chunk verified; fewer at its end.

        Raises:
            ObjectMissingError: A chunk cannot be had.
            IntegrityError: Stored bytes are damaged.
        """
        end = min(offset + size_bytes, self.size_bytes)
        if offset >= end:
            return b""
        first = bisect.bisect_right(self._ends, offset)
        last = bisect.bisect_left(self._ends, end)
        self._bring(first, last, offset, end)
        pieces = [self._decode(number) for number in range(first, last + 1)]
        start = self._ends[first] - len(pieces[0])
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return data[offset - start : end - start]

    def _bring(self, first: int, last: int, offset: int, end: int) -> None:
        """Brings the chunks from `first` to `last` that are not here, and more where the reader goes on."""
        # Twice as far each time, as long as every read begins where the one before it ended.
        self._ahead_bytes = min(max(2 * self._ahead_bytes, end - offset), _MOST_AHEAD_BYTES) * (
            offset == self._next
        )
        self._next = end
        if self._store.lacking(self._records(first, last)):
            reach = bisect.bisect_left(self._ends, min(end + self._ahead_bytes, self.size_bytes))
            self._store.bring(self._records(first, reach))

    def _records(self, first: int, last: int) -> list[RecordKey]:
        return [
            RecordKey(RecordKind.CHUNK, 0, digest)
            for number, (digest, _) in enumerate(self._chunks[first : last + 1], first)
            if number not in self._decoded
        ]

    def _decode(self, number: int) -> bytes:
        found = self._decoded.get(number)
        if found is not None:
            self._prove(number, found)
            return found
        digest, length = self._chunks[number]
        data = self._store.read(RecordKey(RecordKind.CHUNK, 0, digest))
        if len(data) != length:
            raise ObjectDamagedError(self._blob, "a chunk has another length than the recipe says")
        self._prove(number, data)
        while len(self._decoded) >= _KEPT:
            del self._decoded[next(iter(self._decoded))]
        self._decoded[number] = data
        return data

    def _prove(self, number: int, data: bytes) -> None:
        """Hashes along as long as the reader takes one chunk after the other from the start."""
        if self.proven or number != self._hashed:
            return
        self._hasher.update(data)
        self._hashed += 1
        if self._hashed == len(self._chunks):
            if self._hasher.digest() != self._blob.digest:
                raise ObjectDamagedError(self._blob, "its chunks are intact, and make other bytes")
            self.proven = True
