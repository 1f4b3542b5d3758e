"""JSON files: the same values in another order or layout are equivalent; otherwise, which values differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mlvc.repro.compare.comparison import Comparison, shown

__all__ = ["MOST_BYTES", "compare_json"]

MOST_BYTES = 16 << 20
_MOST_NAMED = 3


def compare_json(recorded: bytes, reproduced: bytes) -> Comparison | None:
    """Compares two JSON texts by their values; None if either is no JSON.

    A number is compared by its text, so that no digit is lost to rounding.
    """
    try:
        before, after = _load(recorded), _load(reproduced)
    except (ValueError, RecursionError):
        return None
    differences = _differences(before, after)
    named = [difference for _, difference in zip(range(_MOST_NAMED), differences, strict=False)]
    if not named:
        return Comparison("equivalent", "the JSON values are the same; only their layout or order differs")
    more = next(differences, None) is not None
    return Comparison("different", "; ".join(named) + (" and more" if more else ""))


def _load(data: bytes) -> Any:  # noqa: ANN401  # any JSON
    return json.loads(
        data.decode(),
        # A one-element tuple is nothing that JSON itself yields, so a number never equals a string.
        parse_float=lambda text: (text,),
        parse_int=lambda text: (text,),
        parse_constant=lambda text: (text,),
        object_pairs_hook=_without_duplicates,
    )


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuses an object that names a key twice: which of the values counts is up to the reader."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands twice")
    return members


def _differences(before: Any, after: Any) -> Iterator[str]:  # noqa: ANN401  # any JSON
    """Yields the places that differ, in the order of the recorded text; no recursion, for nesting is foreign."""
    pending = [("$", before, after)]
    while pending:
        path, left, right = pending.pop()
        if left == right:
            continue
        if isinstance(left, dict) and isinstance(right, dict):
            keys = [*left, *(key for key in right if key not in left)]
            pending.extend(
                (f"{path}.{shown(key)}", left.get(key, _Absent), right.get(key, _Absent))
                for key in reversed(keys)
            )
        elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
            pending.extend((f"{path}[{i}]", left[i], right[i]) for i in reversed(range(len(left))))
        else:
            yield f"{shown(path)}: {_text(left)} → {_text(right)}"


class _Absent:
    """Stands for a member that one side lacks."""


def _text(value: Any) -> str:  # noqa: ANN401  # any JSON
    if value is _Absent:
        return "nothing"
    if isinstance(value, tuple):
        return shown(value[0])
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return shown(json.dumps(value, ensure_ascii=False))
