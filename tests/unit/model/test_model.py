"""Names that no tree may hold, ids, settings, and what the lock refuses to write."""

import copy
import pickle

import pytest

from mlvc.errors import FormatError
from mlvc.model.canonical import encode_canonical
from mlvc.model.config import Config, decode_config
from mlvc.model.ids import BlobId, ChunkId, RunId, TreeId
from mlvc.model.lock import Lock, TrackedPath, check_path, encode_lock
from mlvc.model.tree import Kind, TreeEntry, check_name, encode_tree

BLOB, TREE = BlobId.of(b"x"), TreeId.of(b"x")


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b".",
        b"..",
        b"a/b",
        b"/",
        b"a\0",
        b".git",
        b".GIT",
        b".git.",
        b".git ",
        b".git . .",
        b".git:x",
        b"git~1",
        b"Git~1:$DATA",
        b".mlvc",
        b".Mlvc",
        b"mlvc~1",
        ".g\u200cit".encode(),
        "\ufeff.git".encode(),
        b"x" * 65_536,
    ],
)
def test_names_that_no_tree_may_hold(name):
    """They could reach outside, or be taken for a repository's own."""
    with pytest.raises(FormatError):
        check_name(name)
    with pytest.raises(FormatError):
        encode_tree([TreeEntry(name, Kind.FILE, BLOB, 1)])
    with pytest.raises(FormatError):
        encode_tree([TreeEntry(other, Kind.FILE, BLOB, 1) for other in (b"a", name, b"z")])


@pytest.mark.parametrize(
    "name",
    [
        b".gitignore",
        b".gitattributes",
        b"git",
        b"..a",
        b"...",
        b" ",
        b"a.git",
        b".git\n",
        b".gi",
        b"git~2",
        b"\xff",
        b".mlvcignore",
        b"a:b",
        b"\\",
        "\u200c".encode(),
        b"x" * 65_535,
    ],
)
def test_names_that_only_look_like_them(name):
    """They are ordinary names."""
    check_name(name)


@pytest.mark.parametrize("path", [b"a", b"a/b/c", b" ", b"a b/c", b"\xff/\x01", b"~", b"C:/x"])
def test_paths_that_may_be_tracked(path):
    """Plain, relative, of allowed names."""
    check_path(path)


@pytest.mark.parametrize(
    "path", [b"", b"/", b"/a", b"a/", b"a//b", b"./a", b"a/..", b"a\nb", b".git/x", b"x/.MLVC/y"]
)
def test_paths_that_may_not_be_tracked(path):
    """Absolute, with dots, a newline, or a forbidden name anywhere."""
    with pytest.raises(FormatError):
        check_path(path)


@pytest.mark.parametrize(
    "entry",
    [
        TreeEntry(b"a", Kind.FILE, BLOB, 1 << 63),
        TreeEntry(b"a", Kind.FILE, BLOB, -1),
        TreeEntry(b"a", Kind.DIRECTORY, BLOB, 1),
        TreeEntry(b"a", Kind.SYMLINK, TREE, 1),
    ],
)
def test_entries_that_could_not_be_read_back(entry):
    """A tree is not written that a reader would refuse or take for another."""
    with pytest.raises(FormatError):
        encode_tree([entry])


def test_a_name_that_holds_another_after_a_nul():
    """Names are looked at together, and none hides behind the separator."""
    with pytest.raises(FormatError):
        encode_tree([TreeEntry(name, Kind.FILE, BLOB, 1) for name in (b"a\0b", b"c")])


def test_a_name_that_stands_twice():
    """It is named, wherever the two stand."""
    with pytest.raises(FormatError, match="'b' stands twice"):
        encode_tree(
            [TreeEntry(name, Kind.FILE, BLOB, size) for size, name in enumerate((b"b", b"c", b"a", b"b"))]
        )


def test_a_lock_with_nested_paths_is_not_written():
    """It could not be read back, and the repository would be stuck."""
    entries = [TrackedPath(path, Kind.FILE, BLOB, 1, 1) for path in (b"data", b"data/x")]
    with pytest.raises(FormatError, match=r"data/x.*inside.*data"):
        encode_lock(Lock().with_entries(entries))
    siblings = [TrackedPath(path, Kind.FILE, BLOB, 1, 1) for path in (b"data", b"data.x", b"data-x/y")]
    assert encode_lock(Lock().with_entries(siblings)).count(b"\n") == 4


def test_with_entries_replaces_and_removes():
    """The old lock stays as it was."""
    old = Lock().with_entries(
        [TrackedPath(b"a", Kind.FILE, BLOB, 1, 1), TrackedPath(b"b", Kind.FILE, BLOB, 1, 1)]
    )
    new = old.with_entries([TrackedPath(b"a", Kind.FILE, BLOB, 1, 2)], removed=[b"b", b"never there"])
    assert (sorted(old.entries), sorted(new.entries)) == ([b"a", b"b"], [b"a"])
    assert new.entries[b"a"].size_bytes == 2


def test_ids_of_different_things_are_never_equal():
    """The same digest as a blob and as a chunk are two ids; the text form leads back to the same type."""
    assert BlobId.of(b"x") != ChunkId.of(b"x")
    assert len({BlobId.of(b"x"), ChunkId.of(b"x"), BlobId.of(b"x")}) == 2
    assert BlobId.of(b"x") == BlobId.parse(str(BlobId.of(b"x")))
    assert str(BlobId.of(b"")) == "b3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def test_ids_are_sorted_within_a_kind_copied_and_never_changed():
    first, last = sorted([BlobId(bytes([2]) * 32), BlobId(bytes([1]) * 32)])

    assert (1, 2) == (first.digest[0], last.digest[0])
    assert last == pickle.loads(pickle.dumps(last)) == copy.copy(last)
    assert repr(last) == f"BlobId({last.digest!r})"
    with pytest.raises(TypeError):
        sorted([BlobId.of(b"x"), ChunkId.of(b"x")])
    for change in (lambda: setattr(last, "digest", b""), lambda: setattr(last, "other", 1)):
        with pytest.raises(AttributeError, match="cannot be changed"):
            change()


@pytest.mark.parametrize(
    "text", ["", "b3:", "af" * 32, "b3:" + "AF" * 32, "b3:" + "0" * 63, "b3:" + "0" * 63 + "-"]
)
def test_texts_that_are_no_ids(text):
    """The error names what kind of id was expected."""
    with pytest.raises(FormatError, match="id of a run"):
        RunId.parse(text)


@pytest.mark.parametrize(
    "value", [{"x": 1.5}, {"x": 1 << 63}, {"x": "\ud800"}, {"\udcff": 1}, {1: "x"}, {"x": b""}]
)
def test_values_without_a_canonical_form(value):
    """They are refused, not rounded or converted."""
    with pytest.raises(FormatError):
        encode_canonical(value)


def test_settings():
    """All settings, and none."""
    text = b"""
        [project]
        id = "0123"
        [code]
        untracked = "none"
        [env]
        python = ".venv/bin/python"
        [image]
        base = "python:3.11"
        [repro]
        memory_mb = 512
    """
    assert decode_config(text) == Config("0123", "none", ".venv/bin/python", "python:3.11", 512)
    assert decode_config(b"") == Config()


@pytest.mark.parametrize(
    "text",
    [
        b"[project]\nname = 'x'",
        b"project = 1",
        b"[code]\nuntracked = 'some'",
        b"[repro]\nmemory_mb = true",
        b"[project]\nid = 5",
        b"[unknown]\nx = 1",
        b"\xff",
        b"[",
        b"[repro]\nmemory_mb = 1.5",
        b"[compare]\ntolerance = { float64 = 2.0 }",
        b"[compare]\ntolerance = { int64 = 0.5 }",
        b"[compare]\nignore = [{ where = '$.a' }]",
        b"[compare]\nignore = [{ where = '$.a', reason = 'b', other = 1 }]",
        b"[compare]\nignore = [{ where = '', reason = 'it would cover everything' }]",
        b"[compare]\nignore = [1]",
        b"[ci]\ncpu_hour = -1",
        b"[hooks]\nadd = 'always'",
        b"[hooks]\nmax_size = 10",
        b"[hooks]\nmax_size = '10 MiB'",
        b"[hooks]\npush = true",
        b"[ci]\ngpu_hour = nan",
        b"[ci]\ngpu_hour = 'much'",
    ],
)
def test_settings_with_mistakes(text):
    """A typing mistake is found, the file is named, and there is a next step."""
    with pytest.raises(FormatError, match=r"mlvc\.toml") as caught:
        decode_config(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (b"<<<<<<< HEAD\n", "mend that place in mlvc.toml"),
        (b"project = 1", "see docs/reference/settings.md"),
        (b"[unknown]\nx = 1", "see docs/reference/settings.md"),
        (b"[hooks]\nadd = 'always'", "see docs/reference/settings.md"),
    ],
)
def test_settings_that_cannot_be_read_have_a_next_step(text, hint):
    """Such as those that a merge left in conflict."""
    with pytest.raises(FormatError) as caught:
        decode_config(text)
    assert hint == caught.value.hint
