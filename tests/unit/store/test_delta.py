"""A chunk that takes the place of one of the previous version is stored as what it changes."""

import contextlib
import io
import itertools
import random
import shutil

import pytest

from mlvc.errors import IntegrityError
from mlvc.model.ids import BlobId, ChunkId
from mlvc.ports import RecordKind
from mlvc.store.errors import ObjectDamagedError, ObjectMissingError
from mlvc.store.fsck import check
from mlvc.store.local import LocalStore
from mlvc.store.pack import Base, Encoding, NewRecord, encode_records
from mlvc.store.pack_writer import PackWriter
from tests.support.reporter import RecordingReporter

ROWS = 40_000


def table(seed: int = 1) -> list[bytes]:
    rng = random.Random(seed)
    return [
        f"{number},{rng.randrange(10**6)},{rng.random():.6f},2024-{rng.randrange(1, 13):02d}\n".encode()
        for number in range(ROWS)
    ]


def edited(rows: list[bytes], seed: int) -> list[bytes]:
    """Returns the rows with a few changed in scattered places, some at the start and some at the end."""
    rng = random.Random(seed)
    changed = list(rows)
    for _ in range(ROWS // 1000):
        changed[rng.randrange(ROWS)] = b"%d,edited,%d\n" % (seed, rng.randrange(10**9))
    return [b"new,%d,%d\n" % (seed, number) for number in range(100)] + changed + [b"last,%d\n" % seed] * 10


@pytest.fixture
def store(tmp_path):
    return LocalStore.create(tmp_path / "store")


def add(store, data, previous=None):
    """Adds a version; returns its id and how many bytes that took."""
    with store.writer() as writer:
        blob, _ = writer.add_stream(io.BytesIO(data), previous)
        return blob, writer.stored_bytes


def problems(store):
    return [(problem.kind, problem.message) for problem in check(store, RecordingReporter())]


def encodings_of(store, pack):
    return {
        entry.encoding
        for index in store.catalog.packs()
        if index.info.id == pack
        for entry in store.catalog.iter_entries(index)
    }


def test_a_second_version_takes_little(store):
    """Scattered edits cost a few per cent of the first version; told of no previous version, most of it again."""
    first, second = b"".join(table()), b"".join(edited(table(), 2))
    before, first_bytes = add(store, first)
    other = LocalStore.create(store.layout.directory.parent / "other")
    add(other, first)
    _, alone_bytes = add(other, second)
    after, second_bytes = add(store, second, before)
    assert second_bytes < first_bytes * 0.05 < alone_bytes
    assert (first, second) == (store.read_blob(before), store.read_blob(after))
    assert (BlobId.of(second), []) == (after, problems(store))


def test_deltas_are_one_level_deep(store):
    """Of ten versions each is based on whole chunks only, and reads back, also by a store that knows nothing yet."""
    rows, blob, versions = table(), None, {}
    for number in range(10):
        rows = edited(rows[:ROWS], number)
        blob, _ = add(store, b"".join(rows), blob)
        versions[blob] = b"".join(rows)
    bases = set()
    for index in store.catalog.packs():
        bases |= {entry.base for entry in store.catalog.iter_entries(index) if entry.base}
    assert bases
    for base in bases:
        assert store.catalog.find(base, RecordKind.CHUNK).entry.encoding != Encoding.DELTA
    again = LocalStore(store.layout.directory)
    for version, data in versions.items():
        assert again.has_blob(version)
        assert data == again.read_blob(version)
    assert [] == problems(again)


def test_what_resembles_nothing_is_stored_whole(store):
    """Bytes that share nothing with the previous version are no deltas of it."""
    rng = random.Random(5)
    before, _ = add(store, rng.randbytes(900_000))
    after, _ = add(store, rng.randbytes(900_000), before)
    assert all(Encoding.DELTA not in encodings_of(store, info.id) for info in store.packs())
    assert store.has_blob(after)


@pytest.mark.parametrize("previous", [BlobId.of(b"never stored"), BlobId.of(b"small")])
def test_a_previous_version_without_chunks(store, previous):
    """One that is not here, or is one chunk, changes nothing."""
    add(store, b"small")
    data = b"".join(table())
    blob, _ = add(store, data, previous)
    assert data == store.read_blob(blob)


def write(store, *records):
    """Publishes a pack of exactly these chunks, whatever they are based on."""
    encoded, entries = encode_records(records)
    assert [record.base is not None for record in records] == [bool(entry.base) for entry in entries]
    writer = PackWriter(store.layout, is_data=True)
    writer.append(encoded, entries)
    writer.publish(contextlib.nullcontext())
    store.catalog.refresh()


def chunk(data, base=None):
    return NewRecord(
        RecordKind.CHUNK, 0, ChunkId.of(data).digest, data, base and Base(ChunkId.of(base).digest, base)
    )


CHAIN = [random.Random(6).randbytes(20_000) + b"%d" % number for number in range(12)]


def test_a_missing_base_is_missing(store):
    """A delta without its base is not here: nothing says that it is, and fsck names the base."""
    write(store, chunk(CHAIN[1], CHAIN[0]))
    blob = BlobId.of(CHAIN[1])
    assert not store.has_blob(blob)
    with pytest.raises(ObjectMissingError, match=ChunkId.of(CHAIN[0]).hex):
        store.read_blob(blob)
    ((kind, message),) = problems(store)
    assert kind == "missing-chunk"
    assert ChunkId.of(CHAIN[0]).hex in message
    write(store, chunk(CHAIN[0]))
    assert CHAIN[1] == store.read_blob(blob)
    assert [] == problems(store)


def test_a_damaged_base(store):
    """Wrong bytes of a base are found when a delta is read, and a new version is not based on them."""
    first, second = b"".join(table()), b"".join(edited(table(), 2))
    before, _ = add(store, first)
    after, _ = add(store, second, before)
    (pack,) = (
        info.id
        for info in store.packs()
        if info.is_data and Encoding.DELTA not in encodings_of(store, info.id)
    )
    path = store.layout.pack(pack)
    data = bytearray(path.read_bytes())
    for position in range(5_000, len(data), 5_000):
        data[position] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    damaged = LocalStore(store.layout.directory)
    for blob in (before, after):
        with pytest.raises(IntegrityError):
            damaged.read_blob(blob)
    third = b"".join(edited(table(), 3))
    blob, _ = add(damaged, third, after)
    # Chunks of it that were stored before are as damaged as they are; those that came now are not built on them.
    assert {kind for kind, _ in problems(damaged)} <= {"damaged-record", "damaged-object", "damaged-pack"}
    assert blob == BlobId.of(third)


def test_deltas_of_deltas_end(store):
    """Packs of several writers may nest deltas; a few are followed, a long chain and a circle are refused."""
    write(store, chunk(CHAIN[0]))
    for before, data in itertools.pairwise(CHAIN):
        write(store, chunk(data, before))
    assert CHAIN[8] == store.read_blob(BlobId.of(CHAIN[8]))
    with pytest.raises(ObjectDamagedError, match="deltas"):
        store.read_blob(BlobId.of(CHAIN[11]))
    circle = LocalStore.create(store.layout.directory.parent / "circle")
    write(circle, chunk(CHAIN[0], CHAIN[1]), chunk(CHAIN[1], CHAIN[0]))
    with pytest.raises(ObjectDamagedError, match="deltas"):
        circle.read_blob(BlobId.of(CHAIN[0]))


def test_more_deltas_than_a_reader_follows_do_not_count_as_stored(store):
    """Promise 1: whatever counts as stored can be read; a chain without end is no crash, and is stored again."""
    data = random.Random(7).randbytes(2_000)
    chain = [data + b"%d" % number for number in range(1_500)]
    write(store, chunk(chain[0]), *(chunk(after, before) for before, after in itertools.pairwise(chain)))
    assert [True] * 9 + [False] * 3 == [store.has_blob(BlobId.of(data)) for data in chain[:12]]
    assert not store.has_blob(BlobId.of(chain[-1]))

    blob, _ = add(store, chain[-1])

    assert store.has_blob(blob)
    assert chain[-1] == store.read_blob(blob)


def test_a_whole_record_is_preferred(store):
    """Where a chunk is kept whole and as a delta, the whole one is read, in whichever order they came."""
    write(store, chunk(CHAIN[0], CHAIN[1]))
    write(store, chunk(CHAIN[1], CHAIN[0]))
    write(store, chunk(CHAIN[0]))
    for number in (0, 1):
        assert CHAIN[number] == store.read_blob(BlobId.of(CHAIN[number]))
    assert store.catalog.find(ChunkId.of(CHAIN[0]).digest, RecordKind.CHUNK).entry.encoding != Encoding.DELTA


def test_a_delta_without_its_base_does_not_count_as_stored(tmp_path, store):
    """Promise 1: what is added again is stored, by a writer and by what brings it; a lock may name it then."""
    rows = table()
    first, second = b"".join(rows), b"".join(edited(rows, 1))
    blob, _ = add(store, first)
    before = set(store.layout.packs.iterdir())
    newer, _ = add(store, second, blob)
    other = LocalStore.create(tmp_path / "other")
    for path in set(store.layout.packs.iterdir()) - before:
        shutil.copy(path, other.layout.packs)
    assert not other.has_blob(newer)

    assert newer == add(other, second)[0]

    assert second == other.read_blob(newer)


def test_deltas_that_need_each_other(store):
    """Neither counts as stored, and adding the bytes stores them."""
    versions = [random.Random(4).randbytes(40_000) + b"%d" % number for number in range(2)]
    for data, base in (versions, versions[::-1]):
        based = Base(ChunkId.of(base).digest, base)
        encoded = encode_records([NewRecord(RecordKind.CHUNK, 0, ChunkId.of(data).digest, data, based)])
        writer = PackWriter(store.layout, is_data=True)
        writer.append(*encoded)
        writer.publish(contextlib.nullcontext())
    assert [False, False] == [store.has_blob(BlobId.of(data)) for data in versions]
    add(store, versions[0])
    assert versions == [store.read_blob(BlobId.of(data)) for data in versions]
