"""Giving files that are hard links of the store's bytes of their own, before a command writes to them in place."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from mlvc import fsio
from mlvc.model.names import encode_name
from mlvc.worktree.scan import TEMPORARY_PREFIX

__all__ = ["make_own"]

_PIECE_BYTES = 4 << 20
_WRITE_BITS = 0o222


def make_own(dir_fd: int, name: str, path: bytes) -> None:
    """Makes a file, or every file below a directory, that is read-only and has other names a copy of its own.

    Args:
        dir_fd: The directory that it is in.
        name: Its name there.
        path: What to call it in an error.

    Raises:
        DiskFullError: There is no room for a copy; the file is as it was.
        FileUnreadableError: It cannot be read, or nothing written beside it.
    """
    with fsio.translate_os_errors(f"make a copy of {encode_name(path)}"):
        if stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            for _, _, files, fd in os.fwalk(name, dir_fd=dir_fd, follow_symlinks=False):
                for file in files:
                    _make_own(fd, file)
        else:
            _make_own(dir_fd, name)


def _make_own(dir_fd: int, name: str) -> None:
    status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink == 1 or status.st_mode & _WRITE_BITS:
        return
    temporary = TEMPORARY_PREFIX + os.urandom(8).hex()
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=dir_fd)
        try:
            if not fsio.clone(source, target):
                for piece in _pieces(source):
                    view = memoryview(piece)
                    while view:
                        view = view[os.write(target, view) :]
            fsio.rename(temporary, name, dir_fd=dir_fd)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=dir_fd)
            raise
        finally:
            os.close(target)
    finally:
        os.close(source)


def _pieces(fd: int) -> Iterator[bytes]:
    while piece := os.read(fd, _PIECE_BYTES):
        yield piece
