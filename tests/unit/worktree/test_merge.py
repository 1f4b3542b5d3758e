"""Three versions of a lock put together, over a store in memory."""

import itertools

import pytest

from mlvc.model.ids import BlobId, EnvironmentId, RunId
from mlvc.model.lock import Lock, LockConflictError, TrackedPath, decode_lock, encode_conflicts
from mlvc.model.tree import Kind, TreeEntry
from mlvc.worktree.merge import merge_locks
from tests.support.memory_store import MemoryStore

RUN = RunId(b"r" * 32)


class Locks:
    """Builds lock lines from nested dictionaries."""

    def __init__(self):
        self.store = MemoryStore()

    def tree(self, writer, name, content):
        if isinstance(content, str):
            return TreeEntry(name, Kind.FILE, writer.add_blob(content.encode()), len(content))
        entries = [self.tree(writer, key.encode(), value) for key, value in content.items()]
        size = sum(item.size_bytes for item in entries)
        return TreeEntry(name, Kind.DIRECTORY, writer.add_tree(entries), size)

    def lock(self, *, run=None, environment=None, **paths):
        entries = {}
        with self.store.writer() as writer:
            for name, content in paths.items():
                path = name.replace("__", "/").encode()
                item = self.tree(writer, path, content)
                entries[path] = TrackedPath(path, item.kind, item.id, count(content), item.size_bytes, run)
        return Lock(entries, environment)

    def merge(self, base, ours, theirs):
        with self.store.writer() as writer:
            return merge_locks(base, ours, theirs, self.store, writer)


def count(content):
    return 1 if isinstance(content, str) else sum(count(item) for item in content.values())


@pytest.fixture
def locks():
    return Locks()


def test_one_sided_changes_are_taken_whole(locks):
    """With their run: the line is that side's own."""
    base = locks.lock(a="1", b="1", c="1")
    ours = locks.lock(a="2", b="1", c="1", run=RUN)
    theirs = locks.lock(a="1", b="1", d="new")
    for mine, other in ((ours, base), (base, ours)):
        assert ours == locks.merge(base, mine, other).lock
    merged = locks.merge(base, locks.lock(a="2", b="1", c="1"), theirs)

    assert () == merged.conflicts
    assert locks.lock(a="2", b="1", d="new") == merged.lock


def test_directories_merge_entry_by_entry(locks):
    """At every depth; what one side emptied or removed is gone."""
    base = locks.lock(data={"a": "1", "b": "1", "sub": {"x": "1", "y": "1"}, "old": "1"})
    ours = locks.lock(run=RUN, data={"a": "2", "b": "1", "sub": {"x": "22", "y": "1"}})
    theirs = locks.lock(run=RUN, data={"a": "1", "b": "333", "sub": {"x": "1", "z": "1"}, "old": "1"})

    merged = locks.merge(base, ours, theirs)

    assert () == merged.reasons
    assert locks.lock(data={"a": "2", "b": "333", "sub": {"x": "22", "z": "1"}}) == merged.lock


def test_both_sides_added_one_directory(locks):
    """Equal and different entries come together without a base."""
    merged = locks.merge(Lock(), locks.lock(data={"a": "1", "c": "1"}), locks.lock(data={"b": "1", "c": "1"}))

    assert locks.lock(data={"a": "1", "b": "1", "c": "1"}) == merged.lock


def test_same_bytes_by_two_runs_name_none(locks):
    """Neither run alone made the merged line."""
    other = RunId(b"s" * 32)
    merged = locks.merge(locks.lock(m="1"), locks.lock(m="2", run=RUN), locks.lock(m="2", run=other))

    assert locks.lock(m="2") == merged.lock


@pytest.mark.parametrize(
    ("ours", "theirs", "named"),
    [
        ({"data": {"a": "2"}}, {"data": {"a": "3"}}, "data/a"),
        ({"data": {"a": "2"}}, {"data": {}}, "data/a"),
        ({"data": {"a": "2"}}, {}, "data"),
        ({"data": "file"}, {"data": {"a": "2"}}, "data"),
        ({"data": {"a": {"deep": "2"}}}, {"data": {"a": "3"}}, "data/a"),
    ],
)
def test_true_conflict_leaves_the_rest_merged(locks, ours, theirs, named):
    """One reason names the path, only its line is marked, and the file is refused with the ways out."""
    base = locks.lock(data={"a": "1"}, x="1", z="1")
    merged = locks.merge(base, locks.lock(x="2", z="1", **ours), locks.lock(x="1", z="2", **theirs))
    text = encode_conflicts(merged.lock, merged.conflicts)

    assert locks.lock(x="2", z="2") == merged.lock
    assert [True] == [f"changed {named}" in reason for reason in merged.reasons]
    assert [b"data"] == [item.path for item in merged.conflicts]
    with pytest.raises(LockConflictError):
        decode_lock(text)
    marks = [line for line in text.decode().split("\n") if line[:1] in "<=>"]
    assert ["<<<<<<< ours", "=======", ">>>>>>> theirs"] == [line for line in marks if line]


def test_nested_paths_of_two_sides_conflict(locks):
    """A directory on one side and a path inside it on the other cannot both be tracked."""
    ours, theirs = locks.lock(data={"a": "1"}, x="1"), locks.lock(data__a="1", data__b="1")
    merged = locks.merge(Lock(), ours, theirs)

    assert locks.lock(x="1") == merged.lock
    assert [(1, 2)] == [(len(item.ours), len(item.theirs)) for item in merged.conflicts]


def test_tree_that_is_not_here_is_a_conflict_that_says_so(locks):
    """Git may have fetched a lock whose data nobody fetched."""
    elsewhere = Locks()
    base, ours = locks.lock(data={"a": "1"}), locks.lock(data={"a": "1", "b": "1"})
    merged = locks.merge(base, ours, elsewhere.lock(data={"a": "1", "c": "1"}))

    assert [b"data"] == [item.path for item in merged.conflicts]
    assert {} == merged.lock.entries


def test_environment_follows_the_side_that_changed(locks):
    """Both changed differently: the line is marked."""
    ids = [None, EnvironmentId(b"1" * 32), EnvironmentId(b"2" * 32)]
    for base, ours, theirs in itertools.product(ids, repeat=3):
        merged = locks.merge(*(Lock({}, item) for item in (base, ours, theirs)))
        if len({base, ours, theirs}) == 3:
            assert [b""] == [item.path for item in merged.conflicts]
        else:
            assert (theirs if base == ours else ours) == merged.lock.environment
            assert () == merged.conflicts


def test_entry_of_a_single_file_never_merges(locks):
    """Bytes of a file are not looked into."""
    assert BlobId is type(locks.lock(a="1").entries[b"a"].id)
    assert 1 == len(locks.merge(locks.lock(a="1"), locks.lock(a="2"), locks.lock(a="3")).conflicts)
