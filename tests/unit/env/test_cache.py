import os
import struct

import pytest

from mlvc.env.cache import CacheEntry, EnvironmentCache, Part, read_stats, sign
from mlvc.env.libraries import Libraries
from mlvc.model.objects import Environment, Interpreter

PYTHON = Interpreter("/v/bin/python", "/usr/bin/python3.11", "3.11.2", "cpython", "3.11.2 (x)", "/v", "/usr")
ENTRY = CacheEntry(
    (("site", "/v/lib"), ("file", "/v/pyvenv.cfg")),
    "00ff",
    ("/v/lib",),
    {"demo": Part("aa", Libraries(frozenset({"libz.so.1"}), frozenset(), frozenset({"2.17"})))},
    Environment(PYTHON, {"system": "Linux"}, "demo==1\n"),
)


@pytest.fixture
def cache(tmp_path):
    return EnvironmentCache(tmp_path / "cache", tmp_path / "bin/python", tmp_path)


def test_a_saved_capture_is_loaded_again(cache):
    """What comes back is what went in."""
    started_ns = cache.now_ns()

    assert cache.load() is None
    cache.save(ENTRY, {}, started_ns)
    assert cache.load() == ENTRY


def test_a_file_that_was_written_just_now_is_not_trusted(cache, tmp_path):
    """It may change again within the same tick of the file system's clock, without a sign."""
    (tmp_path / "new").write_text("x")
    started_ns = cache.now_ns()

    cache.save(ENTRY, {"new": (tmp_path / "new").stat()}, started_ns)

    assert cache.load() is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:5],
        lambda data: data[:-1],
        lambda data: b"X" + data[1:],
        lambda data: data[:8] + struct.pack("<H", 99) + data[10:],
        lambda data: data.replace(b'"sites"', b'"sitez"'),
    ],
    ids=["short", "cut", "magic", "version", "key"],
)
def test_a_damaged_cache_counts_as_none(cache, damage, tmp_path):
    """It is only a cache: the next capture replaces it."""
    cache.save(ENTRY, {}, cache.now_ns())
    (path,) = (tmp_path / "cache").glob("environment-*")
    path.write_bytes(damage(path.read_bytes()))

    assert cache.load() is None


def test_the_signature_sees_every_change_but_byte_code(tmp_path):
    """A new file, other contents and another mode change it; what Python itself writes does not."""
    site = tmp_path / "site"
    (site / "package").mkdir(parents=True)
    (site / "package" / "a.py").write_text("1")
    seen = set()

    def look():
        table = read_stats([("site", str(site))])
        seen.add(sign(table, table))
        return len(seen)

    assert look() == 1
    (site / "package" / "__pycache__").mkdir()
    (site / "package" / "__pycache__" / "a.pyc").write_text("code")
    assert look() == 1
    (site / "package" / "b.py").write_text("")
    assert look() == 2
    (site / "package" / "a.py").write_text("2")
    os.utime(site / "package" / "a.py", (1, 1))
    assert look() == 3
    (site / "package" / "a.py").chmod(0o755)
    assert look() == 4
