"""NumPy's own files: a short header, and the elements.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
from typing import Any

from mlvc.repro.compare.arrays import Array, Dtype, parse_dtype
from mlvc.repro.compare.comparison import UnfitError
from mlvc.repro.compare.pickle_machine import read_pickle
from mlvc.repro.compare.windows import Window

__all__ = ["MAGIC", "read_npy"]

MAGIC = b"\x93NUMPY"
_MOST_HEADER_BYTES = 1 << 16
_MOST_FIELDS = 1000


def read_npy(window: Window) -> Any:  # noqa: ANN401  # an array, or of objects a nested value
    """Returns the array of a file.

    Raises:
        UnfitError: It is damaged, or of a version that is not known.
    """
    major = window.exactly(0, 8)[6]
    if major not in {1, 2, 3}:
        raise UnfitError(f"version {major} of npy is not known")
    width = 2 if major == 1 else 4
    size = int.from_bytes(window.exactly(8, width), "little")
    if size > _MOST_HEADER_BYTES:
        raise UnfitError("the header of the array is too long")
    header = _header(window.exactly(8 + width, size), "utf-8" if major == 3 else "latin-1")
    start = 8 + width + size
    dtype = _dtype(header["descr"], 0)
    if dtype.is_object:
        value, _ = read_pickle(window, start)
        return value
    order = "F" if header["fortran_order"] is True else "C"
    return Array.of(dtype, header["shape"], order, window.part(start, window.size - start))


def _header(data: bytes, encoding: str) -> dict[str, Any]:
    try:
        value = ast.literal_eval(data.decode(encoding).strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise UnfitError("the header of the array cannot be read") from None
    match value:
        case {"descr": descr, "fortran_order": bool(is_fortran), "shape": tuple(shape)} if all(
            type(length) is int for length in shape
        ):
            return {"descr": descr, "fortran_order": is_fortran, "shape": shape}
        case _:
            raise UnfitError("the header of the array cannot be read")


def _dtype(described: Any, depth: int) -> Dtype:  # noqa: ANN401  # any literal
    """Returns the type that a header describes: short letters, or a list of named fields."""
    if isinstance(described, str):
        return parse_dtype(described)
    if not isinstance(described, list) or len(described) > _MOST_FIELDS or depth > 8:
        raise UnfitError("the header of the array cannot be read")
    fields, offset = [], 0
    for item in described:
        match item:
            case (str(name), kind):
                inner, count = _dtype(kind, depth + 1), 1
            case (str(name), kind, tuple(shape)) if all(type(n) is int and 0 <= n < 1 << 31 for n in shape):
                inner, count = _dtype(kind, depth + 1), 1
                for length in shape:
                    count *= length
            case _:
                raise UnfitError("the header of the array cannot be read")
        size = inner.item_bytes * count
        if offset + size >= 1 << 31:
            raise UnfitError("the header of the array cannot be read")
        if count != 1:
            inner = Dtype(f"|V{size}", f"{inner.name} x{count}", size)
        if name:
            # A field without a name is padding.
            fields.append((name, inner, offset))
        offset += size
    return Dtype(f"|V{offset}", f"record of {len(fields)} fields", offset, tuple(fields))
