"""Reading and writing large files past the page cache, which is for what will be read again."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
from pathlib import Path
from typing import Self

__all__ = ["OnceReader", "begin_writeback", "go_past_cache"]

_DIRECT = getattr(os, "O_DIRECT", 0)
_ALIGNMENT = 4096
"""What addresses, offsets and lengths are multiples of where the page cache is gone past."""
_IS_RESIDENT = 1


def go_past_cache(fd: int, *, on: bool) -> bool:
    """Makes reads and writes of an open file go past the page cache, or no more; returns whether they now do.

    Where they do, address, offset and length must be multiples of 4 KiB.
    """
    if not _DIRECT:
        return False
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | _DIRECT if on else flags & ~_DIRECT)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        return False
    return on


def begin_writeback(fd: int, offset: int, size_bytes: int) -> None:
    """Has the system begin to write out a part of a file, where it can be asked to, and returns at once.

    Whoever syncs the file afterwards waits for less. To be called once for each part.
    """
    if hasattr(os, "posix_fadvise"):
        # Linux begins to write out what it is told will not be needed, and lets go of what was written out before:
        # of nothing, where that has only begun (mm/fadvise.c). It is a hint, so nothing is said where it does not help.
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, offset, size_bytes, os.POSIX_FADV_DONTNEED)


class OnceReader:
    """Reads a large file that will not be read again soon: what is in the page cache from there, the rest past it.

    So it displaces nothing, and costs no page of memory for each that is read. A context, which closes it.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file; raises OSError as `open` does."""
        self.fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._past = -1
        if _DIRECT:
            try:
                self._past = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | _DIRECT)
            except OSError as exc:
                if exc.errno != errno.EINVAL:
                    self.close()
                    raise

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fills a buffer from an offset, both aligned to 4 KiB; returns how much was read, less only at the end."""
        done = 0
        while done < len(buffer) and (count := self._read_some(buffer[done:], offset + done)):
            done += count
        return done

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        is_aligned = not (offset % _ALIGNMENT or len(buffer) % _ALIGNMENT)
        if self._past < 0 or not is_aligned or _is_cached(self.fd, offset, len(buffer)):
            return os.preadv(self.fd, [buffer], offset)
        return os.preadv(self._past, [buffer], offset)

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self.close()

    def close(self) -> None:
        """Closes the file; may be called more than once."""
        for fd in (self.fd, self._past):
            if fd >= 0:
                os.close(fd)
        self.fd = self._past = -1


def _is_cached(fd: int, offset: int, size_bytes: int) -> bool:
    """Returns whether all of a part of a file, as far as there is one, is in the page cache; brings nothing there.

    Not by a read that will not wait (`RWF_NOWAIT`): for that Linux reads ahead all the same.
    """
    import ctypes  # noqa: PLC0415  # takes milliseconds, for files that take seconds

    size_bytes = min(size_bytes, os.fstat(fd).st_size - offset)
    if size_bytes <= 0:
        return True
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    # Private, because only of what could be written is the address told; nothing is.
    with mmap.mmap(fd, offset + size_bytes - start, access=mmap.ACCESS_COPY, offset=start) as pages:
        answer = (ctypes.c_ubyte * -(-len(pages) // mmap.PAGESIZE))()
        first = ctypes.c_char.from_buffer(pages)
        failed = ctypes.CDLL(None).mincore(ctypes.byref(first), ctypes.c_size_t(len(pages)), answer)
        del first  # The mapping cannot be given back while something points into it.
    return not failed and all(page & _IS_RESIDENT for page in answer)
