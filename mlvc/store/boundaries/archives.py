"""zip (with it npz and PyTorch checkpoints) and tar: headers and members in turn."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Generator

from mlvc.store.boundaries.window import MIN_MEMBER_BYTES, WHOLE_BYTES, Steps, Window

__all__ = ["is_tar", "is_zip", "tar", "zip_"]

_LOCAL_MARK = b"PK\x03\x04"
_LOCAL = struct.Struct("<4xHHHHHIIIHH")
_LOCAL_BYTES = _LOCAL.size
_LENGTH_FOLLOWS = 8
"""The flag of a member whose length was not known before it was written: it stands in a descriptor after it."""
_ZIP64 = 0xFFFFFFFF
_EXTRA = struct.Struct("<HH")
_DESCRIPTOR_MARK = b"PK\x07\x08"
_MARKS = re.compile(_DESCRIPTOR_MARK)
_MAX_MARKS = 16
"""By chance there is one in 4 GiB."""
_DESCRIPTOR_BYTES = 24
_SHORT_DESCRIPTOR_BYTES = 16

_BLOCK_BYTES = 512
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
_PAX_SIZE = re.compile(rb"\d{1,3} size=(\d{1,19})\n")
_MAX_PAX_BYTES = 64 << 10
_PAX_HEADER = ord("x")
_WITHOUT_CONTENT = frozenset(b"123456")
"""Links, devices, directories and pipes, whatever length their header states."""


def is_zip(head: bytes) -> bool:
    """Returns whether it begins with a member."""
    return head.startswith(_LOCAL_MARK)


def zip_(window: Window) -> Steps:
    """Cuts at every member, compressed or not; ends at the directory, which is at the end."""
    while True:
        header = yield from window.ahead(_LOCAL_BYTES)
        if len(header) < _LOCAL_BYTES or not header.startswith(_LOCAL_MARK):
            return
        _, flags, _, _, _, _, stored, length, name_bytes, extra_bytes = _LOCAL.unpack(header)
        window.skip(_LOCAL_BYTES + name_bytes)
        extra = yield from window.ahead(extra_bytes)
        window.skip(extra_bytes)
        if flags & _LENGTH_FOLLOWS and stored in {0, _ZIP64}:
            yield from _member_of_unknown_length(window)
        else:
            yield from window.member(_zip64_length(extra, length) if stored == _ZIP64 else stored)
        if flags & _LENGTH_FOLLOWS:
            descriptor = yield from window.ahead(_DESCRIPTOR_BYTES)
            if descriptor.startswith(_DESCRIPTOR_MARK):
                is_short = descriptor[_SHORT_DESCRIPTOR_BYTES:].startswith(b"PK")
                window.skip(_SHORT_DESCRIPTOR_BYTES if is_short else _DESCRIPTOR_BYTES)


def _zip64_length(extra: bytes, length: int) -> int:
    """Returns the stored length from the extra field, where it follows that of the content; 0 if it is not there."""
    at = 0
    while at + _EXTRA.size <= len(extra):
        tag, size = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if tag == 1:
            stored_at = at + 8 if length == _ZIP64 else at
            return int.from_bytes(extra[stored_at : stored_at + 8], "little")
        at += size
    return 0


def _member_of_unknown_length(window: Window) -> Steps:
    """Moves to the descriptor after a member, found by the length that it states: that from here to there."""
    begin = window.position
    head = yield from window.ahead(MIN_MEMBER_BYTES + _DESCRIPTOR_BYTES)
    for candidate in itertools.islice(_MARKS.finditer(head, 0, MIN_MEMBER_BYTES), _MAX_MARKS):
        at = candidate.start()
        if _states(head[at : at + _DESCRIPTOR_BYTES], at):
            yield from window.member(at)
            return
    # It is long enough, so its start can be cut before its end is known.
    window.cut()
    window.skip(MIN_MEMBER_BYTES)
    while (yield from window.skip_to(_DESCRIPTOR_MARK)):
        if _states((yield from window.ahead(_DESCRIPTOR_BYTES)), window.position - begin):
            window.cut()
            return
        window.skip(1)


def _states(descriptor: bytes, length: int) -> bool:
    """Returns whether this is the descriptor of a member that is stored in so many bytes."""
    return length in {int.from_bytes(descriptor[8:12], "little"), int.from_bytes(descriptor[8:16], "little")}


def is_tar(head: bytes) -> bool:
    """Returns whether it begins with a header; archives from before 1988 have none that tells."""
    return head[257:262] == b"ustar" and _tar_length(head) is not None


def tar(window: Window) -> Steps:
    """Cuts at every member, without the padding behind it; ends at the two empty blocks of the end."""
    pax_length = None
    while True:
        header = yield from window.ahead(_BLOCK_BYTES)
        length = _tar_length(header)
        if length is None:
            return
        window.skip(_BLOCK_BYTES)
        if header[156] == _PAX_HEADER:
            pax_length = yield from _pax_length(window, length)
        elif header[156] in _WITHOUT_CONTENT:
            length = 0
        elif pax_length is not None:
            length, pax_length = pax_length, None
        # Such a file by itself would not be cut either. In a zip it may: there an array is rather one of a checkpoint.
        yield from window.member(length, whole_to=WHOLE_BYTES)
        window.skip(-length % _BLOCK_BYTES)


def _pax_length(window: Window, length: int) -> Generator[int, None, int | None]:
    """Returns the length that an extended header states for the next member: one of more than 8 GiB."""
    found = _PAX_SIZE.search((yield from window.ahead(min(length, _MAX_PAX_BYTES))))
    return None if found is None else int(found[1])


def _tar_length(header: bytes) -> int | None:
    """Returns the length that a header states; None if it is no header."""
    if len(header) < _BLOCK_BYTES:
        return None
    checksum, field = _OCTAL.fullmatch(header, 148, 156), header[124:136]
    if checksum is None or int(checksum[1], 8) != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        return None
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    length = _OCTAL.fullmatch(field)
    return None if length is None else int(length[1], 8)
