"""The format of a pack's index: which record stands where.

All integers are little-endian. Version 1 is for packs with headers, version 2 for raw packs.

    offset  size  field
    0       8     magic "MLVCPIDX"
    8       2     version, 1 or 2
    10      1     class of the pack: 1 data, 2 metadata (of version 1), 3 raw (of version 2)
    11      5     zero
    16      32    id of the pack
    48      8     size of the pack in bytes
    56      4     number of entries n
    60      4     number of bases m
    64      52 n  entries, sorted by id, then kind, then part
    ...     32 m  ids that deltas are based on
    ...     8     xxh3-64 of everything before

    entry   size  field, version 1
    0       32    id
    32      4     offset of the record in the pack
    36      4     length of the payload as stored
    40      4     length of the record's bytes once decoded
    44      4     base: zero, or the number (from 1) of the base that a delta is based on
    48      1     kind
    49      1     encoding
    50      1     part: of a recipe, the kind of its chunks; zero otherwise
    51      1     zero

    entry   size  field, version 2: a chunk that stands in the pack as it is
    0       32    id
    32      8     offset in the pack
    40      4     length
    44      8     xxh3-64 of its bytes

Format page: docs/format/index.md
"""

from __future__ import annotations

import itertools
import math
import operator
import struct
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from xxhash import xxh3_64_intdigest

from mlvc.errors import FormatError, VersionError
from mlvc.model.ids import DIGEST_BYTES, PackId
from mlvc.model.kinds import RecordKind
from mlvc.store.pack import MAX_CHUNK_BYTES, PACK_HEADER_BYTES, Encoding, Entry, check_lengths

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterable, Iterator

__all__ = [
    "INDEX_HEADER_BYTES",
    "PackIndex",
    "PackInfo",
    "RawIndexBuilder",
    "Span",
    "decode_index",
    "encode_index",
]

_MAGIC = b"MLVCPIDX"
_VERSION, _RAW_VERSION = 1, 2
_HEADER = struct.Struct("<8sHB5x32sQII")
_ENTRY = struct.Struct("<32sIIIIBBBx")
_RAW_ENTRY = struct.Struct("<32sQIQ")
_KEY = struct.Struct("<Q44x")
_ID = struct.Struct("<32s20x")
_IS_WHOLE = struct.Struct("<44xIB3x")
"""Of an entry, the number of its base, and the kind."""
_BASE = slice(44, 48)
_KIND = 48
_WHOLE = bytes(4)
"""Instead of the number of a base."""
_CHECKSUM = struct.Struct("<Q")
_FILLING = slice(11, 16)
_ZERO = b"\0"
_UNORDERED = "its entries are not in order"
_LENGTH_BITS = 34
"""The lengths of header and payload together have fewer."""
_DATA, _METADATA, _RAW = 1, 2, 3
_CLASSES = {_VERSION: {_DATA, _METADATA}, _RAW_VERSION: {_RAW}}
KEY_BYTES = 8
INDEX_HEADER_BYTES = _HEADER.size
_DEVIATIONS = 5
"""An id lies outside of its span in one case of two million; then the whole index is read."""


class PackInfo(NamedTuple):
    """A pack as others need to know it; a raw one holds data."""

    id: PackId
    is_data: bool
    size_bytes: int
    records: int
    is_raw: bool = False


class Span(NamedTuple):
    """A part of an index that very likely holds the entries of one id, if the index has any.

    Ids are digests, so they are spread evenly, and the place of one among n others is known but for the square root
    of n (interpolation search: W. W. Peterson, Addressing for random-access storage, 1957).

    Attributes:
        total: How many entries the index has.
        first: The number of the first entry in the span.
        entries: How many entries the span has.
        is_raw: Whether they are those of a raw pack.
    """

    total: int
    first: int
    entries: int
    is_raw: bool

    @classmethod
    def of(cls, header: bytes, digest: bytes) -> Self:
        """Returns the span of an id; `header` are the first `INDEX_HEADER_BYTES` of the index, unchecked.

        Raises:
            FormatError: They are not the header of an index.
            VersionError: The version is not known.
        """
        if len(header) != _HEADER.size or not header.startswith(_MAGIC):
            raise FormatError("it does not start like the index of a pack")
        _, version, pack_class, _, _, count, _ = _HEADER.unpack(header)
        if version not in _CLASSES:
            raise VersionError(f"version {version}")
        if pack_class not in _CLASSES[version]:
            raise FormatError("its pack is of no known class")
        share = int.from_bytes(digest[:KEY_BYTES]) / 256**KEY_BYTES
        reach = round(_DEVIATIONS * math.sqrt(count * share * (1 - share))) + _DEVIATIONS
        first = max(0, round(share * count) - reach)
        last = min(count, round(share * count) + reach)
        return cls(count, first, max(0, last - first), is_raw=pack_class == _RAW)

    @property
    def offset(self) -> int:
        """Where the span begins in the index."""
        return _HEADER.size + self.first * _ENTRY.size

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return self.entries * _ENTRY.size

    def base_offset(self, number: int) -> int:
        """Returns where in the index the id of the base of that number stands, from 1."""
        return _HEADER.size + self.total * _ENTRY.size + (number - 1) * DIGEST_BYTES

    def find(self, data: bytes, digest: bytes, kind: int, part: int) -> tuple[Entry, int] | None:
        """Returns the entry of a record in the bytes of the span, and the number of its base; None without one.

        The bytes cannot be checked, so the entry is a claim, which the record itself proves. Its base is left empty.
        """
        for start in range(0, len(data) - _ENTRY.size + 1, _ENTRY.size):
            if data[start : start + DIGEST_BYTES] != digest:
                continue
            if self.is_raw:
                entry, base = _raw_entry(data, start), 0
            else:
                _, offset, stored_length, length, base, *rest = _ENTRY.unpack_from(data, start)
                entry = Entry(digest, offset, stored_length, length, *rest)
            if (entry.kind, entry.part) == (kind, part):
                return entry, base
        return None


def _raw_entry(data: bytes | mmap.mmap, start: int) -> Entry:
    digest, offset, length, checksum = _RAW_ENTRY.unpack_from(data, start)
    return Entry(digest, offset, length, length, RecordKind.CHUNK, Encoding.RAW, checksum=checksum)


_ORDER = operator.attrgetter("digest", "kind", "part", "offset")


def encode_index(info: PackInfo, entries: Iterable[Entry]) -> bytes:
    """Returns the index of a pack; `entries` may come in any order."""
    ordered = sorted(entries, key=_ORDER)
    bases = sorted({entry.base for entry in ordered if entry.base})
    numbers = {base: number for number, base in enumerate(bases, start=1)} | {b"": 0}
    version, pack_class = _VERSION, _DATA if info.is_data else _METADATA
    if info.is_raw:
        version, pack_class = _RAW_VERSION, _RAW
    parts = [
        _HEADER.pack(_MAGIC, version, pack_class, info.id.digest, info.size_bytes, len(ordered), len(bases))
    ]
    if info.is_raw:
        parts += (
            _RAW_ENTRY.pack(entry.digest, entry.offset, entry.length, entry.checksum) for entry in ordered
        )
    else:
        parts += (
            _ENTRY.pack(
                entry.digest,
                entry.offset,
                entry.stored_length,
                entry.length,
                numbers[entry.base],
                entry.kind,
                entry.encoding,
                entry.part,
            )
            for entry in ordered
        )
    parts += bases
    body = b"".join(parts)
    return body + _CHECKSUM.pack(xxh3_64_intdigest(body))


class RawIndexBuilder:
    """Collects the chunks of a raw pack, in order of offset: 52 bytes of memory for each."""

    def __init__(self) -> None:
        self._entries = bytearray()

    def append(self, digest: bytes, offset: int, length: int, checksum: int) -> None:
        """Adds the next chunk."""
        self._entries += _RAW_ENTRY.pack(digest, offset, length, checksum)

    def encode(self, info: PackInfo) -> bytes:
        """Returns the index of the pack; the same as `encode_index` makes of its entries."""
        size, entries = _RAW_ENTRY.size, self._entries
        # Sorting keeps those of one id in the order of their offsets.
        ordered = sorted(
            (bytes(entries[start : start + size]) for start in range(0, len(entries), size)),
            key=operator.itemgetter(slice(0, DIGEST_BYTES)),
        )
        header = _HEADER.pack(_MAGIC, _RAW_VERSION, _RAW, info.id.digest, info.size_bytes, len(ordered), 0)
        body = b"".join((header, *ordered))
        return body + _CHECKSUM.pack(xxh3_64_intdigest(body))


class PackIndex:
    """A loaded index, read in place; thread-safe, because nothing in it changes.

    Attributes:
        info: The pack that it describes.
    """

    def __init__(self, data: bytes | mmap.mmap) -> None:
        """Checks the frame and the checksum of `data`, which must not change afterwards.

        Raises:
            FormatError: It is no index, or damaged.
            VersionError: The version is not known.
        """
        if len(data) < _HEADER.size + _CHECKSUM.size or data[: len(_MAGIC)] != _MAGIC:
            raise FormatError("it does not start like the index of a pack")
        _, version, pack_class, pack, size_bytes, count, bases = _HEADER.unpack_from(data)
        if version not in _CLASSES:
            raise VersionError(f"version {version}")
        end = _HEADER.size + count * _ENTRY.size + bases * DIGEST_BYTES
        if len(data) != end + _CHECKSUM.size:
            raise FormatError("its length is not that of its entries")
        with memoryview(data) as view:
            if _CHECKSUM.unpack_from(data, end)[0] != xxh3_64_intdigest(view[:end]):
                raise FormatError("its checksum is wrong")
        if pack_class not in _CLASSES[version]:
            raise FormatError("its pack is of no known class")
        self._data = data
        self._bases = bases
        self.info = PackInfo(
            PackId(pack), pack_class != _METADATA, size_bytes, count, is_raw=pack_class == _RAW
        )

    def __len__(self) -> int:
        """Returns the length of the index in bytes."""
        return len(self._data)

    def encoded(self) -> bytes:
        """Returns the index as it stands in its file."""
        return self._data[:]

    def keys(self) -> Iterator[int]:
        """Returns the first eight bytes of every id, as little-endian numbers."""
        return itertools.chain.from_iterable(self._iter_unpacked(_KEY))

    def column(self, place: int) -> bytes:
        """Returns the byte at one place of every entry, in the order of the ids, with which an entry begins."""
        end = _HEADER.size + self.info.records * _ENTRY.size
        return self._data[_HEADER.size + place : end : _ENTRY.size]

    def _iter_unpacked(self, fields: struct.Struct) -> Iterator[tuple[Any, ...]]:
        view = memoryview(self._data)[_HEADER.size : _HEADER.size + self.info.records * _ENTRY.size]
        return fields.iter_unpack(view)

    def bases(self) -> list[bytes]:
        """Returns the ids of all that the pack's deltas are based on."""
        start = _HEADER.size + self.info.records * _ENTRY.size
        return [
            self._data[at : at + DIGEST_BYTES]
            for at in range(start, start + self._bases * DIGEST_BYTES, DIGEST_BYTES)
        ]

    def entry(self, number: int) -> Entry:
        """Returns the entry of that number, in order of id."""
        if self.info.is_raw:
            return _raw_entry(self._data, _HEADER.size + number * _ENTRY.size)
        digest, offset, stored_length, length, base, kind, encoding, part = _ENTRY.unpack_from(
            self._data, _HEADER.size + number * _ENTRY.size
        )
        if base:
            if base > self._bases:
                raise FormatError("an entry names a base that is not there")
            start = _HEADER.size + self.info.records * _ENTRY.size + (base - 1) * DIGEST_BYTES
            return Entry(
                digest,
                offset,
                stored_length,
                length,
                kind,
                encoding,
                part,
                self._data[start : start + DIGEST_BYTES],
            )
        return Entry(digest, offset, stored_length, length, kind, encoding, part)

    def is_whole_at(self, number: int, digest: bytes, kind: int) -> bool:
        """Returns whether the entry of that number is such a record, without parts, and no delta; reads no more."""
        start = _HEADER.size + number * _ENTRY.size
        entry = self._data[start : start + _ENTRY.size]
        if self.info.is_raw:
            return kind == RecordKind.CHUNK and entry.startswith(digest)
        return entry.startswith(digest) and entry[_BASE] == _WHOLE and entry[_KIND] == kind

    def iter_whole(self, kind: int, start: int = 0) -> Iterator[tuple[bytes, int]]:
        """Yields the ids of such records without parts that are no deltas, in order, each with its number.

        Args:
            kind: Of the records.
            start: The number of the first entry.
        """
        numbered = zip(itertools.chain.from_iterable(self._iter_unpacked(_ID)), itertools.count(start))
        if self.info.is_raw:
            return numbered if kind == RecordKind.CHUNK else iter(())
        if not self._bases:
            return itertools.compress(numbered, map(kind.__eq__, self.column(_KIND)))
        entries = self._iter_unpacked(_IS_WHOLE)
        return itertools.compress(numbered, (found == kind and not base for base, found in entries))

    def entry_of(self, number: int, digest: bytes, kind: int, part: int) -> Entry | None:
        """Returns the entry of that number if it is such a record.

        Raises:
            FormatError: It is, and the index is damaged.
        """
        start = _HEADER.size + number * _ENTRY.size
        if self._data[start : start + DIGEST_BYTES] != digest:
            return None
        entry = self.entry(number)
        return entry if entry.kind == kind and entry.part == part else None

    def _first_number(self, digest: bytes) -> int:
        data, low, high = self._data, 0, self.info.records
        while low < high:
            middle = (low + high) // 2
            start = _HEADER.size + middle * _ENTRY.size
            if data[start : start + DIGEST_BYTES] < digest:
                low = middle + 1
            else:
                high = middle
        return low

    def entries_from(self, digest: bytes) -> Iterator[Entry]:
        """Yields the entries in order, from the first whose id is not less than `digest`."""
        for number in range(self._first_number(digest), self.info.records):
            yield self.entry(number)

    def numbers_near(self, first: int, digest: bytes, kind: int, part: int) -> Iterator[tuple[int, Entry]]:
        """Yields each entry of a record with its number in the order of `entries_from(b"")`.

        Args:
            first: The number of the first entry whose id begins with the same eight bytes.
            digest: The id.
            kind: Of the record.
            part: Of the record.
        """
        data, prefix = self._data, digest[:KEY_BYTES]
        for number in range(first, self.info.records):
            start = _HEADER.size + number * _ENTRY.size
            found = data[start : start + DIGEST_BYTES]
            if found == digest:
                entry = self.entry(number)
                if entry.kind == kind and entry.part == part:
                    yield number, entry
            elif found[:KEY_BYTES] != prefix:
                return

    def find(self, digest: bytes, kind: int, part: int) -> Entry | None:
        """Returns the entry of a record, or None."""
        near = self.numbers_near(self._first_number(digest[:KEY_BYTES]), digest, kind, part)
        return next((entry for _, entry in near), None)


def check_index(data: bytes) -> PackInfo:
    """Returns what an index describes, checked further than a lookup does: order, classes, lengths and bounds.

    Holds a number for each entry, and none of the entries: whoever sent the index decided how many it has.

    Raises:
        FormatError: It is no index, damaged, or contradicts itself.
        VersionError: The version is not known.
    """
    index = PackIndex(data)
    info = index.info
    _check_filling(index, data)
    spans: list[int] = []
    used: set[bytes] = set()
    last = (b"", 0, 0, 0)
    for entry in index.entries_from(b""):
        digest, offset, stored_length, length, kind, encoding, part, base, _ = entry
        last, before = (digest, kind, part, offset), last
        if last < before:
            raise FormatError(_UNORDERED)
        if info.is_raw and not 0 < length <= MAX_CHUNK_BYTES:
            raise FormatError("it names a chunk of a length that none has")
        if (encoding == Encoding.DELTA) != bool(base):
            raise FormatError("an entry's base does not fit its encoding")
        if base:
            used.add(base)
        if length > MAX_CHUNK_BYTES or stored_length > MAX_CHUNK_BYTES:
            check_lengths(entry)
        spans.append(offset << _LENGTH_BITS | entry.size_bytes)
    if sorted(used) != index.bases():
        raise FormatError(_UNORDERED)
    _check_spans(info, spans)
    return info


def _check_filling(index: PackIndex, data: bytes) -> None:
    """Checks that the bytes that mean nothing are zero."""
    of_entries = b"" if index.info.is_raw else index.column(_ENTRY.size - 1)
    if data[_FILLING].strip(_ZERO) or of_entries.strip(_ZERO):
        raise FormatError(_UNORDERED)


def _check_spans(info: PackInfo, spans: list[int]) -> None:
    """Checks that records, each with offset and length in one number, fill a pack; sorts them."""
    spans.sort()
    expected = 0 if info.is_raw else PACK_HEADER_BYTES
    for span in spans:
        if span >> _LENGTH_BITS != expected:
            raise FormatError("its entries leave gaps or overlap")
        expected += span & ((1 << _LENGTH_BITS) - 1)
    if expected != info.size_bytes:
        raise FormatError("its entries do not fill the pack")


def decode_index(data: bytes) -> tuple[PackInfo, list[Entry]]:
    """Returns everything that an index holds, checked by `check_index`, and raises as that does."""
    info = check_index(data)
    return info, list(PackIndex(data).entries_from(b""))
