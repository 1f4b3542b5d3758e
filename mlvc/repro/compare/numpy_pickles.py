"""The calls by which NumPy, torch and joblib put arrays into a pickle, known by name and never made."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlvc.repro.compare.arrays import Array, Dtype, parse_dtype
from mlvc.repro.compare.comparison import UnfitError
from mlvc.repro.compare.nested import Bytes, Items, Name, Pairs, Thing
from mlvc.repro.compare.windows import Window

__all__ = ["JOBLIB_WRAPPERS", "ArrayInside", "array_of_wrapper", "dtype_of", "integers_of", "recognise"]

JOBLIB_WRAPPERS = {"joblib.numpy_pickle.NumpyArrayWrapper"}
_MULTIARRAY = ("numpy._core.multiarray", "numpy.core.multiarray")
_RECONSTRUCT = {f"{module}._reconstruct" for module in _MULTIARRAY}
_SCALAR = {f"{module}.scalar" for module in _MULTIARRAY}
_FROM_BUFFER = {f"{module}._frombuffer" for module in ("numpy._core.numeric", "numpy.core.numeric")}
_ENCODE = "_codecs.encode"
_MOST_FIELDS = 1000


@dataclass(frozen=True, slots=True)
class ArrayInside:
    """An array that joblib wrote between two instructions."""

    dtype: Dtype
    shape: tuple[int, ...]
    order: str
    is_padded: bool

    @property
    def size_bytes(self) -> int:
        """The length of its elements; no more than a file can have."""
        count = self.dtype.item_bytes
        for length in self.shape:
            count *= length
        return count


def recognise(thing: Thing) -> None:
    """Gives a thing its content, where a call by that name with such arguments makes an array or bytes.

    Raises:
        UnfitError: It is such a call, and its arguments make no sense.
    """
    if not isinstance(thing.function, Name) or not isinstance(thing.args, Items):
        return
    name, args = str(thing.function), thing.args.items
    if name in _RECONSTRUCT:
        if thing.states:
            thing.content = _array_of_state(thing.states[-1])
    elif name in _FROM_BUFFER and len(args) == 4:
        dtype = dtype_of(args[1])
        if not dtype.is_object:
            thing.content = Array.of(dtype, integers_of(args[2]), _order(args[3]), _raw(args[0]))
    elif name in _SCALAR and len(args) == 2:
        dtype = dtype_of(args[0])
        if not dtype.is_object:
            thing.content = Array.of(dtype, (), "C", _raw(args[1]))
    elif name == _ENCODE and len(args) == 2 and isinstance(args[0], str):
        # How protocols that know no bytes write them.
        try:
            thing.content = args[0].encode("latin-1")
        except UnicodeEncodeError:
            raise UnfitError("the pickle holds no bytes where it says some") from None


def _array_of_state(state: Any) -> Array | Items:  # noqa: ANN401  # any nested value
    match state:
        case Items(items=[_, shape, dtype, is_fortran, data]):
            kind = dtype_of(dtype)
            if kind.is_object:
                if not isinstance(data, Items):
                    raise UnfitError("the pickle holds an array that cannot be read")
                return Items(f"array of objects of shape {integers_of(shape)}", data.items)
            return Array.of(kind, integers_of(shape), "F" if is_fortran is True else "C", _raw(data))
        case _:
            raise UnfitError("the pickle holds an array that cannot be read")


def array_of_wrapper(wrapper: Thing) -> ArrayInside:
    """Returns what joblib's stand-in says about the array that follows.

    Raises:
        UnfitError: It makes no sense.
    """
    state = wrapper.states[-1]
    if not isinstance(state, Pairs):
        raise UnfitError("joblib's description of an array cannot be read")
    fields = {key: value for key, value in zip(state.keys, state.values, strict=True) if isinstance(key, str)}
    return ArrayInside(
        dtype_of(fields.get("dtype")),
        integers_of(fields.get("shape")),
        _order(fields.get("order")),
        fields.get("numpy_array_alignment_bytes") is not None,
    )


def dtype_of(value: Any) -> Dtype:  # noqa: ANN401  # any nested value
    """Returns the element type that a call of `numpy.dtype` would have made.

    Raises:
        UnfitError: It is none.
    """
    match value:
        case Thing(
            function=Name(module="numpy", name="dtype"), args=Items(items=[str(code), *_]), states=states
        ):
            state = states[-1].items if states and isinstance(states[-1], Items) else []
        case Thing(function=Name(module=str(module), name=str(name))) if module.startswith("numpy.dtypes"):
            raise UnfitError(f"unknown element type {name[:40]!r}")
        case _:
            raise UnfitError("the pickle holds an array without an element type")
    order = (
        state[1] if len(state) > 1 and isinstance(state[1], str) and state[1] in {"<", ">", "|", "="} else ""
    )
    if (
        code.startswith("V")
        and len(state) >= 7
        and isinstance(state[3], Items)
        and isinstance(state[4], Pairs)
    ):
        return _record(state[3], state[4], state[5])
    if code.startswith("V") and len(state) >= 3 and isinstance(state[2], Items):
        inner, shape = state[2].items[:2] if len(state[2].items) == 2 else (None, None)
        return _sub_array(dtype_of(inner), integers_of(shape))
    unit = ""
    if code[:1] in {"m", "M"} and len(state) > 8 and isinstance(state[8], Items):
        unit = _unit(state[8])
    return parse_dtype(f"{order if order != '=' else ''}{code}{unit}")


def _record(names: Items, fields: Pairs, size: Any) -> Dtype:  # noqa: ANN401  # any nested value
    by_name = dict(zip((key for key in fields.keys if isinstance(key, str)), fields.values, strict=False))
    found = []
    for name in names.items[:_MOST_FIELDS]:
        entry = by_name.get(name) if isinstance(name, str) else None
        if not isinstance(entry, Items) or len(entry.items) < 2 or not isinstance(entry.items[1], int):
            raise UnfitError("the pickle holds a record type that cannot be read")
        found.append((name, dtype_of(entry.items[0]), entry.items[1]))
    if not isinstance(size, int) or not 0 < size < 1 << 31 or len(names.items) > _MOST_FIELDS:
        raise UnfitError("the pickle holds a record type that cannot be read")
    return Dtype(f"|V{size}", f"record of {len(found)} fields", size, tuple(found))


def _sub_array(inner: Dtype, shape: Sequence[int]) -> Dtype:
    size = inner.item_bytes
    for length in shape:
        size *= length
    if not 0 <= size < 1 << 31:
        raise UnfitError("the pickle holds a record type that cannot be read")
    return Dtype(f"|V{size}", f"{inner.name}{tuple(shape)}", size)


def _unit(described: Items) -> str:
    """Returns the unit of a time, such as `[ns]`."""
    for item in described.items:
        match item:
            case Items(items=[bytes(unit), int(count), *_]):
                text = unit.decode("latin-1")
            case Items(items=[Thing(content=bytes(unit)), int(count), *_]):
                text = unit.decode("latin-1")
            case Items(items=[str(text), int(count), *_]):
                pass
            case _:
                continue
        return f"[{count if count != 1 else ''}{text}]"[:12]
    return ""


def integers_of(value: Any) -> tuple[int, ...]:  # noqa: ANN401  # any nested value
    """Returns a tuple of lengths.

    Raises:
        UnfitError: It is none.
    """
    items = value.items if isinstance(value, Items) else [value]
    lengths = []
    for item in items:
        number = item.content if isinstance(item, Thing) else item
        if isinstance(number, Array) and number.window.size <= 8 and number.dtype.name.startswith("int"):
            number = int.from_bytes(number.window.read(0, 8), "little", signed=True)
        if type(number) is not int or not 0 <= number < 1 << 62:
            raise UnfitError("an array has no valid shape")
        lengths.append(number)
    if len(lengths) > 64:
        raise UnfitError("an array has no valid shape")
    return tuple(lengths)


def _order(value: Any) -> str:  # noqa: ANN401  # any nested value
    return "F" if value == "F" else "C"


def _raw(value: Any) -> Window:  # noqa: ANN401  # any nested value
    value = value.content if isinstance(value, Thing) else value
    if isinstance(value, Thing) or value is None:
        raise UnfitError("the pickle holds an array without its elements")
    match value:
        case Bytes():
            return value.window
        case bytes():
            return Window(io.BytesIO(value), 0, len(value))
        case str():
            # Python 2 wrote bytes as text; each character is one.
            try:
                data = value.encode("latin-1")
            except UnicodeEncodeError:
                raise UnfitError("the pickle holds an array without its elements") from None
            return Window(io.BytesIO(data), 0, len(data))
        case _:
            raise UnfitError("the pickle holds an array without its elements")
