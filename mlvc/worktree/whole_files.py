"""Files that get their names once all of their bytes are in them, so that nobody ever meets a part of one.

A file without a name is gone when its process is killed, and a name that is taken meanwhile is never taken over.
That costs less than a temporary name that is changed afterwards. Linux only, and not on every file system.
"""

from __future__ import annotations

import os

__all__ = ["open_descriptors", "write_whole"]


def open_descriptors() -> int:
    """Opens the directory of this process's own file descriptors, which `write_whole` needs; not for a fork of it.

    Raises:
        OSError: There is none.
    """
    return os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def write_whole(
    descriptors: int, directory: int, name: str, mode: int, data: bytes | memoryview
) -> os.stat_result:
    """Makes a file in an open directory, and returns its stat data.

    Args:
        descriptors: What `open_descriptors` returned.
        directory: Where.
        name: Its name there; nothing may have it.
        mode: Less what the umask takes.
        data: All of its bytes.

    Raises:
        FileExistsError: Something has the name.
        OSError: There is no room, or the file system knows no files without names.
    """
    fd = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, mode, dir_fd=directory)
    try:
        written = os.write(fd, data)
        while written < len(data):
            written += os.write(fd, memoryview(data)[written:])
        os.link(str(fd), name, src_dir_fd=descriptors, dst_dir_fd=directory)
        return os.fstat(fd)
    finally:
        os.close(fd)
