"""Storing many files in several processes gives what storing them one by one gives."""

import os
import random
import signal
import time

import pytest

from mlvc import forks
from mlvc.fsio import FileUnreadableError
from mlvc.model.ids import BlobId
from mlvc.store.local import LocalStore
from mlvc.store.pack import PACK_HEADER_BYTES
from mlvc.worktree import capture, ingest, worktree
from mlvc.worktree.contents import read_unchanged
from mlvc.worktree.statcache import pack_status
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
    add_contents, read_unchanged = ingest.add_contents, ingest.read_unchanged

    def refuse(dir_fd, name, *rest):
        if name == "7.txt":
            raise FileUnreadableError("no")
        return add_contents(dir_fd, name, *rest)

    def give_up(dir_fd, name, status):
        return None if name == "7.txt" else read_unchanged(dir_fd, name, status)

    monkeypatch.setattr(ingest, "read_unchanged", give_up)
    monkeypatch.setattr(ingest, "add_contents", refuse)
    assert 124 == local.capture("data").files
    monkeypatch.setattr("mlvc.worktree.capture.add_contents", refuse)
    local.write("data/3/7.txt", b"changed")
    with pytest.raises(FileUnreadableError, match="no"):
        local.capture("data")


def test_a_process_that_dies_is_made_up_for(local, monkeypatch):
    """The work of a killed process is done by the first one; the store is whole."""
    fill(local)
    read_unchanged = ingest.read_unchanged

    def die(dir_fd, name, status):
        if name == "30.txt":
            os.kill(os.getpid(), signal.SIGKILL)
        return read_unchanged(dir_fd, name, status)

    monkeypatch.setattr(ingest, "read_unchanged", die)
    entry = local.capture("data")
    for _, item in flatten(local.store, entry):
        if item.kind.word == "file":
            local.store.read_blob(item.id)
    assert local.worktree.differences(entry) == []


def grow(path):
    path.write_bytes(path.read_bytes() + b"more")


def shrink(path):
    path.write_bytes(b"x")


def rewrite(path):
    path.write_bytes(b"y" * path.stat().st_size)


def replace_by_another(path):
    other = path.with_name("another")
    other.write_bytes(b"z" * path.stat().st_size)
    other.rename(path)


def replace_by_link(path):
    path.unlink()
    path.symlink_to("another")


CHANGES = [grow, shrink, rewrite, replace_by_another, replace_by_link]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_before_it_is_read(local, monkeypatch, change):
    """What is stored is what the file is when it is read, with the stat data of that time."""
    fill(local)
    fan_out = forks.fan_out

    def meanwhile(tasks, work):
        change(local.root / "data/2/30.txt")
        return fan_out(tasks, work)

    monkeypatch.setattr(ingest.forks, "fan_out", meanwhile)
    entry = local.capture("data")
    path = local.root / "data/2/30.txt"
    stored = dict(flatten(local.store, entry))[b"data/2/30.txt"]
    expected = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
    assert expected == local.store.read_blob(stored.id)
    assert len(expected) == stored.size_bytes
    assert local.differences(entry) == []


def make_fifo(path):
    path.unlink()
    os.mkfifo(path)


def make_directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [*CHANGES, make_fifo, make_directory, os.unlink, os.utime])
def test_only_what_is_as_it_was_seen_is_read_at_one_go(tmp_path, change):
    """Neither another size, nor another file, nor another time is taken for what was seen; nothing is waited for."""
    path = tmp_path / "file"
    path.write_bytes(b"contents")
    status = pack_status(os.stat(path))
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        assert b"contents" == read_unchanged(directory, "file", status)
        time.sleep(0.02)
        change(path)
        assert read_unchanged(directory, "file", status) is None
    finally:
        os.close(directory)


def test_what_the_store_lost_is_stored_by_several_processes_too(local, monkeypatch):
    """What the stat cache knows counts for nothing in another store, and is not left to the first process."""
    fill(local)
    local.settle()
    entry = local.capture("data")
    alone = []
    add_contents = capture.add_contents
    monkeypatch.setattr(capture, "add_contents", lambda *args: alone.append(args) or add_contents(*args))
    local.store = LocalStore.create(local.root.parent / "another")
    assert entry == local.capture("data")
    assert [] == alone
    for _, item in flatten(local.store, entry):
        if item.kind.word == "file":
            local.store.read_blob(item.id)


def test_a_directory_above_what_the_store_lost(local, monkeypatch):
    """Its tree is made anew, because a file below may be another one by the time that it is read."""
    fill(local)
    local.settle()
    local.capture("data")
    local.store = LocalStore.create(local.root.parent / "another")
    forget_missing = worktree.forget_missing

    def meanwhile(store, seen):
        forgotten = forget_missing(store, seen)
        local.write("data/2/deep/copy 30", b"another")
        return forgotten

    monkeypatch.setattr(worktree, "forget_missing", meanwhile)
    entry = local.capture("data")
    stored = dict(flatten(local.store, entry))[b"data/2/deep/copy 30"]
    assert b"another" == local.store.read_blob(stored.id)
    assert local.differences(entry) == []
