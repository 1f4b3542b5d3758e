"""ONNX models: the graph's nodes and its tensors by name. Tensors that stand in other files are not loaded."""

from __future__ import annotations

import math
from typing import Any

import onnx
from onnx import numpy_helper

from mlvc.model.objects import Difference
from mlvc.repro.compare.arrays import Array, parse_dtype
from mlvc.repro.compare.comparison import UnfitError
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.nested import Items, Number, Pairs
from mlvc.repro.compare.nested_comparison import compare_values
from mlvc.repro.compare.windows import Window

__all__ = ["compare"]

_MOST_BYTES = 2 << 30
_MOST_DEPTH = 60
_UNORDERED = {"opset_import": "onnx.opset-order"}
_BY_NAME = {"initializer", "attribute"}


def compare(left: Window, right: Window, job: Job) -> None:
    """Compares two models.

    Raises:
        UnfitError: One is too large.
    """
    values = []
    for window in (left, right):
        if window.size > _MOST_BYTES:
            raise UnfitError("the model is too large to compare")
        model = onnx.ModelProto.FromString(window.read(0, window.size))
        values.append(_message(model, job, 0))
    count = len(job.findings)
    compare_values(values[0], values[1], job.findings)
    if len(job.findings) == count:
        job.findings.add(Difference("", "container", rule="onnx.layout"))


def _message(message: Any, job: Job, depth: int) -> Any:  # noqa: ANN401  # the library has no types
    if depth > _MOST_DEPTH:
        raise UnfitError("the model is nested too deeply")
    if isinstance(message, onnx.TensorProto):
        return _tensor(message, job)
    found = Pairs()
    for field, value in message.ListFields():
        found.keys.append(field.name)
        if field.name in _BY_NAME:
            named = Pairs(unordered="onnx.layout")
            for item in value:
                named.keys.append(item.name)
                named.values.append(_message(item, job, depth + 1))
            found.values.append(named)
        elif field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED:
            items = [_field(field, item, job, depth) for item in value]
            found.values.append(Items("list", items, _UNORDERED.get(field.name, "")))
        else:
            found.values.append(_field(field, value, job, depth))
    return found


def _field(field: Any, value: Any, job: Job, depth: int) -> Any:  # noqa: ANN401  # the library has no types
    if field.message_type:
        return _message(value, job, depth + 1)
    return Number(repr(value), "float32") if field.type == field.TYPE_FLOAT else value


def _tensor(tensor: Any, job: Job) -> Any:  # noqa: ANN401  # the library has no types
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return Items("external", [f"{entry.key}={entry.value}" for entry in tensor.external_data])
    if math.prod(tensor.dims) > _MOST_BYTES or any(length < 0 for length in tensor.dims):
        raise UnfitError("a tensor has no valid shape")
    if tensor.data_type == onnx.TensorProto.STRING:
        return Items("texts", list(tensor.string_data))
    values = numpy_helper.to_array(tensor)
    data = job.unpacked.add([values.tobytes()])
    try:
        dtype = parse_dtype(values.dtype.str)
    except UnfitError:
        dtype = parse_dtype(f"|V{values.dtype.itemsize}")
    return Array.of(dtype, values.shape, "C", data)
