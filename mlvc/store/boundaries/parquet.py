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
_MAX_FIELDS = 64
"""Four times as many as there are."""

_BINARY, _STRUCT = 8, 12
_INTEGERS = frozenset((4, 5, 6))
_SKIPPED_BYTES = {1: 0, 2: 0, 3: 1, 7: 8}
"""What else there may be: true, false, a byte, a floating-point number."""

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
    header = _Header(head)
    fields = header.struct()
    if _DETAILS.get(fields.get(_KIND, -1)) not in fields or fields.get(_STORED_LENGTH, -1) < 0:
        raise ValueError("not a page")
    return header.at + fields[_STORED_LENGTH]


class _Header:
    """Decodes from front to back; a byte beyond the end is an IndexError.

    Attributes:
        at: The offset of the next byte.
    """

    def __init__(self, data: bytes) -> None:
        self.at = 0
        self._data = data
        self._fields_left = _MAX_FIELDS

    def struct(self) -> dict[int, int]:
        """Returns the fields by their numbers; those that are no integers are 0."""
        fields: dict[int, int] = {}
        number = 0
        while (head := self._byte()) != 0:
            self._fields_left -= 1
            if self._fields_left < 0:
                raise ValueError("too many fields, side by side or one in the other")
            step = head >> 4
            number = number + step if step else self._integer()
            fields[number] = self._value(head & 15)
        return fields

    def _value(self, kind: int) -> int:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _STRUCT:
            self.struct()
        elif kind == _BINARY:
            length = self._length()
            self.at += length
        elif kind in _SKIPPED_BYTES:
            self.at += _SKIPPED_BYTES[kind]
        else:
            raise ValueError("a type that no page's header holds")
        return 0

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _length(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("too long a number")

    def _integer(self) -> int:
        value = self._length()
        return (value >> 1) ^ -(value & 1)
