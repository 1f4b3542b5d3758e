"""Several processes that look again see what one sees."""

import os
import random
import shutil

import pytest

from mlvc import forks
from mlvc.worktree import rescan
from mlvc.worktree.scan import Directory, scan_directory
from mlvc.worktree.statcache import StatCache


@pytest.fixture(autouse=True)
def _always_worth_it(monkeypatch):
    monkeypatch.setattr(forks, "processors", lambda: 2)
    monkeypatch.setattr(rescan, "_WORTH_ENTRIES", 1)
    monkeypatch.setattr(rescan, "_TASK_ENTRIES", 5)


@pytest.fixture
def known(place):
    """A work tree whose stat cache knows forty files in eleven directories."""
    for number in range(40):
        place.write(f"data/{number % 5}/deep {number % 2}/{number}.txt", b"x" * number)
    place.settle()
    place.capture("data")
    return place


def described(seen: Directory):
    return (
        dict(sorted(seen.entries.items())),
        seen.tree, seen.size, seen.files, seen.is_cached,
        {name: described(child) for name, child in sorted(seen.children.items())},
    )  # fmt: skip


def both(place):
    """Returns what one process sees and what several see."""
    fd = os.open(place.root / "data", os.O_RDONLY)
    try:
        alone = scan_directory(fd, "data", StatCache(place.state / "statcache"))
        shared = rescan.look_again(fd, "data", StatCache(place.state / "statcache"))
    finally:
        os.close(fd)
    return described(alone), described(shared)


def test_nothing_changed(known):
    """The tree of everything is known, without one entry being decoded by this process."""
    alone, shared = both(known)
    assert alone == shared
    assert shared[1] == known.capture("data").id.digest


@pytest.mark.parametrize("seed", range(12))
def test_anything_changed(known, seed):
    """Files and directories that were added, changed, removed or replaced by each other are seen alike."""
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 6)):
        directory = known.root / f"data/{rng.randrange(5)}"
        match rng.randrange(7):
            case 0:
                (directory / "deep 0" / "new").parent.mkdir(parents=True, exist_ok=True)
                (directory / "deep 0" / "new").write_bytes(b"new")
            case 1:
                shutil.rmtree(directory / "deep 1", ignore_errors=True)
            case 2:
                shutil.rmtree(directory, ignore_errors=True)
                directory.write_bytes(b"a file now")
            case 3 if directory.is_dir():
                (directory / "made" / "twice").mkdir(parents=True, exist_ok=True)
                (directory / "made" / "twice" / "file").write_bytes(b"made")
            case 4 if directory.is_dir():
                for file in sorted(directory.rglob("*.txt"))[:2]:
                    file.write_bytes(b"changed")
            case 5 if directory.is_dir():
                (directory / f"link {rng.random()}").symlink_to("..")
            case _:
                (known.root / "data" / f"beside {rng.random()}").write_bytes(b"beside")
    alone, shared = both(known)
    assert alone == shared


def test_a_directory_that_cannot_be_looked_at_is_left_to_the_first_process(known, monkeypatch):
    """What the others could not see, for whatever reason, is not taken for empty."""
    monkeypatch.setattr(rescan.fsio, "open_beneath", _refuse)
    alone, shared = both(known)
    assert alone == shared


def _refuse(*_arguments):
    raise PermissionError
