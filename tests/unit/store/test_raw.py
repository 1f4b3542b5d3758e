"""Raw packs: when a file is kept as one, what is in it, and that it is a pack like any other to everything else."""

import errno
import mmap
import os
import random
import re
import shutil
from pathlib import Path

import pytest

from mlvc import fsio
from mlvc.errors import IntegrityError, MlvcError, VersionError
from mlvc.model.ids import BlobId, ChunkId, PackId
from mlvc.model.tree import Kind, TreeEntry
from mlvc.page_cache import OnceReader, go_past_cache
from mlvc.ports import RecordKind
from mlvc.store.errors import DamagedFileError
from mlvc.store.fetch import fetch_records
from mlvc.store.fsck import check, examine
from mlvc.store.gc import Roots, collect
from mlvc.store.local import LocalStore
from mlvc.store.pack_index import decode_index, encode_index
from mlvc.store.push import push, repair
from mlvc.store.raw import RAW_FROM_BYTES
from mlvc.store.remote import Remote
from mlvc.store.remote_files import RemoteDamagedError
from mlvc.store.remote_indexes import RemoteIndexes
from mlvc.store.repair import mend_packs
from mlvc.store.verified import read_verified
from tests.support.raw import OpenFile, add_raw
from tests.support.reporter import RecordingReporter

DATA = random.Random(5).randbytes(400_000)
LARGE_BYTES = RAW_FROM_BYTES + 4_321


def fresh(store):
    return LocalStore(store.layout.directory)


def raw_packs(store):
    return [info for info in store.packs() if info.is_raw]


def overwrite(path, data):
    path.chmod(0o644)
    path.write_bytes(data)


def add_file(store, path, previous=None):
    source = OpenFile(path)
    try:
        with store.writer() as writer:
            blob, size_bytes = writer.add_file(source, previous)
        assert source.size_bytes == size_bytes == source.done_bytes
    finally:
        source.close()
    return blob


@pytest.fixture
def store(tmp_path):
    return LocalStore.create(tmp_path / "store")


@pytest.fixture
def small(store, tmp_path):
    """A store with one raw pack of a few chunks."""
    path = tmp_path / "small"
    path.write_bytes(DATA)
    assert BlobId.of(DATA) == add_raw(store, path)
    return fresh(store)


@pytest.fixture(scope="module")
def noise():
    return random.Random(6).randbytes(LARGE_BYTES)


def test_a_large_incompressible_file_is_one_file_of_the_store(store, tmp_path, noise):
    """Its pack holds exactly its bytes, and its name is the blob's id; chunks, ids and recipe are the usual ones."""
    (tmp_path / "noise").write_bytes(noise)
    blob = add_file(store, tmp_path / "noise")
    assert BlobId.of(noise) == blob
    (info,) = raw_packs(store)
    assert (PackId(blob.digest), len(noise), True) == (info.id, info.size_bytes, info.is_data)
    assert noise == store.layout.pack(info.id).read_bytes()
    usual = LocalStore.create(tmp_path / "usual")
    with usual.writer() as writer, (tmp_path / "noise").open("rb") as file:
        writer.add_stream(file)
    assert not raw_packs(usual)
    assert list(usual.records_of(blob)) == list(store.records_of(blob))
    assert noise == fresh(store).read_blob(blob)
    assert list(check(fresh(store), RecordingReporter())) == []


def test_a_later_version_shares_the_chunks_of_a_raw_pack(store, tmp_path, noise):
    """An edit in the middle stores a few chunks and a recipe, in ordinary packs."""
    (tmp_path / "noise").write_bytes(noise)
    add_file(store, tmp_path / "noise")
    edited = noise[: 8 << 20] + b"an edit" + noise[8 << 20 :]
    (tmp_path / "noise").write_bytes(edited)
    before = sum(info.size_bytes for info in store.packs())
    blob = add_file(store, tmp_path / "noise")
    assert sum(info.size_bytes for info in store.packs()) < before + 500_000
    assert BlobId.of(edited) == blob
    assert len(raw_packs(store)) == 1
    assert edited == store.read_blob(blob)


def test_a_version_that_deltas_make_small_is_not_kept_raw(store, tmp_path, noise):
    """A byte of every 20 KB changed leaves no chunk as it was, and yet there is little to store."""
    (tmp_path / "noise").write_bytes(noise)
    first = add_file(store, tmp_path / "noise")
    edited = bytearray(noise)
    for position in range(0, len(edited), 20_000):
        edited[position] ^= 1
    (tmp_path / "noise").write_bytes(edited)
    add_file(store, tmp_path / "noise", first)
    assert len(raw_packs(store)) == 1
    assert sum(info.size_bytes for info in store.packs() if not info.is_raw) < len(edited) / 20


@pytest.mark.parametrize("what", ["text", "small", "a pack"])
def test_what_gains_nothing_is_kept_as_ever(store, tmp_path, noise, what):
    """Text, what is not large, and what would be taken for a pack with a header go into ordinary packs."""
    data = {
        "text": b"some text, line by line\n" * (LARGE_BYTES // 20),
        "small": noise[: RAW_FROM_BYTES - 1],
        "a pack": b"MLVCPACK" + noise,
    }[what]
    (tmp_path / "file").write_bytes(data)
    blob = add_file(store, tmp_path / "file")
    assert BlobId.of(data) == blob
    assert not raw_packs(store)
    assert data == store.read_blob(blob)


class Becoming(OpenFile):
    """A file that is something else once it was looked at."""

    def __init__(self, path, later):
        super().__init__(path)
        self._path, self._later = path, later

    def fileno(self):
        self._path.write_bytes(self._later)
        return super().fileno()


@pytest.mark.parametrize("later", [b"", b"short", b"MLVCPACK" + DATA], ids=["empty", "short", "a pack"])
def test_a_file_that_becomes_something_else_is_stored_as_that(store, tmp_path, noise, later):
    """It was chosen to be kept raw, and can be no more: what it holds then is stored."""
    path = tmp_path / "file"
    path.write_bytes(noise)
    source = Becoming(path, later)
    with store.writer() as writer:
        assert (BlobId.of(later), len(later)) == writer.add_file(source)
    source.close()
    assert not raw_packs(store)
    assert later == store.read_blob(BlobId.of(later))
    assert list(check(fresh(store), RecordingReporter())) == []


def test_the_index_of_a_raw_pack_has_one_form(small):
    """What the writer collected is byte for byte what its decoded entries make, repeated chunks included."""
    (info,) = raw_packs(small)
    data = small.layout.index(info.id).read_bytes()
    decoded, entries = decode_index(data)
    assert info == decoded
    assert data == encode_index(decoded, entries)
    assert sum(entry.length for entry in entries) == len(DATA)


def test_a_chunk_that_is_in_a_file_twice_has_two_entries(store, tmp_path):
    """Every byte of the pack belongs to an entry, in order of offset among those of one id."""
    path = tmp_path / "twice"
    path.write_bytes(DATA * 3)
    blob = add_raw(store, path)
    (info,) = raw_packs(store)
    assert info.records > len({key.digest for key in store.records_of(blob)}) - 1
    assert DATA * 3 == fresh(store).read_blob(blob)
    decode_index(store.layout.index(info.id).read_bytes())
    assert list(check(fresh(store), RecordingReporter())) == []


def filled(store, blob, path):
    """Returns what `fill_file` wrote, and whether it says that it did."""
    with path.open("w+b") as file:
        done = store.fill_file(blob, file.fileno(), lambda _: None)
    return done, path.read_bytes()


def test_a_file_is_filled_from_a_raw_pack(small, tmp_path):
    """All bytes are there; a blob in an ordinary pack is left to the usual way."""
    assert (True, DATA) == filled(small, BlobId.of(DATA), tmp_path / "out")
    with small.writer() as writer:
        other = writer.add_blob(b"x")
    assert (False, b"") == filled(small, other, tmp_path / "out")


@pytest.fixture
def synced(monkeypatch):
    """The inode of each file that is synced, in order."""
    done = []
    sync_file = fsio.sync_file

    def record(fd):
        done.append(os.fstat(fd).st_ino)
        sync_file(fd)

    monkeypatch.setattr(fsio, "sync_file", record)
    return done


def test_a_pack_is_durable_before_it_counts_as_intact(small, tmp_path, synced):
    """One that somebody copied here may be in memory alone: power loss could take its bytes and leave its stat data."""
    (info,) = raw_packs(small)
    path = small.layout.pack(info.id)
    path.rename(tmp_path / "there")
    shutil.copy(tmp_path / "there", path)
    small.layout.verified.unlink(missing_ok=True)
    assert (True, DATA) == filled(small, BlobId.of(DATA), tmp_path / "out")
    assert {info.id} == read_verified(small.layout).keys()
    pack, verified = path.stat().st_ino, small.layout.verified.stat().st_ino
    assert [pack, verified] == synced


def test_a_pack_that_no_disk_takes_does_not_count_as_intact(small, tmp_path, monkeypatch):
    """Its bytes are right and are handed out; they are read again the next time."""

    def fail(_fd):
        raise OSError(errno.EIO, "the disk fails")

    small.layout.verified.unlink(missing_ok=True)
    monkeypatch.setattr(fsio, "sync_file", fail)
    assert (True, DATA) == filled(small, BlobId.of(DATA), tmp_path / "out")
    assert {} == read_verified(small.layout)


@pytest.mark.parametrize("suffix", ["pack", "index"])
def test_every_flipped_byte_of_a_raw_pack_is_found_and_named(small, tmp_path, suffix):
    """Whichever byte is another: fsck names the file, nothing wrong is handed out, and a reader names it too."""
    (info,) = raw_packs(small)
    path = getattr(small.layout, suffix)(info.id)
    good = path.read_bytes()
    positions = range(len(good)) if suffix == "index" else range(0, len(good), 9_973)
    for position in positions:
        bad = bytearray(good)
        bad[position] ^= 0x41
        overwrite(path, bad)
        damages = check(fresh(small), RecordingReporter())
        assert any(str(path) in damage.message and damage.pack == info.id for damage in damages), position
        with pytest.raises((IntegrityError, VersionError), match=info.id.hex):
            fresh(small).read_blob(BlobId.of(DATA))
        assert (False, b"") == filled(fresh(small), BlobId.of(DATA), tmp_path / "out")


@pytest.mark.parametrize("length", [0, 1, 16, 65_536, len(DATA) - 1])
def test_a_raw_pack_that_was_cut_short_is_found(small, tmp_path, length):
    """It is damage with a name, and nothing of it is handed out."""
    (info,) = raw_packs(small)
    path = small.layout.pack(info.id)
    overwrite(path, DATA[:length])
    assert "damaged-pack" in {damage.kind for damage in check(fresh(small), RecordingReporter())}
    assert (False, b"") == filled(fresh(small), BlobId.of(DATA), tmp_path / "out")
    with pytest.raises(DamagedFileError, match=str(path)):
        fresh(small).read_blob(BlobId.of(DATA))


def mend(store):
    return mend_packs(store, examine(store, RecordingReporter()), RecordingReporter())


def test_a_lost_index_of_a_raw_pack_is_made_again(small):
    """Without it the pack does not count; its name says that it is intact, and cutting it again gives the entries."""
    (info,) = raw_packs(small)
    path = small.layout.index(info.id)
    good = path.read_bytes()
    path.unlink()
    assert ["missing-index"] == [damage.kind for damage in check(fresh(small), RecordingReporter())]
    assert [] == mend(fresh(small))
    assert good == path.read_bytes()
    assert DATA == fresh(small).read_blob(BlobId.of(DATA))


def test_what_is_good_in_a_damaged_raw_pack_is_saved(small):
    """The other chunks are copied into an ordinary pack, and the damaged one is moved aside, not destroyed."""
    (info,) = raw_packs(small)
    path = small.layout.pack(info.id)
    overwrite(path, DATA[:-1] + b"?")
    moved = mend(fresh(small))
    assert path.name in [each.name for each in moved]
    assert not raw_packs(fresh(small))
    chunks = [key for key in fresh(small).records_of(BlobId.of(DATA)) if key.kind == RecordKind.CHUNK]
    assert 1 == len(fresh(small).lacking(chunks))
    with fresh(small).writer() as writer:
        writer.add_blob(DATA)
    assert DATA == fresh(small).read_blob(BlobId.of(DATA))


def cache_of(store):
    return store.layout.directory.with_name(store.layout.directory.name + "-cache")


def bring(store, remote, wanted=None):
    listed = remote.list_packs()
    indexes = RemoteIndexes(store, remote, listed, cache_of(store))
    wanted = indexes.records(listed) if wanted is None else wanted
    return fetch_records(store, remote, listed, indexes, wanted, RecordingReporter())


@pytest.fixture
def remote(small, tmp_path):
    with small.writer() as writer:
        writer.add_tree([TreeEntry(b"name", Kind.FILE, BlobId.of(DATA), len(DATA))])
    found = Remote.open(str(tmp_path / "remote"))
    push(small, found, cache_of(small), RecordingReporter())
    return found


def test_a_raw_pack_is_pushed_and_fetched_as_it_is(small, remote, tmp_path):
    """The other store has the same raw pack, and a second push has nothing to send."""
    other = LocalStore.create(tmp_path / "other")
    bring(other, remote)
    assert raw_packs(small) == raw_packs(other)
    assert DATA == fresh(other).read_blob(BlobId.of(DATA))
    assert list(check(fresh(other), RecordingReporter())) == []
    assert (0, 0) == push(small, remote, cache_of(small), RecordingReporter())


def test_single_chunks_of_a_raw_pack_are_fetched(small, remote, tmp_path):
    """A reader that needs little of it reads ranges; the chunks go into an ordinary pack of its own."""
    other = LocalStore.create(tmp_path / "other")
    chunk = next(key for key in small.records_of(BlobId.of(DATA)) if key.kind == RecordKind.CHUNK)
    bring(other, remote, [chunk])
    assert not raw_packs(other)
    location = fresh(other).catalog.find(chunk.digest, RecordKind.CHUNK)
    assert fresh(other).records.read_verified(location, ChunkId(chunk.digest)) in DATA
    assert list(check(fresh(other), RecordingReporter())) == []


def test_a_damaged_raw_pack_is_not_pushed(small, tmp_path):
    """Wrong bytes never leave (promise 3)."""
    (info,) = raw_packs(small)
    overwrite(small.layout.pack(info.id), DATA[:-1] + b"?")
    with pytest.raises(DamagedFileError, match="was not sent"):
        push(fresh(small), Remote.open(str(tmp_path / "remote")), cache_of(small), RecordingReporter())


def test_a_raw_pack_that_is_damaged_on_a_remote_is_found_and_mended(small, remote, tmp_path):
    """A fetch says what is wrong with it; a store that has its chunks in ordinary packs sends it again."""
    (info,) = raw_packs(small)
    far = tmp_path / "remote" / "data" / f"{info.id.hex}.pack"
    overwrite(far, DATA[:-1] + b"?")
    other = LocalStore.create(tmp_path / "other")
    with pytest.raises(RemoteDamagedError, match=info.id.hex):
        bring(other, remote)
    with other.writer() as writer:
        writer.add_blob(DATA)
    bring(other, remote)
    repair(other, remote, cache_of(other), RecordingReporter())
    assert DATA == far.read_bytes()


def test_a_file_is_read_past_the_cache(tmp_path):
    """Whatever its length and wherever its bytes are, all of it is read, and nothing after its end."""
    buffer = memoryview(mmap.mmap(-1, 1 << 20))
    for size in (0, 1, 4_096, 4_097, (1 << 20) - 1, (1 << 20), (1 << 20) + 5):
        path = tmp_path / str(size)
        path.write_bytes(DATA[: size % 4_000] + bytes(size - size % 4_000))
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with OnceReader(path) as reader:
            data = b""
            while count := reader.read_into(buffer, len(data)):
                data += bytes(buffer[:count])
        assert path.read_bytes() == data


def bytes_from_disk():
    """How much this process made the system read from a disk, ahead of its needs too."""
    (line,) = re.findall(r"^read_bytes: (\d+)$", Path("/proc/self/io").read_text(), re.MULTILINE)
    return int(line)


def test_a_file_that_is_not_in_memory_is_read_once(tmp_path):
    """Asking what is there does not make Linux read ahead what is then read past the cache."""
    path, piece, pieces = tmp_path / "large", 4 << 20, 4
    buffer = memoryview(mmap.mmap(-1, piece))
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        go_past_cache(fd, on=True)
        assert pieces * piece == sum(os.pwrite(fd, buffer, number * piece) for number in range(pieces))
    finally:
        os.close(fd)
    before = bytes_from_disk()
    with OnceReader(path) as reader:
        for number in range(pieces):
            assert piece == reader.read_into(buffer, number * piece)
    read = bytes_from_disk() - before
    if read < pieces * piece:
        pytest.skip("NOT TESTED: the file system of the temporary directory keeps all files in memory")
    assert read < 1.1 * pieces * piece


def test_a_file_that_is_in_memory_is_not_read_from_the_disk(tmp_path):
    """All but a part of it, which alone is read past the cache."""
    path, piece, pieces = tmp_path / "large", 4 << 20, 4
    path.write_bytes(os.urandom(piece * pieces))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), piece, piece, os.POSIX_FADV_DONTNEED)
    buffer = memoryview(mmap.mmap(-1, piece))
    before = bytes_from_disk()
    data = b""
    with OnceReader(path) as reader:
        for number in range(pieces):
            assert piece == reader.read_into(buffer, number * piece)
            data += buffer
    read = bytes_from_disk() - before

    assert path.read_bytes() == data
    assert read < 1.5 * piece


def test_a_store_that_cannot_be_written_takes_no_raw_pack(store, tmp_path, noise):
    """The error names the store, and nothing is left in it."""
    (tmp_path / "noise").write_bytes(noise)
    store.layout.temporaries.rmdir()
    store.layout.temporaries.write_bytes(b"no directory")
    with pytest.raises(MlvcError, match="write to the store"):
        add_file(store, tmp_path / "noise")
    assert [] == os.listdir(store.layout.packs)


def gc(store, roots):
    digests = [blob.digest for blob in roots]
    return collect(
        fresh(store), lambda: Roots(digests, ()), RecordingReporter(), now_s=3_000_000_000, keep_s=0
    )


def test_gc_deletes_a_raw_pack_that_nothing_needs(small):
    """And keeps one of which anything is needed, byte for byte."""
    (info,) = raw_packs(small)
    gc(small, [BlobId.of(DATA)])
    assert DATA == small.layout.pack(info.id).read_bytes()
    gc(small, [])
    assert not small.layout.pack(info.id).exists()
    assert [] == list(check(fresh(small), RecordingReporter()))


def test_gc_leaves_a_raw_pack_that_repeats_itself_as_it_is(store, tmp_path):
    """A chunk that a blob holds three times is no duplicate; a copy of it in an ordinary pack is."""
    (tmp_path / "thrice").write_bytes(DATA * 3)
    with store.writer() as writer:
        first = writer.add_blob(DATA)
    blob = add_raw(store, tmp_path / "thrice")
    gc(store, [blob, first])
    assert [PackId(blob.digest)] == [info.id for info in fresh(store).packs() if info.is_data]
    assert DATA * 3 == fresh(store).read_blob(blob)
    assert DATA == fresh(store).read_blob(first)


def test_gc_keeps_the_chunks_that_another_version_needs(small):
    """They are copied into an ordinary pack, each with a header, and the rest of the raw pack goes."""
    half = DATA[: len(DATA) // 2]
    with small.writer() as writer:
        writer.add_blob(half)
    gc(small, [BlobId.of(half)])
    assert not raw_packs(fresh(small))
    assert half == fresh(small).read_blob(BlobId.of(half))
    assert not fresh(small).has_blob(BlobId.of(DATA))
    assert [] == list(check(fresh(small), RecordingReporter()))
