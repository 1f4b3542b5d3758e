"""Storing many files in several processes gives what storing them one by one gives."""

import os
import random
import signal

import pytest

from mlvc import forks
from mlvc.fsio import FileUnreadableError
from mlvc.model.ids import BlobId
from mlvc.store.local import LocalStore
from mlvc.store.pack import PACK_HEADER_BYTES
from mlvc.worktree import ingest
from mlvc.worktree.trees import flatten
from tests.support.memory_store import MemoryStore
from tests.unit.worktree.conftest import Place


@pytest.fixture(autouse=True)
def _always_worth_it(monkeypatch):
    monkeypatch.setattr(forks, "processors", lambda: 2)
    monkeypatch.setattr(ingest, "_WORTH_FILES", 1)
    monkeypatch.setattr(ingest, "_TASK_FILES", 7)


@pytest.fixture
def local(tmp_path):
    """A work tree over a store on disk."""
    (tmp_path / "root").mkdir()
    return Place(tmp_path / "root", LocalStore.create(tmp_path / "store"))


def fill(place):
    """Writes small files, empty ones, copies, links, and files of several chunks, in several directories."""
    rng = random.Random(3)
    large = rng.randbytes(700_000)
    for number in range(60):
        place.write(f"data/{number % 4}/{number}.txt", b"line %d\n" % number * number)
        place.write(f"data/{number % 4}/deep/copy {number}", b"the same in all of them" * 50)
    place.write("data/large", large)
    place.write("data/3/deep/larger", large + b"and a tail")
    place.write("data/tool", b"#!", executable=True)
    (place.root / "data/link").symlink_to("tool")


def data_records(store):
    return sum(pack.records for pack in store.packs() if pack.is_data)


def test_the_same_tree_and_nothing_twice(local, tmp_path):
    """The id is that of storing one by one; every blob reads back; no record is stored twice; the bytes are counted."""
    fill(local)
    alone = Place(tmp_path / "alone", MemoryStore())
    (tmp_path / "root" / "data").rename(tmp_path / "alone" / "data")
    expected = alone.capture("data")
    (tmp_path / "alone" / "data").rename(tmp_path / "root" / "data")
    with local.store.writer() as writer:
        entry = local.worktree.capture(b"data", writer)
        stored_bytes = writer.stored_bytes
    assert expected == entry
    blobs = {item: data for item, data in alone.store.objects.items() if isinstance(item, BlobId)}
    one_by_one = LocalStore.create(tmp_path / "other")
    with one_by_one.writer() as other:
        for blob, data in blobs.items():
            assert data == local.store.read_blob(blob)
            other.add_blob(data)
    # Two processes that claim one record in the same microsecond may both store it.
    assert data_records(one_by_one) <= data_records(local.store) <= data_records(one_by_one) + 2
    headers_bytes = len(local.store.packs()) * PACK_HEADER_BYTES
    assert stored_bytes + headers_bytes == sum(pack.size_bytes for pack in local.store.packs())


def test_nothing_is_stored_again(local):
    """Files that the store has are recognised by the processes too."""
    fill(local)
    local.capture("data")
    packs = local.store.packs()
    (local.state / "statcache").unlink()
    local.capture("data")
    assert packs == local.store.packs()


def test_the_error_of_one_file_is_told(local, monkeypatch):
    """What a process could not read is tried again by the first one, whose error names it."""
    fill(local)
    add_contents = ingest.add_contents

    def refuse(dir_fd, name, *rest):
        if name == "7.txt":
            raise FileUnreadableError("no")
        return add_contents(dir_fd, name, *rest)

    monkeypatch.setattr(ingest, "add_contents", refuse)
    assert 124 == local.capture("data").files
    monkeypatch.setattr("mlvc.worktree.capture.add_contents", refuse)
    local.write("data/3/7.txt", b"changed")
    with pytest.raises(FileUnreadableError, match="no"):
        local.capture("data")


def test_a_process_that_dies_is_made_up_for(local, monkeypatch):
    """The work of a killed process is done by the first one; the store is whole."""
    fill(local)
    add_contents = ingest.add_contents

    def die(dir_fd, name, *rest):
        if name == "30.txt":
            os.kill(os.getpid(), signal.SIGKILL)
        return add_contents(dir_fd, name, *rest)

    monkeypatch.setattr(ingest, "add_contents", die)
    entry = local.capture("data")
    for _, item in flatten(local.store, entry):
        if item.kind.word == "file":
            local.store.read_blob(item.id)
    assert local.worktree.differences(entry) == []
