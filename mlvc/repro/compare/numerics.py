"""Measures by how much two arrays differ, in pieces. The one module of this room that loads NumPy."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mlvc.model.objects import Difference
from mlvc.repro.compare.arrays import (
    MOST_ULPS,
    Array,
    Dtype,
    Measured,
    compare_arrays,
    is_inexact,
)
from mlvc.repro.compare.comparison import Findings, UnfitError, shown
from mlvc.repro.compare.windows import Window, is_same

__all__ = ["compare_records", "gather", "measure"]

_PIECE_ELEMENTS = 1 << 17
_MOST_HELD_BYTES = 128 << 20
"""What is loaded as a whole: to sort it, to turn rows into columns, or to gather a view of a storage."""
_INTEGERS = {2: np.int16, 4: np.int32, 8: np.int64}
Values = npt.NDArray[Any]


def measure(left: Array, right: Array) -> Measured:
    """Returns how the elements of two arrays of one type and shape differ; reads each twice at most."""
    if left.order != right.order:
        right = _in_order(right, left.order)
    numeric = is_inexact(left.dtype.name)
    differing, first, values = 0, -1, ("", "")
    squares, error, largest = 0.0, 0.0, 0.0
    tallest = 0.0
    for number, (one, other) in enumerate(_pairs(left, right)):
        unlike = (one != other) & ~(_is_nan(one) & _is_nan(other))
        count = int(np.count_nonzero(unlike))
        if count and first < 0:
            at = int(np.argmax(unlike))
            first, values = number * _PIECE_ELEMENTS + at, (_text(one[at]), _text(other[at]))
        differing += count
        if not numeric:
            continue
        wide, delta = _wide(one), np.zeros(1)
        if count:
            delta = np.where(unlike, _wide(other) - wide, 0)
        magnitudes = np.abs(wide[np.isfinite(wide)])
        squares += float(np.sum(magnitudes * magnitudes))
        tallest = max(tallest, float(np.max(magnitudes, initial=0.0)))
        sizes = np.abs(delta)
        error += float(np.sum(sizes * sizes))
        largest = max(largest, float(np.max(sizes))) if not math.isnan(largest) else largest
        if np.isnan(sizes).any():
            largest = math.nan
    if not differing:
        return Measured(0, same_values=not is_same(left.window, right.window))
    if _is_reordered(left, right):
        return Measured(differing, is_reordered=True)
    if not numeric:
        return Measured(differing, first=first, values=values)
    norm = math.sqrt(error / squares) if squares else math.inf
    return Measured(
        differing,
        norm,
        largest,
        _ulps(left, right, tallest),
        first=first,
        values=values,
    )


def compare_records(left: Array, right: Array, where: str, findings: Findings, *, owner: str = "") -> None:
    """Adds how two arrays of records differ, field by field.

    Raises:
        UnfitError: They are too large.
    """
    if left.order != right.order:
        right = _in_order(right, left.order)
    before = len(findings)
    for (name, inner, offset), (_, other, other_offset) in zip(
        left.dtype.fields, right.dtype.fields, strict=True
    ):
        one, two = _column(left, inner, offset), _column(right, other, other_offset)
        compare_arrays(one, two, f"{where}.{name}", findings, owner=f"{owner}.{name}" if owner else "")
    if len(findings) == before:
        findings.add(Difference(where, "container", rule="array.padding"), owner=owner)


def gather(
    storage: Window, dtype: Dtype, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Array:
    """Returns a view of a storage as an array whose rows stand one after the other.

    Args:
        storage: The bytes.
        dtype: Of an element.
        offset: Of the first element, in elements.
        shape: Of the view.
        strides: In elements.

    Raises:
        UnfitError: It reaches beyond the storage, or is too large.
    """
    count = math.prod(shape)
    if count * dtype.item_bytes > _MOST_HELD_BYTES or storage.size > _MOST_HELD_BYTES:
        raise UnfitError("a view of a storage is too large to gather")
    reach = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True)) if count else -1
    if offset < 0 or min(strides, default=0) < 0 or (offset + reach + 1) * dtype.item_bytes > storage.size:
        raise UnfitError("a tensor reaches beyond its storage")
    raw = np.frombuffer(storage.read(0, storage.size), dtype=np.dtype((np.void, dtype.item_bytes)))
    view = np.lib.stride_tricks.as_strided(
        raw[offset:], shape, tuple(stride * dtype.item_bytes for stride in strides), writeable=False
    )
    return Array.of(dtype, shape, "C", _window(np.ascontiguousarray(view).tobytes()))


def _pairs(left: Array, right: Array) -> Iterator[tuple[Values, Values]]:
    """Yields the elements of both in pieces of the same length."""
    yield from zip(_values(left), _values(right), strict=True)


def _values(array: Array) -> Iterator[Values]:
    for piece in array.window.pieces(_PIECE_ELEMENTS * max(array.dtype.item_bytes, 1)):
        yield _decode(piece, array.dtype)


def _decode(data: bytes, dtype: Dtype) -> Values:
    if dtype.code == "bfloat16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    if dtype.code in _BY_TABLE:
        return _BY_TABLE[dtype.code][np.frombuffer(data, np.uint8)]
    try:
        return np.frombuffer(data, dtype.code)
    except (TypeError, ValueError):
        raise UnfitError(f"unknown element type {dtype.code!r}") from None


def _floats_of_a_byte(exponent_bits: int, bias: int, *, infinite: bool, unsigned_zero: bool) -> Values:
    """Returns the value of each byte as a floating-point number of eight bits."""
    mantissa_bits = 7 - exponent_bits
    table = np.empty(256, np.float32)
    for byte in range(256):
        sign = -1.0 if byte & 0x80 else 1.0
        exponent, mantissa = (byte & 0x7F) >> mantissa_bits, byte & ((1 << mantissa_bits) - 1)
        if exponent:
            value = (1 + mantissa / (1 << mantissa_bits)) * 2.0 ** (exponent - bias)
        else:
            value = mantissa / (1 << mantissa_bits) * 2.0 ** (1 - bias)
        if infinite and exponent == (1 << exponent_bits) - 1:
            value = math.nan if mantissa else math.inf
        elif (not infinite and not unsigned_zero and byte & 0x7F == 0x7F) or (unsigned_zero and byte == 0x80):
            value = math.nan
        table[byte] = sign * value
    return table


_BY_TABLE = {
    "float8_e4m3fn": _floats_of_a_byte(4, 7, infinite=False, unsigned_zero=False),
    "float8_e5m2": _floats_of_a_byte(5, 15, infinite=True, unsigned_zero=False),
    "float8_e4m3fnuz": _floats_of_a_byte(4, 8, infinite=False, unsigned_zero=True),
    "float8_e5m2fnuz": _floats_of_a_byte(5, 16, infinite=False, unsigned_zero=True),
}


def _is_nan(values: Values) -> Values | np.bool_:
    return np.isnan(values) if values.dtype.kind in "fcmM" else np.False_


def _wide(values: Values) -> Values:
    """Returns the numbers in a type in which their squares do not overflow."""
    return values.astype(np.clongdouble if values.dtype.kind == "c" else np.longdouble)


def _text(value: Any) -> str:  # noqa: ANN401  # an element of any type
    try:
        return shown(str(value.item() if hasattr(value, "item") else value))
    except ValueError:
        # Four bytes that are no character.
        return "?"


def _ulps(left: Array, right: Array, tallest: float) -> int:
    """Returns the largest distance in units in the last place, of elements that are not tiny beside the largest."""
    width = left.dtype.item_bytes
    if not left.dtype.name.startswith("float") or width not in _INTEGERS or left.dtype.name not in _EPSILONS:
        return 0
    floor = tallest * math.sqrt(_EPSILONS[left.dtype.name])
    most = 0
    for one, other in _pairs(left, right):
        counts = np.isfinite(one) & np.isfinite(other) & (np.abs(one) >= floor)
        if counts.any():
            most = max(most, _farthest(one[counts], other[counts]))
    return min(most, MOST_ULPS)


_EPSILONS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10}


def _farthest(one: Values, other: Values) -> int:
    before, after = _ordinals(one), _ordinals(other)
    # Of opposite signs the distance may not fit into 64 bits; floats are exact enough for that.
    distance = np.abs(before.astype(np.float64) - after.astype(np.float64))
    at = int(np.argmax(distance))
    return abs(int(before[at]) - int(after[at]))


def _ordinals(values: Values) -> npt.NDArray[np.int64]:
    """Returns the position of each float among all floats of its type."""
    native = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("=")))
    integer = _INTEGERS[native.dtype.itemsize]
    bits = native.view(integer).astype(np.int64)
    lowest = np.int64(-1 << (8 * native.dtype.itemsize - 1))
    return np.where(bits < 0, lowest - bits, bits)


def _is_reordered(left: Array, right: Array) -> bool:
    """Whether both hold the same elements; of what is too large to sort it is not known."""
    if math.prod(left.shape) < 3 or left.window.size > _MOST_HELD_BYTES:
        return False
    raw = np.dtype((np.void, left.dtype.item_bytes)) if left.dtype.item_bytes else None
    if raw is None or left.dtype != right.dtype:
        return False
    one = np.frombuffer(left.window.read(0, left.window.size), raw)
    other = np.frombuffer(right.window.read(0, right.window.size), raw)
    if left.dtype.item_bytes in {1, 2, 4, 8}:
        unsigned = f"u{left.dtype.item_bytes}"
        one, other = one.view(unsigned), other.view(unsigned)
    return bool(np.array_equal(np.sort(one), np.sort(other)))


def _in_order(array: Array, order: str) -> Array:
    """Returns the same array with its elements in the other order."""
    if array.window.size > _MOST_HELD_BYTES:
        raise UnfitError("an array is too large to turn its rows into columns")
    raw = np.frombuffer(array.window.read(0, array.window.size), np.dtype((np.void, array.dtype.item_bytes)))
    shaped = raw.reshape(array.shape, order="F" if array.order == "F" else "C")
    data = shaped.tobytes(order="F" if order == "F" else "C")
    return Array(array.dtype, array.shape, order, _window(data))


def _column(array: Array, dtype: Dtype, offset: int) -> Array:
    """Returns one field of an array of records."""
    if array.window.size > _MOST_HELD_BYTES:
        raise UnfitError("an array of records is too large to compare")
    if offset < 0 or offset + dtype.item_bytes > array.dtype.item_bytes:
        raise UnfitError("a field reaches beyond its record")
    raw = np.frombuffer(array.window.read(0, array.window.size), np.uint8).reshape(-1, array.dtype.item_bytes)
    data = np.ascontiguousarray(raw[:, offset : offset + dtype.item_bytes]).tobytes()
    return Array(dtype, array.shape, array.order, _window(data))


def _window(data: bytes) -> Window:
    return Window(io.BytesIO(data), 0, len(data))
