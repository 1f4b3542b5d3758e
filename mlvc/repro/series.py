"""Gathers metrics over steps, and keeps of each as many points as a person can see.

However often a script logs, memory and record are bounded: a long series keeps every second point, then every fourth,
and so on, with the first and the last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from mlvc.model.series import Series, is_number

__all__ = ["MOST_POINTS", "MOST_POINTS_TOGETHER", "Gathering"]

MOST_POINTS = 10_000
"""Of one metric: several for each pixel of a wide screen."""
MOST_POINTS_TOGETHER = 250_000
"""Of all metrics of a run: 6 MB with numbers of 64 bits, before compression."""


class _Growing:
    """One series; `kept` has every `stride`-th point, `last` the newest, whether kept or not."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str]] = []
        self.last: tuple[str, str] | None = None
        self.count = 0
        self.has_steps = False
        self._stride = 1

    def add(self, step: str, value: str) -> None:
        self.last = (step, value)
        if self.count % self._stride == 0:
            self.kept.append(self.last)
        self.count += 1
        if len(self.kept) > MOST_POINTS:
            self._halve()

    def _halve(self) -> None:
        self.kept = self.kept[::2]
        self._stride *= 2

    def finish(self, most: int) -> Series:
        while len(self.kept) > max(most, 1):
            self._halve()
        # The last point is the metric's value.
        points = self.kept if self.last is None or self.kept[-1] == self.last else [*self.kept, self.last]
        return Series(tuple(step for step, _ in points), tuple(value for _, value in points))


class Gathering:
    """Points of metrics as they come."""

    def __init__(self) -> None:
        self._metrics: dict[str, _Growing] = {}

    def add(self, name: str, value: str, step: str | None) -> None:
        """Adds a point; what is no number is left out.

        Args:
            name: The metric.
            value: JSON text.
            step: JSON text; without one that is a number, the point counts on from how many there were.
        """
        point = _number(value)
        if point is None:
            return
        growing = self._metrics.setdefault(name, _Growing())
        told = None if step is None else _finite(_number(step))
        growing.has_steps = growing.has_steps or told is not None
        growing.add(str(growing.count) if told is None else told, point)

    def finish(self) -> dict[str, Series]:
        """Returns the metrics that have a course: more than one point, or a step that was named."""
        found = {name: each for name, each in self._metrics.items() if each.count > 1 or each.has_steps}
        most = MOST_POINTS_TOGETHER // max(len(found), 1)
        return {name: each.finish(most) for name, each in found.items()} if most else {}


def _number(text: str) -> str | None:
    """Returns a JSON text as the number of a series; None if it is none."""
    if is_number(text):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, str):
        return _FORMS.get(value.strip().lower())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _printed(value)
    return None


_FORMS: Mapping[str, str] = {
    "nan": "nan",
    "inf": "inf",
    "+inf": "inf",
    "-inf": "-inf",
    "infinity": "inf",
    "-infinity": "-inf",
}


def _printed(value: float) -> str:
    try:
        return repr(float(value))
    except OverflowError:
        return "inf" if value > 0 else "-inf"


def _finite(number: str | None) -> str | None:
    return None if number in {"nan", "inf", "-inf"} else number
