"""Reading parts of blobs, from a store and from a remote that has the rest: what is moved, kept, and believed."""

import io
import os
import random
import threading

import pytest
from blake3 import blake3

from mlvc.errors import FormatError, VersionError
from mlvc.model.ids import BlobId
from mlvc.model.tree import Kind, TreeEntry
from mlvc.ports import RecordKind
from mlvc.store import arrivals as arrivals_room
from mlvc.store import remote_lookup
from mlvc.store.errors import ObjectDamagedError, ObjectMissingError
from mlvc.store.fsck import check
from mlvc.store.local import LocalStore
from mlvc.store.pack import Encoding, Entry
from mlvc.store.pack_index import INDEX_HEADER_BYTES, PackInfo, Span, encode_index
from mlvc.store.push import push
from mlvc.store.ranges import BlobRanges
from mlvc.store.recipe import RecipeBuilder
from mlvc.store.remote import Remote
from mlvc.store.remote_files import DirectoryFiles, RemoteDamagedError
from mlvc.store.sparse import SparseStore
from tests.support.reporter import RecordingReporter

MIB = 1 << 20


class Watched(DirectoryFiles):
    """The files of a remote, with what was read of them."""

    def __init__(self, root):
        super().__init__(root)
        self.reads = []

    def read(self, name, size_bytes, offset=0):
        self.reads.append((name, size_bytes))
        return super().read(name, size_bytes, offset)

    def bytes_of(self, folder, suffix):
        return sum(size for name, size in self.reads if name.startswith(folder) and name.endswith(suffix))


@pytest.fixture
def store(tmp_path):
    return LocalStore.create(tmp_path / "store")


@pytest.fixture
def other(tmp_path):
    return LocalStore.create(tmp_path / "other")


@pytest.fixture
def files(tmp_path):
    return Watched(tmp_path / "far")


@pytest.fixture
def send(store, tmp_path):
    def call():
        push(store, Remote.open(str(tmp_path / "far")), tmp_path / "cache", RecordingReporter())

    return call


@pytest.fixture
def sparse(other, files, tmp_path):
    return SparseStore(
        other, lambda: Remote("file:///far", files), tmp_path / "other-cache", RecordingReporter()
    )


def add(store, data):
    with store.writer() as writer:
        return writer.add_stream(open_bytes(data))[0]


def open_bytes(data):
    return io.BytesIO(data)


# ------------------------------------------------------------------------------------------------ spans


@pytest.mark.parametrize("count", [0, 1, 2, 100, 20_000])
def test_a_span_holds_the_entry_of_every_id(count):
    """The place of an id among evenly spread ones is known well enough, at both ends too."""
    digests = sorted(blake3(str(number).encode()).digest() for number in range(count))
    entries = [
        Entry(digest, 16 + 100 * n, 50, 70, RecordKind.CHUNK, Encoding.RAW, 0)
        for n, digest in enumerate(digests)
    ]
    index = encode_index(PackInfo(BlobId(bytes(32)), True, 10**7, count), entries)
    wanted = [*digests[:: max(1, count // 500)], *digests[-2:]]

    for digest in wanted:
        span = Span.of(index[:INDEX_HEADER_BYTES], digest)
        data = index[span.offset : span.offset + span.size_bytes]
        entry, base = span.find(data, digest, RecordKind.CHUNK, 0)
        assert (digest, 0) == (entry.digest, base)
    if count == 20_000:
        assert Span.of(index[:INDEX_HEADER_BYTES], digests[10_000]).size_bytes < len(index) / 25
    assert (
        Span.of(index[:INDEX_HEADER_BYTES], b"\xff" * 32).find(b"", b"\xff" * 32, RecordKind.CHUNK, 0) is None
    )


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (b"", FormatError),
        (b"MLVCPIDX", FormatError),
        (b"X" * 64, FormatError),
        (b"MLVCPIDX\xff\x7f" + bytes(54), VersionError),
    ],
)
def test_a_header_that_is_none_is_refused(header, error):
    """Nothing is computed from foreign bytes."""
    with pytest.raises(error):
        Span.of(header, bytes(32))


# ----------------------------------------------------------------------------------------------- ranges


@pytest.mark.parametrize("size_bytes", [0, 1, 1000, 3 * MIB + 17])
def test_every_range_is_that_part_of_the_blob(store, tmp_path, size_bytes):
    """Whatever the place and length, also past the end."""
    source = random.Random(size_bytes)
    data = source.randbytes(size_bytes)
    blob = add(store, data)
    ranges = BlobRanges(SparseStore(store, None, tmp_path, RecordingReporter()), blob)

    assert size_bytes == ranges.size_bytes
    for _ in range(60):
        offset, length = source.randrange(size_bytes + 10), source.choice([0, 1, 100, 70_000, size_bytes])
        assert data[offset : offset + length] == ranges.read(offset, length)


def test_a_range_is_brought_alone_and_a_reader_that_goes_on_gets_more(store, other, files, send, sparse):
    """A hundred bytes of 40 MiB cost two chunks; a sequential reader asks the remote ever more seldom."""
    data = random.Random(1).randbytes(40 * MIB)
    blob = add(store, data)
    send()
    ranges = BlobRanges(sparse, blob)

    assert data[20 * MIB : 20 * MIB + 100] == ranges.read(20 * MIB, 100)
    assert files.bytes_of("data/", ".pack") < MIB
    assert sum(size for _, size in files.reads) < MIB

    files.reads.clear()
    again = BlobRanges(sparse, blob)
    assert data[: 10 * MIB] == b"".join(again.read(offset, 65_536) for offset in range(0, 10 * MIB, 65_536))
    assert len(files.reads) < 20
    assert False is ranges.proven

    sparse.keep()
    files.reads.clear()
    afresh = BlobRanges(SparseStore(other, None, other.layout.directory, RecordingReporter()), blob)
    assert data[5 * MIB : 6 * MIB] == afresh.read(5 * MIB, MIB)


def test_a_blob_counts_as_proven_once_all_of_it_was_read(store, tmp_path):
    """Chunks are checked one by one; that they are this blob's is known at the end."""
    data = random.Random(2).randbytes(MIB)
    blob, small = add(store, data), add(store, b"small")
    here = SparseStore(store, None, tmp_path, RecordingReporter())
    ranges = BlobRanges(here, blob)

    assert True is BlobRanges(here, small).proven
    assert False is ranges.proven
    ranges.read(500_000, 10)
    assert data == b"".join(ranges.read(offset, 10_000) for offset in range(0, MIB, 10_000))
    assert True is ranges.proven


def test_a_recipe_of_other_chunks_is_found_out_at_the_end(store, tmp_path):
    """Whoever reads the whole never takes other bytes for it."""
    wrong = BlobId(blake3(b"something else").digest())
    recipe = RecipeBuilder()
    pieces = [random.Random(n).randbytes(1000) for n in range(3)]
    with store.writer() as writer:
        for piece in pieces:
            recipe.append(writer.add_blob(piece).digest, len(piece))
        writer.flush()
        writer._add(RecordKind.RECIPE, RecordKind.CHUNK, wrong.digest, recipe.encode())
    ranges = BlobRanges(SparseStore(store, None, tmp_path, RecordingReporter()), wrong)

    assert pieces[1][:10] == ranges.read(1000, 10)
    with pytest.raises(ObjectDamagedError):
        ranges.read(0, 3000)


# ------------------------------------------------------------------------------------------- the remote


@pytest.fixture
def many(store, send, monkeypatch):
    """Four thousand small blobs in several packs on the remote, found by parts of the indexes."""
    monkeypatch.setattr(remote_lookup, "_SMALL_INDEX_BYTES", 1 << 10)
    made = []
    for part in range(4):
        with store.writer() as writer:
            made += [writer.add_blob(f"{part} {number}".encode() * 20) for number in range(1000)]
    send()
    return made


def test_one_of_many_small_blobs_moves_little(files, many, sparse):
    """Neither the indexes nor the packs come: a few kB of each index, and the record."""
    index_bytes = sum(path.stat().st_size for path in files._root.rglob("data/*.idx"))

    for blob in (many[7], many[3999]):
        assert BlobId.of(BlobRanges(sparse, blob).read(0, MIB)) == blob

    assert files.bytes_of("data/", ".idx") < index_bytes / 2
    assert files.bytes_of("data/", ".pack") < 2000


def test_what_no_remote_has_is_missing_after_all_indexes_were_read(files, many, sparse):
    """A part of an index cannot be checked, so it is never the reason to call something missing."""
    with pytest.raises(ObjectMissingError):
        BlobRanges(sparse, BlobId(blake3(b"nowhere").digest()))

    assert 4 == len({name for name, size in files.reads if name.startswith("data/") and size > 50_000})


@pytest.mark.parametrize(("victim", "byte"), [("header", 0), ("header", 57), ("entry", 0), ("record", 0)])
def test_damage_on_the_remote_is_never_handed_out(files, many, sparse, victim, byte):
    """A lying part of an index, or a flipped bit in a record, ends in an error that names it."""
    blob = many[1234]
    for index in files._root.rglob("data/*.idx"):
        data = bytearray(index.read_bytes())
        if victim == "header":
            data[byte] ^= 0x40
        elif victim == "entry" and (at := data.find(blob.digest)) >= 0:
            data[at + 32] ^= 1
        index.chmod(0o644)
        index.write_bytes(data)
    if victim == "record":
        for pack in files._root.rglob("data/*.pack"):
            data = bytearray(pack.read_bytes())
            data[len(data) // 2 :: 64] = bytes(byte ^ 1 for byte in data[len(data) // 2 :: 64])
            data[16 : len(data) // 2 : 64] = bytes(byte ^ 1 for byte in data[16 : len(data) // 2 : 64])
            pack.chmod(0o644)
            pack.write_bytes(data)

    with pytest.raises((RemoteDamagedError, ObjectMissingError)) as caught:
        BlobRanges(sparse, blob).read(0, 100)

    assert "far" in str(caught.value) or blob.hex in str(caught.value)


def test_deltas_come_with_their_bases(store, other, send, sparse):
    """A second version is read from a remote through records that stand on the first one's."""
    rows = [f"{number},{number * 7919 % 10_007}\n" for number in range(150_000)]
    first = "".join(rows).encode()
    rows[::500] = ["changed\n"] * len(rows[::500])
    second = "".join(rows).encode()
    before = add(store, first)
    with store.writer() as writer:
        blob, _ = writer.add_stream(open_bytes(second), before)
    assert any(entry.base for info in store.packs() if info.is_data for entry in store.entries_of(info.id))
    send()

    ranges = BlobRanges(sparse, blob)

    assert second[900_000:900_500] == ranges.read(900_000, 500)
    assert second == ranges.read(0, len(second))
    sparse.keep()
    assert second == other.read_blob(blob)


def test_trees_come_in_one_go_or_in_pieces(store, other, files, send, sparse):
    """Small directories and one that is stored in chunks, without any data."""
    with store.writer() as writer:
        leaf = writer.add_blob(b"leaf")
        small = [writer.add_tree([TreeEntry(f"{n}".encode(), Kind.FILE, leaf, 4)]) for n in range(30)]
        large = writer.add_tree([TreeEntry(f"{n:06}".encode(), Kind.FILE, leaf, 4) for n in range(5000)])
    send()

    sparse.bring_trees(small)
    requests = len(files.reads)
    names = [sparse.read_tree(tree)[0].name for tree in small]

    assert [f"{n}".encode() for n in range(30)] == names
    assert requests == len(files.reads)
    assert 5000 == len(sparse.read_tree(large))
    assert 0 == files.bytes_of("data/", ".pack")
    sparse.keep()
    assert 5000 == len(other.read_tree(large))


def test_what_was_read_is_kept_in_few_packs(other, many, sparse, monkeypatch):
    """A thousand small reads do not make a thousand packs, and all are durable in the end."""
    monkeypatch.setattr(arrivals_room, "_FLUSHED_BYTES", 20_000)
    for blob in many[:400]:
        BlobRanges(sparse, blob).read(0, 10)
    sparse.keep()

    assert len(other.packs()) < 20
    assert all(BlobId.of(other.read_blob(blob)) == blob for blob in many[:400])
    assert () == tuple(check(other, RecordingReporter()))


def test_a_store_that_cannot_be_written_still_reads(other, many, sparse, monkeypatch):
    """What comes is held for a while, and nothing fails."""
    monkeypatch.setattr(arrivals_room, "_FLUSHED_BYTES", 5_000)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(arrivals_room, "PackWriter", refuse)

    for blob in many[:200]:
        assert BlobId.of(BlobRanges(sparse, blob).read(0, MIB)) == blob
    assert sparse._arrivals._size_bytes < 20_000
    assert () == tuple(other.packs())


def test_what_was_pushed_meanwhile_is_found(store, send, sparse, monkeypatch):
    """A long program sees what others push while it runs."""
    first = add(store, b"first")
    send()
    assert b"first" == BlobRanges(sparse, first).read(0, 10)
    later = add(store, b"later")
    send()
    monkeypatch.setattr("mlvc.store.sparse._STALE_S", 0.0)

    assert b"later" == BlobRanges(sparse, later).read(0, 10)


def test_several_threads_read_at_once(store, send, sparse):
    """Each its own file of one snapshot."""
    data = [random.Random(n).randbytes(300_000) for n in range(8)]
    blobs = [add(store, each) for each in data]
    send()
    right = [False] * 8

    def read(number):
        right[number] = data[number] == BlobRanges(sparse, blobs[number]).read(0, MIB)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [True] * 8 == right


def test_a_forked_process_opens_its_own_connection(store, send, files, other, tmp_path):
    """As the workers of a data loader do."""
    data = random.Random(3).randbytes(100_000)
    blob = add(store, data)
    send()
    opened = []

    def connect():
        opened.append(os.getpid())
        return Remote("file:///far", files)

    sparse = SparseStore(other, connect, tmp_path / "other-cache", RecordingReporter())
    ranges = BlobRanges(sparse, blob)
    child = os.fork()
    if child == 0:
        same = data == ranges.read(0, MIB) and opened == [os.getppid(), os.getpid()]
        os._exit(0 if same else 1)
    _, status = os.waitpid(child, 0)

    assert 0 == os.waitstatus_to_exitcode(status)
