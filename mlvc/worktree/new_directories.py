"""New directories that get their names once their files are in them, so that nobody ever meets a part of one.

A file in a directory that has no name yet can be written under its own at once. That costs less than giving each file
its name when all of its bytes are there: in ext4, a file without a name is in a list that all processes wait for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from mlvc import fsio

__all__ = ["new_directory", "remove_unnamed", "write_new"]


@contextlib.contextmanager
def new_directory(parent: int, name: bytes, temporary: str) -> Iterator[int]:
    """Makes a directory; yields it open, to be filled, and gives it its name when the context is left normally.

    Otherwise it is removed, with all files in it.

    Args:
        parent: The directory that it shall be in.
        name: Its name there.
        temporary: Its name until then; nothing may have it.

    Raises:
        OSError: Something has the name, or the directory cannot be made.
    """
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        pass
    else:
        # The rename would take the place of an empty directory, which may have been made with certain rights.
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
    os.mkdir(temporary, dir_fd=parent)
    try:
        fd = fsio.open_beneath(parent, [os.fsencode(temporary)])
        try:
            yield fd
        finally:
            os.close(fd)
        fsio.rename(os.fsencode(temporary), name, dir_fd=parent)
    except BaseException:
        # What cannot be removed is no content, and the next checkout tries again.
        with contextlib.suppress(OSError):
            remove_unnamed(parent, temporary)
        raise


def remove_unnamed(parent: int, temporary: str) -> None:
    """Removes what a killed process left under a temporary name: a file, a link, or a directory of such.

    Directories in a directory are not of `new_directory`, and stay.

    Raises:
        OSError: As `unlink` raises it; not where there is nothing.
    """
    try:
        status = os.stat(temporary, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(temporary, dir_fd=parent)
            return
        fd = fsio.open_beneath(parent, [os.fsencode(temporary)])
    except FileNotFoundError:
        return
    try:
        for name in os.listdir(fd):
            if not stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)
    with contextlib.suppress(OSError):
        os.rmdir(temporary, dir_fd=parent)


def write_new(directory: int, name: str, mode: int, data: bytes | memoryview) -> os.stat_result:
    """Makes a file in a directory of `new_directory`, as `whole_files.write_whole` does; else a part of it may stay."""
    fd = os.open(
        name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=directory
    )
    try:
        written = os.write(fd, data)
        while written < len(data):
            written += os.write(fd, memoryview(data)[written:])
        return os.fstat(fd)
    finally:
        os.close(fd)
