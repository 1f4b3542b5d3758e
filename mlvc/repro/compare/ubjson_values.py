"""Universal Binary JSON, as XGBoost writes its models.

Format: https://ubjson.org; typed arrays as XGBoost has them, big-endian.
"""

from __future__ import annotations

import struct
from typing import Any

from mlvc.repro.compare.arrays import Array, parse_dtype
from mlvc.repro.compare.comparison import UnfitError
from mlvc.repro.compare.nested import Items, Number, Pairs
from mlvc.repro.compare.windows import Window

__all__ = ["is_ubjson", "read_ubjson"]

_INTEGERS = {
    ord(letter): struct.Struct(form)
    for letter, form in (("i", ">b"), ("U", ">B"), ("I", ">h"), ("l", ">i"), ("L", ">q"))
}
_FLOATS = {ord("d"): (struct.Struct(">f"), "float32"), ord("D"): (struct.Struct(">d"), "float64")}
_CONSTANTS = {ord("Z"): None, ord("T"): True, ord("F"): False}
_TYPES = {
    ord(letter): parse_dtype(code)
    for letter, code in (
        ("i", "|i1"), ("U", "|u1"), ("I", ">i2"), ("l", ">i4"), ("L", ">i8"), ("d", ">f4"), ("D", ">f8")
    )
}  # fmt: skip
_KEY_ORDER = "json.key-order"
_MOST_DEPTH = 100
_MOST_VALUES = 5_000_000
_MOST_TEXT_BYTES = 16 << 20


def is_ubjson(head: bytes) -> bool:
    """Whether bytes begin an object whose first key has a length of any width."""
    return head[:1] == b"{" and head[1:2] in {b"i", b"U", b"I", b"l", b"L"}


def read_ubjson(window: Window) -> Any:  # noqa: ANN401  # any nested value
    """Returns what a file holds.

    Raises:
        UnfitError: It is damaged or over a limit.
    """
    reader = _Reader(window)
    value = reader.value(reader.byte(), 0)
    if reader.at != window.size:
        raise UnfitError("bytes follow its end")
    return value


class _Reader:
    def __init__(self, window: Window) -> None:
        self._window = window
        self.at = 0
        self._data = b""
        self._start = 0
        self._left = _MOST_VALUES

    def take(self, size: int) -> bytes:
        begin = self.at - self._start
        if begin + size > len(self._data):
            self._start, begin = self.at, 0
            self._data = self._window.read(self.at, max(size, 1 << 18))
        data = self._data[begin : begin + size]
        if len(data) < size:
            raise UnfitError("it is cut off")
        self.at += size
        return data

    def byte(self) -> int:
        return self.take(1)[0]

    def peek(self) -> int:
        value = self.byte()
        self.at -= 1
        return value

    def length(self) -> int:
        form = _INTEGERS.get(self.byte())
        if form is None:
            raise UnfitError("a length is no integer")
        value: int = form.unpack(self.take(form.size))[0]
        if value < 0:
            raise UnfitError("a length is negative")
        return value

    def text(self) -> str:
        size = self.length()
        if size > _MOST_TEXT_BYTES:
            raise UnfitError("a text is too long")
        return self.take(size).decode("utf-8", "surrogateescape")

    def value(self, kind: int, depth: int) -> Any:  # noqa: ANN401, PLR0911  # one return for each kind
        self._left -= 1
        if self._left < 0 or depth > _MOST_DEPTH:
            raise UnfitError("it holds too much")
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind in _INTEGERS:
            form = _INTEGERS[kind]
            return form.unpack(self.take(form.size))[0]
        if kind in _FLOATS:
            form, dtype = _FLOATS[kind]
            return Number(repr(form.unpack(self.take(form.size))[0]), dtype)
        if kind == ord("S"):
            return self.text()
        if kind == ord("C"):
            return chr(self.byte())
        if kind == ord("["):
            return self.array(depth)
        if kind == ord("{"):
            return self.object(depth)
        raise UnfitError("it holds a value of an unknown type")

    def array(self, depth: int) -> Any:  # noqa: ANN401  # an array, or items
        kind, count = self.header()
        if kind is not None:
            dtype = _TYPES.get(kind)
            if dtype is None:
                raise UnfitError("an array is of an unknown type")
            part = self._window.part(self.at, count * dtype.item_bytes)
            self.at += part.size
            return Array.of(dtype, (count,), "C", part)
        items = []
        if count >= 0:
            items = [self.value(self.byte(), depth + 1) for _ in range(count)]
        else:
            while (mark := self.byte()) != ord("]"):
                items.append(self.value(mark, depth + 1))
        return Items("list", items)

    def object(self, depth: int) -> Pairs:
        kind, count = self.header()
        if kind is not None:
            raise UnfitError("an object is of a type of its own")
        found, names = Pairs(unordered=_KEY_ORDER), set()
        while count != 0:
            if count < 0 and self.peek() == ord("}"):
                self.byte()
                break
            name = self.text()
            if name in names:
                raise UnfitError("a key stands twice")
            names.add(name)
            found.keys.append(name)
            found.values.append(self.value(self.byte(), depth + 1))
            count -= 1
        return found

    def header(self) -> tuple[int | None, int]:
        """Returns the type and the number of the elements that follow, where they stand before these; else -1."""
        kind = None
        if self.peek() == ord("$"):
            self.byte()
            kind = self.byte()
        if self.peek() != ord("#"):
            if kind is not None:
                raise UnfitError("a type without a length")
            return None, -1
        self.byte()
        return kind, self.length()
