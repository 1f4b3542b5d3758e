"""Metrics as a picture: shapes, laid out once, and the same shapes as SVG. Pure.

A metric that some run measured at several steps is drawn over these, with a line for each run; any other over the runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from mlvc.cli.render import visible

__all__ = ["Dot", "Frame", "Label", "Line", "Picture", "Point", "Shape", "as_svg", "plot"]

Point = tuple[float, float]

_COLOURS = (
    "#1f77b4",
    "#d62728",
    "#2ca02c",
    "#9467bd",
    "#ff7f0e",
    "#17becf",
    "#8c564b",
    "#e377c2",
    "#7f7f7f",
    "#bcbd22",
)
_WIDTH, _HEIGHT, _MARGIN, _LEGEND_ROW = 640, 200, 72, 18
_LONGEST_TITLE, _LONGEST_LABEL, _LONGEST_HINT = 80, 16, 300
_POINTS_PER_COLUMN = 4
"""What a column of pixels can show of a line: where it comes in, its lowest, its highest, where it goes out."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points."""

    points: tuple[Point, ...]
    colour: str
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    """A point with a text that a pointer brings up."""

    at: Point
    colour: str
    hint: str


@dataclass(frozen=True, slots=True)
class Frame:
    """The edge of a panel; `at` is its upper left corner."""

    at: Point
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Label:
    """A text; `at` is where its base line begins, is in the middle, or ends."""

    at: Point
    text: str
    anchor: Literal["start", "middle", "end"] = "start"
    is_bold: bool = False
    colour: str = "#000000"


Shape = Line | Dot | Frame | Label


@dataclass(frozen=True, slots=True)
class Picture:
    """Shapes on a white ground, the first drawn first."""

    width: int
    height: int
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class _Scale:
    """How numbers lie on a panel."""

    low: float
    high: float
    start: float
    length: float

    @classmethod
    def over(cls, numbers: Iterable[float], start: float, length: float) -> _Scale:
        known = [number for number in numbers if math.isfinite(number)]
        return cls(min(known, default=0.0), max(known, default=1.0), start, length)

    def place(self, number: float) -> float:
        # Halved first: the difference of two large numbers may be none.
        span = self.high / 2 - self.low / 2 or 0.5
        return self.start + (number / 2 - self.low / 2) / span * self.length


def plot(
    labels: Sequence[str],
    metrics: Mapping[str, Sequence[float | None]],
    courses: Mapping[str, Sequence[Sequence[Point]]],
) -> Picture:
    """Returns a picture with one panel for each metric.

    Args:
        labels: What the runs are called.
        metrics: By name, the value of each run; None where it has none. Drawn in this order.
        courses: By name, for each run the points over steps; empty for a run that has none. A metric that is not
            here is drawn over the runs.
    """
    shapes: list[Shape] = []
    top = _MARGIN
    for index, (name, values) in enumerate(metrics.items()):
        shapes.append(Label((_MARGIN, top - 10), visible(name, _LONGEST_TITLE), is_bold=True))
        shapes.append(Frame((_MARGIN, top), _WIDTH, _HEIGHT))
        if name in courses:
            shapes += _over_steps(labels, values, courses[name], top)
            top += _LEGEND_ROW * len(labels)
        else:
            shapes += _over_runs(labels, values, top, _COLOURS[index % len(_COLOURS)])
        top += _HEIGHT + _MARGIN
    return Picture(_WIDTH + 2 * _MARGIN, top, tuple(shapes))


def _over_runs(
    labels: Sequence[str], values: Sequence[float | None], top: float, colour: str
) -> Iterator[Shape]:
    known = [
        (number, value) for number, value in enumerate(values) if value is not None and math.isfinite(value)
    ]
    down = _Scale.over((value for _, value in known), top + _HEIGHT, -_HEIGHT)
    across = _Scale(0, max(len(labels) - 1, 1), _MARGIN, _WIDTH)
    points = [(across.place(number), down.place(value)) for number, value in known]
    yield from _marks(down, top)
    yield Line(tuple(points), colour)
    for point, (_, value) in zip(points, known, strict=True):
        yield Dot(point, colour, json.dumps(value))
    for number, label in enumerate(labels):
        yield Label((across.place(number), top + _HEIGHT + 20), visible(label, _LONGEST_LABEL), "middle")


def _over_steps(
    labels: Sequence[str], values: Sequence[float | None], courses: Sequence[Sequence[Point]], top: float
) -> Iterator[Shape]:
    known = [[point for point in course if math.isfinite(point[0] + point[1])] for course in courses]
    # A run without steps is a level that the others are seen against.
    levels = [
        value if value is not None and math.isfinite(value) and not course else None
        for value, course in zip(values, courses, strict=True)
    ]
    heights = [height for course in known for _, height in course]
    down = _Scale.over([*heights, *(level for level in levels if level is not None)], top + _HEIGHT, -_HEIGHT)
    across = _Scale.over((step for course in known for step, _ in course), _MARGIN, _WIDTH)
    yield from _marks(down, top)
    yield Label((_MARGIN, top + _HEIGHT + 16), f"{across.low:.6g}", "middle")
    yield Label((_MARGIN + _WIDTH, top + _HEIGHT + 16), f"{across.high:.6g}", "middle")
    yield Label((_MARGIN + _WIDTH / 2, top + _HEIGHT + 16), "step", "middle")
    for number, (label, level, course) in enumerate(zip(labels, levels, known, strict=True)):
        colour = _COLOURS[number % len(_COLOURS)]
        if level is not None:
            height = down.place(level)
            yield Line(((_MARGIN, height), (_MARGIN + _WIDTH, height)), colour, is_dashed=True)
        points = [(across.place(step), down.place(value)) for step, value in course]
        if len(points) == 1:
            yield Dot(points[0], colour, json.dumps(course[0][1]))
        elif points:
            yield Line(tuple(_visible_points(points)), colour)
        yield Label(
            (_MARGIN, top + _HEIGHT + 36 + _LEGEND_ROW * number), visible(label, _LONGEST_HINT), colour=colour
        )


def _marks(down: _Scale, top: float) -> Iterator[Shape]:
    for number, height in ((down.high, top + 4), (down.low, top + _HEIGHT + 4)):
        yield Label((_MARGIN - 6, height), f"{number:.4g}", "end")


def _visible_points(points: Sequence[Point]) -> Iterator[Point]:
    """Yields what of a line can be seen: of each column of pixels a few points, in their order."""
    start = 0
    while start < len(points):
        end = start + 1
        while end < len(points) and int(points[end][0]) == int(points[start][0]):
            end += 1
        if end - start <= _POINTS_PER_COLUMN:
            yield from points[start:end]
        else:
            numbers = range(start, end)
            lowest = min(numbers, key=lambda number: points[number][1])
            highest = max(numbers, key=lambda number: points[number][1])
            for number in sorted({start, lowest, highest, end - 1}):
                yield points[number]
        start = end


def as_svg(picture: Picture) -> bytes:
    """Returns a picture as an SVG file, which needs no script, font or file from elsewhere."""
    size = f'width="{picture.width}" height="{picture.height}" viewBox="0 0 {picture.width} {picture.height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        f'<rect width="{picture.width}" height="{picture.height}" fill="white"/>',
        *map(_element, picture.shapes),
        "</svg>\n",
    ]
    return "\n".join(lines).encode()


def _element(shape: Shape) -> str:
    match shape:
        case Line(points, colour, is_dashed):
            drawn = quoteattr(" ".join(f"{x:.1f},{y:.1f}" for x, y in points))
            dashes = ' stroke-dasharray="6 4"' if is_dashed else ""
            return f'<polyline points={drawn} fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
        case Dot((x, y), colour, hint):
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"><title>{escape(hint)}</title></circle>'
        case Frame((x, y), width, height):
            return (
                f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="none" stroke="#bbb"/>'
            )
        case Label((x, y), text, anchor, is_bold, colour):
            weight = ' font-weight="bold"' if is_bold else ""
            return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(text)}</text>'
