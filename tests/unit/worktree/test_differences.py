"""Comparing the work tree with what is recorded."""

import os

import pytest

from mlvc.model.ids import BlobId
from mlvc.model.tree import Kind
from mlvc.store.errors import ObjectMissingError
from mlvc.worktree.trees import diff_trees


@pytest.fixture
def entry(place):
    place.write("data/keep", b"keep")
    place.write("data/edit", b"12345")
    place.write("data/tool", b"#!", executable=True)
    place.write("data/sub/gone", b"x")
    place.write("data/sub/deep/also", b"y")
    (place.root / "data/empty").mkdir()
    (place.root / "data/link").symlink_to("keep")
    place.settle()
    return place.capture("data")


def test_no_difference(place, entry):
    """What was just stored does not differ, and nothing is read to know it."""
    assert place.differences(entry) == []
    assert place.bytes_read(lambda: place.differences(entry)) == 0


def test_touched_files_are_read_once(place, entry):
    """A file with new time stamps and old bytes is read, found equal, and not read again."""
    os.utime(place.root / "data/edit")
    place.settle()
    assert place.bytes_read(lambda: place.differences(entry)) == 5
    assert place.differences(entry) == []
    assert place.bytes_read(lambda: place.differences(entry)) == 0


def test_every_kind_of_difference(place, entry):
    """Changes are named by file, sorted; a directory is named where it is empty or replaced."""
    root = place.root / "data"
    (root / "edit").write_bytes(b"54321")
    (root / "tool").chmod(0o644)
    (root / "sub/gone").unlink()
    (root / "sub/new").mkdir()
    (root / "sub/new/file").write_bytes(b"")
    (root / "empty").rmdir()
    (root / "bare").mkdir()
    (root / "keep").unlink()
    (root / "keep").mkdir()
    (root / "keep/inside").write_bytes(b"")
    (root / "link").unlink()
    (root / "link").write_bytes(b"keep")
    assert place.differences(entry) == [
        (b"data/bare", "added"),
        (b"data/edit", "modified"),
        (b"data/empty", "deleted"),
        (b"data/keep", "type"),
        (b"data/keep/inside", "added"),
        (b"data/link", "type"),
        (b"data/sub/gone", "deleted"),
        (b"data/sub/new/file", "added"),
        (b"data/tool", "modified"),
    ]


def test_the_same_differences_between_stored_trees(place, entry):
    """Comparing two trees gives what comparing with the files gave, with both ids."""
    (place.root / "data/edit").write_bytes(b"54321")
    (place.root / "data/sub/gone").unlink()
    (place.root / "data/bare").mkdir()
    place.write("data/empty/filled", b"")
    seen = place.differences(entry)
    after = place.capture("data")
    changes = list(diff_trees(place.store, entry, after))
    assert [(change.path, change.change) for change in changes] == seen
    edit = next(change for change in changes if change.path == b"data/edit")
    assert (edit.before.id, edit.after.id) == (BlobId.of(b"12345"), BlobId.of(b"54321"))
    assert (edit.before.kind, edit.name) == (Kind.FILE, "data/edit")


def test_whole_trees_that_come_and_go(place, entry):
    """A path that only one lock has is listed file by file; equal entries differ in nothing."""
    paths = [b"data/edit", b"data/empty", b"data/keep", b"data/link", b"data/sub/deep/also", b"data/sub/gone"]
    paths.append(b"data/tool")
    added = list(diff_trees(place.store, None, entry))
    deleted = list(diff_trees(place.store, entry, None))
    assert [(change.path, change.change) for change in added] == [(path, "added") for path in paths]
    assert [(change.path, change.change) for change in deleted] == [(path, "deleted") for path in paths]
    assert list(diff_trees(place.store, entry, entry)) == []
    assert list(diff_trees(place.store, None, None)) == []


def test_equal_subtrees_are_not_read(place, entry):
    """A comparison does not need trees that are equal on both sides."""
    (place.root / "data/edit").write_bytes(b"54321")
    after = place.capture("data")
    shared = {
        item.id
        for item in place.store.read_tree(entry.id)
        if item.kind is Kind.DIRECTORY and item.id in {other.id for other in place.store.read_tree(after.id)}
    }
    for tree in shared:
        del place.store.objects[tree]
    assert [change.path for change in diff_trees(place.store, entry, after)] == [b"data/edit"]


@pytest.mark.parametrize("path", ["data", "single"])
def test_a_deleted_path(place, path):
    """What is gone altogether is deleted, file by file."""
    place.write("data/a")
    place.write("single")
    entry = place.capture(path)
    os.rename(place.root / path, place.root / "elsewhere")
    assert place.differences(entry) == [(b"data/a" if path == "data" else b"single", "deleted")]


def test_a_path_that_lies_beyond_a_link_now_is_deleted(place, tmp_path):
    """A link on the way is not followed, even to equal files."""
    place.write("a/data/file")
    entry = place.capture("a/data")
    os.rename(place.root / "a", tmp_path / "moved")
    (place.root / "a").symlink_to(tmp_path / "moved")
    assert place.differences(entry) == [(b"a/data/file", "deleted")]


def test_a_missing_tree_is_not_taken_for_missing_files(place, entry):
    """What the store lacks is an error of the store, and no difference of the files."""
    place.write("data/new")
    del place.store.objects[entry.id]
    with pytest.raises(ObjectMissingError):
        place.worktree.differences(entry)


def test_a_single_file(place):
    """A single tracked file is compared as one in a directory is."""
    file = place.write("model", b"12345")
    place.settle()
    entry = place.capture("model")
    assert place.bytes_read(lambda: place.differences(entry)) == 0
    file.write_bytes(b"54321")
    assert place.differences(entry) == [(b"model", "modified")]
    file.unlink()
    file.mkdir()
    assert place.differences(entry) == [(b"model", "type")]


def test_differences_never_write_the_store(place, entry):
    """Looking stores nothing."""
    before = dict(place.store.objects)
    place.write("data/new", b"new")
    place.differences(entry)
    assert before == place.store.objects


def test_without_a_cache_everything_is_read_and_nothing_differs(place, entry):
    """The stat cache is only a cache: without it every file is read."""
    (place.state / "statcache").unlink()
    assert place.bytes_read(lambda: place.differences(entry)) == 13
    assert place.differences(entry) == []
