"""What a command left in its throw-away copy of the project. It is read as hostile: no link is followed."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from mlvc.model.names import encode_name

__all__ = ["extra_files", "is_readable", "remove_tree", "snapshot"]

_MOST_NAMED = 1000
_MOST_REPORT_BYTES = 64 << 20

Stamp = tuple[int, int, int]


def snapshot(directory: Path) -> Mapping[bytes, Stamp]:
    """Returns every file and link below a directory with what changes when it is written: inode, size and time."""
    return dict(_iter_files(os.fsencode(directory), b""))


def _iter_files(directory: bytes, prefix: bytes) -> Iterator[tuple[bytes, Stamp]]:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        # A directory that vanished, or that the command closed to others; the caller opened what it owns.
        return
    for entry in entries:
        name = prefix + entry.name
        facts = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(facts.st_mode):
            yield from _iter_files(entry.path, name + b"/")
        else:
            yield name, (facts.st_ino, facts.st_size, facts.st_mtime_ns)


def extra_files(
    before: Mapping[bytes, Stamp], directory: Path, outputs: Collection[bytes]
) -> tuple[str, ...]:
    """Returns the files that were made or written besides the outputs, in text form; at most a thousand.

    Compiled Python is left out: it says nothing about the run.
    """
    names = (
        name
        for name, stamp in sorted(snapshot(directory).items())
        if before.get(name) != stamp
        and not name.endswith(b".pyc")
        and not any(name == output or name.startswith(output + b"/") for output in outputs)
    )
    return tuple(encode_name(name) for name, _ in zip(names, range(_MOST_NAMED), strict=False))


def is_readable(path: Path) -> bool:
    """Returns whether a file that the command was to write is a plain one of bearable size, and no pipe or link."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_size <= _MOST_REPORT_BYTES


def remove_tree(directory: Path) -> None:
    """Removes a directory and all below it, whatever permissions the command left there; missing is fine."""
    with contextlib.suppress(FileNotFoundError):
        _open_up(os.fsencode(directory))
        shutil.rmtree(directory, ignore_errors=True)


def _open_up(directory: bytes) -> None:
    """Gives the owner every right on each directory, the outer ones first."""
    with contextlib.suppress(PermissionError):
        os.chmod(directory, stat.S_IRWXU)
        for entry in os.scandir(directory):
            if entry.is_dir(follow_symlinks=False):
                _open_up(entry.path)
