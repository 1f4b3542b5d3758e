"""JSON texts as nested values. No digit of a number is lost before it is compared."""

from __future__ import annotations

import json
from typing import Any

from mlvc.repro.compare.comparison import UnfitError
from mlvc.repro.compare.nested import Items, Number, Pairs
from mlvc.repro.compare.windows import Window

__all__ = ["parse_json", "read_json"]

_MOST_BYTES = 64 << 20
_KEY_ORDER = "json.key-order"
_MOST_DIGITS = 300
_XGBOOST_KEYS = {"learner", "version"}


def read_json(window: Window) -> Any:  # noqa: ANN401  # any nested value
    """Returns what a JSON text holds. The numbers of an XGBoost model are known to be of 32 bits.

    Raises:
        UnfitError: It is no JSON, is too large or nested too deeply, or names a key twice: which one counts is up to
            the reader.
    """
    if window.size > _MOST_BYTES:
        raise UnfitError("the JSON is too large to compare")
    data = window.read(0, window.size)
    value = parse_json(data)
    if isinstance(value, Pairs) and set(value.keys) == _XGBOOST_KEYS:
        return parse_json(data, "float32")
    return value


def parse_json(data: bytes, dtype: str = "float64") -> Any:  # noqa: ANN401  # any nested value
    """Returns what a JSON text holds.

    Args:
        data: The text.
        dtype: The type that its numbers with a fraction are written from.

    Raises:
        UnfitError: As `read_json`.
    """

    def number(text: str) -> Number:
        return Number(text, dtype)

    try:
        value = json.loads(
            data.decode(),
            parse_float=number,
            parse_int=lambda text: int(text) if len(text) <= _MOST_DIGITS else number(text),
            parse_constant=number,
            object_pairs_hook=_object,
        )
        return _with_items(value)
    except (ValueError, RecursionError) as exc:
        raise UnfitError("it is no JSON that can be read") from exc


def _object(members: list[tuple[str, Any]]) -> Pairs:
    if len({key for key, _ in members}) != len(members):
        raise ValueError("a key stands twice")
    return Pairs(
        [key for key, _ in members], [_with_items(value) for _, value in members], unordered=_KEY_ORDER
    )


def _with_items(value: Any) -> Any:  # noqa: ANN401  # any nested value
    """Returns a list, and the lists in it, as items; objects have been through here already."""
    return Items("list", [_with_items(item) for item in value]) if isinstance(value, list) else value
