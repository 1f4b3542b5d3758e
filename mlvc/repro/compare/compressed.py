"""Compressed streams: gzip, zlib, bzip2, xz, lzma and LZ4. Unpacked in pieces of bounded size."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from mlvc.model.objects import Difference
from mlvc.repro.compare.arrays import missing_library
from mlvc.repro.compare.comparison import PIECE_BYTES, UnfitError
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.windows import Window, WindowFile

__all__ = ["HEAD_BYTES", "compare_unpacked", "find_packing"]

_MOST_MEMORY_BYTES = 128 << 20
"""What an lzma stream may ask for; its highest preset takes 65 MiB."""
HEAD_BYTES = 512
"""How much of the beginning `find_packing` wants."""
_ENDINGS = (".gz", ".bz2", ".xz", ".lzma", ".lz4", ".z")


class _Decompressor(Protocol):
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...


def find_packing(head: bytes) -> str:
    """Returns how bytes with this beginning are packed; empty if they are not, or in none of these ways."""
    for name, magic in (
        ("gzip", b"\x1f\x8b\x08"),
        ("bzip2", b"BZh"),
        ("xz", b"\xfd7zXZ\0"),
        ("lz4", b"\x04\x22\x4d\x18"),
        ("lzma", b"\x5d\0\0"),
    ):
        if head.startswith(magic):
            return name
    return "zlib" if head[:1] == b"\x78" and _is_zlib(head) else ""


def _is_zlib(head: bytes) -> bool:
    """Whether a stream may begin so; `x^2`, for one, is text whose first two bytes are a header of zlib's."""
    try:
        return bool(zlib.decompressobj().decompress(head, 1))
    except zlib.error:
        return False


def compare_unpacked(left: Window, right: Window, job: Job) -> None:
    """Compares what two compressed files hold, or one and a file that is not compressed.

    Raises:
        UnfitError: One is damaged, or unpacks to more than is compared.
    """
    packings = find_packing(left.read(0, HEAD_BYTES)), find_packing(right.read(0, HEAD_BYTES))
    before, after = (
        job.unpacked.add(_iter_unpacked(window, packing)) if packing else window
        for window, packing in zip((left, right), packings, strict=True)
    )
    name = job.name
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    count = len(job.findings)
    job.compare_inside(before, after, name, job.where)
    if packings[0] != packings[1] or len(job.findings) == count:
        job.findings.add(Difference(job.where, "container", *packings, rule="compression"))


def _iter_unpacked(window: Window, packing: str) -> Iterator[bytes]:
    try:
        if packing == "lz4":
            yield from _iter_lz4(window)
        else:
            yield from _iter_streams(window, _DECOMPRESSORS[packing])
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, MemoryError) as exc:
        raise UnfitError(f"it is no {packing} that can be unpacked") from exc


def _iter_streams(window: Window, start: Callable[[], _Decompressor]) -> Iterator[bytes]:
    """Yields what one stream holds, or several that stand one after the other."""
    decompressor, pending, offset = start(), b"", 0
    while True:
        if not pending:
            pending = window.read(offset, PIECE_BYTES)
            offset += len(pending)
        piece = decompressor.decompress(pending, PIECE_BYTES)
        if not piece and not pending and not decompressor.eof:
            raise EOFError
        # What zlib did not use because the piece was full; the others keep it to themselves.
        pending = getattr(decompressor, "unconsumed_tail", b"")
        if piece:
            yield piece
        if decompressor.eof:
            pending = decompressor.unused_data
            if offset >= window.size and not pending.strip(b"\0"):
                return
            decompressor = start()


def _iter_lz4(window: Window) -> Iterator[bytes]:
    try:
        import pyarrow  # noqa: PLC0415  # an extra, and slow to load
    except ImportError:
        raise missing_library("pyarrow") from None
    stream = pyarrow.CompressedInputStream(WindowFile(window), "lz4")
    while piece := stream.read(PIECE_BYTES):
        yield piece


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "zlib": lambda: zlib.decompressobj(15),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY_BYTES),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MOST_MEMORY_BYTES),
}
