"""Reading the contents of one file or link: into a store, or only to find its digest."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from blake3 import blake3

from mlvc.errors import UnsavedError
from mlvc.fsio import FileUnreadableError
from mlvc.model.ids import BlobId
from mlvc.model.names import encode_name
from mlvc.ports import ObjectWriter
from mlvc.worktree.scan import FileChangedError, special_word
from mlvc.worktree.statcache import Stamp

__all__ = ["ObstructedError", "add_contents", "hash_contents"]

_ATTEMPTS = 3
_PIECE_BYTES = 1 << 20
_SMALL_BYTES = 1 << 16
"""Up to here a file is read at once; one chunk is about as large, so a stream could gain nothing."""

_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class ObstructedError(UnsavedError):
    """Something that is no content (a socket, a device, a foreign file) stands where a file must."""

    code = "obstructed"

    def __init__(self, path: bytes, what: str) -> None:
        super().__init__(f"a {what} stands at {encode_name(path)}", hint="move it away, and repeat")
        self.path = path


class _Bounded:
    """The first bytes of an open file, as many as it had when it was opened: a growing log ends too."""

    def __init__(self, fd: int, size: int, advance: Callable[[int], None]) -> None:
        self._fd = fd
        self._left = size
        self._advance = advance

    def read(self, size: int, /) -> bytes:
        data = os.read(self._fd, min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        self._advance(len(data))
        return data


def add_contents(
    dir_fd: int, name: str, path: bytes, writer: ObjectWriter, advance: Callable[[int], None]
) -> Stamp:
    """Adds the contents of a file, or the target of a link, to a store.

    Args:
        dir_fd: The directory that it is in.
        name: Its name there.
        path: What to call it in an error.
        writer: Where to add it.
        advance: Told how many bytes were read.

    Returns:
        Its stamp, with the digest of exactly the bytes that it had at that time.

    Raises:
        FileChangedError: It changed each time that it was read.
        FileUnreadableError: It cannot be read.
    """

    def add(fd: int, size: int) -> tuple[bytes, int]:
        source = _Bounded(fd, size, advance)
        if size <= _SMALL_BYTES:
            data = b"".join(iter(lambda: source.read(size), b""))
            return writer.add_blob(data).digest, len(data)
        blob, length = writer.add_stream(source)
        return blob.digest, length

    return _read(dir_fd, name, path, add, lambda target: writer.add_blob(target).digest)


def hash_contents(dir_fd: int, name: str, path: bytes, advance: Callable[[int], None]) -> Stamp:
    """Returns the stamp and digest of a file or link without storing anything.

    Raises:
        FileChangedError: It changed each time that it was read.
        FileUnreadableError: It cannot be read.
    """

    def digest(fd: int, size: int) -> tuple[bytes, int]:
        source = _Bounded(fd, size, advance)
        hasher, length = blake3(), 0
        while data := source.read(_PIECE_BYTES):
            hasher.update(data)
            length += len(data)
        return hasher.digest(), length

    return _read(dir_fd, name, path, digest, lambda target: BlobId.of(target).digest)


def _read(
    dir_fd: int,
    name: str,
    path: bytes,
    read_file: Callable[[int, int], tuple[bytes, int]],
    read_link: Callable[[bytes], bytes],
) -> Stamp:
    for _ in range(_ATTEMPTS):
        with _naming(path):
            status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                target = os.fsencode(os.readlink(name, dir_fd=dir_fd))
                if len(target) == status.st_size:
                    return Stamp.of(status, read_link(target))
                continue
            if not stat.S_ISREG(status.st_mode):
                raise ObstructedError(path, special_word(status.st_mode))
            fd = os.open(name, _FILE_FLAGS, dir_fd=dir_fd)
        try:
            with _naming(path):
                before = Stamp.of(os.fstat(fd))
            # Not under `_naming`: an OSError of the store is not the file's.
            digest, length = read_file(fd, before.size)
            with _naming(path):
                after = os.fstat(fd)
        finally:
            os.close(fd)
        if length == before.size and before.is_same_file(after) and stat.S_ISREG(before.mode):
            return before._replace(digest=digest)
    raise FileChangedError(path)


@contextmanager
def _naming(path: bytes) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise FileChangedError(path) from None
    except OSError as exc:
        raise FileUnreadableError(
            f"cannot read {encode_name(path)}: {exc.strerror}", hint="check its permissions"
        ) from exc
