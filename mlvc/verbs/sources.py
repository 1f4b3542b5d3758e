"""The code that the next run would record, read once and never executed: what it draws from, and what it gives away."""

from __future__ import annotations

import os
import stat
from fnmatch import fnmatchcase

from mlvc.code.snapshot import LARGEST_UNTRACKED_BYTES, looks_secret
from mlvc.model.lock import Lock
from mlvc.repo import LOCK_NAME, Repo
from mlvc.verbs.leaks import find_credentials
from mlvc.verbs.r_scripts import ENDINGS, RLook, look_at_r
from mlvc.verbs.seeding import Look, look_at, look_at_notebook

__all__ = ["NOTEBOOK", "Sources", "is_data"]

NOTEBOOK = ".ipynb"
"""What the name of a notebook ends with."""

_READERS = {".py": look_at, NOTEBOOK: look_at_notebook}
_SOURCES = tuple(ending.encode() for ending in _READERS)
_MOST_BYTES = 16 << 20
"""A notebook holds the pictures that it drew."""
_TESTS = ("test_*.py", "*_test.py", "conftest.py", "test[-_]*.[Rr]")


class Sources:
    """The code that a run would record, read once.

    Attributes:
        files: Paths of git and untracked ones that would be recorded, without tracked data.
        changed: Those of them that differ from HEAD.
        looks: What each Python source and notebook does; tests and virtual environments are left out.
        r_looks: What each R script does.
        credentials: Files that hold credentials: the path, the line and the kind.
    """

    def __init__(self, repo: Repo, lock: Lock) -> None:
        self._root = repo.root
        untracked = set(repo.code.untracked_files())
        if repo.config.code_untracked == "none":
            left_out = untracked
        elif repo.config.code_untracked == "all":
            left_out = set()
        else:
            left_out = {path for path in untracked if looks_secret(path)}
        self.files = [
            path
            for path in sorted({*repo.code.tracked_below(b""), *untracked} - left_out)
            if not is_data(path, lock) and path != LOCK_NAME
        ]
        self.changed = sorted(set(self.files).intersection(repo.code.changed_files()))
        self.looks: dict[bytes, Look] = {}
        self.r_looks: dict[bytes, RLook] = {}
        self.credentials: list[tuple[bytes, int, str]] = []
        marks = (path.rpartition(b"/") for path in self.files)
        installed = tuple(directory + b"/" for directory, _, name in marks if name == b"pyvenv.cfg")
        for path in self.files:
            source = self._contents(path)
            self.credentials += [(path, line, kind) for line, kind in find_credentials(source)]
            if not path.startswith(installed):
                self._look_at(path, source)

    def _look_at(self, path: bytes, source: bytes) -> None:
        name = os.fsdecode(path.rpartition(b"/")[2])
        if any(fnmatchcase(name, pattern) for pattern in _TESTS):
            return
        if name.endswith(ENDINGS):
            self.r_looks[path] = look_at_r(source)
        read = next((read for ending, read in _READERS.items() if name.endswith(ending)), None)
        look = None if read is None else read(source)
        if look is not None:
            self.looks[path] = look

    def _contents(self, path: bytes) -> bytes:
        """Returns a regular file's bytes, of a large one none; never waits at a pipe or follows a link."""
        most_bytes = _MOST_BYTES if path.endswith(_SOURCES) else LARGEST_UNTRACKED_BYTES
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with open(os.open(os.fsencode(self._root) + b"/" + path, flags), "rb") as file:
                facts = os.fstat(file.fileno())
                if stat.S_ISREG(facts.st_mode) and facts.st_size <= most_bytes:
                    return file.read(most_bytes)
        except OSError:
            # Deleted, a link, a directory: `mlvc run` says what it cannot record.
            pass
        return b""


def is_data(path: bytes, lock: Lock) -> bool:
    """Returns whether a path is tracked data, or lies below it."""
    while path:
        if path in lock.entries:
            return True
        path = path.rpartition(b"/")[0]
    return False
