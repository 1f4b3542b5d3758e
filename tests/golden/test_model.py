"""The byte vectors of the released formats; files are only ever added here."""

import json
from pathlib import Path

import pytest

from mlvc.errors import FormatError, VersionError
from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import LockConflictError, TrackedPath, decode_lock, encode_lock
from mlvc.model.names import decode_name, encode_name
from mlvc.model.objects import decode_object
from mlvc.model.series import Series, decode_series, encode_series
from mlvc.model.tree import Kind, TreeEntry, decode_tree, encode_tree

HERE = Path(__file__).parent
NAMES = json.loads((HERE / "names/vectors.json").read_text(encoding="utf-8"))
TREE_IDS = json.loads((HERE / "tree/ids.json").read_text())
OBJECT_IDS = json.loads((HERE / "objects/ids.json").read_text())
A, B = bytes(range(32)), bytes(range(32, 64))


def broken(folder):
    files = sorted((HERE / folder / "broken").iterdir())
    assert files
    return [pytest.param(file, id=file.stem) for file in files]


@pytest.mark.parametrize("vector", NAMES["valid"], ids=lambda vector: vector["bytes"] or "empty")
def test_names(vector):
    """Bytes and their one text form, both ways."""
    name = bytes.fromhex(vector["bytes"])
    assert vector["text"] == encode_name(name)
    assert name == decode_name(vector["text"])


@pytest.mark.parametrize("text", NAMES["refused"], ids=ascii)
def test_texts_that_are_no_names(text):
    """What `encode_name` never returns is refused."""
    with pytest.raises(FormatError):
        decode_name(text)


@pytest.mark.parametrize("name", TREE_IDS)
def test_trees(name):
    """A tree decodes, encodes to the same bytes whatever the order of its entries, and has the recorded id."""
    data = (HERE / f"tree/{name}.tree").read_bytes()
    entries = decode_tree(data)
    assert data == encode_tree(reversed(entries))
    assert TREE_IDS[name] == str(TreeId.of(data))


def test_the_entries_of_a_tree():
    """Every field of every kind."""
    assert list(decode_tree((HERE / "tree/all-kinds.tree").read_bytes())) == [
        TreeEntry(b"a file", Kind.FILE, BlobId(A), 0),
        TreeEntry(b"b-tool", Kind.EXECUTABLE, BlobId(A), (1 << 63) - 1),
        TreeEntry(b"c-link", Kind.SYMLINK, BlobId(B), 7),
        TreeEntry(b"d-directory", Kind.DIRECTORY, TreeId(B), 12),
    ]


@pytest.mark.parametrize("file", broken("tree"))
def test_broken_trees(file):
    """Each is refused; an unknown version is an error of its own."""
    expected = VersionError if file.stem == "version-2" else FormatError
    with pytest.raises(expected):
        decode_tree(file.read_bytes())


@pytest.mark.parametrize("name", ["empty", "full"])
def test_locks(name):
    """A lock decodes and encodes to the same bytes, also when its lines come in another order or with CRLF."""
    data = (HERE / f"lock/{name}.lock").read_bytes()
    assert data == encode_lock(decode_lock(data))
    first, *lines = data.splitlines(keepends=True)
    assert data == encode_lock(decode_lock(first + b"".join(reversed(lines))))
    assert data == encode_lock(decode_lock(data.replace(b"\n", b"\r\n")))


def test_the_entries_of_a_lock():
    """Every field of every kind."""
    lock = decode_lock((HERE / "lock/full.lock").read_bytes())
    assert lock.environment.digest == B
    assert [(entry.path, entry.kind, entry.files, entry.size_bytes) for entry in lock.entries.values()] == [
        (b"bin/tool", Kind.EXECUTABLE, 1, 0),
        (b"data/a bc%", Kind.DIRECTORY, 100_000, (1 << 63) - 1),
        (b"link ", Kind.SYMLINK, 1, 5),
        ("models/é".encode() + b"\xff", Kind.FILE, 1, 7),
    ]
    directory = lock.entries[b"data/a bc%"]
    assert (directory.id, directory.run.digest) == (TreeId(A), B)
    assert lock.entries[b"link "] == TrackedPath(b"link ", Kind.SYMLINK, BlobId(A), 1, 5)


@pytest.mark.parametrize("file", broken("lock"))
def test_broken_locks(file):
    """Each is refused; an unknown version and a merge conflict are errors of their own."""
    expected = {"version-2": VersionError, "conflict": LockConflictError}.get(file.stem, FormatError)
    with pytest.raises(expected) as caught:
        decode_lock(file.read_bytes())
    assert type(caught.value) is expected


@pytest.mark.parametrize("name", OBJECT_IDS)
def test_objects(name):
    """An object decodes, encodes to the same bytes, and has the recorded id."""
    data = (HERE / f"objects/{name}.json").read_bytes()
    value = decode_object(data)
    assert data == value.encode()
    assert OBJECT_IDS[name] == str(value.id)
    assert value.type_name == name.partition("-")[0]


@pytest.mark.parametrize("file", broken("objects"))
def test_broken_objects(file):
    """Each is refused; what a newer mlvc wrote is an error of its own."""
    with pytest.raises(VersionError if file.stem in {"unknown-key", "version-2"} else FormatError):
        decode_object(file.read_bytes())


@pytest.mark.parametrize("name", ["empty", "full"])
def test_metrics_over_steps(name):
    """They decode, and encode to the same bytes."""
    data = (HERE / f"series/{name}.json").read_bytes()
    assert data == encode_series(decode_series(data))


def test_the_numbers_of_metrics_over_steps():
    """Every number is the text that it was written as."""
    assert decode_series((HERE / "series/full.json").read_bytes()) == {
        "inf": Series(("-3", "-3"), ("inf", "12345678901234567890")),
        "loss": Series(("0", "1", "2.5"), ("0.10", "1e-05", "nan")),
        "naïve \u2603": Series(("7",), ("-inf",)),
    }


@pytest.mark.parametrize("file", broken("series"))
def test_broken_metrics_over_steps(file):
    """Each is refused; an unknown version is an error of its own."""
    with pytest.raises(VersionError if file.stem.startswith("version") else FormatError):
        decode_series(file.read_bytes())
