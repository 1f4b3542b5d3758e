"""HDF5 files, Keras's among them: groups, datasets and attributes. Links that lead out of the file are not followed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from mlvc.model.objects import Difference
from mlvc.repro.compare.arrays import Array, parse_dtype
from mlvc.repro.compare.comparison import UnfitError, shown
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.nested import Items, Pairs
from mlvc.repro.compare.nested_comparison import compare_values
from mlvc.repro.compare.windows import Window, WindowFile

__all__ = ["compare"]

_MOST_NODES = 100_000
_MOST_DEPTH = 64
_MOST_OBJECTS = 1_000_000
_PIECE_BYTES = 16 << 20


def compare(left: Window, right: Window, job: Job) -> None:
    """Compares two files.

    Raises:
        UnfitError: One has too many groups, or data that stands in other files.
    """
    for _ in range(h5py.h5pl.size()):
        # Filters are code, and only those that are built in are asked for.
        h5py.h5pl.remove(0)
    count = len(job.findings)
    with h5py.File(WindowFile(left), "r") as before, h5py.File(WindowFile(right), "r") as after:
        values = []
        for file in (before, after):
            content = _value(file, job, [0], 0)
            _add_attributes(content, "", file)
            values.append(content)
        compare_values(values[0], values[1], job.findings, root="")
    if len(job.findings) == count:
        job.findings.add(Difference("", "container", rule="hdf5.layout"))


def _value(node: Any, job: Job, counted: list[int], depth: int) -> Any:  # noqa: ANN401  # the library has no types
    counted[0] += 1
    if counted[0] > _MOST_NODES or depth > _MOST_DEPTH:
        raise UnfitError("the file has too many groups")
    if isinstance(node, h5py.Dataset):
        content = _dataset(node, job)
    elif isinstance(node, h5py.Group):
        content = Pairs(unordered="hdf5.layout")
        for name in node:
            link = node.get(name, getlink=True)
            content.keys.append(name)
            if isinstance(link, h5py.HardLink):
                content.values.append(_value(node[name], job, counted, depth + 1))
                _add_attributes(content, name, node[name])
            else:
                content.values.append(f"a link to {shown(str(getattr(link, 'path', '')))}")
    else:
        content = "a type"
    return content


def _add_attributes(content: Pairs, name: str, node: Any) -> None:  # noqa: ANN401  # the library has no types
    """Puts the attributes of a node beside it, as `NAME@`."""
    if len(node.attrs):
        names = list(node.attrs)
        content.keys.append(f"{name}@")
        content.values.append(
            Pairs(names, [_plain(node.attrs[key]) for key in names], unordered="hdf5.layout")
        )


def _dataset(node: Any, job: Job) -> Any:  # noqa: ANN401  # the library has no types
    if node.external or node.is_virtual:
        raise UnfitError("data of the file stands in other files")
    if node.shape is None:
        return None
    if node.dtype.hasobject:
        if math.prod(node.shape) > _MOST_OBJECTS:
            raise UnfitError("a dataset has too many texts")
        return Items("dataset", [_plain(item) for item in np.ravel(node[()])])
    data = job.unpacked.add(_iter_bytes(node))
    if node.dtype.kind == "V":
        return Items(
            "records",
            [str(node.dtype), Array.of(parse_dtype(f"|V{node.dtype.itemsize}"), node.shape, "C", data)],
        )
    return Array.of(parse_dtype(node.dtype.str), node.shape, "C", data)


def _iter_bytes(node: Any) -> Iterator[bytes]:  # noqa: ANN401  # the library has no types
    """Yields the elements in order, in pieces along the first dimension."""
    if not node.shape or not math.prod(node.shape):
        yield np.asarray(node[()]).tobytes()
        return
    row_bytes = max(1, math.prod(node.shape[1:]) * node.dtype.itemsize)
    rows = max(1, _PIECE_BYTES // row_bytes)
    for start in range(0, node.shape[0], rows):
        yield np.ascontiguousarray(node[start : start + rows]).tobytes()


def _plain(value: Any) -> Any:  # noqa: ANN401  # any attribute
    """Returns an attribute as a nested value."""
    if isinstance(value, np.ndarray):
        return Items("list", [_plain(item) for item in value.ravel().tolist()])
    if isinstance(value, np.generic):
        return _plain(value.item())
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    return shown(str(value))
