"""Where blobs are cut: FastCDC 2020, so that an insertion moves no boundary but those next to it.

The parameters are no part of the format: a reader takes whatever chunks a recipe names. Changing them only costs
what no longer dedupes against older versions.
With these, random bytes are cut into chunks of 77 KiB on average (FastCDC adds to the aimed-at average what it skips
at the start of every chunk), at 2.3 GB/s on one core. Why 64 KiB, and what cuts in known formats save, is measured in
docs/performance.md.
Paper: https://ieeexplore.ieee.org/document/9055082
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mlvc.store.boundaries import RECOGNISED_BYTES, WHOLE_BYTES, Boundaries, recognise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyfastcdc import FastCDC

__all__ = ["WHOLE_BYTES", "PieceSource", "cut", "cut_stream"]

_AVERAGE_BYTES = 64 << 10
_MIN_BYTES = 16 << 10
_MAX_BYTES = 256 << 10
_PIECE_BYTES = 4 << 20


class PieceSource(Protocol):
    """Something to read from, such as a `ports.ByteSource`."""

    def read(self, size: int, /) -> bytes | memoryview:
        """Returns at most `size` bytes; empty only at the end."""
        ...


def _chunker() -> FastCDC:
    """Returns a chunker; one object must not be used by two threads at once."""
    from pyfastcdc import FastCDC  # noqa: PLC0415  # what stores nothing that is cut, as a hook, need not load it

    return FastCDC(avg_size=_AVERAGE_BYTES, min_size=_MIN_BYTES, max_size=_MAX_BYTES, normalized_chunking=1)


def cut(data: bytes) -> Iterator[bytes | memoryview]:
    """Yields the chunks of `data`, without copying them; nothing for empty data."""
    if 0 < len(data) <= WHOLE_BYTES:
        yield data
        return
    for chunk in _chunker().cut_buf(data):
        yield chunk.data


def cut_stream(source: PieceSource) -> Iterator[bytes | memoryview]:
    """Yields the chunks of all that `source` still holds; the same as `cut` makes of it, if its format is not known.

    Holds a few MiB at a time, whatever the length; a chunk that is kept keeps the MiBs that it was cut from. What
    `source.read` returned is not used any more once it is called again, but for chunks that were yielded from it.
    """
    piece = _read_full(source, _PIECE_BYTES)
    known = recognise(bytes(piece[:RECOGNISED_BYTES])) if len(piece) > WHOLE_BYTES else None
    if known is None:
        yield from _cut_unknown(piece, source)
    else:
        yield from _cut_known(piece, source, Boundaries(known))


def _cut_unknown(piece: bytes | memoryview, source: PieceSource) -> Iterator[bytes | memoryview]:
    if len(piece) <= WHOLE_BYTES:
        if piece:
            yield piece
        return
    chunker = _chunker()
    held = b""
    while True:
        is_end = len(piece) < _PIECE_BYTES
        view, begin = memoryview(piece), 0
        if held:
            # Only the chunk that spans two pieces is copied. It ends no earlier than what is held of it: there was
            # no cut before.
            seam = held + bytes(view[:_MAX_BYTES])
            chunk = next(iter(chunker.cut_buf(seam))).data
            if len(chunk) == len(seam) and not is_end:
                held, piece = seam, _read_full(source, _PIECE_BYTES)
                continue
            yield chunk
            begin = len(chunk) - len(held)
        chunks = [chunk.data for chunk in chunker.cut_buf(view[begin:])]
        if is_end:
            yield from chunks
            return
        # Only the last chunk can depend on bytes that are still to come.
        held = bytes(chunks.pop())
        yield from chunks
        piece = _read_full(source, _PIECE_BYTES)


def _cut_known(
    piece: bytes | memoryview, source: PieceSource, boundaries: Boundaries
) -> Iterator[bytes | memoryview]:
    chunker = _chunker()
    # What is held begins at an offset of the stream, and at the start of a segment if that is fresh.
    held, offset, is_fresh = b"", 0, True
    while True:
        is_end = len(piece) < _PIECE_BYTES
        data = held + piece
        ends, settled = boundaries.look(data, offset, is_end=is_end)
        begin = 0
        for end in ends:
            yield from _segment(chunker, memoryview(data)[begin:end], is_fresh=is_fresh)
            begin, is_fresh = end, True
        if is_end:
            yield from _segment(chunker, memoryview(data)[begin:], is_fresh=is_fresh)
            return
        if settled - begin > WHOLE_BYTES:
            # Only the last chunk can depend on bytes that are still to come.
            *chunks, last = chunker.cut_buf(memoryview(data)[begin:settled])
            for chunk in chunks:
                yield chunk.data
                is_fresh = False
            begin = settled - len(last.data)
        held, offset = data[begin:], offset + begin
        piece = _read_full(source, _PIECE_BYTES)


def _segment(chunker: FastCDC, data: memoryview, *, is_fresh: bool) -> Iterator[memoryview]:
    """Yields the chunks of a segment, or of what is left of it: as `cut` does with a blob of its own."""
    if is_fresh and 0 < len(data) <= WHOLE_BYTES:
        yield data
        return
    for chunk in chunker.cut_buf(data):
        yield chunk.data


def _read_full(source: PieceSource, size: int) -> bytes | memoryview:
    """Returns `size` bytes, fewer only at the end."""
    first = source.read(size)
    if len(first) == size or not first:
        return first
    parts, missing = [first], size - len(first)
    while missing and (part := source.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
