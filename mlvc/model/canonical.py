"""Canonical JSON: the encoding of commits, runs, environments and verdicts.

Sorted keys, no white space, UTF-8, no floats; integers within 64 bits.
A number that a person logged is kept as its JSON text inside a string, so that no float is ever re-printed.
The same value has exactly one encoding, so the BLAKE3 of the encoding identifies the value.
Format page: docs/format/objects.md
"""

from __future__ import annotations

import json
from typing import NoReturn

from mlvc.errors import FormatError

__all__ = ["Json", "JsonObject", "decode_canonical", "encode_canonical"]

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]
JsonObject = dict[str, Json]

_MAX_DEPTH = 64
_INT_LIMIT = 1 << 63
_MOST_VALUES = 2_000_000
"""That of a commit of 250,000 tracked paths. Two bytes can be a value that takes seventy once it is decoded."""


def _check(value: Json, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise FormatError("the object is nested too deeply")
    match value:
        # Most values are texts; what is wrong in one, the encoder finds.
        case str() | None | bool():
            return
        case int():
            if not -_INT_LIMIT <= value < _INT_LIMIT:
                raise FormatError(f"the integer {value} does not fit into 64 bits")
        case list():
            for item in value:
                _check(item, depth + 1)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise FormatError("a key is no text")
                _check(item, depth + 1)
        case _:
            raise FormatError(f"a {type(value).__name__} has no canonical form")


def _check_number(data: bytes) -> None:
    """Refuses more values than anybody keeps, before they are made; commas in texts count too."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > _MOST_VALUES:
        raise FormatError(f"the object has more than {_MOST_VALUES:,} values")


def encode_canonical(value: JsonObject) -> bytes:
    """Returns the canonical encoding of `value`.

    Raises:
        FormatError: `value` holds a float, a lone surrogate, an integer over 64 bits or a key that is no text, is
            nested too deeply, or has too many values.
    """
    _check(value, 0)
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise FormatError("a text holds a lone surrogate") from None
    _check_number(data)
    return data


def _no_float(text: str) -> NoReturn:
    raise FormatError(f"the number {text[:40]} has no canonical form")


def decode_canonical(data: bytes) -> JsonObject:
    """Returns the value that `data` encodes; the inverse of `encode_canonical`.

    Raises:
        FormatError: `data` is not exactly the canonical encoding of an object.
    """
    _check_number(data)
    try:
        value = json.loads(data.decode(), parse_float=_no_float, parse_constant=_no_float)
    except (ValueError, RecursionError) as exc:
        raise FormatError(f"not canonical JSON: {exc}") from None
    if not isinstance(value, dict) or encode_canonical(value) != data:
        raise FormatError("the JSON is not in canonical form")
    return value
