"""Promises 1, 3 and 7 for raw packs: killed at any step, out of room, or changed under the hands of who adds them."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlvc import fsio
from mlvc.model.ids import BlobId
from mlvc.store.fsck import check
from mlvc.store.local import LocalStore
from tests.support.raw import OpenFile, add_raw
from tests.support.reporter import RecordingReporter

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = [random.Random(seed).randbytes(5_000_000) for seed in range(2)]

# Stores two files raw and reports each on stdout once it is named by a recipe; kills itself before the step of fsio,
# or the write, with the given number.
CHILD = """
import os, signal, sys
from pathlib import Path
from mlvc import fsio
from mlvc.store.local import LocalStore
from tests.support.raw import add_raw

folder, kill_at = Path(sys.argv[1]), int(sys.argv[2])
steps = 0

def counted(step):
    def wrapper(*args):
        global steps
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*args)
    return wrapper

for name in ("sync_file", "rename", "sync_directory", "clone"):
    setattr(fsio, name, counted(getattr(fsio, name)))
os.pwrite = counted(os.pwrite)

store = LocalStore.create(folder / "store")
for number in range(2):
    print(add_raw(store, folder / str(number)).hex, flush=True)
print("steps", steps, flush=True)
"""


@pytest.fixture(params=["copied", "shared"])
def folder(request, tmp_path):
    """A directory with two files, on a file system that copies them or shares their bytes."""
    if request.param == "copied":
        place = tmp_path
    else:
        place = request.getfixturevalue("xfs") / tmp_path.name
        place.mkdir()
    for number, data in enumerate(DATA):
        (place / str(number)).write_bytes(data)
    yield place
    shutil.rmtree(place)


def run_child(folder, kill_at):
    result = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), str(kill_at)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout.splitlines(), result.stderr


def test_killed_at_every_step_of_a_raw_pack(folder):
    """After SIGKILL everything reported is whole, nothing is damaged, and the same again needs no repair."""
    status, lines, errors = run_child(folder, 0)
    assert (status, errors) == (0, "")
    steps = int(lines[-1].removeprefix("steps "))
    assert steps > 20
    for kill_at in range(1, steps + 1):
        shutil.rmtree(folder / "store")
        status, lines, _ = run_child(folder, kill_at)
        assert status == -signal.SIGKILL
        store = LocalStore.create(folder / "store")
        for digits in lines:
            blob = BlobId(bytes.fromhex(digits))
            assert BlobId.of(store.read_blob(blob)) == blob
        assert {damage.kind for damage in check(store, RecordingReporter())} <= {"missing-index"}
        for number, data in enumerate(DATA):
            assert data == store.read_blob(add_raw(store, folder / str(number)))
        assert [] == os.listdir(store.layout.temporaries)


@pytest.mark.parametrize("name", ["sync_file", "rename", "sync_directory", "clone", "write"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_while_a_raw_pack_is_written(folder, monkeypatch, name, error):
    """Whichever step fails, the error comes out, what was stored before is whole, and nothing is left over."""
    store = LocalStore.create(folder / "store")
    first = add_raw(store, folder / "0")

    def fail(*_args):
        raise OSError(error, os.strerror(error))

    if name == "write":
        monkeypatch.setattr(os, "pwrite", fail)
    else:
        monkeypatch.setattr(fsio, name, fail)
    try:
        add_raw(store, folder / "1")
    except (OSError, fsio.DiskFullError, fsio.FileUnreadableError):
        pass
    else:
        # Where bytes are shared none is written.
        assert (name, folder.name) != ("write", "store")
    monkeypatch.undo()
    assert DATA[0] == LocalStore(store.layout.directory).read_blob(first)
    assert {damage.kind for damage in check(store, RecordingReporter())} <= {"missing-index"}
    assert [] == os.listdir(store.layout.temporaries)


class Edited(OpenFile):
    """A file that somebody else writes to while it is being added, at both ends, after each piece."""

    def __init__(self, path):
        super().__init__(path)
        self._path, self._edits = path, 0

    def advance(self, size, /):
        super().advance(size)
        self._edits += 1
        with self._path.open("r+b") as file:
            file.write(b"edit %d" % self._edits)
            file.seek(-8, os.SEEK_END)
            file.write(b"edit %03d" % self._edits)


def test_a_file_that_is_written_to_while_it_is_added(folder, monkeypatch):
    """Whatever the other does, the bytes that were hashed are those that are kept (promise 3)."""
    monkeypatch.setattr("tests.support.raw.OpenFile", Edited)
    store = LocalStore.create(folder / "store")
    before = (folder / "0").read_bytes()
    blob = add_raw(store, folder / "0")
    assert before != (folder / "0").read_bytes()
    pack = store.layout.packs / f"{blob.hex}.pack"
    assert BlobId.of(pack.read_bytes()) == blob
    assert [] == list(check(LocalStore(store.layout.directory), RecordingReporter()))
