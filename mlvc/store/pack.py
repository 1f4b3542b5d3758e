"""The format of packs: a header, then records to the end of the file; or the bytes of one blob and nothing else.

A pack holds either data (chunks) or metadata, never both, and its name is the BLAKE3 of the whole file.
A raw pack has no header and no record headers: its chunks stand in it one after the other, bare, its index has their
checksums, and its name is the blob's id. It never begins with the magic of the others.
All integers are little-endian.

    header  size  field
    0       8     magic "MLVCPACK"
    8       2     version, 1
    10      1     class: 1 data, 2 metadata
    11      5     zero

    record  size  field
    0       8     xxh3-64 of everything after this field, to the end of the payload
    8       1     kind (ports.RecordKind)
    9       1     encoding of the payload: 1 raw, 2 zstd, 3 delta
    10      1     part: of a recipe, the kind of its chunks (1 of a blob's, 2 of a tree's); zero otherwise
    11      1     zero
    12      4     length of the payload as stored
    16      4     length of the record's bytes once decoded
    20      32    id
    52      n     payload

Format page: docs/format/pack.md
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING, NamedTuple

import zstandard
from xxhash import xxh3_64, xxh3_64_intdigest

from mlvc.errors import FormatError, VersionError
from mlvc.model.ids import DIGEST_BYTES
from mlvc.model.kinds import RecordKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "HEADED",
    "MAX_CHUNK_BYTES",
    "MAX_TREE_BYTES",
    "PACK_HEADER_BYTES",
    "RECORD_HEADER_BYTES",
    "Base",
    "Encoding",
    "Entry",
    "NewRecord",
    "base_of",
    "check_lengths",
    "check_payload",
    "check_record",
    "decode_pack_header",
    "decode_payload",
    "decode_plain_chunk",
    "decode_record_header",
    "encode_pack_header",
    "encode_records",
    "frame",
    "is_headed",
    "most_bytes",
]

MAX_CHUNK_BYTES = 4 << 20
"""No chunk is longer, so that a reader never holds more of a blob than this."""
MAX_TREE_BYTES = 256 << 20
"""That of one directory with about four million files; who reads it holds it whole."""
_MAX_TREE_RECORD_BYTES = 4 << 20
"""A tree is stored in pieces from 64 KiB on."""
_MAX_OBJECT_BYTES = 48 << 20
"""A commit of 225,000 tracked paths; who reads one holds many times as much."""
_MAX_RECIPE_BYTES = 512 << 20
"""That of a file of about a terabyte."""

_MAX_COMPRESSED_LENGTH = 64 << 20
"""A longer record is stored raw: then the file itself bounds what a reader allocates for it."""
_COMPRESSION_LEVEL = 1
"""Level 3 saves 4 % more on source text and takes 5 to 40 % longer, the more the smaller the file."""
_SAMPLED_FROM_BYTES = 16 << 10
_SAMPLE_BYTES = 4 << 10
_SMALLEST_SAVING = 32
"""One part in so many; less does not pay for decompressing at every read."""
_DELTA_SAVING = 4
"""A delta is at most one part in so many of what it replaces; more does not pay for reading two records for one."""
_DELTA_IS_TINY = 32
_DELTA_WINDOW_LOG = 20
_DELTA_HASH_LOG = 17
"""The table of level 1 is so small that a base of 256 KiB overwrites its own beginning in it."""

_PACK_MAGIC = b"MLVCPACK"
_VERSION = 1
_PACK_HEADER = struct.Struct("<8sHB5x")
_CHECKSUM = struct.Struct("<Q")
_RECORD_FIELDS = struct.Struct("<BBBxII32s")
PACK_HEADER_BYTES = _PACK_HEADER.size
RECORD_HEADER_BYTES = _CHECKSUM.size + _RECORD_FIELDS.size
_DATA, _METADATA = 1, 2
HEADED = -1
"""Instead of the checksum of a record that has it in a header of its own."""


class Encoding(enum.IntEnum):
    """How a payload represents the bytes of its record."""

    RAW = 1
    ZSTD = 2
    DELTA = 3


class Entry(NamedTuple):
    """What identifies a record and says where it stands.

    Attributes:
        digest: The id.
        offset: Of the record in the pack.
        stored_length: Of the payload.
        length: Of the decoded bytes.
        kind: A `RecordKind` as a number, because a foreign pack may hold an unknown one.
        encoding: An `Encoding` as a number, for the same reason.
        part: Of a recipe, the kind of its chunks; zero otherwise.
        base: The id of what a delta is based on, or empty.
        checksum: The xxh3 of a bare chunk, which has no header for it; `HEADED` of any other record.
    """

    digest: bytes
    offset: int
    stored_length: int
    length: int
    kind: int
    encoding: int
    part: int = 0
    base: bytes = b""
    checksum: int = HEADED

    @property
    def size_bytes(self) -> int:
        """The length of header and payload."""
        return self.stored_length if self.checksum != HEADED else RECORD_HEADER_BYTES + self.stored_length

    @property
    def end(self) -> int:
        """The offset after the payload."""
        return self.offset + self.size_bytes


class Base(NamedTuple):
    """A stored chunk that a new one may be written as a delta of."""

    digest: bytes
    data: bytes


class NewRecord(NamedTuple):
    """A record to be written; `part` as in `Entry`, `base` where one may be worth it."""

    kind: RecordKind
    part: int
    digest: bytes
    data: bytes | memoryview
    base: Base | None = None


def most_bytes(kind: int) -> int:
    """Returns how long a record of a kind may be once decoded: whoever reads one holds it in memory."""
    return _MOST_BYTES.get(kind, _MAX_OBJECT_BYTES)


def check_lengths(entry: Entry) -> None:
    """Checks the lengths that an entry tells, before anything is read or allocated because of them.

    Raises:
        FormatError: No record of its kind is so long.
    """
    most = most_bytes(entry.kind)
    # A delta that is longer than what it makes still has its base's id.
    longest = max(entry.length, entry.stored_length - DIGEST_BYTES)
    if longest > most:
        noun = RecordKind(entry.kind).name.lower().replace("_", " ") if entry.kind in _KINDS else "record"
        raise FormatError(f"a {noun} says that it has {longest:,} bytes, and none has more than {most:,}")


def encode_pack_header(*, is_data: bool) -> bytes:
    """Returns the header of a pack."""
    return _PACK_HEADER.pack(_PACK_MAGIC, _VERSION, _DATA if is_data else _METADATA)


def is_headed(data: bytes | memoryview) -> bool:
    """Returns whether a file that begins with `data` has the header of a pack; a raw pack never looks so."""
    return data[: len(_PACK_MAGIC)] == _PACK_MAGIC


def decode_pack_header(data: bytes) -> bool:
    """Returns whether `data` is the header of a data pack (else of a metadata pack).

    Raises:
        FormatError: It is no header of a pack.
        VersionError: The version is not known.
    """
    if len(data) < PACK_HEADER_BYTES or not data.startswith(_PACK_MAGIC):
        raise FormatError("it does not start like a pack")
    _, version, pack_class = _PACK_HEADER.unpack_from(data)
    if version != _VERSION:
        raise VersionError(f"version {version}")
    if data[:PACK_HEADER_BYTES] not in {encode_pack_header(is_data=True), encode_pack_header(is_data=False)}:
        raise FormatError("its header is not that of a pack")
    return bool(pack_class == _DATA)


def _compress_all(blocks: Sequence[bytes | memoryview]) -> list[bytes | None]:
    """Returns the compressed form of each block that is worth having in that form, and None for the others."""
    tried = [number for number, block in enumerate(blocks) if 0 < len(block) <= _MAX_COMPRESSED_LENGTH]
    sampled = [number for number in tried if len(blocks[number]) > _SAMPLED_FROM_BYTES]
    refused = {
        number
        for number, compressed in zip(
            sampled, _multi_compress([_sample(blocks[n]) for n in sampled]), strict=True
        )
        if not _pays(len(compressed), 2 * _SAMPLE_BYTES)
    }
    tried = [number for number in tried if number not in refused]
    result: list[bytes | None] = [None] * len(blocks)
    for number, compressed in zip(tried, _multi_compress([blocks[n] for n in tried]), strict=True):
        if _pays(len(compressed), len(blocks[number])):
            result[number] = compressed.tobytes()
    return result


def _as_delta(record: NewRecord) -> bytes | None:
    """Returns the payload of a record as a delta of its base, unless it can be seen that it does not pay."""
    if record.base is None or not record.data:
        return None
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _COMPRESSION_LEVEL,
        source_size=len(record.data),
        dict_size=len(record.base.data),
        window_log=_DELTA_WINDOW_LOG,
        hash_log=_DELTA_HASH_LOG,
    )
    prefix = zstandard.ZstdCompressionDict(record.base.data, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    difference = zstandard.ZstdCompressor(dict_data=prefix, compression_params=parameters).compress(
        record.data
    )
    payload = record.base.digest + difference
    return payload if len(payload) * _DELTA_SAVING <= len(record.data) else None


def _multi_compress(blocks: list[bytes | bytearray | memoryview[int]]) -> Iterable[zstandard.BufferSegment]:
    # One call for a whole batch gives the GIL up once. With a call for each block, the thread that hashes and those
    # that compress pass it to and fro, and small files take twice as long.
    if not blocks:
        return ()
    collection = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL).multi_compress_to_buffer(blocks)
    return (collection[number] for number in range(len(collection)))


def _sample(block: bytes | memoryview) -> bytes:
    first, second = len(block) // 4, len(block) - len(block) // 4 - _SAMPLE_BYTES
    return b"".join((block[first : first + _SAMPLE_BYTES], block[second : second + _SAMPLE_BYTES]))


def _pays(compressed_length: int, length: int) -> bool:
    return compressed_length < length - length // _SMALLEST_SAVING


def encode_records(records: Sequence[NewRecord]) -> tuple[bytes, list[Entry]]:
    """Returns records as they stand in a pack, one after the other, and their entries counted from offset 0.

    Safe for use from several threads.
    """
    parts: list[bytes | memoryview] = []
    entries: list[Entry] = []
    offset = 0
    deltas = [_as_delta(record) for record in records]
    # What a delta makes tiny need not be compressed any more to be compared with it.
    payloads = _compress_all(
        [
            b"" if delta is not None and len(delta) * _DELTA_IS_TINY <= len(record.data) else record.data
            for record, delta in zip(records, deltas, strict=True)
        ]
    )
    for record, delta, compressed in zip(records, deltas, payloads, strict=True):
        encoding, base = Encoding.RAW, b""
        payload: bytes | memoryview = record.data
        if compressed is not None:
            encoding, payload = Encoding.ZSTD, compressed
        if delta is not None and record.base is not None and len(delta) * _DELTA_SAVING <= len(payload):
            encoding, payload, base = Encoding.DELTA, delta, record.base.digest
        lengths = len(payload), len(record.data)
        fields = _RECORD_FIELDS.pack(record.kind, encoding, record.part, *lengths, record.digest)
        checksum = xxh3_64(fields)
        checksum.update(payload)
        parts += (_CHECKSUM.pack(checksum.intdigest()), fields, payload)
        entries.append(Entry(record.digest, offset, *lengths, record.kind, encoding, record.part, base))
        offset += RECORD_HEADER_BYTES + len(payload)
    return b"".join(parts), entries


def frame(record: bytes, entry: Entry) -> tuple[bytes, Entry]:
    """Returns a checked record with a header, and its entry; the same where it has one already."""
    if entry.checksum == HEADED:
        return record, entry
    fields = _RECORD_FIELDS.pack(
        entry.kind, entry.encoding, entry.part, len(record), entry.length, entry.digest
    )
    checksum = xxh3_64(fields)
    checksum.update(record)
    framed = b"".join((_CHECKSUM.pack(checksum.intdigest()), fields, record))
    return framed, entry._replace(checksum=HEADED)


def decode_record_header(data: bytes, offset: int = 0) -> Entry:
    """Returns the entry of the record whose first bytes are `data`; nothing in it has been checked yet.

    Args:
        data: At least the record's header.
        offset: Where in the pack it stands.

    Raises:
        FormatError: `data` is too short.
    """
    if len(data) < RECORD_HEADER_BYTES:
        raise FormatError("a record is cut short")
    kind, encoding, part, stored_length, length, digest = _RECORD_FIELDS.unpack_from(data, _CHECKSUM.size)
    return Entry(digest, offset, stored_length, length, kind, encoding, part)


def check_record(record: bytes, entry: Entry) -> None:
    """Checks a whole record against its checksum and its entry, without decoding what it holds.

    Raises:
        FormatError: It is damaged.
    """
    if entry.checksum != HEADED:
        if len(record) != entry.stored_length or xxh3_64_intdigest(record) != entry.checksum:
            raise FormatError("the checksum of a chunk is wrong")
        return
    header = decode_record_header(record, entry.offset)
    if len(record) != RECORD_HEADER_BYTES + header.stored_length:
        raise FormatError("a record has another length than its header says")
    if _CHECKSUM.unpack_from(record)[0] != xxh3_64_intdigest(memoryview(record)[_CHECKSUM.size :]):
        raise FormatError("the checksum of a record is wrong")
    if header != (entry._replace(base=b"") if entry.base else entry) or record[11]:
        raise FormatError("a record is another than its index says")


def check_payload(record: bytes, entry: Entry) -> bytes:
    """Returns the payload of a whole record as it is stored, after checking it against its checksum and its entry.

    Args:
        record: Header and payload; of a bare chunk, its bytes.
        entry: What the index, or the record's own header, says of it.

    Raises:
        FormatError: It is damaged.
        VersionError: Its kind or encoding is not known.
    """
    check_record(record, entry)
    if entry.kind not in _KINDS or entry.encoding not in _ENCODINGS:
        raise VersionError(f"kind {entry.kind} with encoding {entry.encoding}")
    check_lengths(entry)
    if entry.encoding == Encoding.RAW and entry.length != entry.stored_length:
        raise FormatError("a raw record has two lengths")
    payload = record if entry.checksum != HEADED else record[RECORD_HEADER_BYTES:]
    if entry.encoding == Encoding.DELTA and (
        entry.kind not in _CHUNK_KINDS
        or len(entry.base) != DIGEST_BYTES
        or payload[:DIGEST_BYTES] != entry.base
    ):
        raise FormatError("a delta is based on something else than its index says")
    return payload


def decode_payload(
    record: bytes,
    entry: Entry,
    decompressor: zstandard.ZstdDecompressor,
    read_base: Callable[[bytes], bytes],
) -> bytes:
    """Returns the bytes that a whole record holds, after checking it against its checksum and its entry.

    Args:
        record: Header and payload.
        entry: What the index, or the record's own header, says of it.
        decompressor: One that no other thread uses.
        read_base: Returns the bytes of the chunk of that digest, which a delta is based on.

    Raises:
        FormatError: It is damaged.
        VersionError: Its kind or encoding is not known.
    """
    payload = check_payload(record, entry)
    if entry.encoding == Encoding.RAW:
        return payload
    if entry.encoding == Encoding.DELTA:
        prefix = zstandard.ZstdCompressionDict(
            read_base(entry.base), dict_type=zstandard.DICT_TYPE_RAWCONTENT
        )
        decompressor, payload = zstandard.ZstdDecompressor(dict_data=prefix), payload[DIGEST_BYTES:]
    return _decompress(payload, entry.length, decompressor)


def _decompress(payload: bytes | memoryview, length: int, decompressor: zstandard.ZstdDecompressor) -> bytes:
    try:
        declared = zstandard.frame_content_size(payload)
        if declared != length or declared > _MAX_COMPRESSED_LENGTH:
            raise FormatError("a compressed record declares another length")
        data = decompressor.decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError as exc:
        raise FormatError(f"a record cannot be decompressed: {exc}") from None
    if len(data) != length:
        raise FormatError("a compressed record has another length than it declares")
    return data


def decode_plain_chunk(
    record: memoryview, entry: Entry, decompressor: zstandard.ZstdDecompressor
) -> bytes | memoryview | None:
    """Returns the bytes of a chunk that is no delta, checked as `decode_payload` does, in a third of the time.

    None where anything is wrong with it, which `decode_payload` says.
    """
    _, _, stored_length, length, kind, encoding, part = entry[:7]
    if (
        record[_CHECKSUM.size : RECORD_HEADER_BYTES]
        != _RECORD_FIELDS.pack(kind, encoding, part, stored_length, length, entry.digest)
        or len(record) != RECORD_HEADER_BYTES + stored_length
        or _CHECKSUM.unpack_from(record)[0] != xxh3_64_intdigest(record[_CHECKSUM.size :])
        or length > MAX_CHUNK_BYTES
    ):
        return None
    payload = record[RECORD_HEADER_BYTES:]
    if encoding == _RAW and length == stored_length:
        return payload
    if encoding != _ZSTD:
        return None
    try:
        return _decompress(payload, length, decompressor)
    except FormatError:
        return None


def base_of(record: bytes, entry: Entry) -> bytes:
    """Returns what a record, header and payload, is based on, as its index would say; empty if on nothing."""
    if entry.encoding != Encoding.DELTA:
        return b""
    return record[RECORD_HEADER_BYTES : RECORD_HEADER_BYTES + DIGEST_BYTES]


_KINDS = frozenset(RecordKind)
_CHUNK_KINDS = frozenset({RecordKind.CHUNK, RecordKind.TREE_CHUNK})
_MOST_BYTES: dict[int, int] = {
    RecordKind.CHUNK: MAX_CHUNK_BYTES,
    RecordKind.TREE_CHUNK: MAX_CHUNK_BYTES,
    RecordKind.RECIPE: _MAX_RECIPE_BYTES,
    RecordKind.TREE: _MAX_TREE_RECORD_BYTES,
}
_ENCODINGS = frozenset(Encoding)
_RAW, _ZSTD = int(Encoding.RAW), int(Encoding.ZSTD)
