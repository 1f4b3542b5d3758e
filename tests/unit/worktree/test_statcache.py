"""The stat cache file."""

import os
import stat
import time
from types import SimpleNamespace

import pytest

from mlvc import fsio
from mlvc.worktree.statcache import EMPTY, CachedDirectory, Stamp, StatCache


def stamp(number):
    status = SimpleNamespace(
        st_mode=stat.S_IFREG | 0o644,
        st_size=number,
        st_mtime_ns=-number,
        st_ctime_ns=2**62 + number,
        st_ino=2**64 - 1,
    )
    return Stamp.of(status, bytes([number % 256]) * 32)


def saved(path, directories):
    cache = StatCache(path)
    for name, directory in directories.items():
        cache.replace(name, {name: directory})
    cache.save()
    return StatCache(path)


def test_what_is_saved_is_loaded(tmp_path):
    """Odd names, empty directories, known and unknown trees, extreme numbers."""
    directories = {
        "data": CachedDirectory({"a": stamp(1), os.fsdecode(b"\xff\n"): stamp(2)}, b"t" * 32, 2**63, 7),
        os.fsdecode(b"data/\xfe \n"): CachedDirectory({"x": Stamp.of_directory(5, b"d" * 32)}),
        "empty": CachedDirectory({}, b"e" * 32),
        "": CachedDirectory({"model": stamp(3)}),
    }
    cache = saved(tmp_path / "statcache", directories)
    assert {name: cache.get(name) for name in directories} == directories
    assert cache.get("unknown") == EMPTY


def test_replacing_forgets_what_is_no_longer_below(tmp_path):
    """Vanished directories leave the cache; siblings with a common prefix stay."""
    known = CachedDirectory({"x": stamp(1)})
    cache = saved(tmp_path / "statcache", dict.fromkeys(["a", "a/gone", "a/kept", "a.b", "ab"], known))
    cache.replace("a", {"a": known, "a/kept": None})
    cache.save()
    cache = StatCache(tmp_path / "statcache")
    assert [name for name in ["a", "a/gone", "a/kept", "a.b", "ab"] if cache.get(name) != EMPTY] == [
        "a", "a/kept", "a.b", "ab",
    ]  # fmt: skip


@pytest.mark.parametrize("cut", [0, 1, 17, 60, -1])
def test_a_cut_file_is_as_good_as_absent(tmp_path, cut):
    """A crash in the middle of writing is no error."""
    path = tmp_path / "statcache"
    saved(path, {"data": CachedDirectory({"a": stamp(1)})})
    path.write_bytes(path.read_bytes()[:cut])
    assert StatCache(path).get("data") == EMPTY


def test_any_flipped_bit_is_noticed(tmp_path):
    """The checksum covers every byte that matters; a damaged or unknown cache is ignored and replaced."""
    path = tmp_path / "statcache"
    good = CachedDirectory({"a": stamp(1)})
    saved(path, {"data": good})
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert StatCache(path).get("data") == EMPTY
    assert saved(path, {"data": good}).get("data") == good


def test_a_place_that_cannot_be_written(tmp_path):
    """A cache that cannot be saved costs time and nothing else."""
    cache = StatCache(tmp_path / "missing" / "statcache")
    assert cache.now() is None
    cache.replace("data", {"data": CachedDirectory({"a": stamp(1)})})
    cache.save()
    assert not (tmp_path / "missing").exists()


def test_nothing_changed_writes_nothing(tmp_path):
    """An unchanged status leaves the file alone, and no temporary file stays."""
    path = tmp_path / "statcache"
    cache = saved(path, {"data": CachedDirectory({"a": stamp(1)})})
    inode = path.stat().st_ino
    cache.now()
    cache.replace("data", {"data": None})
    cache.set_file("data", "a", stamp(1))
    cache.save()
    assert path.stat().st_ino == inode
    assert os.listdir(tmp_path) == ["statcache"]


def test_a_hundred_thousand_entries_come_back(tmp_path):
    """All of 400 directories are as they were saved."""
    path = tmp_path / "statcache"
    names = [f"image-{number:05d}.jpg" for number in range(250)]
    directory = CachedDirectory({name: stamp(number) for number, name in enumerate(names)}, b"t" * 32)
    saved(path, {f"data/{number}": directory for number in range(400)})
    cache = StatCache(path)
    assert all(cache.get(f"data/{number}") == directory for number in range(400))


MINUTE_NS = 60 * 10**9


def of_age(age_ns):
    now = time.time_ns()
    status = SimpleNamespace(
        st_mode=stat.S_IFREG | 0o644, st_size=1, st_mtime_ns=0, st_ctime_ns=now - age_ns, st_ino=1
    )
    return Stamp.of(status, b"d" * 32)


@pytest.fixture
def restart(monkeypatch):
    """Lets the system start anew."""

    def call():
        boot = os.urandom(16)
        monkeypatch.setattr(fsio, "boot_id", lambda: boot)

    return call


def test_after_another_start_only_old_changes_are_believed(tmp_path, restart):
    """What may not have been on the disk when the power went is read again; its tree is not known any more."""
    young, old = of_age(9 * MINUTE_NS), of_age(11 * MINUTE_NS)
    directories = {
        "data": CachedDirectory({"young": young, "old": old}, b"t" * 32, 2, 2),
        "data/old": CachedDirectory({"x": old}, b"u" * 32, 1, 1),
    }
    cache = StatCache(tmp_path / "statcache")
    cache.replace("data", directories)
    cache.save()
    assert directories == {name: StatCache(tmp_path / "statcache").get(name) for name in directories}
    restart()

    cache = StatCache(tmp_path / "statcache")

    assert CachedDirectory({"old": old}) == cache.get("data")
    assert directories["data/old"] == cache.get("data/old")
    cache.save()
    assert CachedDirectory({"old": old}) == StatCache(tmp_path / "statcache").get("data")


def test_what_was_written_out_since_is_believed_after_another_start(tmp_path, restart, monkeypatch):
    """The first command that looks ten minutes later says so in the file, and the next does not write it again."""
    path = tmp_path / "statcache"
    known = CachedDirectory({"x": of_age(0)}, b"t" * 32, 1, 1)
    saved(path, {"data": known})
    first = path.read_bytes()
    StatCache(path).save()
    assert first == path.read_bytes()
    later = time.time_ns() + 11 * MINUTE_NS
    monkeypatch.setattr(StatCache, "now", lambda _cache: later)
    StatCache(path).save()
    written = path.stat()
    StatCache(path).save()
    assert (written.st_mtime_ns, written.st_ino) == (path.stat().st_mtime_ns, path.stat().st_ino)
    restart()

    assert known == StatCache(path).get("data")
