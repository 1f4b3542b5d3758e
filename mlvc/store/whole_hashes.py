"""Hashes of whole packs, ahead of whoever reads their records, and of whole blobs, from the chunks as they are read.

So a check of a store reads every byte from the disk once: the thread that hashes a pack leaves it in memory for the one
that reads its records, and those need not be read a second time to see whether they make the blobs that they belong to.
"""

from __future__ import annotations

import collections
import contextlib
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blake3 import blake3

from mlvc.errors import IntegrityError
from mlvc.model.ids import BlobId, PackId
from mlvc.model.kinds import RecordKind
from mlvc.store.records import PackFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from mlvc.store.layout import Layout
    from mlvc.store.local import LocalStore

__all__ = ["WholeBlobs", "hash_ahead", "in_reading_order"]

_PIECE_BYTES = 4 << 20
_MOST_OPEN = 64

HashedPack = tuple[PackFile, bytes]


def hash_ahead(layout: Layout, packs: Sequence[PackId]) -> Iterator[tuple[PackId, Future[HashedPack]]]:
    """Yields each pack with its open file and the BLAKE3 of that; the next pack is hashed meanwhile.

    The future raises FileUnreadableError where the pack cannot be read.
    """
    stopped = False

    def hash_pack(pack: PackId) -> HashedPack:
        file, hasher = PackFile(layout.pack(pack)), blake3()
        for offset in range(0, file.size_bytes, _PIECE_BYTES):
            if stopped:
                raise CancelledError
            hasher.update(file.read(offset, min(_PIECE_BYTES, file.size_bytes - offset)))
        return file, hasher.digest()

    with ThreadPoolExecutor(1, thread_name_prefix="mlvc-hash") as executor:
        try:
            ahead: collections.deque[tuple[PackId, Future[HashedPack]]] = collections.deque()
            for pack in packs:
                ahead.append((pack, executor.submit(hash_pack, pack)))
                if len(ahead) > 1:
                    yield ahead.popleft()
            yield from ahead
        except GeneratorExit:
            stopped = True
            raise


def in_reading_order(store: LocalStore, blobs: Iterable[BlobId], packs: Collection[PackId]) -> list[PackId]:
    """Returns the packs so that the chunks of most blobs come one after the other, as they were written."""
    order: dict[PackId, None] = {}
    for blob in blobs:
        for digest, _ in _chunks(store, blob):
            found = store.catalog.find(digest, RecordKind.CHUNK)
            if found is not None and found.pack in packs:
                order[found.pack] = None
    return [*order, *sorted(set(packs).difference(order))]


class WholeBlobs:
    """Blobs of several chunks, hashed as their chunks pass by, wherever those come in the blob's order.

    Attributes:
        proven: Those whose chunks all passed by, and are together what the id names.
    """

    def __init__(self, store: LocalStore, blobs: Iterable[BlobId]) -> None:
        """Looks at the first chunk of each.

        Args:
            store: Where their recipes are.
            blobs: Which ones; those without a recipe are left out.
        """
        self.proven: set[BlobId] = set()
        self._store = store
        self._beginning: dict[bytes, list[BlobId]] = {}
        self._open: collections.deque[_Open] = collections.deque()
        self._waiting: dict[bytes, list[_Open]] = {}
        for blob in blobs:
            first = next(_chunks(store, blob), None)
            if first is not None:
                self._beginning.setdefault(first[0], []).append(blob)

    def pass_by(self, digest: bytes, data: bytes) -> None:
        """Takes note of a chunk that was found good."""
        for blob in self._beginning.pop(digest, ()):
            self._begin(blob)
        for item in self._waiting.pop(digest, ()):
            # As long as the same bytes follow, such as zeros: they pass by once.
            while item.following == (digest, len(data)):
                item.hasher.update(data)
                item.following = next(item.chunks, None)
            if item.following is None:
                self._open.remove(item)
                if item.hasher.digest() == item.blob.digest:
                    self.proven.add(item.blob)
            elif item.following[0] != digest:
                self._waiting.setdefault(item.following[0], []).append(item)

    def _begin(self, blob: BlobId) -> None:
        chunks = _chunks(self._store, blob)
        following = next(chunks, None)
        if following is None:
            return
        if len(self._open) >= _MOST_OPEN:
            # It waits longest, and so in vain: the chunk stands elsewhere, or is a delta.
            oldest = self._open.popleft()
            if oldest.following is not None:
                self._waiting[oldest.following[0]].remove(oldest)
        item = _Open(blob, chunks, following, blake3())
        self._open.append(item)
        self._waiting.setdefault(following[0], []).append(item)


@dataclass(slots=True, eq=False)
class _Open:
    """A blob that has begun to pass by."""

    blob: BlobId
    chunks: Iterator[tuple[bytes, int]]
    following: tuple[bytes, int] | None
    hasher: blake3


def _chunks(store: LocalStore, blob: BlobId) -> Iterator[tuple[bytes, int]]:
    """Yields ids and lengths; nothing of a recipe that is damaged, which whoever reads the blob is told."""
    with contextlib.suppress(IntegrityError):
        recipe = store.recipe_of(blob)
        if recipe is not None:
            yield from recipe.chunks()
