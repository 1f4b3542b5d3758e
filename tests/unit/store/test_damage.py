"""Damaged, missing and foreign files of a store: each is named, nothing wrong is handed out, nothing is changed."""

import contextlib
import os
import random
import shutil
import struct
import threading

import pytest
from xxhash import xxh3_64_intdigest

from mlvc import fsio
from mlvc.errors import IntegrityError, MlvcError, NotFoundError, VersionError
from mlvc.fsio import FileUnreadableError
from mlvc.model.ids import BlobId, ChunkId, TreeId
from mlvc.model.objects import Commit
from mlvc.model.tree import Kind, TreeEntry, encode_tree
from mlvc.ports import RecordKind
from mlvc.store.errors import DamagedFileError, NotAStoreError, ObjectMissingError, UnknownFormatError
from mlvc.store.fsck import check
from mlvc.store.local import LocalStore
from mlvc.store.pack import Encoding, Entry, NewRecord, encode_records
from mlvc.store.pack_writer import PackWriter
from tests.support.reporter import RecordingReporter

COMMIT = Commit(code_sha="0" * 40, code_tree=None, paths=(), message="first")
TEXT = b"some text that can be compressed " * 20
TREE = [TreeEntry(b"name", Kind.FILE, BlobId.of(b"raw"), 3)]
LARGE = random.Random(2).randbytes(300_000)


@pytest.fixture
def store(tmp_path):
    """Two packs: a raw and a compressed chunk; a tree and a commit."""
    store = LocalStore.create(tmp_path / "store")
    with store.writer() as writer:
        writer.add_blob(b"raw")
        writer.add_blob(TEXT)
        writer.add_tree(TREE)
        writer.add_object(COMMIT)
    return store


def pack_of(store, *, is_data):
    return next(info.id for info in store.packs() if info.is_data == is_data)


def read_everything(store):
    """Reads each object by id and compares it."""
    assert store.read_blob(BlobId.of(b"raw")) == b"raw"
    assert store.read_blob(BlobId.of(TEXT)) == TEXT
    assert list(store.read_tree(TreeId.of(encode_tree(TREE)))) == TREE
    assert store.read_object(COMMIT.id) == COMMIT
    assert [COMMIT.id] == list(store.iter_object_ids(RecordKind.COMMIT))


def snapshot(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def fsck(store):
    before = snapshot(store.layout.directory)
    damages = check(store, RecordingReporter())
    assert before == snapshot(store.layout.directory)
    return damages


def overwrite(path, data):
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_whole_store_has_no_damage(store):
    """Fsck finds nothing wrong, and its progress ends at the total."""
    with store.writer() as writer:
        writer.add_blob(LARGE)
    reporter = RecordingReporter()
    assert list(check(store, reporter)) == []
    (task,) = reporter.tasks
    assert (task.unit, task.ended) == ("bytes", True)
    packs = sum(info.size_bytes for info in store.packs())
    assert packs == task.done == task.total


@pytest.mark.parametrize("is_data", [True, False])
@pytest.mark.parametrize("suffix", ["pack", "index"])
def test_every_flipped_byte_is_found_and_named(store, is_data, suffix):
    """Whichever byte of a pack or an index is another: fsck names the file, and a reader never gets wrong bytes."""
    pack = pack_of(store, is_data=is_data)
    path = getattr(store.layout, suffix)(pack)
    good = path.read_bytes()
    refusals = []
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 0x41
        overwrite(path, bad)
        damages = check(LocalStore(store.layout.directory), RecordingReporter())
        assert damages, position
        assert any(str(path) in damage.message and damage.pack == pack for damage in damages), position
        try:
            read_everything(LocalStore(store.layout.directory))
        except (IntegrityError, VersionError) as error:
            refusals.append(error.message)
        # Who reads many at once is told nothing, and gets nothing wrong either.
        digests = [BlobId.of(b"raw").digest, BlobId.of(TEXT).digest]
        for number, data in LocalStore(store.layout.directory).read_small_blobs(digests):
            assert data == (b"raw", TEXT)[number], position
    # Readers look at no entry that was not asked for.
    assert len(refusals) > len(good) * 0.9
    assert all(str(path) in message for message in refusals)


@pytest.mark.parametrize("is_data", [True, False])
@pytest.mark.parametrize("suffix", ["pack", "index"])
def test_every_truncation_is_found_and_named(store, is_data, suffix):
    """A file that ends too early, at any byte, is one error that names it."""
    pack = pack_of(store, is_data=is_data)
    path = getattr(store.layout, suffix)(pack)
    good = path.read_bytes()
    for length in range(0, len(good), 7):
        overwrite(path, good[:length])
        damages = check(LocalStore(store.layout.directory), RecordingReporter())
        assert any(str(path) in damage.message and damage.pack == pack for damage in damages), length
        with pytest.raises((IntegrityError, VersionError)) as caught:
            read_everything(LocalStore(store.layout.directory))
        assert str(path) in caught.value.message


def test_bytes_after_the_last_record_are_found(store):
    """A pack that grew is damaged, though each record in it is whole."""
    path = store.layout.pack(pack_of(store, is_data=True))
    overwrite(path, path.read_bytes() + b"more")
    assert {"damaged-pack"} == {damage.kind for damage in fsck(store)}


def test_a_damaged_record_is_named_with_its_id(store):
    """Fsck says which object a damaged record is, and that the others are whole."""
    path = store.layout.pack(pack_of(store, is_data=True))
    overwrite(path, path.read_bytes().replace(b"raw", b"Raw"))
    damages = fsck(store)
    assert [damage.kind for damage in damages] == ["damaged-pack", "damaged-record"]
    assert BlobId.of(b"raw").digest == damages[1].object_id.digest
    assert RecordKind.CHUNK is damages[1].object_kind
    with pytest.raises(DamagedFileError, match="checksum"):
        store.read_blob(BlobId.of(b"raw"))
    assert store.read_blob(BlobId.of(TEXT)) == TEXT


def test_a_missing_index_hides_the_pack_and_fsck_says_so(store):
    """A pack without its index, which a crash between the two leaves, is as if it were not there."""
    pack = pack_of(store, is_data=True)
    store.layout.index(pack).unlink()
    reader = LocalStore(store.layout.directory)
    with pytest.raises(ObjectMissingError):
        reader.read_blob(BlobId.of(b"raw"))
    assert [("missing-index", pack)] == [(damage.kind, damage.pack) for damage in fsck(reader)]
    with reader.writer() as writer:
        writer.add_blob(b"raw")
        writer.add_blob(TEXT)
    assert reader.read_blob(BlobId.of(b"raw")) == b"raw"
    assert list(fsck(reader)) == []


def test_a_missing_pack_is_missing_not_damaged(store):
    """Objects of a pack that is gone are missing, for a reader that knew it and for one that never did."""
    assert store.has_blob(BlobId.of(b"raw"))
    pack = pack_of(store, is_data=True)
    store.layout.pack(pack).unlink()
    for reader in (store, LocalStore(store.layout.directory)):
        with pytest.raises(ObjectMissingError):
            reader.read_blob(BlobId.of(b"raw"))
    assert [("missing-pack", pack)] == [(damage.kind, damage.pack) for damage in fsck(store)]


def test_a_missing_chunk_is_named(tmp_path):
    """A blob whose recipe names a chunk that is nowhere is not here, and fsck says which blob that is."""
    store = LocalStore.create(tmp_path / "store")
    with store.writer() as writer:
        blob = writer.add_blob(LARGE)
    pack = pack_of(store, is_data=True)
    store.layout.index(pack).unlink()
    store.layout.pack(pack).unlink()
    reader = LocalStore(store.layout.directory)
    assert not reader.has_blob(blob)
    assert len(LARGE) == reader.blob_size(blob)
    with pytest.raises(ObjectMissingError, match="chunk"):
        reader.read_blob(blob)
    assert [("missing-chunk", blob)] == [(damage.kind, damage.object_id) for damage in fsck(reader)]


def test_a_damaged_index_hides_nothing_else(store):
    """What other packs hold is still read, and what may be in the damaged one is never called missing."""
    pack = pack_of(store, is_data=False)
    overwrite(store.layout.index(pack), b"MLVCPIDX but not really an index")
    reader = LocalStore(store.layout.directory)
    assert reader.read_blob(BlobId.of(b"raw")) == b"raw"
    for ask in (
        lambda: reader.has_object(COMMIT.id),
        lambda: reader.read_object(COMMIT.id),
        lambda: reader.read_blob(BlobId.of(b"never added")),
        lambda: list(reader.iter_object_ids(RecordKind.COMMIT)),
        reader.packs,
    ):
        with pytest.raises(IntegrityError, match=pack.hex):
            ask()
    with reader.writer() as writer:
        writer.add_object(COMMIT)
    assert reader.has_object(COMMIT.id)


def write_pack(store, kind, part, digest, data):
    """Writes a pack with one record that may contradict its id."""
    writer = PackWriter(store.layout, is_data=kind.is_data)
    writer.append(*encode_records([NewRecord(kind, part, digest, data)]))
    return writer.publish(contextlib.nullcontext()).info.id


@pytest.mark.parametrize("kind", [kind for kind in RecordKind if kind is not RecordKind.RECIPE])
def test_an_intact_record_under_a_wrong_id_is_found(tmp_path, kind):
    """The checksum is right and the BLAKE3 is not: the record is refused, and fsck names it."""
    store = LocalStore.create(tmp_path / "store")
    write_pack(store, kind, 0, BlobId.of(b"promised").digest, b"delivered")
    assert [damage.kind for damage in fsck(store)] == ["damaged-object"]
    if kind is RecordKind.CHUNK:
        with pytest.raises(IntegrityError, match="other bytes"):
            store.read_blob(BlobId.of(b"promised"))


@pytest.mark.parametrize("kind", [RecordKind.TREE, RecordKind.COMMIT, RecordKind.RUN])
def test_an_undecodable_object_is_found(tmp_path, kind):
    """Bytes that have the right id and are no tree or object are damaged, for a reader too."""
    store = LocalStore.create(tmp_path / "store")
    write_pack(store, kind, 0, BlobId.of(b"nonsense").digest, b"nonsense")
    assert [damage.kind for damage in fsck(store)] == ["damaged-object"]


def test_a_chunk_of_another_id_is_not_read_among_many(store):
    """Its checksum is right and its bytes are another blob's (promise 3); the others are read."""
    wrong = BlobId.of(b"another")
    write_pack(store, RecordKind.CHUNK, 0, wrong.digest, b"raw")
    digests = [blob.digest for blob in (wrong, BlobId.of(b"absent"), BlobId.of(TEXT), BlobId.of(b"raw"))]
    assert {2: TEXT, 3: b"raw"} == dict(LocalStore(store.layout.directory).read_small_blobs(digests))
    with pytest.raises(IntegrityError):
        store.read_blob(wrong)


@pytest.mark.parametrize("payload", [b"", bytes(10), bytes(31)])
def test_a_delta_that_is_too_short_to_name_its_base(tmp_path, payload):
    """It is damaged, whatever index it has, and hides nothing that is wrong elsewhere."""
    store = LocalStore.create(tmp_path / "store")
    chunk = ChunkId.of(b"x")
    fields = struct.pack("<BBBxII32s", RecordKind.CHUNK, Encoding.DELTA, 0, len(payload), 1, chunk.digest)
    record = struct.pack("<Q", xxh3_64_intdigest(fields + payload)) + fields + payload
    writer = PackWriter(store.layout, is_data=True)
    writer.append(record, [Entry(chunk.digest, 0, len(payload), 1, RecordKind.CHUNK, Encoding.DELTA)])
    writer.publish(contextlib.nullcontext())
    (store.layout.packs / "stray").touch()

    kinds = [damage.kind for damage in check(store, RecordingReporter())]

    assert ["damaged-index", "damaged-record", "stray-file"] == sorted(kinds)
    with pytest.raises(IntegrityError):
        store.read_chunk(chunk)


def test_a_recipe_that_makes_other_bytes_is_found(tmp_path):
    """Each chunk is what it should be, and together they are another blob: found at the end of reading."""
    store = LocalStore.create(tmp_path / "store")
    with store.writer() as writer:
        writer.add_blob(LARGE)
    recipe = _recipe_bytes(store, BlobId.of(LARGE))
    wrong = BlobId.of(b"another")
    write_pack(store, RecordKind.RECIPE, RecordKind.CHUNK, wrong.digest, recipe)
    with pytest.raises(IntegrityError, match="make other bytes"):
        store.read_blob(wrong)
    assert [("damaged-object", wrong)] == [(damage.kind, damage.object_id) for damage in fsck(store)]


def _recipe_bytes(store, blob):
    records = store._records
    return records.read(records.find(blob.digest, RecordKind.RECIPE, RecordKind.CHUNK), blob)


def test_an_unknown_encoding_is_of_a_newer_version(store):
    """A record whose encoding this version does not read is neither missing nor damaged."""
    entry_bytes, entries = encode_records([NewRecord(RecordKind.CHUNK, 0, BlobId.of(b"x").digest, b"x" * 40)])
    changed = bytearray(entry_bytes)
    changed[9] = unknown = max(Encoding) + 1
    changed[:8] = xxh3_64_intdigest(bytes(changed[8:])).to_bytes(8, "little")
    writer = PackWriter(store.layout, is_data=True)
    writer.append(bytes(changed), [entries[0]._replace(encoding=unknown)])
    writer.publish(contextlib.nullcontext())
    with pytest.raises(VersionError, match=f"encoding {unknown}"):
        store.read_blob(BlobId.of(b"x"))
    assert [damage.kind for damage in fsck(store)] == ["unknown-version"]


@pytest.mark.parametrize("suffix", ["pack", "index"])
def test_an_unknown_version_is_not_damage(store, suffix):
    """A file of a newer version is called that."""
    path = getattr(store.layout, suffix)(pack_of(store, is_data=True))
    data = bytearray(path.read_bytes())
    data[8] = 3
    overwrite(path, data)
    assert "unknown-version" in {damage.kind for damage in fsck(LocalStore(store.layout.directory))}
    if suffix == "index":
        with pytest.raises(UnknownFormatError, match="version 3"):
            LocalStore(store.layout.directory).packs()


def test_the_version_of_a_pack_is_checked_when_it_is_opened(store):
    """Not only by fsck: what a newer version means by its records is not guessed."""
    path = store.layout.pack(pack_of(store, is_data=True))
    data = bytearray(path.read_bytes())
    data[8] = 2
    overwrite(path, data)
    with pytest.raises(UnknownFormatError, match="version 2"):
        LocalStore(store.layout.directory).read_blob(BlobId.of(b"raw"))


def test_everything_behind_a_lost_index_is_still_checked(store):
    """A damaged record in a pack whose index is damaged too is named, and so is the index."""
    pack = pack_of(store, is_data=True)
    overwrite(store.layout.index(pack), b"nonsense")
    overwrite(store.layout.pack(pack), store.layout.pack(pack).read_bytes().replace(b"raw", b"Raw"))
    assert {"damaged-index", "damaged-pack", "damaged-record"} == {damage.kind for damage in fsck(store)}


def test_a_pack_that_is_being_published_is_not_called_damaged(store):
    """Its index appears a moment after it, while the lock of writers is held."""
    index = store.layout.index(pack_of(store, is_data=True))
    hidden = store.layout.temporaries / "index"
    index.rename(hidden)
    with contextlib.ExitStack() as stack:
        stack.enter_context(fsio.file_lock(store.layout.lock))
        timer = threading.Timer(0.2, lambda: (hidden.rename(index), stack.close()))
        timer.start()
        found = {damage.kind for damage in check(store, RecordingReporter())}
        timer.join()
    assert "missing-index" not in found


def test_a_stray_file_is_named(store):
    """A pack that somebody renamed is lost to readers, so fsck says that there is something."""
    (store.layout.packs / "copy of a.pack").write_bytes(b"?")
    assert [damage.kind for damage in fsck(store)] == ["stray-file"]


def test_an_exchanged_index_is_damage(store):
    """The index of another pack under this one's name is refused."""
    data, metadata = pack_of(store, is_data=True), pack_of(store, is_data=False)
    shutil.copyfile(store.layout.index(metadata), store.layout.packs / "x")
    os.replace(store.layout.packs / "x", store.layout.index(data))
    with pytest.raises(DamagedFileError, match="another pack"):
        LocalStore(store.layout.directory).packs()
    assert [damage.kind for damage in fsck(LocalStore(store.layout.directory))] == ["damaged-index"]


def test_an_unreadable_pack_is_not_damage(store):
    """A pack that cannot be read is called unreadable; here a directory took its place."""
    path = store.layout.pack(pack_of(store, is_data=True))
    path.unlink()
    path.mkdir()
    with pytest.raises(FileUnreadableError, match=path.name):
        LocalStore(store.layout.directory).read_blob(BlobId.of(b"raw"))
    assert [damage.kind for damage in check(store, RecordingReporter())] == ["unreadable"]


@pytest.mark.parametrize("place", ["unreached", "repositories/stray"])
def test_an_unreadable_file_beside_the_packs_hides_no_damage_in_them(store, place):
    """It is named, and everything else is checked as ever; here a directory took its place."""
    (store.layout.directory / place).mkdir(parents=True)
    store.layout.index(pack_of(store, is_data=True)).write_bytes(b"no index")

    kinds = [damage.kind for damage in check(store, RecordingReporter())]

    assert ["damaged-index", "unreadable"] == sorted(kinds)


# ------------------------------------------------------------------------------------------------ format file


def test_a_directory_that_is_no_store_is_refused(tmp_path):
    """Opening needs a format file; what is missing is said to be missing."""
    with pytest.raises(NotAStoreError, match="no store"):
        LocalStore(tmp_path)
    assert issubclass(NotAStoreError, NotFoundError)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"mlvc-store 2\n", UnknownFormatError),
        (b"mlvc-store 10\n", UnknownFormatError),
        (b"mlvc-store 1", DamagedFileError),
        (b"mlvc-store 1\x0b", DamagedFileError),
        (b"mlvc-store \n", DamagedFileError),
        (b"", DamagedFileError),
        (b"\xff\xfe", DamagedFileError),
    ],
)
def test_a_format_file_of_another_version_or_kind_is_refused(store, content, error):
    """A newer version and a damaged file are two errors, both naming the file."""
    store.layout.format.write_bytes(content)
    with pytest.raises(error, match="format"):
        LocalStore(store.layout.directory)
    with pytest.raises(error, match="format"):
        LocalStore.create(store.layout.directory)


def test_creating_twice_opens(store):
    """`create` on an existing store changes nothing in it."""
    before = snapshot(store.layout.directory)
    read_everything(LocalStore.create(store.layout.directory))
    assert before == snapshot(store.layout.directory)


def test_a_store_that_cannot_be_made_is_one_error(tmp_path):
    """A file in the way is an error of ours that names the directory."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MlvcError, match="file/store"):
        LocalStore.create(tmp_path / "file" / "store")
