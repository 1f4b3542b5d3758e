"""Single records out of a remote's packs: how little is moved, what survives, and how damage is mended."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlvc.store.fetch import fetch_records
from mlvc.store.fsck import check
from mlvc.store.local import LocalStore
from mlvc.store.push import push, repair
from mlvc.store.remote import Remote
from mlvc.store.remote_files import DirectoryFiles, RemoteDamagedError, RemoteUnreachableError
from mlvc.store.remote_indexes import RemoteIndexes
from tests.support.reporter import RecordingReporter

MIB = 1 << 20
ROOT = Path(__file__).resolve().parent.parent.parent.parent


class Measured:
    """The files of a remote, with the bytes that were read from packs of data, request by request."""

    def __init__(self, folder, fail_after=None):
        self._files = DirectoryFiles(folder)
        self._left = fail_after
        self.requests = []

    def __getattr__(self, name):
        return getattr(self._files, name)

    def read(self, name, size_bytes, offset=0):
        if name.startswith("data/") and name.endswith(".pack"):
            if self._left is not None:
                if self._left == 0:
                    raise RemoteUnreachableError("the cable was pulled")
                self._left -= 1
            self.requests.append(size_bytes)
        return self._files.read(name, size_bytes, offset)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "far"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def store(tmp_path):
    return LocalStore.create(tmp_path / "store")


@pytest.fixture
def other(tmp_path):
    return LocalStore.create(tmp_path / "other")


@pytest.fixture
def blobs(store, folder, cache):
    """Twenty blobs of a MiB in one pack on the remote, with a small one between the tenth and the eleventh."""
    source = random.Random(0)
    with store.writer() as writer:
        made = {
            writer.add_blob(data): data
            for data in (source.randbytes(10_000 if n == 10 else MIB) for n in range(21))
        }
    push(store, Remote.open(str(folder)), cache, RecordingReporter())
    return made


def bring(store, files, cache, objects):
    """Brings metadata, and then what some objects are made of."""
    remote = Remote("file:///far", files)
    listed = remote.list_packs()
    indexes = RemoteIndexes(store, remote, listed, cache)
    reporter = RecordingReporter()
    metadata = [pack for pack, found in listed.items() if not found.is_data]
    fetch_records(store, remote, listed, indexes, indexes.records(metadata), reporter)
    wanted = {record for object_id in objects for record in store.records_of(object_id)}
    return fetch_records(store, remote, listed, indexes, wanted, reporter)


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_small_file_of_a_large_pack_moves_little(other, folder, cache, blobs):
    """A 10 kB file out of 20 MiB: one request, and not a thousandth of the data."""
    small = list(blobs)[10]
    files = Measured(folder)

    moved = bring(other, files, cache, [small])

    assert blobs[small] == other.read_blob(small)
    assert 1 == len(files.requests) == moved.packs
    assert sum(files.requests) == moved.size_bytes < 10_100
    assert () == check(other, RecordingReporter(), set)


def test_neighbours_come_in_one_request_and_the_rest_is_left_alone(other, folder, cache, blobs):
    """Two blobs that stand together, and one far away."""
    wanted = [list(blobs)[number] for number in (4, 5, 15)]
    files = Measured(folder)

    bring(other, files, cache, wanted)

    assert 2 == len(files.requests)
    assert 3 * MIB < sum(files.requests) < 3.1 * MIB
    assert all(blobs[blob] == other.read_blob(blob) for blob in wanted)


def test_a_pack_of_which_most_is_needed_comes_whole(store, other, folder, cache, blobs):
    """It keeps its name, so both stores agree on what they have."""
    files = Measured(folder)

    bring(other, files, cache, list(blobs)[:15])

    assert 1 == len(files.requests)
    assert store.packs() == other.packs()


def test_what_is_here_is_not_brought_again(other, folder, cache, blobs):
    """Neither the same blob, nor one that shares the request."""
    bring(other, Measured(folder), cache, list(blobs)[4:6])
    files = Measured(folder)

    assert (0, 0) == bring(other, files, cache, list(blobs)[4:6])
    assert [] == files.requests
    bring(other, files, cache, list(blobs)[4:7])
    assert MIB < sum(files.requests) < 1.1 * MIB


def test_records_that_came_from_there_are_not_pushed_back(other, folder, cache, blobs, tmp_path):
    """They are in packs of other names; another remote gets them."""
    bring(other, Measured(folder), cache, list(blobs)[4:6])
    elsewhere = Remote.open(str(tmp_path / "elsewhere"))

    assert 0 == push(other, Remote.open(str(folder)), cache, RecordingReporter()).packs
    assert 2 == push(other, elsewhere, cache, RecordingReporter()).packs


def test_a_lost_connection_keeps_what_arrived(other, folder, cache, blobs):
    """Every window that came before it; the next call brings the rest alone."""
    wanted = [list(blobs)[number] for number in (2, 6, 12, 18)]
    with pytest.raises(RemoteUnreachableError):
        bring(other, Measured(folder, fail_after=2), cache, wanted)
    files = Measured(folder)

    bring(other, files, cache, wanted)

    assert 2 * MIB < sum(files.requests) < 2.1 * MIB
    assert all(blobs[blob] == other.read_blob(blob) for blob in wanted)


# Reads slowly, and says after each flush what is stored.
SLOW = """
import os, sys, time
from pathlib import Path
from mlvc.model.ids import BlobId
from mlvc.store import arrivals, fetch
from mlvc.store.local import LocalStore
from mlvc.store.remote import Remote
from mlvc.store.remote_files import DirectoryFiles
from mlvc.store.remote_indexes import RemoteIndexes
from tests.support.reporter import RecordingReporter

arrivals._FLUSHED_BYTES = 1 << 20

class Slow(DirectoryFiles):
    def read(self, name, size_bytes, offset=0):
        if size_bytes > 100_000:
            time.sleep(0.2)
            os.write(1, b"read\\n")
        return super().read(name, size_bytes, offset)

store, folder, cache = LocalStore(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
remote = Remote("file:///far", Slow(folder))
listed = remote.list_packs()
indexes = RemoteIndexes(store, remote, listed, cache)
wanted = [record for text in sys.argv[4:] for record in store.records_of(BlobId.parse(text))]
fetch.fetch_records(store, remote, listed, indexes, wanted, RecordingReporter())
print("done", flush=True)
"""


@pytest.mark.parametrize("reads", [3, 6, 7])
def test_a_killed_fetch_goes_on_from_what_arrived(other, folder, cache, blobs, reads):
    """SIGKILL in the middle: nothing needs repair, and the next fetch asks for less."""
    wanted = [list(blobs)[number] for number in range(0, 18, 2)]
    bring(other, Measured(folder), cache, [])
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, other.layout.directory, folder, cache, *map(str, wanted)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child.stdout:
        assert ["read\n"] * reads == [child.stdout.readline() for _ in range(reads)]
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    again = LocalStore(other.layout.directory)
    files = Measured(folder)

    bring(again, files, cache, wanted)

    assert all(blobs[blob] == again.read_blob(blob) for blob in wanted)
    if reads > 4:  # The first four are read at once.
        assert len(files.requests) < len(wanted)
    assert [] == os.listdir(again.layout.temporaries)


# ------------------------------------------------------------------------------------------------ mending


@pytest.mark.parametrize("folder_name", ["data", "metadata"])
@pytest.mark.parametrize(("suffix", "position"), [(".pack", 0), (".pack", -1), (".idx", -1), (".idx", 40)])
def test_repair_brings_the_sent_bytes_back(store, folder, cache, blobs, folder_name, suffix, position):
    """A flipped bit in any file; a plain push does not see it."""
    before = contents(folder)
    remote = Remote.open(str(folder))
    (path,) = (folder / folder_name).glob(f"*{suffix}")
    flip(path, position)
    assert 0 == push(store, remote, cache, RecordingReporter()).packs
    assert before != contents(folder)

    assert 1 == repair(store, remote, cache, RecordingReporter()).packs
    assert before == contents(folder)


def test_repair_of_a_sound_remote_changes_nothing(store, folder, cache, blobs):
    """It reads."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.pack")}

    assert (0, 0) == repair(store, Remote.open(str(folder)), cache, RecordingReporter())
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.pack")}


def test_repair_makes_a_pack_again_from_its_records(other, folder, cache, blobs):
    """From a store that has them all, in packs of other names."""
    every = list(blobs)
    for part in (every[:7], every[7:14], every[14:]):
        bring(other, Measured(folder), cache, part)
    (path,) = (folder / "data").glob("*.pack")
    assert path.stem not in {info.id.hex for info in other.packs()}
    before = contents(folder)
    flip(path, 5 * MIB)

    assert 1 == repair(other, Remote.open(str(folder)), cache, RecordingReporter()).packs
    assert before == contents(folder)


def test_what_cannot_be_mended_is_named_and_what_is_here_is_sent(other, folder, cache, blobs, tmp_path):
    """A store that has some of a damaged pack's records: a third store gets those."""
    saved, lost = list(blobs)[4], list(blobs)[5]
    bring(other, Measured(folder), cache, [saved])
    (path,) = (folder / "data").glob("*.pack")
    flip(path, int(4.5 * MIB))
    flip(path, int(5.5 * MIB))

    with pytest.raises(RemoteDamagedError, match=path.name):
        repair(other, Remote.open(str(folder)), cache, RecordingReporter())

    third = LocalStore.create(tmp_path / "third")
    with pytest.raises(RemoteDamagedError) as caught:
        bring(third, Measured(folder), tmp_path / "third-cache", blobs)
    assert blobs[saved] == third.read_blob(saved)
    assert caught.value.records <= set(third.records_of(lost))
