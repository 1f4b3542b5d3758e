"""Entries of which the stat cache knows most."""

import os
import random
from types import SimpleNamespace

import pytest

from mlvc.worktree.overlay import Overlay
from mlvc.worktree.statcache import CachedDirectory, Stamp, decode_directory, encode_directory, total_size

NAMES = ["a", "aa", "b", "b.a", "ba", os.fsdecode(b"\xff"), "\n", "é", "name that is long", "x" * 255]


def stamp(number, digest=b""):
    status = SimpleNamespace(
        st_mode=0o100644, st_size=number, st_mtime_ns=-number, st_ctime_ns=number, st_ino=number
    )
    return Stamp.of(status, digest)


def overlay(entries, changed):
    block = memoryview(encode_directory("data", CachedDirectory(entries, b"t" * 32, 1, 2)))
    return Overlay(block, CachedDirectory({}, b"t" * 32, 1, 2), changed)


@pytest.mark.parametrize("seed", range(60))
def test_it_is_a_dictionary(seed):
    """Whatever is changed, looked up, counted and summed, decoded or not, is as in a dictionary; so is its block."""
    rng = random.Random(seed)
    base = {name: stamp(rng.randrange(99), b"d" * 32) for name in NAMES if rng.random() < 0.6}
    changed = {name: rng.choice([None, stamp(rng.randrange(99))]) for name in NAMES if rng.random() < 0.3}
    expected = {name: value for name, value in {**base, **changed}.items() if value is not None}
    entries = overlay(base, changed)
    for _ in range(rng.randrange(8)):
        name = rng.choice(NAMES)
        match rng.randrange(4):
            case 0:
                entries[name] = expected[name] = stamp(rng.randrange(99), b"e" * 32)
            case 1:
                assert expected.pop(name, None) == entries.pop(name, None)
            case 2:
                assert expected == dict(entries.items())
            case _:
                assert expected.get(name) == entries.get(name)
        assert (name in expected, len(expected)) == (name in entries, len(entries))
    assert total_size(expected.values()) == entries.total_size()
    assert sorted(name for name in expected if not expected[name].digest) == sorted(entries.unread())

    without = dict.fromkeys(rng.sample(NAMES, 2))
    known = CachedDirectory({}, b"u" * 32, 5, 6, is_stored=True)
    block = entries.encode("some/data", known, without)

    kept = {name: value for name, value in expected.items() if name not in without}
    assert CachedDirectory(kept, b"u" * 32, 5, 6, is_stored=True) == decode_directory(memoryview(block))
    assert encode_directory("some/data", decode_directory(memoryview(block))) == block
    assert expected == dict(entries)


def test_what_is_not_there():
    """Neither a part of a name, nor nothing, nor a name that was taken away, is found."""
    entries = overlay({"name": stamp(1, b"d" * 32)}, {"gone": None})
    assert [] == [name for name in ("nam", "ame", "gone", "x") if name in entries]
    for name in ("nam", "gone"):
        with pytest.raises(KeyError):
            entries[name]
        with pytest.raises(KeyError):
            del entries[name]
    assert 0 == len(overlay({}, {}))
    assert {} == dict(overlay({}, {"a": None}))
