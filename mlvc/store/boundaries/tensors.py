"""safetensors and npy: a header, then numbers."""

from __future__ import annotations

import re

from mlvc.store.boundaries.window import MIN_MEMBER_BYTES, Steps, Window

__all__ = ["is_npy", "is_safetensors", "npy", "safetensors"]

_MAX_HEADER_BYTES = 4 << 20
"""That of some 30,000 tensors."""
_LENGTH_BYTES = 8
# Not a JSON parser: on a hostile header that one takes twenty times its length in memory. A quotation mark in a
# string is escaped, so this key is never part of one.
_OFFSETS = re.compile(rb'"data_offsets"\s*:\s*\[\s*(\d{1,19})\s*,\s*(\d{1,19})\s*\]')

_NPY_MAGIC = b"\x93NUMPY"


def is_safetensors(head: bytes) -> bool:
    """Returns whether it begins with the length of a header and a brace."""
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    return 2 <= length <= _MAX_HEADER_BYTES and head[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{"


def safetensors(window: Window) -> Steps:
    """Cuts at every tensor; the order of the header does not matter, that of the data does."""
    prefix = yield from window.ahead(_LENGTH_BYTES)
    window.skip(_LENGTH_BYTES)
    length = int.from_bytes(prefix, "little")
    header = yield from window.ahead(length)
    window.skip(length)
    begin = window.position
    for first, last in sorted((int(first), int(last)) for first, last in _OFFSETS.findall(header)):
        gap = begin + first - window.position
        if gap >= 0 and last >= first:
            window.skip(gap)
            if last - first < MIN_MEMBER_BYTES:
                window.skip(last - first)
            else:
                yield from window.member(last - first)


def is_npy(head: bytes) -> bool:
    """Returns whether it is one array as NumPy saves it."""
    return head.startswith(_NPY_MAGIC) and len(head) >= 12


def npy(window: Window) -> Steps:
    """Cuts between the header and the numbers, which are the same in every container."""
    head = yield from window.ahead(12)
    # The length of the header has two bytes in the first version of the format and four in later ones.
    numbers_at = 10 if head[6] == 1 else 12
    window.skip(numbers_at + int.from_bytes(head[8:numbers_at], "little"))
    window.cut()
