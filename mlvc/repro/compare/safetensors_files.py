"""Safetensors: a header of JSON, and the tensors' bytes. Read by this module: it is shorter than a call of the library.

    offset  size  content
    0       8     the header's length, little-endian
    8       n     JSON: name → dtype, shape, data_offsets; `__metadata__` → texts
    8 + n   …     the tensors, at their offsets from here

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import itertools
from typing import Any

from mlvc.model.objects import Difference
from mlvc.repro.compare.arrays import Array, Dtype, parse_dtype
from mlvc.repro.compare.comparison import UnfitError
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.json_values import parse_json
from mlvc.repro.compare.nested import Items, Pairs
from mlvc.repro.compare.nested_comparison import compare_values
from mlvc.repro.compare.numpy_pickles import integers_of
from mlvc.repro.compare.windows import Window

__all__ = ["compare_safetensors", "is_safetensors"]

_MOST_HEADER_BYTES = 100_000_000
_METADATA = "__metadata__"
_DTYPES = {
    "BOOL": parse_dtype("|b1"),
    **{f"I{size * 8}": parse_dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"U{size * 8}": parse_dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"F{size * 8}": parse_dtype(f"<f{size}") for size in (2, 4, 8)},
    "BF16": Dtype("bfloat16", "bfloat16", 2),
    "F8_E4M3": Dtype("float8_e4m3fn", "float8_e4m3fn", 1),
    "F8_E5M2": Dtype("float8_e5m2", "float8_e5m2", 1),
    "C64": parse_dtype("<c8"),
}


def is_safetensors(head: bytes, window: Window) -> bool:
    """Whether bytes begin with a length that fits, and an object of JSON."""
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= window.size - 8


def compare_safetensors(left: Window, right: Window, job: Job) -> None:
    """Compares the tensors by name.

    Raises:
        UnfitError: A header cannot be read, or a tensor lies outside of the file or over another.
    """
    before, after = _read(left), _read(right)
    count = len(job.findings)
    compare_values(before, after, job.findings, root=job.where)
    if len(job.findings) == count:
        job.findings.add(Difference(job.where, "container", rule="safetensors.header"))


def _read(window: Window) -> Pairs:
    size = int.from_bytes(window.exactly(0, 8), "little")
    if size > _MOST_HEADER_BYTES:
        raise UnfitError("the header is too long")
    header = parse_json(window.exactly(8, size))
    if not isinstance(header, Pairs):
        raise UnfitError("the header cannot be read")
    data = window.part(8 + size, window.size - 8 - size)
    found, ends = Pairs(unordered="safetensors.header"), []
    for name, entry in zip(header.keys, header.values, strict=True):
        found.keys.append(name)
        if name == _METADATA:
            found.values.append(entry)
            continue
        array, begin = _tensor(entry, data)
        found.values.append(array)
        ends.append((begin, begin + array.window.size))
    ends.sort()
    if any(end > begin for (_, end), (begin, _) in itertools.pairwise(ends)):
        raise UnfitError("two tensors share bytes")
    return found


def _tensor(entry: Any, data: Window) -> tuple[Array, int]:  # noqa: ANN401  # any nested value
    fields = dict(zip(entry.keys, entry.values, strict=True)) if isinstance(entry, Pairs) else {}
    match fields:
        case {
            "dtype": str(name),
            "shape": Items() as shape,
            "data_offsets": Items(items=[int(begin), int(end)]),
        }:
            dtype = _DTYPES.get(name)
            if dtype is None:
                raise UnfitError(f"unknown element type {name[:40]!r}")
            return Array.of(dtype, integers_of(shape), "C", data.part(begin, end - begin)), begin
        case _:
            raise UnfitError("the header cannot be read")
