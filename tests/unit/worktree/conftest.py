"""A work tree over a store in memory."""

import contextlib
import os
import time
from pathlib import Path

import pytest

from mlvc.worktree.worktree import Worktree
from tests.support.memory_store import MemoryStore


class SilentReporter:
    """Counts what it is told and shows nothing."""

    def __init__(self):
        self.advanced = 0

    @contextlib.contextmanager
    def task(self, label, *, total=None, unit="files"):
        yield self

    def advance(self, amount=1):
        self.advanced += amount

    def set_total(self, total):
        pass

    def note(self, message):
        pass

    warn = note


class Place:
    """A directory with a `Worktree` over it; every call opens a new one, as every command does."""

    def __init__(self, root: Path, store: MemoryStore):
        self.root = root
        self.state = root / ".git" / "mlvc"
        self.state.mkdir(parents=True)
        self.store = store
        self.reporter = SilentReporter()

    @property
    def worktree(self):
        return Worktree(self.root, self.state, self.store, self.reporter)

    def write(self, path, data=b"x", *, executable=False):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o755 if executable else 0o644)
        return file

    def capture(self, path):
        worktree = self.worktree
        with worktree.storing() as writer:
            return worktree.capture(os.fsencode(path), writer)

    def differences(self, entry):
        return [(change.path, change.change) for change in self.worktree.differences(entry)]

    def materialise(self, target=(), current=(), *, force=False):
        return self.worktree.materialise(
            {entry.path: entry for entry in target}, {entry.path: entry for entry in current}, force=force
        )

    def bytes_read(self, call):
        """How many bytes of files a call read or wrote."""
        self.reporter.advanced = 0
        call()
        return self.reporter.advanced

    def settle(self):
        """Returns when the file system's clock shows a later time than any file written so far."""
        probe = self.state / "probe"
        probe.write_bytes(b"")
        start = probe.stat().st_ctime_ns
        while probe.stat().st_ctime_ns == start:
            time.sleep(0.001)
            probe.write_bytes(b"")


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "repo", MemoryStore())


@pytest.fixture
def another(tmp_path, place):
    """A second work tree over the same store."""
    return Place(tmp_path / "another", place.store)
