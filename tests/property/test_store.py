"""Laws of the store's formats: what is encoded decodes, whatever else raises only our errors, cuts are local."""

import contextlib
import io
import random

import zstandard
from hypothesis import example, given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from mlvc.errors import FormatError, VersionError
from mlvc.model.ids import ChunkId, PackId
from mlvc.ports import RecordKind
from mlvc.store.chunking import cut, cut_stream
from mlvc.store.pack import (
    PACK_HEADER_BYTES,
    Base,
    Encoding,
    Entry,
    NewRecord,
    base_of,
    decode_pack_header,
    decode_payload,
    decode_record_header,
    encode_pack_header,
    encode_records,
)
from mlvc.store.pack_index import PackIndex, PackInfo, decode_index, encode_index
from mlvc.store.recipe import Recipe, RecipeBuilder

OURS = (FormatError, VersionError)
DIGESTS = st.binary(min_size=32, max_size=32)
# Short random bytes, and long ones of every compressibility.
CONTENTS = st.one_of(
    st.binary(max_size=300),
    st.tuples(st.binary(min_size=1, max_size=50), st.integers(1, 3000)).map(lambda pair: pair[0] * pair[1]),
    st.integers(0, 2**32).map(lambda seed: random.Random(seed).randbytes(20_000)),
)
RECORDS = st.lists(
    st.builds(
        lambda kind, data: NewRecord(kind, 0, ChunkId.of(data).digest, data),
        st.sampled_from(RecordKind),
        CONTENTS,
    ),
    max_size=20,
)


def no_base(digest):
    """Stands for a store in which no delta's base is."""
    raise AssertionError(digest)


@given(RECORDS)
def test_records_read_back(records):
    """Each record decodes to its bytes, by its entry and by its own header."""
    data, entries = encode_records(records)
    decompressor = zstandard.ZstdDecompressor()
    end = 0
    for record, entry in zip(records, entries, strict=True):
        assert end == entry.offset
        end = entry.end
        stored = data[entry.offset : end]
        assert entry == decode_record_header(stored, entry.offset)
        assert record.data == decode_payload(stored, entry, decompressor, no_base)
        assert (record.kind, record.digest) == (entry.kind, entry.digest)
    assert len(data) == end


@given(RECORDS.filter(bool), st.data())
def test_a_changed_record_is_refused(records, data):
    """A byte that is another is found by the checksum, wherever it stands."""
    stored, (entry, *_) = encode_records(records[:1])
    position = data.draw(st.integers(0, len(stored) - 1))
    changed = bytearray(stored)
    changed[position] ^= data.draw(st.integers(1, 255))
    try:
        decode_payload(bytes(changed), entry, zstandard.ZstdDecompressor(), no_base)
    except OURS:
        return
    raise AssertionError(f"byte {position} of {len(stored)} was changed unnoticed")


@given(st.binary(max_size=400), st.integers(0, 9), st.integers(0, 4), st.integers(0, 2**32 - 1))
@example(b"", 1, 1, 0)
@example(zstandard.compress(b"0" * 100), 1, 2, 100)
def test_any_payload_raises_only_our_errors(payload, kind, encoding, length):
    """Whatever stands in a record with a right checksum, decoding returns bytes of its length or refuses it."""
    record, entry = forge(payload, kind, encoding, length)
    entry = entry._replace(base=base_of(record, entry))
    try:
        data = decode_payload(record, entry, zstandard.ZstdDecompressor(), lambda _: b"some base")
    except OURS:
        return
    assert length == len(data)


def forge(payload, kind, encoding, length):
    """Returns a record that says of itself what the writer would never say, with a right checksum."""
    digest = ChunkId.of(b"").digest
    fields = bytes([kind, encoding, 0, 0]) + len(payload).to_bytes(4, "little") + length.to_bytes(4, "little")
    checked = fields + digest + payload
    checksum = xxh3_64_intdigest(checked).to_bytes(8, "little")
    return checksum + checked, Entry(digest, 0, len(payload), length, kind, encoding)


@given(st.binary(min_size=1, max_size=3000), st.binary(min_size=4000, max_size=6000), st.binary(max_size=500))
def test_a_delta_reads_back(head, common, tail):
    """A chunk that shares most of its bytes with its base is a small delta, and reads back from that base alone."""
    base, data = common + tail, head + common
    stored, (entry,) = encode_records(
        [NewRecord(RecordKind.CHUNK, 0, ChunkId.of(data).digest, data, Base(ChunkId.of(base).digest, base))]
    )
    bases = {ChunkId.of(base).digest: base}
    assert data == decode_payload(stored, entry, zstandard.ZstdDecompressor(), bases.__getitem__)
    assert (entry.encoding == Encoding.DELTA) == (entry.base in bases)
    assert entry.base == base_of(stored, entry)


@given(st.binary(max_size=200), st.integers(0, 2**63 - 1))
def test_a_bomb_is_refused_before_it_is_unpacked(tail, declared):
    """A frame that declares a length beyond the record's is refused without an allocation of that size."""
    frame = b"\x28\xb5\x2f\xfd\xe0" + declared.to_bytes(8, "little") + tail
    record, entry = forge(frame, RecordKind.TREE, Encoding.ZSTD, min(declared, 2**32 - 1))
    with contextlib.suppress(*OURS):
        assert entry.length == len(decode_payload(record, entry, zstandard.ZstdDecompressor(), no_base))


@given(RECORDS, st.lists(DIGESTS, max_size=5), st.booleans())
def test_an_index_reads_back(records, bases, is_data):
    """An index holds exactly the entries that it was made of, and finds each by id, kind and part."""
    _, entries = encode_records(records)
    entries = [entry._replace(offset=entry.offset + PACK_HEADER_BYTES) for entry in entries]
    for number, base in enumerate(bases[: len(entries)]):
        entries[number] = entries[number]._replace(encoding=Encoding.DELTA, base=base)
    size_bytes = entries[-1].end if entries else PACK_HEADER_BYTES
    info = PackInfo(PackId.of(b"pack"), is_data, size_bytes, len(entries))
    data = encode_index(info, entries)
    decoded_info, decoded = decode_index(data)
    assert info == decoded_info
    assert sorted(entries) == sorted(decoded)
    index = PackIndex(data)
    for entry in entries:
        found = index.find(entry.digest, entry.kind, entry.part)
        assert (entry.digest, entry.kind) == (found.digest, found.kind)
    assert index.find(ChunkId.of(b"not there").digest, RecordKind.CHUNK, 0) is None


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda tail: b"MLVCPIDX\x01\0" + tail)))
def test_any_bytes_as_an_index_raise_only_our_errors(data):
    """No bytes make an index by accident."""
    for decode in (decode_index, PackIndex):
        try:
            decode(data)
        except OURS:
            continue
        raise AssertionError("it was taken for an index")


@given(st.binary(max_size=300), DIGESTS, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_an_index_with_a_right_checksum_raises_only_our_errors(middle, pack, count, bases):
    """Counts and entries that contradict the length or each other are refused, also by the deeper check."""
    for entries, base_count in ((count, bases), (len(middle) // 52, len(middle) % 52 // 32)):
        body = encode_index(PackInfo(PackId(pack), True, 16, 0), [])[:56]
        body += entries.to_bytes(4, "little") + base_count.to_bytes(4, "little") + middle
        data = body + xxh3_64_intdigest(body).to_bytes(8, "little")
        with contextlib.suppress(*OURS):
            decode_index(data)


@given(st.binary(max_size=40))
@example(encode_pack_header(is_data=True))
@example(encode_pack_header(is_data=False))
def test_any_bytes_as_a_pack_header_raise_only_our_errors(data):
    """Only the two headers are taken for one."""
    try:
        is_data = decode_pack_header(data)
    except OURS:
        return
    assert encode_pack_header(is_data=is_data) == data[:PACK_HEADER_BYTES]


@given(st.lists(st.tuples(DIGESTS, st.integers(1, 4 << 20)), min_size=1, max_size=50))
def test_a_recipe_reads_back(chunks):
    """A recipe names its chunks in order, and its length is their sum."""
    builder = RecipeBuilder()
    for digest, length in chunks:
        builder.append(digest, length)
    recipe = Recipe(builder.encode())
    assert chunks == list(recipe.chunks())
    assert sum(length for _, length in chunks) == recipe.size_bytes


@given(
    st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda tail: b"MLVCRCPE\x01\0\0\0" + tail))
)
def test_any_bytes_as_a_recipe_raise_only_our_errors(data):
    """What is taken for a recipe contradicts itself in nothing."""
    try:
        recipe = Recipe(data)
    except OURS:
        return
    assert sum(length for _, length in recipe.chunks()) == recipe.size_bytes


@given(st.integers(0, 2**32), st.integers(0, 1_500_000))
def test_cuts_make_the_whole_again(seed, size):
    """The chunks joined are the data, in one piece or from a stream; an empty blob has none."""
    data = random.Random(seed).randbytes(size)
    chunks = list(cut(data))
    assert data == b"".join(chunks)
    assert all(0 < len(chunk) <= 256 << 10 for chunk in chunks)
    assert chunks == list(cut_stream(io.BytesIO(data)))


@given(st.integers(0, 2**32), st.integers(0, 2_000_000), st.binary(min_size=1, max_size=2_000))
def test_an_insertion_moves_few_cuts(seed, position, inserted):
    """Bytes inserted anywhere change a handful of chunks, and the cuts before and after them stay."""
    data = random.Random(seed).randbytes(2_000_000)
    before = set(cut(data))
    after = set(cut(data[:position] + inserted + data[position:]))
    assert len(after - before) <= 6
