"""Metrics over steps: one blob beside a run, each number as its text.

Format page: docs/format/series.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mlvc.errors import FormatError, VersionError
from mlvc.model.canonical import Json, JsonObject, decode_canonical, encode_canonical

__all__ = ["LONGEST_NUMBER", "MOST_SERIES_BYTES", "Series", "decode_series", "encode_series", "is_number"]

MOST_SERIES_BYTES = 64 << 20
"""More is refused when it is read. What is written stays far below; see `mlvc.repro.series`."""
LONGEST_NUMBER = 40
"""Characters of one number; 64 bits take 24."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NOT_FINITE = {"nan", "inf", "-inf"}


@dataclass(frozen=True, slots=True)
class Series:
    """A metric over steps.

    Attributes:
        steps: Numbers as text, in the order in which they came, which need not ascend.
        values: One for each step: a number as text, or `nan`, `inf`, `-inf`.
    """

    steps: tuple[str, ...]
    values: tuple[str, ...]

    def points(self) -> list[tuple[float, float]]:
        """Returns steps and values as numbers; what no float can hold is infinite."""
        return [(float(step), float(value)) for step, value in zip(self.steps, self.values, strict=True)]


def is_number(text: str) -> bool:
    """Whether a text is a number as JSON writes it, and short enough for a series."""
    return len(text) <= LONGEST_NUMBER and _NUMBER.fullmatch(text) is not None


def encode_series(series: Mapping[str, Series]) -> bytes:
    """Returns the canonical encoding of the metrics of one run, by name.

    Raises:
        FormatError: A name holds a lone surrogate.
    """
    told: JsonObject = {
        name: {"steps": list(each.steps), "values": list(each.values)} for name, each in series.items()
    }
    return encode_canonical({"type": "series", "version": 1, "metrics": told})


def decode_series(data: bytes) -> dict[str, Series]:
    """Returns the metrics that `data` encodes; the inverse of `encode_series`.

    Raises:
        FormatError: `data` is no such encoding.
        VersionError: It was written by a newer mlvc.
    """
    value = decode_canonical(data)
    if value.pop("type", None) != "series":
        raise FormatError("these are no metrics over steps")
    version = value.pop("version", None)
    if type(version) is not int or version != 1:
        raise VersionError(f"this mlvc does not know version {version} of metrics over steps")
    metrics = value.pop("metrics", None)
    if not isinstance(metrics, dict) or value:
        raise FormatError("metrics over steps have no such form")
    return {name: _series(each) for name, each in metrics.items()}


def _series(value: Json) -> Series:
    match value:
        case {"steps": list(steps), "values": list(values), **rest} if not rest and len(steps) == len(values):
            return Series(
                tuple(_text(step, is_step=True) for step in steps),
                tuple(_text(item, is_step=False) for item in values),
            )
        case _:
            raise FormatError("a metric has not one value for each step")


def _text(value: Json, *, is_step: bool) -> str:
    if isinstance(value, str) and (is_number(value) or (value in _NOT_FINITE and not is_step)):
        return value
    raise FormatError(f"{str(value)[:LONGEST_NUMBER]!r} is no number of a series")
