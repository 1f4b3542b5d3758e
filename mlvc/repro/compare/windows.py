"""Bytes that can be read anywhere: a file, or a part of one. No length that stands in a file is believed."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from mlvc import fsio
from mlvc.repro.compare.comparison import PIECE_BYTES, UnfitError

__all__ = ["Unpacked", "Window", "WindowFile", "is_same"]

_MOST_UNPACKED_BYTES = 16 << 30


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a file. Not safe for use from several threads: they would share the file's position.

    Attributes:
        file: Open for reading, can be sought in.
        start: Where the part begins.
        size: How many bytes it has.
    """

    file: BinaryIO
    start: int
    size: int

    @classmethod
    def of(cls, file: BinaryIO) -> Window:
        """Returns the whole of a file."""
        return cls(file, 0, file.seek(0, 2))

    def read(self, offset: int, size: int) -> bytes:
        """Returns `size` bytes at `offset`, and fewer only at the end."""
        size = min(size, self.size - offset)
        if offset < 0 or size <= 0:
            return b""
        self.file.seek(self.start + offset)
        return self.file.read(size)

    def exactly(self, offset: int, size: int) -> bytes:
        """Returns `size` bytes at `offset`.

        Raises:
            UnfitError: They are not there.
        """
        if offset < 0 or size < 0 or offset + size > self.size:
            raise UnfitError(f"it ends before the {size} bytes at {offset}")
        return self.read(offset, size)

    def part(self, offset: int, size: int) -> Window:
        """Returns a part of this part.

        Raises:
            UnfitError: It does not lie inside.
        """
        if offset < 0 or size < 0 or offset + size > self.size:
            raise UnfitError(f"it ends before the {size} bytes at {offset}")
        return Window(self.file, self.start + offset, size)

    def pieces(self, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
        """Yields all of it, in pieces of that size; the last one may be shorter."""
        for offset in range(0, self.size, piece_bytes):
            yield self.read(offset, piece_bytes)


def is_same(left: Window, right: Window) -> bool:
    """Returns whether two parts hold the same bytes."""
    return left.size == right.size and all(
        one == other for one, other in zip(left.pieces(), right.pieces(), strict=True)
    )


class WindowFile(io.RawIOBase):
    """A part of a file as a file, for libraries that want one.

    A read that asks for more than there is takes no memory for it, and one that asks for more than `most_read_bytes`
    raises UnfitError.
    """

    def __init__(self, window: Window, most_read_bytes: int = sys.maxsize) -> None:
        super().__init__()
        self._window = window
        self._most_read_bytes = most_read_bytes
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Returns the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a position and returns it."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._window.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Returns as many bytes, and fewer only at the end."""
        rest = max(0, self._window.size - self._at)
        wanted = rest if size is None or size < 0 else min(size, rest)
        if wanted > self._most_read_bytes:
            raise UnfitError("a header is too long")
        data = self._window.read(self._at, wanted)
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  # any writable buffer
        """Fills a buffer as far as there are bytes."""
        data = self._window.read(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class Unpacked:
    """Temporary files for what is unpacked, and the limit that all of them together keep to.

    They last as long as the context.
    """

    def __init__(self, scratch: Path, most_bytes: int = _MOST_UNPACKED_BYTES) -> None:
        self.scratch = scratch
        self._left = most_bytes
        self._files: list[BinaryIO] = []

    def add(self, pieces: Iterable[bytes]) -> Window:
        """Keeps some bytes.

        Raises:
            UnfitError: There are more than may be unpacked.
        """
        with fsio.translate_os_errors("unpack what is compared"):
            file = tempfile.TemporaryFile(dir=self.scratch)  # noqa: SIM115  # closed with the context
            self._files.append(file)
        for piece in pieces:
            self._left -= len(piece)
            if self._left < 0:
                raise UnfitError("it unpacks to more than is compared")
            with fsio.translate_os_errors("unpack what is compared"):
                file.write(piece)
        with fsio.translate_os_errors("unpack what is compared"):
            file.flush()
        return Window.of(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()
