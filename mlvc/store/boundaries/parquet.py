"""Parquet, seen from its front: pages one after the other, each behind a header that states its length.

The directory of column chunks and pages is at the end, where a stream cannot look. A header is a struct in Thrift's
compact protocol; only what such a header may hold is understood here.
Format: https://parquet.apache.org/docs/file-format/data-pages/
"""

from __future__ import annotations

from mlvc.store.boundaries.window import Steps, Window

__all__ = ["is_parquet", "parquet"]

_MAGIC = b"PAR1"
_MIN_PAGE_BYTES = 16 << 10
"""Less than for other members: pages follow one another with nothing between them that would be a chunk as well."""
_MAX_HEADER_BYTES = 4 << 10
"""It has the least and the largest value of its page in it, which may be long."""
_MAX_DEPTH = 4

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 12
_KIND, _STORED_LENGTH = 1, 3
_DETAILS = {0: 5, 1: 6, 2: 7, 3: 8}
"""The field that says more about a page of that kind: of data, of an index, of a dictionary, of data again."""


def is_parquet(head: bytes) -> bool:
    """Returns whether it begins as a Parquet file that is not encrypted does."""
    return head.startswith(_MAGIC)


def parquet(window: Window) -> Steps:
    """Cuts at every page; ends where something else stands between or behind the pages."""
    window.skip(len(_MAGIC))
    while True:
        head = yield from window.ahead(_MAX_HEADER_BYTES)
        try:
            length = _page_bytes(head)
        except (IndexError, ValueError):
            return
        yield from window.member(length, least=_MIN_PAGE_BYTES)


def _page_bytes(head: bytes) -> int:
    """Returns the length of a page with its header.

    Raises:
        IndexError: The header does not end here.
        ValueError: It is no header.
    """
    fields: dict[int, int] = {}
    header_bytes = _struct(head, 0, fields, 0)
    if _DETAILS.get(fields.get(_KIND, -1)) not in fields or fields.get(_STORED_LENGTH, -1) < 0:
        raise ValueError("not a page")
    return header_bytes + fields[_STORED_LENGTH]


def _struct(data: bytes, at: int, fields: dict[int, int], depth: int) -> int:
    """Collects the fields of a struct, 0 for those that are no numbers; returns where it ends."""
    if depth > _MAX_DEPTH:
        raise ValueError("too deep")
    number = 0
    while (head := data[at]) != 0:
        at += 1
        step, kind = head >> 4, head & 15
        if step:
            number += step
        else:
            number, at = _zigzag(data, at)
        value = 0
        if kind in {_I16, _I32, _I64}:
            value, at = _zigzag(data, at)
        elif kind == _BINARY:
            length, at = _varint(data, at)
            at += length
        elif kind == _STRUCT:
            at = _struct(data, at, {}, depth + 1)
        elif kind in {_BYTE, _DOUBLE}:
            at += 1 if kind == _BYTE else 8
        elif kind not in {_TRUE, _FALSE}:
            raise ValueError("not in a page's header")
        fields[number] = value
    return at + 1


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("too long a number")


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at
