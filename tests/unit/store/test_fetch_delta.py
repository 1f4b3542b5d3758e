"""Deltas on a remote: what they are based on comes before them, and one without it is not there."""

import contextlib
import random
import sys

import pytest

from mlvc.model.ids import BlobId, ChunkId, TreeId
from mlvc.ports import RecordKind
from mlvc.store.fetch import fetch_records
from mlvc.store.fsck import check
from mlvc.store.local import LocalStore, RecordKey
from mlvc.store.pack import Base, NewRecord, encode_records
from mlvc.store.pack_writer import PackWriter
from mlvc.store.push import push
from mlvc.store.remote import Remote
from mlvc.store.remote_files import RemoteDamagedError
from mlvc.store.remote_indexes import RemoteIndexes
from tests.support.reporter import RecordingReporter
from tests.unit.store.test_fetch import Measured, flip

RNG = random.Random(4)
SHARED = RNG.randbytes(40_000)
VERSIONS = [SHARED + b"%d" % number for number in range(4)]
OTHERS = [RNG.randbytes(60_000) for _ in range(20)]


def key(data):
    return RecordKey(RecordKind.CHUNK, 0, ChunkId.of(data).digest)


def chunk(data, base=None):
    return NewRecord(
        RecordKind.CHUNK, 0, key(data).digest, data, None if base is None else Base(key(base).digest, base)
    )


class Far:
    """A remote that gets packs of exactly some chunks, and a store that fetches from it."""

    def __init__(self, folder):
        self.folder = folder
        self.store = LocalStore.create(folder / "other")

    def put(self, *records, among=OTHERS):
        """Sends a pack of these chunks, among others that make it too large to be brought whole; returns its file."""
        origin = LocalStore.create(self.folder / f"origin-{RNG.random()}")
        encoded, entries = encode_records([*map(chunk, among), *records])
        writer = PackWriter(origin.layout, is_data=True)
        writer.append(encoded, entries)
        pack = writer.publish(contextlib.nullcontext()).info.id
        push(origin, Remote.open(str(self.folder / "far")), self.folder / "cache", RecordingReporter())
        (path,) = (self.folder / "far").rglob(f"{pack.hex}*.pack")
        return path

    def look(self):
        remote = Remote("file:///far", Measured(self.folder / "far"))
        listed = remote.list_packs()
        return remote, listed, RemoteIndexes(self.store, remote, listed, self.folder / "cache")

    def fetch(self, *chunks):
        """Returns the sizes of the requests that it took."""
        remote, listed, indexes = self.look()
        wanted = [key(data) for data in chunks]
        self.reporter = RecordingReporter()
        fetch_records(self.store, remote, listed, indexes, wanted, self.reporter)
        return remote._files.requests


@pytest.fixture
def far(tmp_path):
    return Far(tmp_path)


def test_a_base_is_brought_before_its_deltas(far):
    """Of three packs exactly the records are read that the last delta needs, one after the other."""
    far.put(chunk(VERSIONS[0]))
    far.put(chunk(VERSIONS[1], VERSIONS[0]))
    far.put(chunk(VERSIONS[2], VERSIONS[1]))
    assert [True, False, False] == [size > len(SHARED) for size in far.fetch(VERSIONS[2])]
    assert VERSIONS[2] == far.store.read_blob(BlobId.of(VERSIONS[2]))
    assert [] == list(check(far.store, RecordingReporter()))
    assert [] == far.fetch(VERSIONS[1])


def test_what_is_whole_somewhere_needs_no_base(far):
    """A chunk that one pack holds as a delta and another as a whole is brought as a whole, alone."""
    far.put(chunk(VERSIONS[0]))
    far.put(chunk(VERSIONS[1], VERSIONS[0]))
    far.put(chunk(VERSIONS[1]), chunk(VERSIONS[3]))
    assert 1 == len(far.fetch(VERSIONS[1]))
    assert not far.store.has_blob(BlobId.of(VERSIONS[0]))
    assert VERSIONS[1] == far.store.read_blob(BlobId.of(VERSIONS[1]))


def test_a_delta_without_its_base_is_not_there(far):
    """The remote does not count as having it, nothing of it is stored, and the error names the base."""
    base = far.put(chunk(VERSIONS[0]))
    far.put(chunk(VERSIONS[1], VERSIONS[0]), chunk(VERSIONS[3]))
    assert {key(VERSIONS[1]), key(VERSIONS[3])} == far.look()[2].holding([key(VERSIONS[1]), key(VERSIONS[3])])
    base.unlink()
    base.with_suffix(".idx").unlink(missing_ok=True)
    assert {key(VERSIONS[3])} == far.look()[2].holding([key(VERSIONS[1]), key(VERSIONS[3])])
    with pytest.raises(RemoteDamagedError, match=ChunkId.of(VERSIONS[0]).hex):
        far.fetch(VERSIONS[1])
    assert [] == far.store.packs()


def test_what_is_surely_there_as_a_whole(far):
    """A delta does not count, nor what is elsewhere alone, nor a tree of the same digest as a blob."""
    far.put(chunk(VERSIONS[0]))
    far.put(chunk(VERSIONS[1], VERSIONS[0]), chunk(VERSIONS[3]))
    blobs = [BlobId.of(version) for version in VERSIONS]
    tree = TreeId(blobs[0].digest)

    assert {blobs[1], blobs[2], tree} == far.look()[2].without_whole([*blobs, tree])


def test_a_damaged_base(far):
    """A flipped bit in the base is named; neither it nor the delta is stored; another copy serves as well."""
    path = far.put(chunk(VERSIONS[0]))
    far.put(chunk(VERSIONS[1], VERSIONS[0]))
    flip(path, path.stat().st_size - 1000)
    with pytest.raises(RemoteDamagedError, match=ChunkId.of(VERSIONS[0]).hex):
        far.fetch(VERSIONS[1])
    assert [] == far.store.packs()
    far.put(chunk(VERSIONS[0]), chunk(VERSIONS[3]))
    far.fetch(VERSIONS[1])
    assert VERSIONS[1] == far.store.read_blob(BlobId.of(VERSIONS[1]))


def test_deltas_that_are_based_on_each_other(far):
    """A circle, as only a hostile remote has it, ends in an error."""
    far.put(chunk(VERSIONS[0], VERSIONS[1]))
    far.put(chunk(VERSIONS[1], VERSIONS[0]))
    assert set() == far.look()[2].holding([key(VERSIONS[0])])
    with pytest.raises(RemoteDamagedError):
        far.fetch(VERSIONS[0])
    assert [] == far.store.packs()


def test_no_delta_comes_without_its_base(far):
    """A small pack is brought whole only where nothing in it would be unreadable here."""
    far.put(chunk(VERSIONS[0]))
    far.put(chunk(VERSIONS[1], VERSIONS[0]), chunk(VERSIONS[3]), among=())
    far.fetch(VERSIONS[3])
    assert [] == list(check(far.store, RecordingReporter()))
    far.fetch(VERSIONS[1])
    assert VERSIONS[1] == far.store.read_blob(BlobId.of(VERSIONS[1]))
    assert [] == list(check(far.store, RecordingReporter()))


def test_a_chunk_that_is_here_without_its_base_is_brought(far):
    """As an older mlvc left it: it does not count as here, and what comes is kept."""
    far.put(chunk(VERSIONS[0]))
    path = far.put(chunk(VERSIONS[1], VERSIONS[0]), among=())
    for file in (path, path.with_suffix(".idx")):
        (far.store.layout.packs / file.name).write_bytes(file.read_bytes())
    far.put(chunk(VERSIONS[1]), chunk(VERSIONS[2]))
    assert {key(VERSIONS[1])} == far.store.lacking([key(VERSIONS[1])])
    far.fetch(VERSIONS[1])
    assert VERSIONS[1] == far.store.read_blob(BlobId.of(VERSIONS[1]))


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("attempt", range(3))
def test_two_deltas_of_one_chunk(far, number, attempt):
    """Clones that had different older versions sent them; that one is read whose base was brought."""
    far.put(chunk(VERSIONS[0]))
    far.put(chunk(VERSIONS[2]))
    for base in (0, 2):
        other = chunk(VERSIONS[3], OTHERS[0]) if base == number else chunk(b"another %d" % attempt)
        far.put(chunk(VERSIONS[1], VERSIONS[base]), other)
    far.fetch(VERSIONS[1], VERSIONS[3])
    assert VERSIONS[1] == far.store.read_blob(BlobId.of(VERSIONS[1]))
    assert [] == far.reporter.warnings


def test_all_comes_however_soon_it_is_answered(far):
    """Every request on its way may be answered before anybody looks; those that were not made yet are made then."""
    many = [bytes([number]) * 60_000 + RNG.randbytes(60_000) for number in range(100)]
    far.put(chunk(VERSIONS[0]), among=many)
    remote, listed, indexes = far.look()
    remote.jobs = 1
    wanted = [key(data) for data in many[::4]]
    interval = sys.getswitchinterval()
    # So whoever asks is seldom quicker than who answers.
    sys.setswitchinterval(1e-6)
    try:
        fetch_records(far.store, remote, listed, indexes, wanted, RecordingReporter())
    finally:
        sys.setswitchinterval(interval)
    assert set() == far.store.lacking(wanted)
