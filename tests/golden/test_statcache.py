"""Stat caches as versions wrote them; `tests/golden/statcache/` is append-only."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlvc import fsio
from mlvc.worktree.statcache import EMPTY, CachedDirectory, Stamp, StatCache

GOLDEN = Path(__file__).parent / "statcache"
HELD = frozenset({b"p" * 32, b"q" * 32})


def stamp(number):
    status = SimpleNamespace(
        st_mode=0o100644, st_size=number, st_mtime_ns=-number, st_ctime_ns=2**40 + number, st_ino=2**64 - 1
    )
    return Stamp.of(status, bytes([number]) * 32)


DATA = CachedDirectory(
    {"a": stamp(1), os.fsdecode(b"\xff\n"): stamp(2), "sub": Stamp.of_directory(3, b"s" * 32)},
    b"t" * 32, 6, 3, is_stored=True,
)  # fmt: skip
MORE = CachedDirectory({"x": stamp(3)})


@pytest.fixture(autouse=True)
def _same_start(monkeypatch):
    """The system has not been started since they were written."""
    monkeypatch.setattr(fsio, "boot_id", lambda: bytes(range(16)))


@pytest.fixture
def golden(tmp_path):
    """Opens a copy, which may be written to."""

    def call(name):
        shutil.copy(GOLDEN / name, tmp_path / "statcache")
        return StatCache(tmp_path / "statcache")

    return call


def test_version_3(golden, tmp_path):
    """Read, and written again byte for byte."""
    cache = golden("v3")
    assert (DATA, MORE, EMPTY) == (cache.get("data"), cache.get("more"), cache.get("data/sub"))
    assert cache.believe(HELD)
    cache.now = lambda: 2**60
    cache.replace("data", {"data": DATA})
    cache.replace("more", {"more": MORE})

    cache.save()

    assert (GOLDEN / "v3").read_bytes() == (tmp_path / "statcache").read_bytes()


def test_version_3_in_a_store_that_lost_something(golden, tmp_path):
    """What it knows of files still counts; nothing is known to be stored, and that stays so."""
    cache = golden("v3")
    assert not cache.believe(frozenset({b"p" * 32, b"r" * 32}))
    lost = CachedDirectory(DATA.entries, DATA.tree, DATA.size, DATA.files)
    assert (lost, MORE) == (cache.get("data"), cache.get("more"))
    cache.save()
    again = StatCache(tmp_path / "statcache")
    assert (lost, MORE) == (again.get("data"), again.get("more"))
    assert again.believe(frozenset({b"p" * 32, b"r" * 32, b"s" * 32}))


def test_version_2(golden):
    """Is as good as absent, and replaced."""
    cache = golden("v2")
    assert EMPTY == cache.get("data")
    assert [] == list(cache.sizes_below("data"))
