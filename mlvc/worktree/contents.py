"""Reading the contents of one file or link: into a store, or only to find its digest."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from blake3 import blake3

from mlvc.errors import UnsavedError
from mlvc.fsio import FileUnreadableError, hint_for
from mlvc.model.ids import BlobId
from mlvc.model.names import encode_name
from mlvc.worktree.scan import FileChangedError, special_word
from mlvc.worktree.statcache import Stamp, mode_and_size, pack_status

if TYPE_CHECKING:
    from mlvc.ports import ByteSource, ObjectWriter

__all__ = ["ObstructedError", "add_contents", "hash_contents", "read_unchanged"]

_ATTEMPTS = 3
_PIECE_BYTES = 1 << 20
_SMALL_BYTES = 1 << 16
"""Up to here a file is read at once; one chunk is about as large, so a stream could gain nothing."""

_NO_FILE = {errno.ELOOP, errno.EMLINK, errno.ENXIO}
"""What opening a link, on one system or another, or a socket ends in."""

_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class ObstructedError(UnsavedError):
    """Something that is no content (a socket, a device, a foreign file) stands where a file must."""

    code = "obstructed"

    def __init__(self, path: bytes, what: str) -> None:
        super().__init__(f"a {what} stands at {encode_name(path)}", hint="move it away, and repeat")
        self.path = path


class _Bounded:
    """The first bytes of an open file, as many as it had when it was opened: a growing log ends too.

    A `ports.FileSource`.
    """

    def __init__(self, fd: int, path: bytes, size: int, advance: Callable[[int], None]) -> None:
        self._fd = fd
        self._path = path
        self._left = size
        self.size_bytes = size
        self.advance = advance

    def fileno(self) -> int:
        return self._fd

    def read(self, size: int, /) -> bytes:
        wanted = min(size, self._left) if size >= 0 else self._left
        if not wanted:
            return b""
        try:
            data = os.read(self._fd, wanted)
        except OSError as exc:
            raise _unreadable(self._path, exc) from exc
        self._left -= len(data)
        self.advance(len(data))
        return data

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            count = os.readv(self._fd, [buffer[: self._left]]) if self._left else 0
        except OSError as exc:
            raise _unreadable(self._path, exc) from exc
        self._left -= count
        self.advance(count)
        return count

    def pread(self, size: int, offset: int, /) -> bytes:
        data = b""
        try:
            while len(data) < size and (more := os.pread(self._fd, size - len(data), offset + len(data))):
                data += more
        except OSError as exc:
            raise _unreadable(self._path, exc) from exc
        return data

    def read_all(self) -> bytes:
        data = self.read(-1)
        while self._left and (more := self.read(-1)):
            data += more
        return data


def _nothing() -> None:
    """Tells of no previous contents."""


class _Hasher:
    """Takes contents as a writer does, and only tells their ids."""

    def add_blob(self, data: bytes) -> BlobId:
        return BlobId.of(data)

    def add_file(self, source: ByteSource, _previous: BlobId | None = None) -> tuple[BlobId, int]:
        hasher, length = blake3(), 0
        while data := source.read(_PIECE_BYTES):
            hasher.update(data)
            length += len(data)
        return BlobId(hasher.digest()), length


_HASHER = _Hasher()


def read_unchanged(dir_fd: int, name: str, status: bytes) -> bytes | None:
    """Returns all bytes of a small file that is still what it was seen to be; a third of the cost of `add_contents`.

    Args:
        dir_fd: The directory that it is in.
        name: Its name there.
        status: What `pack_status` made of its stat data.

    Returns:
        None where it is not small, not the same any more, or no file; what is wrong with it says `add_contents`.
    """
    mode, size = mode_and_size(status)
    if size > _SMALL_BYTES or not stat.S_ISREG(mode):
        return None
    try:
        fd = os.open(name, _FILE_FLAGS, dir_fd=dir_fd)
        try:
            # One byte more than there can be does without a second call that finds the end.
            data = os.read(fd, size + 1)
            after = pack_status(os.fstat(fd))
        finally:
            os.close(fd)
    except OSError:
        return None
    return data if len(data) == size and after == status else None


def hash_contents(dir_fd: int, name: str, path: bytes, advance: Callable[[int], None]) -> Stamp:
    """Returns the stamp and digest of a file or link without storing anything; else as `add_contents`."""
    return add_contents(dir_fd, name, path, _HASHER, advance)


def add_contents(
    dir_fd: int,
    name: str,
    path: bytes,
    sink: ObjectWriter | _Hasher,
    advance: Callable[[int], None],
    previous: Callable[[], BlobId | None] = _nothing,
) -> Stamp:
    """Adds the contents of a file, or the target of a link, to a store.

    Args:
        dir_fd: The directory that it is in.
        name: Its name there.
        path: What to call it in an error.
        sink: Where to add it.
        advance: Told how many bytes were read.
        previous: Returns what it held before; asked only of a file of several chunks.

    Returns:
        Its stamp, with the digest of exactly the bytes that it had at that time.

    Raises:
        FileChangedError: It changed each time that it was read, or has become a directory.
        FileUnreadableError: It cannot be read.
        ObstructedError: It is neither a file nor a link.
    """
    for _ in range(_ATTEMPTS):
        try:
            fd = os.open(name, _FILE_FLAGS, dir_fd=dir_fd)
        except OSError as exc:
            if exc.errno not in _NO_FILE:
                raise _unreadable(path, exc) from exc
            stamp = _read_link(dir_fd, name, path, sink)
            if stamp is not None:
                return stamp
            continue
        try:
            before = os.fstat(fd)
            if stat.S_ISDIR(before.st_mode):
                raise FileChangedError(path)
            if not stat.S_ISREG(before.st_mode):
                raise ObstructedError(path, special_word(before.st_mode))
            source = _Bounded(fd, path, before.st_size, advance)
            if before.st_size <= _SMALL_BYTES:
                data = source.read_all()
                blob, length = sink.add_blob(data), len(data)
            else:
                blob, length = sink.add_file(source, previous())
            after = os.fstat(fd)
        except OSError as exc:
            raise _unreadable(path, exc) from exc
        finally:
            os.close(fd)
        stamp = Stamp.of(before, blob.digest)
        if length == before.st_size and stamp.is_same_file(after):
            return stamp
    raise FileChangedError(path)


def _read_link(dir_fd: int, name: str, path: bytes, sink: ObjectWriter | _Hasher) -> Stamp | None:
    """Returns the stamp of a symbolic link; None where it changed meanwhile."""
    try:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            return None
        if not stat.S_ISLNK(status.st_mode):
            raise ObstructedError(path, special_word(status.st_mode))
        target = os.fsencode(os.readlink(name, dir_fd=dir_fd))
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    return Stamp.of(status, sink.add_blob(target).digest) if len(target) == status.st_size else None


def _unreadable(path: bytes, exc: OSError) -> FileChangedError | FileUnreadableError:
    if isinstance(exc, FileNotFoundError):
        return FileChangedError(path)
    return FileUnreadableError(f"cannot read {encode_name(path)}: {exc.strerror}", hint=hint_for(exc))
