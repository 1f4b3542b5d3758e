"""Reads what an ELF file asks of the dynamic linker; garbage is answered with None, never with an exception.

    offset  what is read
    0       identification: magic, class (32 or 64 bit), byte order
    ...     program headers: PT_LOAD maps addresses to offsets, PT_DYNAMIC is the dynamic section
    ...     dynamic section: DT_NEEDED, DT_SONAME, DT_STRTAB, DT_STRSZ, DT_VERNEED, DT_VERNEEDNUM

Format: https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html, and the LSB for DT_VERNEED
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["ElfNeeds", "read_elf"]

_MAGIC = b"\x7fELF"
# The header of a 32-bit file.
_SMALLEST_BYTES = 52
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB, _DT_STRSZ, _DT_SONAME = 1, 5, 10, 14
_DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
# No length that a file states sizes a read beyond these: real ones are far below.
_MAX_HEADERS = 4096
_MAX_DYNAMIC_BYTES = 1 << 20
_MAX_STRINGS_BYTES = 64 << 20
_MAX_VERSIONS = 4096
_MAX_VERSIONS_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ElfNeeds:
    """What one file asks for.

    Attributes:
        soname: Its own name, if it is a library that has one.
        needed: The libraries it names.
        versions: The symbol versions that it asks of them, for example `GLIBC_2.17`.
    """

    soname: str
    needed: tuple[str, ...]
    versions: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Layout:
    order: str
    is_64: bool

    def unpack(self, narrow: str, wide: str, data: bytes, offset: int = 0) -> tuple[int, ...]:
        return struct.unpack_from(self.order + (wide if self.is_64 else narrow), data, offset)


def read_elf(path: str) -> ElfNeeds | None:
    """Returns what the file needs; None where it is no dynamic ELF file, is damaged, or cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return _read(fd)
    except (OSError, struct.error, ValueError, OverflowError):
        return None
    finally:
        os.close(fd)


def _read(fd: int) -> ElfNeeds | None:
    start = os.pread(fd, 64, 0)
    if (
        len(start) < _SMALLEST_BYTES
        or start[:4] != _MAGIC
        or start[4] not in {1, 2}
        or start[5] not in {1, 2}
    ):
        return None
    layout = _Layout("<" if start[5] == 1 else ">", start[4] == 2)  # class 2 is 64 bit
    table, size, count = layout.unpack("28xI10xHH", "32xQ14xHH", start)
    if not 0 < count <= _MAX_HEADERS:
        return None
    headers = os.pread(fd, size * count, table)
    loads: list[tuple[int, int, int]] = []
    dynamic = b""
    for index in range(count):
        kind, offset, address, length = _program_header(layout, headers, index * size)
        if kind == _PT_LOAD:
            loads.append((address, length, offset))
        elif kind == _PT_DYNAMIC:
            dynamic = os.pread(fd, min(length, _MAX_DYNAMIC_BYTES), offset)
    return _read_dynamic(fd, layout, dynamic, loads) if dynamic else None


def _program_header(layout: _Layout, headers: bytes, start: int) -> tuple[int, int, int, int]:
    if layout.is_64:
        kind, offset, address, length = struct.unpack_from(layout.order + "I4xQQ8xQ", headers, start)
    else:
        kind, offset, address, length = struct.unpack_from(layout.order + "III4xI", headers, start)
    return kind, offset, address, length


def _read_dynamic(
    fd: int, layout: _Layout, dynamic: bytes, loads: list[tuple[int, int, int]]
) -> ElfNeeds | None:
    needed: list[int] = []
    single: dict[int, int] = {}
    step = 16 if layout.is_64 else 8
    for offset in range(0, len(dynamic) - step + 1, step):
        tag, value = layout.unpack("II", "QQ", dynamic, offset)
        if tag == 0:
            break
        if tag == _DT_NEEDED:
            needed.append(value)
        else:
            single[tag] = value
    table = _offset_of(single.get(_DT_STRTAB, 0), loads)
    if table is None:
        return None
    strings = os.pread(fd, min(single.get(_DT_STRSZ, 0), _MAX_STRINGS_BYTES), table)
    versions: set[str] = set()
    if _DT_VERNEED in single:
        where = _offset_of(single[_DT_VERNEED], loads)
        if where is not None:
            data = os.pread(fd, _MAX_VERSIONS_BYTES, where)
            versions.update(_iter_versions(layout, data, strings, single.get(_DT_VERNEEDNUM, 0)))
    soname = _string(strings, single[_DT_SONAME]) if _DT_SONAME in single else ""
    return ElfNeeds(soname, tuple(_string(strings, offset) for offset in needed), frozenset(versions))


def _iter_versions(layout: _Layout, data: bytes, strings: bytes, count: int) -> Iterator[str]:
    offset = 0
    for _ in range(min(count, _MAX_VERSIONS)):
        _, auxiliary_count, _, auxiliary, following = struct.unpack_from(layout.order + "HHIII", data, offset)
        position = offset + auxiliary
        for _ in range(min(auxiliary_count, _MAX_VERSIONS)):
            name, step = struct.unpack_from(layout.order + "8xII", data, position)
            yield _string(strings, name)
            if step == 0:
                break
            position += step
        if following == 0:
            break
        offset += following


def _offset_of(address: int, loads: list[tuple[int, int, int]]) -> int | None:
    for start, length, offset in loads:
        if start <= address < start + length:
            return address - start + offset
    return None


def _string(strings: bytes, offset: int) -> str:
    end = strings.index(b"\0", offset)
    return strings[offset:end].decode("utf-8", "replace")
