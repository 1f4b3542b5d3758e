"""What torch saves: a pickle in which tensors are views of storages that stand beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mlvc.repro.compare.arrays import Array, Dtype, numerics, parse_dtype
from mlvc.repro.compare.comparison import UnfitError
from mlvc.repro.compare.nested import Items, Name, Pairs, Reference, Thing, iter_nested
from mlvc.repro.compare.numpy_pickles import integers_of
from mlvc.repro.compare.pickle_machine import read_pickle
from mlvc.repro.compare.windows import Window

__all__ = ["LEGACY_MAGIC", "read_legacy", "resolve_tensors"]

STORAGE_DTYPES = {
    "DoubleStorage": parse_dtype("<f8"),
    "FloatStorage": parse_dtype("<f4"),
    "HalfStorage": parse_dtype("<f2"),
    "BFloat16Storage": Dtype("bfloat16", "bfloat16", 2),
    "LongStorage": parse_dtype("<i8"),
    "IntStorage": parse_dtype("<i4"),
    "ShortStorage": parse_dtype("<i2"),
    "CharStorage": parse_dtype("|i1"),
    "ByteStorage": parse_dtype("|u1"),
    "BoolStorage": parse_dtype("|b1"),
    "ComplexDoubleStorage": parse_dtype("<c16"),
    "ComplexFloatStorage": parse_dtype("<c8"),
    "UntypedStorage": parse_dtype("|u1"),
    "QInt8Storage": parse_dtype("|i1"),
    "QUInt8Storage": parse_dtype("|u1"),
    "QInt32Storage": parse_dtype("<i4"),
}
_DTYPES = {
    "float64": parse_dtype("<f8"),
    "float32": parse_dtype("<f4"),
    "float16": parse_dtype("<f2"),
    "bfloat16": Dtype("bfloat16", "bfloat16", 2),
    **{
        name: Dtype(name, name, 1)
        for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
    },
    **{f"int{size * 8}": parse_dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"uint{size * 8}": parse_dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    "bool": parse_dtype("|b1"),
    "complex64": parse_dtype("<c8"),
    "complex128": parse_dtype("<c16"),
}
_TENSOR = {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"}
_TENSOR_OF_TYPE = "torch._utils._rebuild_tensor_v3"

FindStorage = Callable[[str], Window]


def resolve_tensors(value: Any, find_storage: FindStorage) -> None:  # noqa: ANN401  # any nested value
    """Gives every tensor and storage in a nested value its content.

    Args:
        value: What `data.pkl` holds; changed in place.
        find_storage: Returns the bytes of a storage by its key; raises UnfitError where there is none.

    Raises:
        UnfitError: A tensor reaches beyond its storage, or is described in a way that is not known.
    """
    for item in iter_nested(value):
        match item:
            case Thing():
                _resolve(item, find_storage)
            case Reference():
                item.content = _storage(item, find_storage)
            case _:
                continue


def _resolve(thing: Thing, find_storage: FindStorage) -> None:
    if not isinstance(thing.function, Name) or not isinstance(thing.args, Items):
        return
    name, args = str(thing.function), thing.args.items
    if name in _TENSOR and len(args) >= 4:
        storage = _storage(args[0], find_storage)
        thing.content = _tensor(storage, storage.dtype, args)
    elif name == _TENSOR_OF_TYPE and len(args) >= 7 and isinstance(args[6], Name):
        dtype = _DTYPES.get(args[6].name)
        if dtype is None:
            raise UnfitError(f"unknown element type {args[6].name[:40]!r}")
        thing.content = _tensor(_storage(args[0], find_storage), dtype, args)


def _storage(value: Any, find_storage: FindStorage) -> Array:  # noqa: ANN401  # any nested value
    match value:
        case Reference(
            key=Items(items=[str("storage") | b"storage", Name(name=str(kind)), str(key), _, int(), *_])
        ):
            dtype = STORAGE_DTYPES.get(kind)
        case _:
            raise UnfitError("a tensor has no storage that is known")
    if dtype is None:
        raise UnfitError(f"unknown storage {kind[:40]!r}")
    window = find_storage(key)
    return Array.of(dtype, (window.size // dtype.item_bytes,), "C", window)


def _tensor(storage: Array, dtype: Dtype, args: list[Any]) -> Array:
    offset, shape, strides = args[1], integers_of(args[2]), integers_of(args[3])
    if type(offset) is not int or len(shape) != len(strides):
        raise UnfitError("a tensor is described in a way that is not known")
    count = math.prod(shape)
    if _are_rows_in_order(shape, strides):
        part = storage.window.part(offset * dtype.item_bytes, count * dtype.item_bytes)
        return Array.of(dtype, shape, "C", part)
    gathered: Array = numerics().gather(storage.window, dtype, offset, shape, strides)
    return gathered


def _are_rows_in_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1 and stride != expected:
            return 0 in shape
        expected *= length
    return True


LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_MOST_STORAGES = 100_000


def read_legacy(window: Window) -> Any:  # noqa: ANN401  # any nested value
    """Returns what a checkpoint of the format before zip archives holds, with its tensors.

    Five pickles (magic, version, platform, the object, the keys of the storages), and then the storages: the number
    of elements, and these.

    Raises:
        UnfitError: It is damaged, or was written by a big-endian machine.
    """
    at, parts = 0, []
    for _ in range(5):
        value, at = read_pickle(window, at)
        parts.append(value)
    _, _, platform, value, keys = parts
    if (
        isinstance(platform, Pairs)
        and dict(zip(platform.keys, platform.values, strict=True)).get("little_endian") is not True
    ):
        raise UnfitError("the checkpoint was written by a big-endian machine")
    if not isinstance(keys, Items) or len(keys.items) > _MOST_STORAGES:
        raise UnfitError("the checkpoint has no list of storages")
    sizes = _element_sizes(value)
    found: dict[str, Window] = {}
    for key in keys.items:
        if not isinstance(key, str) or key not in sizes:
            raise UnfitError("the checkpoint has a storage that nothing refers to")
        count = int.from_bytes(window.exactly(at, 8), "little")
        found[key] = window.part(at + 8, count * sizes[key])
        at += 8 + count * sizes[key]

    def find_storage(key: str) -> Window:
        if key not in found:
            raise UnfitError("a storage is missing")
        return found[key]

    resolve_tensors(value, find_storage)
    return value


def _element_sizes(value: Any) -> dict[str, int]:  # noqa: ANN401  # any nested value
    """Returns the length of an element of each storage that a nested value refers to."""
    found = {}
    for item in iter_nested(value):
        match item:
            case Reference(key=Items(items=[str("storage"), Name(name=str(kind)), str(key), *_])):
                dtype = STORAGE_DTYPES.get(kind)
                if dtype is not None:
                    found[key] = dtype.item_bytes
            case _:
                continue
    return found
