"""The files of gc and of undo as version 1 wrote them; `tests/golden/{gc,undo}/` are append-only."""

import array
import datetime
from pathlib import Path

import pytest
from blake3 import blake3

from mlvc.errors import MlvcError, VersionError
from mlvc.model.ids import BlobId, PackId, RunId, TreeId
from mlvc.model.lock import Lock, TrackedPath
from mlvc.model.tree import Kind
from mlvc.model.trust import decode_trusted, digest_of, encode_trusted
from mlvc.store.condemned import read_condemned
from mlvc.store.local import LocalStore
from mlvc.store.registry import Registration, read_registrations
from mlvc.store.remote_condemned import decode_condemned, encode_condemned
from mlvc.store.unreached import decode_unreached, encode_unreached
from mlvc.store.verified import FileState, decode_verified, encode_verified
from mlvc.worktree.undo import UndoRecord, decode_undo, encode_undo

GOLDEN = Path(__file__).parent
FIRST, SECOND, THIRD = (PackId.of(name) for name in (b"first", b"second", b"third"))
TIME = datetime.datetime(2026, 11, 21, 7, 0, 0, 123456, tzinfo=datetime.UTC)
MODEL = "modèle %".encode()
BEFORE = Lock({b"data": TrackedPath(b"data", Kind.DIRECTORY, TreeId.of(b"old"), 2, 7)})
AFTER = Lock(
    {
        b"data": TrackedPath(b"data", Kind.DIRECTORY, TreeId.of(b"new"), 3, 9, RunId.of(b"run")),
        MODEL: TrackedPath(MODEL, Kind.FILE, BlobId.of(b"m"), 1, 1),
    }
)
REPLACED = {
    path: TrackedPath(path, kind, BlobId.of(path), 1, size)
    for path, kind, size in (
        (b"data/x", Kind.FILE, 5),
        (b"data/new\nline", Kind.SYMLINK, 3),
        (b"data/\xff", Kind.EXECUTABLE, 0),
    )
}
RECORDS = {
    "add": UndoRecord("add", TIME, BEFORE, AFTER),
    "undo": UndoRecord("undo", TIME, AFTER, BEFORE, True, restored=REPLACED),
    "checkout": UndoRecord("checkout", TIME, BEFORE, AFTER, True, REPLACED, head="main", sha="a" * 40),
}


def test_unreached_of_version_1():
    """Read, and written again byte for byte; a pack of which all is reached is left out."""
    data = (GOLDEN / "gc" / "unreached").read_bytes()
    packs = {FIRST: array.array("I", [0, 1_800_000_000, 1]), THIRD: array.array("I", [4_000_000_000])}

    assert packs == decode_unreached(data)
    assert data == encode_unreached({**packs, SECOND: array.array("I", [0, 0])})


def test_verified_of_version_1():
    """Read, and written again byte for byte; with another version, or any other byte, it is as good as empty."""
    data = (GOLDEN / "verified" / "two").read_bytes()
    packs = {
        PackId.of(b"a"): FileState(
            4_000_000_000, 1_700_000_000_000_000_001, 1_700_000_000_500_000_000, 2**40
        ),
        PackId.of(b"b"): FileState(1, 2, 3, 4),
    }

    assert packs == decode_verified(data)
    assert data == encode_verified(packs)
    assert all(
        {} == decode_verified(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        for position in range(len(data))
    )


def test_unreached_of_another_version():
    """Is not damage."""
    data = bytearray((GOLDEN / "gc" / "unreached").read_bytes())
    data[8] = 2
    with pytest.raises(VersionError):
        decode_unreached(bytes(data))


def test_condemned_of_version_1():
    """The two packs that it names."""
    assert {FIRST, SECOND} == read_condemned(GOLDEN / "gc" / "condemned")


def test_a_remote_list_of_version_1():
    """Three files; written again byte for byte. A newer version is not damage."""
    data = (GOLDEN / "gc" / "remote.list").read_bytes()
    files = {f"data/{'0' * 64}.pack", f"data/{'0' * 64}.idx", f"metadata/{'ab' * 32}.pack"}

    assert files == decode_condemned(data)
    assert data == encode_condemned(files)
    with pytest.raises(VersionError):
        decode_condemned(data.replace(b"condemned 1", b"condemned 2"))


def test_trust_of_version_1():
    """Read, and written again byte for byte; these settings have this digest for ever."""
    data = (GOLDEN / "trusted").read_bytes()
    settings = {"store.path": "/srv/modèles", "env.python": ".venv/bin/python"}

    assert frozenset({"0" * 64}) == decode_trusted(data)
    assert data == encode_trusted({"0" * 64})
    assert "2ad73cf421956c837ed3ef988c01cb7636221bcf38f0b0d0f9369b1b88456ca5" == digest_of(settings)


def test_a_registration_of_version_1(tmp_path):
    """Relative to the store; found under the name of its git directory."""
    store = LocalStore.create(tmp_path / "repo" / ".git" / "mlvc" / "store")
    name = blake3(b"../..").hexdigest()
    (store.layout.repositories / name).write_bytes((GOLDEN / "gc" / "repository").read_bytes())
    git = tmp_path / "repo" / ".git"
    expected = Registration(git, git, tmp_path / "repo")

    assert [expected] == read_registrations(store.layout)
    assert store.register(expected)
    assert [name] == [path.name for path in store.layout.repositories.iterdir()]


def test_every_flipped_byte_of_a_registration_is_found(tmp_path):
    """Gc would otherwise follow the references of another repository."""
    store = LocalStore.create(tmp_path / "repo" / ".git" / "mlvc" / "store")
    good = (GOLDEN / "gc" / "repository").read_bytes()
    path = store.layout.repositories / blake3(b"../..").hexdigest()
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1
        path.write_bytes(bad)
        with pytest.raises(MlvcError, match=path.name):
            read_registrations(store.layout)


@pytest.mark.parametrize("name", RECORDS)
def test_undo_of_version_1(name):
    """Read, and written again byte for byte."""
    data = (GOLDEN / "undo" / f"{name}.log").read_bytes()

    assert RECORDS[name] == decode_undo(data)
    assert data == encode_undo(RECORDS[name])
