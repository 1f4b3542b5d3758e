"""Files that are being written: each is locked by its writer until it is published, and gone if the writer dies.

Who may read a file of the store is decided by the store's directories, not by the umask of whoever happens to write.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Self

from mlvc import fsio
from mlvc.page_cache import begin_writeback, go_past_cache

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PARTIAL_SUFFIX", "Temporary", "remove_leftovers"]

PARTIAL_SUFFIX = ".part"
"""Ends the names of files that somebody may go on with."""
_ALIGNMENT = 4096
_WRITEBACK_BYTES = 4 << 20
"""The disk begins to work when so much was written, so that a sync at the end does not wait for all of it."""


class Temporary:
    """A file under a random name in the store's directory for temporaries.

    Not safe for use from several threads, but for `write_at`. Its methods raise OSError as the system calls do.

    Attributes:
        path: Where it is until it is published.
        size_bytes: How much was written.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._is_past_cache = False
        self._begun_bytes = 0
        self.size_bytes = 0

    @classmethod
    def create(cls, directory: Path, suffix: str) -> Self:
        """Creates and locks a file."""
        while True:
            path = directory / (os.urandom(8).hex() + suffix)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            if fsio.claim(path, fd):
                os.fchmod(fd, stat.S_IMODE(os.stat(directory).st_mode) & 0o444)
                return cls(path, fd)
            # Another process took the file for a leftover before it was locked, and removes it.
            os.close(fd)

    @classmethod
    def take_up(cls, directory: Path, name: str) -> Self | None:
        """Opens and locks the file that another process was writing under that name, or a new one.

        Returns:
            The file, which only `discard` removes; None if another process, or another user, is writing it.
        """
        path = directory / name
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except PermissionError:
            return None
        if not fsio.claim(path, fd):
            os.close(fd)
            return None
        file = cls(path, fd)
        file.size_bytes = os.fstat(fd).st_size
        return file

    def read_at(self, size_bytes: int, offset: int) -> bytes:
        """Returns what was written at an offset; fewer bytes at the end. Not once `go_past_cache` was called."""
        return os.pread(self._fd, size_bytes, offset)

    def write(self, data: bytes | bytearray) -> None:
        """Appends all of `data`."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        self.size_bytes += len(data)
        if self.size_bytes - self._begun_bytes >= _WRITEBACK_BYTES:
            begin_writeback(self._fd, self._begun_bytes, self.size_bytes - self._begun_bytes)
            self._begun_bytes = self.size_bytes

    def write_at(self, data: memoryview, offset: int) -> None:
        """Writes all of `data` at an offset, past the page cache as long as both are aligned to 4 KiB.

        Several threads may write different parts.
        """
        while data:
            if self._is_past_cache and (len(data) % _ALIGNMENT or offset % _ALIGNMENT):
                self._is_past_cache = go_past_cache(self._fd, on=False)
            try:
                count = os.pwrite(self._fd, data, offset)
            except OSError as exc:
                if exc.errno != errno.EINVAL or not self._is_past_cache:
                    raise
                # A file system may promise it and not keep it.
                self._is_past_cache = go_past_cache(self._fd, on=False)
                continue
            data, offset = data[count:], offset + count
            self.size_bytes = max(self.size_bytes, offset)

    def go_past_cache(self) -> None:
        """Makes `write_at` go past the page cache, where that can be."""
        self._is_past_cache = go_past_cache(self._fd, on=True)

    def clone(self, source_fd: int, size_bytes: int) -> bool:
        """Makes the file share the first bytes of another one; returns whether the file system could do that."""
        if not fsio.clone(source_fd, self._fd):
            return False
        if os.fstat(self._fd).st_size > size_bytes:
            os.ftruncate(self._fd, size_bytes)
        self.size_bytes = os.fstat(self._fd).st_size
        return True

    def sync(self) -> None:
        """Returns after everything written is durable; the file can then be read by all who may read the store."""
        os.fchmod(self._fd, stat.S_IMODE(os.stat(self.path.parent).st_mode) & 0o444)
        fsio.sync_file(self._fd)

    def publish(self, target: Path) -> None:
        """Gives the file, which must be synced, its final name, durably, and closes it."""
        fsio.publish(self.path, target)
        self._close()

    def discard(self) -> None:
        """Removes the file unless it was published; may be called at any time, more than once."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self._close()

    def leave(self) -> None:
        """Closes the file, and lets it be, for `take_up`; may be called at any time, more than once."""
        if self._fd >= 0:
            self._close()

    def _close(self) -> None:
        os.close(self._fd)
        self._fd = -1


def remove_leftovers(directory: Path, *, partial: bool = False) -> None:
    """Removes the temporaries of processes that are no more; those of living ones are claimed and stay.

    Args:
        directory: Where they are.
        partial: Whether also those that somebody may take up.
    """
    for name in os.listdir(directory):
        if partial or not name.endswith(PARTIAL_SUFFIX):
            fsio.remove_abandoned(directory / name)
