"""Arrays of numbers: where they stand in a file, and how two of them differ. Read in pieces, never as a whole."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from mlvc.model.objects import Difference
from mlvc.repro.compare.comparison import Findings, UnfitError
from mlvc.repro.compare.windows import Window, is_same

__all__ = [
    "Array",
    "Dtype",
    "Measured",
    "compare_arrays",
    "compare_numbers",
    "missing_library",
    "parse_dtype",
]

SAME_VALUE = "numbers.same-value"
MOST_ULPS = (1 << 63) - 1
"""What the encoding of a verdict holds."""
_MOST_DIMENSIONS = 64
_CODE = re.compile(r"([<>|=]?)([biufcSUVOmM])(\d{0,9})(\[\w{1,10}\])?")
_WORDS = {
    "b": {1: "bool"},
    "i": {size: f"int{size * 8}" for size in (1, 2, 4, 8)},
    "u": {size: f"uint{size * 8}" for size in (1, 2, 4, 8)},
    "f": {2: "float16", 4: "float32", 8: "float64", 12: "longdouble", 16: "longdouble"},
    "c": {8: "complex64", 16: "complex128", 24: "clongdouble", 32: "clongdouble"},
}


@dataclass(frozen=True, slots=True)
class Dtype:
    """The type of an array's elements.

    Attributes:
        code: NumPy's short form with its byte order, such as `<f8`; `bfloat16` and its like by their names.
        name: For a person: `float64`.
        item_bytes: The length of one.
        fields: Of a record: name, type and offset of each field.
    """

    code: str
    name: str
    item_bytes: int
    fields: tuple[tuple[str, Dtype, int], ...] = ()

    @property
    def is_object(self) -> bool:
        """Whether the elements are Python's objects, which stand elsewhere."""
        return self.code.endswith("O") or any(inner.is_object for _, inner, _ in self.fields)


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """An array, whose elements stay in their file."""

    dtype: Dtype
    shape: tuple[int, ...]
    order: str
    window: Window

    def describe(self) -> str:
        """Returns its type and shape for a person."""
        if not self.shape:
            return self.dtype.name
        return f"{self.dtype.name}[{', '.join(map(str, self.shape))}]"

    @classmethod
    def of(cls, dtype: Dtype, shape: Sequence[int], order: str, window: Window) -> Array:
        """Returns an array.

        Raises:
            UnfitError: The shape makes no sense, or is not that of so many bytes.
        """
        if len(shape) > _MOST_DIMENSIONS or any(length < 0 for length in shape):
            raise UnfitError("an array has no valid shape")
        if math.prod(shape) * dtype.item_bytes != window.size:
            raise UnfitError(
                f"an array of {window.size} bytes claims {tuple(shape)} elements of {dtype.name}"
            )
        # Both orders of what has but one dimension, or but one that counts, are the same.
        if sum(length != 1 for length in shape) < 2:
            order = "C"
        return cls(dtype, tuple(shape), order, window)


@dataclass(frozen=True, slots=True)
class Measured:
    """How the elements of two arrays of one type and shape differ.

    Attributes:
        differing: How many are not the same number.
        norm: The 2-norm of the difference over that of the recorded array.
        largest: The largest absolute difference.
        ulps: The largest distance in units in the last place, of elements that are not tiny.
        is_reordered: Whether they are the same elements in another order.
        first: The position of the first one that differs, in the order of the file.
        values: That element, of both arrays, as text.
        same_values: Whether the bits differ, and all the numbers are the same.
    """

    differing: int
    norm: float = 0.0
    largest: float = 0.0
    ulps: int = 0
    is_reordered: bool = False
    first: int = 0
    values: tuple[str, str] = ("", "")
    same_values: bool = False


def parse_dtype(code: str) -> Dtype:
    """Returns the type that NumPy writes in so few letters.

    Raises:
        UnfitError: It is none of NumPy's.
    """
    match = _CODE.fullmatch(code)
    if match is None or len(code) > 40:
        raise UnfitError(f"unknown element type {code[:40]!r}")
    order, letter, digits, unit = match.groups()
    size = int(digits or 0)
    if letter == "O":
        return Dtype("|O", "object", 8)
    if letter in "SV":
        return Dtype(f"|{letter}{size}", f"{letter}{size}", size)
    if letter == "U":
        return Dtype(f"{_byte_order(order, 4)}U{size}", f"U{size}", size * 4)
    if letter in "mM":
        word = "timedelta64" if letter == "m" else "datetime64"
        return Dtype(f"{_byte_order(order, 8)}{letter}8{unit or ''}", f"{word}{unit or ''}", 8)
    name = _WORDS[letter].get(size)
    if name is None:
        raise UnfitError(f"unknown element type {code!r}")
    return Dtype(f"{_byte_order(order, size)}{letter}{size}", name, size)


def _byte_order(order: str, size: int) -> str:
    return "|" if size == 1 else (">" if order == ">" else "<")


def compare_arrays(left: Array, right: Array, where: str, findings: Findings, *, owner: str = "") -> None:
    """Adds how two arrays differ.

    Raises:
        UnfitError: The bytes differ, and NumPy, which would measure by how much, is not installed.
    """
    same_type = (left.dtype, left.shape) == (right.dtype, right.shape)
    if same_type and left.order == right.order and is_same(left.window, right.window):
        return
    if (_native(left.dtype), left.shape) != (_native(right.dtype), right.shape):
        findings.add(Difference(where, "structure", left.describe(), right.describe()), owner=owner)
        return
    if left.dtype.is_object:
        raise UnfitError(f"{where} holds objects whose place is not known")
    if left.dtype.fields:
        numerics().compare_records(left, right, where, findings, owner=owner)
        return
    add_measured(numerics().measure(left, right), left, where, findings, owner=owner)
    if (left.order, left.dtype) != (right.order, right.dtype):
        told = _layout(left), _layout(right)
        findings.add(Difference(where, "container", *told, rule="array.memory-order"), owner=owner)


def add_measured(
    measured: Measured, array: Array, where: str, findings: Findings, *, owner: str = ""
) -> None:
    """Adds what was measured; nothing where every element is the same number in the same bits."""
    total = math.prod(array.shape)
    name = array.dtype.name
    if measured.is_reordered:
        difference = Difference(where, "order", dtype=name, differing=measured.differing, total=total)
    elif measured.differing and is_inexact(name):
        difference = Difference(
            where,
            "numeric",
            *(measured.values if total == 1 else ("", "")),
            dtype=name,
            differing=measured.differing,
            total=total,
            norm=f"{measured.norm:.3g}",
            largest=f"{measured.largest:.3g}",
            ulps=measured.ulps,
        )
    elif measured.differing:
        place = where if total == 1 else f"{where}[{_position(measured.first, array)}]"
        difference = Difference(
            place, "value", *measured.values, dtype=name, differing=measured.differing, total=total
        )
    elif measured.same_values:
        difference = Difference(
            where, "numeric", dtype=name, total=total, norm="0", largest="0", rule=SAME_VALUE
        )
    else:
        return
    findings.add(difference, owner=owner)


def compare_numbers(
    left: Sequence[float],
    right: Sequence[float],
    dtype: str,
    where: str,
    findings: Findings,
    *,
    owner: str = "",
) -> None:
    """Adds how two lists of numbers differ, of which one at least is not written as the other.

    Where but one of several differs, its place and both values are told.
    """
    changed = [i for i, (a, b) in enumerate(zip(left, right, strict=True)) if not _is_same_number(a, b)]
    total = len(left)
    if not changed:
        findings.add(
            Difference(where, "numeric", dtype=dtype, total=total, norm="0", largest="0", rule=SAME_VALUE),
            owner=owner,
        )
        return
    if total > 2 and sorted(map(repr, left)) == sorted(map(repr, right)):
        findings.add(
            Difference(where, "order", dtype=dtype, differing=len(changed), total=total), owner=owner
        )
        return
    one = changed[0] if len(changed) == 1 else None
    place = where if one is None or total == 1 else f"{where}[{one}]"
    values = ("", "") if one is None else (repr(left[one]), repr(right[one]))
    delta = [_minus(b, a) for a, b in zip(left, right, strict=True)]
    recorded = math.hypot(*left)
    norm = math.hypot(*delta) / recorded if recorded else math.inf
    findings.add(
        Difference(
            place,
            "numeric",
            *values,
            dtype=dtype,
            differing=len(changed),
            total=total,
            norm=f"{norm:.3g}",
            largest=f"{max(map(abs, delta)):.3g}",
            ulps=max(_ulps(left[i], right[i]) for i in changed) if dtype == "float64" else 0,
        ),
        owner=owner,
    )


def _minus(a: float, b: float) -> float:
    """Returns the difference; 0 of two that are both no number or the same infinity."""
    return 0.0 if _is_same_number(a, b) else a - b


def _is_same_number(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def _ulps(a: float, b: float) -> int:
    if not (math.isfinite(a) and math.isfinite(b)):
        return 0
    return min(abs(_ordinal(a) - _ordinal(b)), MOST_ULPS)


def _ordinal(value: float) -> int:
    """Returns the position of a float among all floats."""
    bits: int = struct.unpack("<q", struct.pack("<d", value))[0]
    return bits if bits >= 0 else -(bits & 0x7FFF_FFFF_FFFF_FFFF)


def is_inexact(name: str) -> bool:
    """Whether numbers of a type are rounded."""
    return name.startswith(("float", "bfloat", "complex", "longdouble", "clongdouble"))


def _native(dtype: Dtype) -> tuple[str, tuple[str, ...]]:
    """Returns a type without its byte order."""
    return dtype.name, tuple(f"{name} {inner.name}" for name, inner, _ in dtype.fields)


def _layout(array: Array) -> str:
    ends = {"<": "little-endian", ">": "big-endian"}.get(array.dtype.code[:1], "")
    return f"{array.order} order {ends}".strip()


def _position(index: int, array: Array) -> str:
    """Returns the subscript of an element by its number in the file."""
    lengths = array.shape if array.order == "F" else array.shape[::-1]
    subscript = []
    for length in lengths:
        index, rest = divmod(index, length)
        subscript.append(rest)
    return ", ".join(map(str, subscript if array.order == "F" else subscript[::-1]))


def numerics() -> ModuleType:
    """Returns the module that measures; it needs NumPy, which is an extra and slow to load."""
    try:
        from mlvc.repro.compare import numerics as module  # noqa: PLC0415  # see above
    except ImportError:
        raise missing_library("numpy") from None
    return module


def missing_library(name: str) -> UnfitError:
    """Returns the error that says what to install."""
    return UnfitError(f"{name} is not installed here: install mlvc[formats]")
