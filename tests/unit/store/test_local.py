"""The local store's own questions: packs, catching up by pack, what appears and goes while it is open."""

import os
import random
import resource
import shutil
import subprocess
import sys

import pytest

from mlvc.model.ids import BlobId
from mlvc.model.objects import Commit
from mlvc.model.tree import Kind, TreeEntry
from mlvc.ports import RecordKind
from mlvc.store import writer as writer_module
from mlvc.store.errors import BlobTooLargeError
from mlvc.store.fsck import check
from mlvc.store.local import LocalStore
from tests.support.reporter import RecordingReporter


@pytest.fixture
def store(tmp_path):
    return LocalStore.create(tmp_path / "store")


def commit(message):
    return Commit(code_sha="0" * 40, code_tree=None, paths=(), message=message)


def test_data_and_metadata_never_share_a_pack(store):
    """One flush makes at most one pack of each class, with all records in them."""
    with store.writer() as writer:
        blob = writer.add_blob(b"data")
        writer.add_tree([TreeEntry(b"name", Kind.FILE, blob, 4)])
        writer.add_object(commit("x"))
    assert sorted((info.is_data, info.records) for info in store.packs()) == [(False, 2), (True, 1)]
    for info in store.packs():
        assert store.layout.pack(info.id).stat().st_size == info.size_bytes


def test_an_empty_writer_writes_nothing(store):
    """Opening and leaving a writer makes no pack."""
    with store.writer():
        pass
    assert list(store.packs()) == []


def test_catching_up_by_pack(store):
    """Only packs that are not known are read; one without objects is named too, so that it becomes known."""
    with store.writer() as writer:
        first = writer.add_object(commit("first"))
    known = {pack for pack, _ in store.iter_new_objects(())}
    with store.writer() as writer:
        second = writer.add_object(commit("second"))
    with store.writer() as writer:
        writer.add_tree([])
    news = list(store.iter_new_objects(known))
    assert sorted(map(len, (ids for _, ids in news))) == [0, 1]
    assert [object_id for _, ids in news for object_id in ids] == [second]
    assert {object_id for _, ids in store.iter_new_objects(()) for object_id in ids} == {first, second}
    assert list(store.iter_new_objects({info.id for info in store.packs()})) == []


def test_a_reader_sees_what_another_process_published(store):
    """A store that is open finds packs that appear later, without being reopened."""
    reader = LocalStore(store.layout.directory)
    assert not reader.has_blob(BlobId.of(b"late"))
    with store.writer() as writer:
        writer.add_blob(b"late")
        writer.add_object(commit("late"))
    assert reader.read_blob(BlobId.of(b"late")) == b"late"
    assert list(reader.iter_object_ids(RecordKind.COMMIT)) == [commit("late").id]


def test_a_reader_survives_a_repacking(store):
    """When a pack goes and its records stand in another one, a reader that knew the old one goes on."""
    with store.writer() as writer:
        writer.add_blob(b"moved")
    reader = LocalStore(store.layout.directory)
    assert reader.has_blob(BlobId.of(b"moved"))
    (old,) = store.packs()
    other = LocalStore.create(store.layout.directory.parent / "other")
    with other.writer() as writer:
        writer.add_blob(b"moved")
        writer.add_blob(b"and more")
    (new,) = other.packs()
    shutil.copy(other.layout.pack(new.id), store.layout.packs)
    shutil.copy(other.layout.index(new.id), store.layout.packs)
    store.layout.index(old.id).unlink()
    store.layout.pack(old.id).unlink()
    assert reader.read_blob(BlobId.of(b"moved")) == b"moved"
    assert [info.id for info in reader.packs()] == [new.id]


def test_full_packs_are_published_before_the_end(store, monkeypatch):
    """A writer starts a new pack when one is full, so neither packs nor memory grow without bound."""
    monkeypatch.setattr(writer_module, "_PACK_BYTES", 3 << 20)
    data = random.Random(3).randbytes(10 << 20)
    with store.writer() as writer:
        blobs = [writer.add_blob(data[start : start + 50_000]) for start in range(0, len(data), 50_000)]
        tree = writer.add_tree([TreeEntry(b"%03d" % n, Kind.FILE, blob, 1) for n, blob in enumerate(blobs)])
    packs = [info for info in store.packs() if info.is_data]
    assert len(packs) >= 4
    assert all(info.size_bytes <= 3 << 20 for info in packs)
    assert all(store.has_blob(entry.id) for entry in store.read_tree(tree))
    assert list(check(store, RecordingReporter())) == []


def test_an_insertion_into_a_large_blob_costs_little(store):
    """A second version of ten megabytes, with a few bytes inserted, is stored in a few chunks."""
    data = random.Random(4).randbytes(10_000_000)
    with store.writer() as writer:
        writer.add_blob(data)
    with store.writer() as writer:
        blob = writer.add_blob(data[:5_000_000] + b"inserted" + data[5_000_000:])
        assert 0 < writer.stored_bytes < 600_000
    assert store.read_blob(blob)[5_000_000:5_000_008] == b"inserted"


def test_compression_where_it_pays(store):
    """Text is stored smaller; random bytes are stored as they are, with little around them."""
    with store.writer() as writer:
        writer.add_blob(b"the same line again\n" * 50_000)
        assert writer.stored_bytes < 50_000
    with store.writer() as writer:
        writer.add_blob(random.Random(5).randbytes(1_000_000))
        assert 1_000_000 < writer.stored_bytes < 1_010_000


def test_a_file_that_nobody_may_change(store):
    """Packs and indexes are published read-only: they never change."""
    with store.writer() as writer:
        writer.add_blob(b"x")
    assert [path.stat().st_mode & 0o222 for path in store.layout.packs.iterdir()] == [0, 0]


def test_the_limit_names_both_sizes(store):
    """What is refused for its size carries the size and the limit as attributes."""
    with store.writer() as writer:
        blob = writer.add_blob(bytes(300_000))
    with pytest.raises(BlobTooLargeError) as caught:
        store.read_blob(blob, limit_bytes=299_999)
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (300_000, 299_999)


def test_a_new_store_is_durable_before_it_counts_as_whole(tmp_path):
    """Whoever finds the file that says so, after a crash too, syncs none of the directories that lead to it."""
    directory = tmp_path / "far" / "away" / "store"
    program = """
import os, pathlib, sys
from mlvc.store.local import LocalStore
def hear(event, arguments):
    if event == "os.rename" or (event == "open" and arguments[2] & os.O_DIRECTORY):
        print(arguments[event == "os.rename"], flush=True)
sys.addaudithook(hear)
LocalStore.create(pathlib.Path(sys.argv[1]))
"""

    done = subprocess.run(
        [sys.executable, "-c", program, directory], capture_output=True, text=True, check=True
    )

    steps = done.stdout.splitlines()
    published = steps.index(str(directory / "format"))
    for parent in (directory.parent, directory.parent.parent, tmp_path):
        assert str(parent) in steps[:published]
    assert str(directory) in steps[published:]


def test_many_packs_need_few_file_descriptors(tmp_path):
    """A store has more packs than a process may have files open."""
    store = LocalStore.create(tmp_path / "store")
    for number in range(40):
        with store.writer() as writer:
            writer.add_blob(b"%d" % number)
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 10, most))
    try:
        assert 40 == len(LocalStore(tmp_path / "store").packs())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
