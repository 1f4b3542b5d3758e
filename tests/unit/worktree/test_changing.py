"""Files that change while mlvc looks at them, and clocks that lie: alone, and with several processes."""

import os
import random

import pytest

from mlvc import forks
from mlvc.errors import MlvcError
from mlvc.model.ids import BlobId
from mlvc.store.local import LocalStore
from mlvc.worktree import ingest, rescan, write_out
from mlvc.worktree.scan import FileChangedError
from mlvc.worktree.statcache import StatCache
from mlvc.worktree.trees import flatten
from tests.unit.worktree.conftest import Place


@pytest.fixture(params=["alone", "forked"])
def ours(request, tmp_path, monkeypatch):
    """A work tree over a store on disk, of one process or of several."""
    if request.param == "forked":
        monkeypatch.setattr(forks, "processors", lambda: 2)
        monkeypatch.setattr(ingest, "_WORTH_FILES", 1)
        monkeypatch.setattr(ingest, "_TASK_FILES", 3)
        monkeypatch.setattr(write_out, "_WORTH_FILES", 1)
        monkeypatch.setattr(write_out, "_TASK_FILES", 3)
        monkeypatch.setattr(rescan, "_WORTH_ENTRIES", 1)
        monkeypatch.setattr(rescan, "_TASK_ENTRIES", 3)
    place = Place(tmp_path / "repo", LocalStore.create(tmp_path / "store"))
    for number in range(20):
        place.write(f"data/{number % 4}/{number}", b"first %02d" % number)
    return place


def stored(place, entry):
    """Returns what the store has of an entry, by path; every byte is checked."""
    return {
        path: place.store.read_blob(BlobId(item.id.digest))
        for path, item in flatten(place.store, entry)
        if isinstance(item.id, BlobId)
    }


def as_it_is(place):
    return {
        os.fsencode(path.relative_to(place.root)): path.read_bytes()
        for path in (place.root / "data").rglob("*")
        if path.is_file()
    }


def interfere(monkeypatch, change):
    """Does something after the directories were looked at and before anything is read."""
    real = Place.worktree.fget

    def worktree(place):
        tree = real(place)
        look = tree._look

        def changed(*arguments):
            seen = look(*arguments)
            change()
            return seen

        tree._look = changed
        return tree

    monkeypatch.setattr(Place, "worktree", property(worktree))


def test_a_file_that_changes_before_it_is_read(ours, monkeypatch):
    """The entry holds the bytes that were read, and the next look agrees with it."""
    with monkeypatch.context() as patch:
        interfere(patch, lambda: ours.write("data/1/1", b"later, and longer"))
        entry = ours.capture("data")
    assert b"later, and longer" == stored(ours, entry)[b"data/1/1"]
    assert as_it_is(ours) == stored(ours, entry)
    assert [] == ours.differences(entry)


def test_a_file_that_goes_before_it_is_read(ours, monkeypatch):
    """It is named, and nothing is tracked."""
    with monkeypatch.context() as patch:
        interfere(patch, lambda: (ours.root / "data/1/1").unlink(missing_ok=True))
        with pytest.raises(FileChangedError, match="data/1/1"):
            ours.capture("data")
    assert as_it_is(ours) == stored(ours, ours.capture("data"))


def test_a_file_that_becomes_a_link(ours, monkeypatch, tmp_path):
    """What it leads to is not read: the link is stored, or the file is named."""
    (tmp_path / "secret").write_bytes(b"secret")

    def become():
        (ours.root / "data/1/1").unlink()
        (ours.root / "data/1/1").symlink_to(tmp_path / "secret")

    with monkeypatch.context() as patch:
        interfere(patch, become)
        entry = ours.capture("data")
    assert os.fsencode(tmp_path / "secret") == stored(ours, entry)[b"data/1/1"]
    assert not ours.store.has_blob(BlobId.of(b"secret"))
    assert [] == ours.differences(entry)


def test_a_directory_that_becomes_a_link(ours, monkeypatch, tmp_path):
    """Nothing outside is read."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "1").write_bytes(b"secret")

    def become():
        os.rename(ours.root / "data/1", tmp_path / "aside")
        (ours.root / "data/1").symlink_to(outside)

    with monkeypatch.context() as patch:
        interfere(patch, become)
        with pytest.raises(FileChangedError, match="data/1"):
            ours.capture("data")
    assert not ours.store.has_blob(BlobId.of(b"secret"))


def test_a_directory_that_is_renamed(ours, monkeypatch):
    """It is named, nothing is tracked, and the next command stores it under its new name."""
    with monkeypatch.context() as patch:
        interfere(patch, lambda: os.rename(ours.root / "data/1", ours.root / "data/new"))
        with pytest.raises(FileChangedError, match="data/1"):
            ours.capture("data")
    entry = ours.capture("data")
    assert as_it_is(ours) == stored(ours, entry)
    assert b"data/new/1" in stored(ours, entry)


def test_a_file_that_becomes_a_directory(ours, monkeypatch):
    """It is said to have changed: nothing is in the way that would have to be moved."""

    def become():
        (ours.root / "data/1/1").unlink()
        (ours.root / "data/1/1").mkdir()

    with monkeypatch.context() as patch:
        interfere(patch, become)
        with pytest.raises(FileChangedError, match="data/1/1"):
            ours.capture("data")


def test_a_file_that_becomes_a_pipe(ours, monkeypatch):
    """Nobody waits for a writer; it is named."""

    def become():
        (ours.root / "data/1/1").unlink()
        os.mkfifo(ours.root / "data/1/1")

    with monkeypatch.context() as patch:
        interfere(patch, become)
        with pytest.raises(MlvcError, match="data/1/1"):
            ours.capture("data")


def test_same_size_and_same_times(ours):
    """Other bytes of the same length, with the old mtime put back as `touch -r` does, are seen by the ctime."""
    ours.settle()
    entry = ours.capture("data")
    for number in range(20):
        file = ours.root / f"data/{number % 4}/{number}"
        status = file.stat()
        with file.open("r+b") as handle:
            handle.write(b"other")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert 20 == len(ours.differences(entry))
    assert as_it_is(ours) == stored(ours, ours.capture("data"))


def test_another_file_with_the_same_stat_data(ours):
    """A file that was renamed over it, of the same size and mtime, is another: by its inode and ctime."""
    ours.settle()
    entry = ours.capture("data")
    file = ours.root / "data/1/1"
    status = file.stat()
    ours.write("aside", b"other 01")
    os.utime(ours.root / "aside", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.rename(ours.root / "aside", file)
    assert [(b"data/1/1", "modified")] == ours.differences(entry)


def test_within_one_tick_of_the_clock(ours):
    """A file that was written just now is not trusted: a change that no time stamp shows is seen (racy-clean)."""
    for attempt in range(10):
        for number in range(20):
            ours.write(f"data/{number % 4}/{number}", b"%08d" % (100 * attempt + number))
        entry = ours.capture("data")
        with (ours.root / "data/3/3").open("r+b") as handle:
            handle.write(b"sneaked!")
        assert [(b"data/3/3", "modified")] == ours.differences(entry)


@pytest.mark.parametrize("shift_s", [-3600, 3600])
def test_a_clock_that_jumps(ours, monkeypatch, shift_s):
    """Time stamps from a future or a past that the file system's clock does not know cost time, and hide nothing."""
    now = StatCache.now

    def jumped(cache):
        return now(cache) + shift_s * 10**9

    ours.settle()
    with monkeypatch.context() as patch:
        if shift_s < 0:
            # The clock went back: what was written before it did lies in the future, and is never trusted.
            patch.setattr(StatCache, "now", jumped)
        entry = ours.capture("data")
        for path in (ours.root / "data/2/2", ours.root / "data/0/0"):
            os.utime(path, ns=(0, path.stat().st_mtime_ns + shift_s * 10**9))
        assert [] == ours.differences(entry)
        ours.settle()
        ours.write("data/2/2", b"FIRST 02")
        os.utime(ours.root / "data/2/2", ns=(0, 0))
        assert [(b"data/2/2", "modified")] == ours.differences(entry)


def test_a_link_that_appears_during_checkout(ours, monkeypatch, tmp_path):
    """A directory that is swapped for a link between plan and writing leads nothing outside."""
    entry = ours.capture("data")
    target = Place(tmp_path / "target", ours.store)
    outside = tmp_path / "outside"
    outside.mkdir()
    (target.root / "data/1").mkdir(parents=True)
    plan = Place.worktree.fget(target)
    save_risks = plan._save_risks

    def swap(*arguments):
        (target.root / "data/1").rmdir()
        (target.root / "data/1").symlink_to(outside)
        return save_risks(*arguments)

    monkeypatch.setattr(plan, "_save_risks", swap)
    with pytest.raises(FileChangedError, match="data/1"):
        plan.materialise({entry.path: entry}, {}, force=False)
    assert [] == list(outside.iterdir())
    (target.root / "data/1").unlink()
    target.materialise([entry])
    assert [] == target.differences(entry)


def test_files_that_change_all_the_time(ours):
    """Whatever is stored is what a file held at one time: each holds one letter, many times."""
    rng = random.Random(1)
    pid = os.fork()
    if pid == 0:
        while True:
            number = rng.randrange(20)
            ours.write(
                f"data/{number % 4}/{number}", bytes([rng.randrange(97, 123)]) * rng.randrange(1, 9000)
            )
    try:
        for _ in range(15):
            try:
                entry = ours.capture("data")
            except FileChangedError:
                continue
            for data in stored(ours, entry).values():
                assert len(set(data)) <= 1 or data.startswith(b"first ")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    entry = ours.capture("data")
    assert as_it_is(ours) == stored(ours, entry)
