"""Writes a zip archive as a stream that depends on nothing but names, modes and contents.

Members are stored, not compressed, so that chunks of two versions of a wheel can be shared; every date is 1980-01-01.
Sizes and checksums stand before the data: no data descriptors, which some readers of stored members refuse.

Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

__all__ = ["Archive"]

_LOCAL = struct.Struct("<IHHHHHIIIHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_END = struct.Struct("<IHHHHIIH")
_END_64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR_64 = struct.Struct("<IIQI")
_EXTRA_64 = struct.Struct("<HHQQQ")
_EXTRA_64_LOCAL = struct.Struct("<HHQQ")
_VERSION = 20
_VERSION_64 = 45
_UNIX = 3 << 8
_UTF8 = 0x800
_DATE = (0 << 9) | (1 << 5) | 1  # 1980-01-01, the first day that the format can say.
_LIMIT_32 = 0xFFFF_FFFF
_LIMIT_16 = 0xFFFF
_REGULAR = 0o100644
_EXECUTABLE = 0o100755


class Archive:
    """The archive being written: each method returns the bytes that come next."""

    def __init__(self) -> None:
        self._offset = 0
        self._directory: list[bytes] = []

    def member(self, name: str, data: bytes, *, is_executable: bool = False) -> bytes:
        """Returns a whole member."""
        header = self.header(name, zlib.crc32(data), len(data), is_executable=is_executable)
        self.advance(len(data))
        return header + data

    def header(self, name: str, crc: int, size: int, *, is_executable: bool = False) -> bytes:
        """Returns the header of a member; `size` bytes with that checksum must follow, each told to `advance`."""
        encoded = name.encode("utf-8", "surrogateescape")
        flags = 0 if name.isascii() else _UTF8
        large = size >= _LIMIT_32
        extra = _EXTRA_64_LOCAL.pack(1, _EXTRA_64_LOCAL.size - 4, size, size) if large else b""
        size_32 = _LIMIT_32 if large else size
        version = _VERSION_64 if large else _VERSION
        local = _LOCAL.pack(
            0x04034B50, version, flags, 0, 0, _DATE, crc, size_32, size_32, len(encoded), len(extra)
        )
        self._directory.append(self._entry(encoded, flags, crc, size, is_executable=is_executable))
        header = local + encoded + extra
        self.advance(len(header))
        return header

    def advance(self, size: int) -> None:
        """Counts bytes of a member's data."""
        self._offset += size

    def _entry(self, encoded: bytes, flags: int, crc: int, size: int, *, is_executable: bool) -> bytes:
        large = size >= _LIMIT_32 or self._offset >= _LIMIT_32
        extra = _EXTRA_64.pack(1, _EXTRA_64.size - 4, size, size, self._offset) if large else b""
        size_32 = _LIMIT_32 if large else size
        version = _VERSION_64 if large else _VERSION
        return (
            _CENTRAL.pack(
                0x02014B50,
                _UNIX | version,
                version,
                flags,
                0,
                0,
                _DATE,
                crc,
                size_32,
                size_32,
                len(encoded),
                len(extra),
                0,
                0,
                0,
                (_EXECUTABLE if is_executable else _REGULAR) << 16,
                _LIMIT_32 if large else self._offset,
            )
            + encoded
            + extra
        )

    def end(self) -> Iterator[bytes]:
        """Yields the central directory; nothing may follow."""
        start, count, size = self._offset, len(self._directory), sum(map(len, self._directory))
        yield from self._directory
        if start + size >= _LIMIT_32 or count >= _LIMIT_16:
            yield _END_64.pack(
                0x06064B50,
                _END_64.size - 12,
                _UNIX | _VERSION_64,
                _VERSION_64,
                0,
                0,
                count,
                count,
                size,
                start,
            )
            yield _LOCATOR_64.pack(0x07064B50, 0, start + size, 1)
        yield _END.pack(
            0x06054B50,
            0,
            0,
            min(count, _LIMIT_16),
            min(count, _LIMIT_16),
            min(size, _LIMIT_32),
            min(start, _LIMIT_32),
            0,
        )
