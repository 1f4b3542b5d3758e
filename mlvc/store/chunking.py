"""Where blobs are cut: FastCDC 2020, so that an insertion moves no boundary but those next to it.

The parameters are no part of the format: a reader takes whatever chunks a recipe names. Changing them only costs
what no longer dedupes against older versions.
With these, random bytes are cut into chunks of 77 KiB on average (FastCDC adds to the aimed-at average what it skips
at the start of every chunk), at 2.3 GB/s on one core.
Paper: https://ieeexplore.ieee.org/document/9055082
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyfastcdc import FastCDC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlvc.ports import ByteSource

__all__ = ["WHOLE_BYTES", "cut", "cut_stream"]

WHOLE_BYTES = 64 << 10
"""What is not longer stays one chunk, whatever its bytes."""

_AVERAGE_BYTES = 64 << 10
_MIN_BYTES = 16 << 10
_MAX_BYTES = 256 << 10
_PIECE_BYTES = 4 << 20


def _chunker() -> FastCDC:
    """Returns a chunker; one object must not be used by two threads at once."""
    return FastCDC(avg_size=_AVERAGE_BYTES, min_size=_MIN_BYTES, max_size=_MAX_BYTES, normalized_chunking=1)


def cut(data: bytes) -> Iterator[bytes | memoryview]:
    """Yields the chunks of `data`, without copying them; nothing for empty data."""
    if 0 < len(data) <= WHOLE_BYTES:
        yield data
        return
    for chunk in _chunker().cut_buf(data):
        yield chunk.data


def cut_stream(source: ByteSource) -> Iterator[bytes | memoryview]:
    """Yields the chunks of all that `source` still holds, the same as `cut` makes of it in one piece.

    Holds a few MiB at a time, whatever the length; a chunk that is kept keeps the MiBs that it was cut from.
    """
    chunker = _chunker()
    held = b""
    while True:
        piece = _read_full(source, _PIECE_BYTES)
        data = held + piece
        if len(piece) < _PIECE_BYTES:
            break
        # Only the last chunk can depend on bytes that are still to come.
        *chunks, last = chunker.cut_buf(data)
        for chunk in chunks:
            yield chunk.data
        held = bytes(last.data)
    if held:
        for chunk in chunker.cut_buf(data):
            yield chunk.data
    else:
        yield from cut(data)


def _read_full(source: ByteSource, size: int) -> bytes:
    """Returns `size` bytes, fewer only at the end."""
    first = source.read(size)
    if len(first) == size or not first:
        return first
    parts, missing = [first], size - len(first)
    while missing and (part := source.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
