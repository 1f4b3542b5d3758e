"""Since when gc has found which records unreachable; it deletes only what was so for the whole keep period.

All integers are little-endian.

    offset  size  field
    0       8     magic "MLVCUNRE"
    8       2     version, 1
    10      2     zero
    12      4     number of packs p
    16      ...   p packs, sorted by id
    ...     8     xxh3-64 of everything before

    pack    size  field
    0       32    id
    32      4     number of records n, as in the pack's index
    36      4 n   for each record, in the order of the index: seconds since 1970 (UTC), or zero if it is reached

Format page: docs/format/gc.md
"""

from __future__ import annotations

import array
import struct
import sys
from typing import TYPE_CHECKING

from xxhash import xxh3_64_intdigest

from mlvc.errors import FormatError, VersionError
from mlvc.fsio import translate_os_errors
from mlvc.model.ids import PackId
from mlvc.store.temporaries import Temporary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlvc.store.layout import Layout

__all__ = ["Since", "decode_unreached", "encode_unreached", "read_unreached", "write_unreached"]

Since = array.array
"""For each record of a pack, the second at which gc first found it unreachable; zero for what is reached."""

_MAGIC = b"MLVCUNRE"
_VERSION = 1
_HEADER = struct.Struct("<8sHHI")
_PACK = struct.Struct("<32sI")
_CHECKSUM = struct.Struct("<Q")
_TIME_BYTES = 4


def encode_unreached(packs: Mapping[PackId, Since[int]]) -> bytes:
    """Returns the file's contents; packs of which everything is reached are left out."""
    named = {pack: since for pack, since in packs.items() if any(since)}
    parts = [_HEADER.pack(_MAGIC, _VERSION, 0, len(named))]
    for pack in sorted(named):
        parts += (_PACK.pack(pack.digest, len(named[pack])), _little_endian(named[pack]).tobytes())
    body = b"".join(parts)
    return body + _CHECKSUM.pack(xxh3_64_intdigest(body))


def decode_unreached(data: bytes) -> dict[PackId, Since[int]]:
    """Returns what the file holds.

    Raises:
        FormatError: It is no such file, or damaged.
        VersionError: A newer mlvc wrote it.
    """
    if len(data) < _HEADER.size + _CHECKSUM.size or not data.startswith(_MAGIC):
        raise FormatError("it does not start like a list of unreached records")
    _, version, zero, count = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise VersionError(f"version {version}")
    end = len(data) - _CHECKSUM.size
    if zero or _CHECKSUM.unpack_from(data, end)[0] != xxh3_64_intdigest(data[:end]):
        raise FormatError("its checksum is wrong")
    packs: dict[PackId, Since[int]] = {}
    offset = _HEADER.size
    for _ in range(count):
        if end - offset < _PACK.size:
            raise FormatError("it is cut short")
        digest, records = _PACK.unpack_from(data, offset)
        offset += _PACK.size
        if end - offset < records * _TIME_BYTES:
            raise FormatError("it is cut short")
        since: Since[int] = array.array("I", data[offset : offset + records * _TIME_BYTES])
        packs[PackId(digest)] = _little_endian(since)
        offset += records * _TIME_BYTES
    if offset != end or len(packs) != count:
        raise FormatError("it has bytes that mean nothing")
    return packs


def _little_endian(since: Since[int]) -> Since[int]:
    if sys.byteorder == "little":
        return since
    swapped = array.array("I", since)
    swapped.byteswap()
    return swapped


def read_unreached(layout: Layout) -> dict[PackId, Since[int]]:
    """Returns what an earlier gc noted; nothing where that cannot be read, so that the keep period begins anew."""
    with translate_os_errors(f"read {layout.unreached}"):
        try:
            data = layout.unreached.read_bytes()
        except FileNotFoundError:
            return {}
    try:
        return decode_unreached(data)
    except FormatError:
        return {}


def write_unreached(layout: Layout, packs: Mapping[PackId, Since[int]]) -> None:
    """Replaces the file, durably; the caller holds the lock of gc. Raises OSError as the system does."""
    file = Temporary.create(layout.temporaries, ".unreached")
    try:
        file.write(encode_unreached(packs))
        file.sync()
        file.publish(layout.unreached)
    finally:
        file.discard()


assert array.array("I").itemsize == _TIME_BYTES  # noqa: S101  # the width of the format's times
