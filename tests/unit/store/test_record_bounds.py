"""Lengths that a remote claims: nothing is read, or decompressed, because somebody says that it is long."""

import os
import tracemalloc

import pytest
from blake3 import blake3

from mlvc.errors import FormatError
from mlvc.model.canonical import decode_canonical, encode_canonical
from mlvc.model.ids import CommitId, PackId, TreeId
from mlvc.model.kinds import RecordKind
from mlvc.store.errors import BlobTooLargeError, ObjectDamagedError
from mlvc.store.fetch import fetch_records
from mlvc.store.local import LocalStore, RecordKey
from mlvc.store.pack import NewRecord, encode_pack_header, encode_records
from mlvc.store.pack_index import PackInfo, decode_index, encode_index
from mlvc.store.recipe import RecipeBuilder
from mlvc.store.remote import Remote
from mlvc.store.remote_condemned import read_lists
from mlvc.store.remote_files import DirectoryFiles, RemoteDamagedError
from mlvc.store.remote_indexes import RemoteIndexes
from mlvc.store.remote_lookup import RemoteLookup
from tests.support.reporter import RecordingReporter

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path):
    DirectoryFiles(tmp_path / "far").prepare()
    for name in ("data", "metadata", "gc"):
        (tmp_path / "far" / name).mkdir()
    return tmp_path / "far"


@pytest.fixture
def store(tmp_path):
    return LocalStore.create(tmp_path / "store")


class Watched(DirectoryFiles):
    """Notes how much is asked for."""

    asked_bytes = 0

    def read(self, name, size_bytes, offset=0):
        self.asked_bytes += size_bytes
        return super().read(name, size_bytes, offset)


@pytest.fixture
def files(folder):
    return Watched(folder)


@pytest.fixture
def remote(files):
    return Remote("file:///far", files)


def write_pack(folder, records, *, lie=None, is_data=False):
    """Writes a pack of a stranger and its index, whose entries `lie` changes; returns its id."""
    encoded, entries = encode_records(records)
    header = encode_pack_header(is_data=is_data)
    pack = PackId(blake3(header + encoded).digest())
    entries = [entry._replace(offset=entry.offset + len(header)) for entry in entries]
    size_bytes = len(header) + len(encoded)
    if lie is not None:
        entries = [lie(entry) for entry in entries]
        size_bytes = max(entry.end for entry in entries)
    place = folder / ("data" if is_data else "metadata") / pack.hex
    place.with_suffix(".pack").write_bytes(header + encoded)
    os.truncate(place.with_suffix(".pack"), size_bytes)
    info = PackInfo(pack, is_data, size_bytes, len(entries))
    place.with_suffix(".idx").write_bytes(encode_index(info, entries))
    return pack


def commit(data):
    return NewRecord(RecordKind.COMMIT, 0, blake3(data).digest(), data)


@pytest.mark.parametrize(
    ("kind", "noun", "size_bytes"),
    [
        (RecordKind.COMMIT, "commit", 49 * MIB),
        (RecordKind.RUN, "run", 49 * MIB),
        (RecordKind.TREE, "tree", 5 * MIB),
        (RecordKind.TREE_CHUNK, "tree chunk", 5 * MIB),
        (RecordKind.RECIPE, "recipe", 513 * MIB),
    ],
)
def test_a_record_that_says_that_it_is_long_is_not_read(
    store, remote, files, folder, tmp_path, kind, noun, size_bytes
):
    """Its index is refused, by name; nothing of the pack comes."""

    def lie(entry):
        return entry._replace(kind=int(kind), encoding=1, stored_length=size_bytes, length=size_bytes)

    pack = write_pack(folder, [commit(b"{}")], lie=lie)

    indexes = RemoteIndexes(store, remote, remote.list_packs(), tmp_path / "cache")

    ((name, what),) = indexes.damaged
    assert f"file:///far/metadata/{pack.hex}.idx" == name
    assert what.startswith(f"a {noun} says that it has {size_bytes:,} bytes, and none has more than ")
    assert files.asked_bytes < 1000


def test_a_record_that_decompresses_to_much_is_not_read(store, remote, files, folder, tmp_path):
    """Fifty MiB of a commit come in a few kB."""
    pack = write_pack(folder, [commit(bytes(50 * MIB))])
    assert (folder / "metadata" / f"{pack.hex}.pack").stat().st_size < MIB

    indexes = RemoteIndexes(store, remote, remote.list_packs(), tmp_path / "cache")

    assert "a commit says that it has 52,428,800 bytes" in indexes.damaged[0][1]


def test_a_part_of_an_index_is_believed_no_more(store, remote, files, folder, tmp_path):
    """It is not checked as a whole: a chunk of a GiB that it names is not read."""
    many = [
        NewRecord(RecordKind.CHUNK, 0, blake3(b"%d" % number).digest(), b"%d" % number)
        for number in range(2_000)
    ]
    wanted = RecordKey(RecordKind.CHUNK, 0, many[7].digest)

    def lie(entry):
        is_it = entry.digest == wanted.digest
        return entry._replace(encoding=1, stored_length=1 << 30, length=1 << 30) if is_it else entry

    pack = write_pack(folder, many, lie=lie, is_data=True)
    # Long enough that nobody wants it as a whole.
    os.truncate(folder / "data" / f"{pack.hex}.pack", 3 << 30)
    listed = remote.list_packs()
    lookup = RemoteLookup(store, remote, listed, tmp_path / "cache")

    with pytest.raises(RemoteDamagedError, match=r"a chunk says that it has 1,073,741,824 bytes") as caught:
        fetch_records(store, remote, listed, lookup, [wanted], RecordingReporter())

    assert {wanted} == caught.value.records
    assert files.asked_bytes < MIB


def test_an_index_that_is_long_is_not_read(store, remote, files, folder, tmp_path):
    """Of a pack that would be long enough for it."""
    place = folder / "metadata" / ("a" * 64)
    for suffix in (".pack", ".idx"):
        place.with_suffix(suffix).write_bytes(b"")
        os.truncate(place.with_suffix(suffix), 3 << 30)

    indexes = RemoteIndexes(store, remote, remote.list_packs(), tmp_path / "cache")

    assert "no index of such a pack has 3,221,225,472 bytes" == indexes.damaged[0][1]
    assert 0 == files.asked_bytes


def test_an_index_is_checked_without_its_entries_in_memory(store, remote, folder, tmp_path):
    """Whoever sent it decided how many there are; held are the index and a number for each."""
    records = [
        NewRecord(RecordKind.CHUNK, 0, number.to_bytes(32), b"%d" % number) for number in range(20_000)
    ]
    pack = write_pack(folder, records, is_data=True)
    listed = remote.list_packs()[pack]
    assert 20_000 == len(decode_index((folder / "data" / f"{pack.hex}.idx").read_bytes())[1])
    del records

    tracemalloc.start()
    remote.read_index(pack, listed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 4 * listed.index_bytes


@pytest.mark.parametrize("sizes", [[3 << 30], [20 * MIB, 20 * MIB]], ids=["one", "several"])
def test_lists_that_are_long_are_not_read(remote, files, folder, sizes):
    """No gc writes them; the error says which to delete."""
    for number, size_bytes in enumerate(sizes):
        path = folder / "gc" / f"{number:064x}.list"
        path.write_bytes(b"")
        os.truncate(path, size_bytes)

    with pytest.raises(RemoteDamagedError, match=r"file:///far/gc/0{64}\.list .*; delete it"):
        read_lists(remote, remote.look())

    assert 0 == files.asked_bytes


def endless_tree(length):
    """Returns the records of a tree that is one piece many times over, which the recipe says is so long."""
    piece = bytes(4 * MIB)
    recipe = RecipeBuilder()
    for _ in range(80):
        recipe.append(blake3(piece).digest(), length)
    tree = TreeId(b"t" * 32)
    return tree, [
        NewRecord(RecordKind.TREE_CHUNK, 0, blake3(piece).digest(), piece),
        NewRecord(RecordKind.RECIPE, RecordKind.TREE_CHUNK, tree.digest, recipe.encode()),
    ]


def test_a_tree_of_one_piece_over_and_over_is_not_made(store, remote, folder, tmp_path):
    """Eighty times 4 MiB are more than a tree has; a recipe that says less ends at the first piece."""
    tree, records = endless_tree(4 * MIB)
    write_pack(folder, records)
    listed = remote.list_packs()
    indexes = RemoteIndexes(store, remote, listed, tmp_path / "cache")
    single = [RecordKey(RecordKind.RECIPE, RecordKind.TREE_CHUNK, tree.digest)]

    # The whole pack is what it says it is.
    fetch_records(store, remote, listed, indexes, single, RecordingReporter())
    with pytest.raises(ObjectDamagedError, match="a tree says that it has 335,544,320 bytes"):
        store.read_tree(tree)

    shorter = LocalStore.create(tmp_path / "shorter")
    for path in (folder / "metadata").iterdir():
        path.unlink()
    _, records = endless_tree(1)
    write_pack(folder, records)
    listed = remote.list_packs()
    indexes = RemoteIndexes(shorter, remote, listed, tmp_path / "cache")
    fetch_records(shorter, remote, listed, indexes, indexes.records(listed), RecordingReporter())
    with pytest.raises(ObjectDamagedError, match="another length than the recipe says"):
        shorter.read_tree(tree)


def test_nothing_is_written_that_could_not_be_read(store):
    """An object, or a directory, that is too long is refused by whoever makes it."""

    class Long:
        id_type = CommitId

        def encode(self):
            return bytes(49 * MIB)

    with store.writer() as writer:
        with pytest.raises(BlobTooLargeError, match=r"the commit b3:.* has 51380224 bytes"):
            writer.add_object(Long())
        with pytest.raises(BlobTooLargeError, match=r"the tree b3:.* has 268435457 bytes"):
            writer.add_encoded_tree(bytes(256 * MIB + 1))


def test_an_object_of_very_many_values_is_not_decoded():
    """Three bytes of `{},` take seventy in memory."""
    text = b'{"a":[' + b"{}," * 2_000_000 + b"{}]}"

    tracemalloc.start()
    with pytest.raises(FormatError, match="more than 2,000,000 values"):
        decode_canonical(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < MIB
    with pytest.raises(FormatError, match="more than 2,000,000 values"):
        encode_canonical({"a": [1] * 2_000_001})
