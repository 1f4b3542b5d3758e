"""Reads many small records in the order in which they stand in their packs, with few system calls and objects.

Whatever is not plain here (deltas, recipes, damage, packs that went) is left to `records.RecordReader`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from mlvc.errors import MlvcError
from mlvc.model.kinds import RecordKind
from mlvc.store.catalog import Location
from mlvc.store.pack import RECORD_HEADER_BYTES, decode_plain_chunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import zstandard

    from mlvc.model.ids import PackId
    from mlvc.store.pack import Entry
    from mlvc.store.records import RecordReader

__all__ = ["read_chunks"]

_READ_BYTES = 1 << 20
"""At most so much is held; a record that is longer is read alone."""
_GAP_BYTES = 32 << 10
"""To read so much for nothing takes as long as another call."""


def read_chunks(
    records: RecordReader, digests: Iterable[bytes], decompressor: zstandard.ZstdDecompressor
) -> Iterator[tuple[int, bytes | memoryview]]:
    """Yields the number and the bytes, checked by checksum and id, of each chunk that is kept whole.

    Args:
        records: Where they are found and read.
        digests: Their ids.
        decompressor: One that no other thread uses.
    """
    by_pack: dict[PackId, list[tuple[int, int, Entry]]] = {}
    for number, place in enumerate(records.catalog.find_whole(digests, RecordKind.CHUNK)):
        if place is not None and not place[0].info.is_raw:
            index, at = place
            entry = index.entry(at)
            by_pack.setdefault(index.info.id, []).append((entry.offset, number, entry))
    for pack, wanted in by_pack.items():
        wanted.sort()
        begin = 0
        while begin < len(wanted):
            end, size = _neighbours(wanted, begin)
            start, _, first = wanted[begin]
            try:
                view = memoryview(records.read_from(Location(pack, first), size))
            except MlvcError:
                view = memoryview(b"")
            for offset, number, entry in wanted[begin:end]:
                record = view[offset - start : offset - start + RECORD_HEADER_BYTES + entry.stored_length]
                data = decode_plain_chunk(record, entry, decompressor)
                if data is not None and blake3(data).digest() == entry.digest:
                    yield number, data
            begin = end


def _neighbours(wanted: Sequence[tuple[int, int, Entry]], begin: int) -> tuple[int, int]:
    """Returns where in the list those end that are read together with its first, and how many bytes that is."""
    start = last = wanted[begin][0]
    for at in range(begin, len(wanted)):
        offset, _, entry = wanted[at]
        end = offset + RECORD_HEADER_BYTES + entry.stored_length
        if at > begin and (end - start > _READ_BYTES or offset - last > _GAP_BYTES):
            return at, last - start
        last = max(last, end)
    return len(wanted), last - start
