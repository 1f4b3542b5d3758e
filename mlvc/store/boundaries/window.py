"""How a format looks at a stream that is read once, forward: a few bytes ahead of where it stands, and no way back.

A format is a generator: it yields how many bytes it has to see next, and goes on once they are there. So it reads like
code that has the whole file, and whoever reads the stream decides how much of it is in memory.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Generator

__all__ = ["MIN_MEMBER_BYTES", "RECOGNISED_BYTES", "WHOLE_BYTES", "Format", "Steps", "Window"]

WHOLE_BYTES = 64 << 10
"""What is not longer stays one chunk, whatever its bytes."""

MIN_MEMBER_BYTES = 32 << 10
"""What is shorter gets no cuts of its own: it stays with what is around it.

Every member that is cut off costs two chunks, its own and that of the header before it, some 150 bytes each.
"""
RECOGNISED_BYTES = 512
"""How much of a stream tells its format: the header of a tar."""

_MAX_DEPTH = 3
_MAX_POSITION = 1 << 63
_FREE_MEMBERS = 1024
_LEAST_AVERAGE_BYTES = 16 << 10
_SEARCHED_BYTES = 64 << 10

Steps = Generator[int, None, None]
"""Yields how many bytes have to be ahead of the window's position; fewer are only where the stream ends."""


class Window:
    """What a format sees of a stream, and where it wants it cut.

    Every position is an offset in the stream. A length that a file states is never trusted: it moves the position, and
    a position beyond the end ends everything.

    Attributes:
        cuts: Where cuts were forced, in ascending order; whoever takes them takes them out.
        position: Where the format stands. It forces no cut before.
    """

    def __init__(self, recognise: Callable[[bytes], Format | None]) -> None:
        """Begins at the start of a stream.

        Args:
            recognise: Returns the format of what begins with these bytes, if it is known.
        """
        self.cuts: collections.deque[int] = collections.deque()
        self.position = 0
        self._recognise = recognise
        self._data = b""
        self._start = 0
        self._limit = _MAX_POSITION
        self._depth = 0
        self._members = 0

    def show(self, data: bytes, start: int) -> None:
        """Shows the part of the stream that begins at `start`, not after the position, in place of the last part."""
        self._data, self._start = data, start

    @property
    def is_wasteful(self) -> bool:
        """Whether there were so many members or marks that looking at them costs more than their cuts can save."""
        return self._members > _FREE_MEMBERS + self.position // _LEAST_AVERAGE_BYTES

    # ------------------------------------------------------------------------------ what formats do

    def ahead(self, size: int) -> Generator[int, None, bytes]:
        """Returns the next `size` bytes without moving; fewer where what the format may see ends."""
        yield min(size, self._limit - self.position)
        begin = self.position - self._start
        return self._data[begin : min(begin + size, self._limit - self._start)]

    def skip(self, size: int) -> None:
        """Moves on by so many bytes, whether they exist or not."""
        self.position = min(self.position + size, self._limit)

    def skip_to(self, mark: bytes) -> Generator[int, None, bool]:
        """Moves on to the next `mark`; returns whether there is one."""
        while True:
            yield min(len(mark), self._limit - self.position)
            begin = self.position - self._start
            end = min(begin + _SEARCHED_BYTES, len(self._data), self._limit - self._start)
            # Where there is none, which is nearly everywhere, `rfind` says so in two thirds of the time of `find`.
            if self._data.rfind(mark, begin, end) >= 0:
                self.position = self._start + self._data.find(mark, begin, end)
                self._members += 1
                return True
            if end - begin < len(mark):
                return False
            self.position = self._start + end - len(mark) + 1

    def cut(self) -> None:
        """Forces a cut at the position."""
        self.cuts.append(self.position)

    def member(self, size: int, *, least: int = MIN_MEMBER_BYTES, whole_to: int = 0) -> Steps:
        """Moves past a member that begins here, which is cut off on both sides, and inside where its format is known.

        Args:
            size: Its length.
            least: From which length on it is cut off.
            whole_to: Up to which length it is not cut inside.
        """
        self._members += 1
        if size < least:
            self.skip(size)
            return
        self.cut()
        outer, self._limit = self._limit, min(self.position + size, self._limit)
        if size > whole_to and self._depth < _MAX_DEPTH:
            self._depth += 1
            content = self._recognise((yield from self.ahead(RECOGNISED_BYTES)))
            if content is not None:
                yield from content(self)
            self._depth -= 1
        self.position, self._limit = self._limit, outer
        self.cut()


Format = Callable[[Window], Steps]
"""Walks through a stream of that format; ends where the stream does, and where it is not as it should be."""
