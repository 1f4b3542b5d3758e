"""The shapes of a picture as PNG, for places that show no SVG."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mlvc.cli.plot import Dot, Frame, Label, Line, Picture, Point
from mlvc.cli.tabular import FormatMissingError
from mlvc.errors import UsageError

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    _Font = ImageFont | FreeTypeFont

__all__ = ["as_png"]

_FINE = 2
"""Pixels of the drawing for each of the picture, each way; taken together they make smooth edges."""
_DPI = 2
"""Pixels of the picture for each of the plan: screens have had so many for years."""
_SCALE = _FINE * _DPI
_DASH, _GAP = 6.0, 4.0
_MOST_HEIGHT = 16_000
"""Pixels: 40 panels. What is higher takes gigabytes to draw, and few programs show it."""
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def as_png(picture: Picture) -> bytes:
    """Returns a picture as a PNG file, of two pixels for each of the plan.

    Raises:
        FormatMissingError: Pillow is not installed.
        UsageError: It is too high.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as exc:
        raise FormatMissingError(
            "drawing a PNG needs Pillow, which is not installed",
            hint="pip install 'mlvc[plots]', or name a file that ends in .svg",
        ) from exc
    if picture.height * _DPI > _MOST_HEIGHT:
        raise UsageError("there are too many metrics for a PNG", hint="name a file that ends in .svg")
    image = Image.new("RGB", (picture.width * _SCALE, picture.height * _SCALE), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(12 * _SCALE)
    for shape in picture.shapes:
        match shape:
            case Line(points, colour, is_dashed):
                for part in _dashes(points) if is_dashed else [points]:
                    draw.line([_scaled(point) for point in part], colour, 2 * _SCALE, joint="curve")
            case Dot((x, y), colour):
                draw.circle(_scaled((x, y)), 4 * _SCALE, colour)
            case Frame((x, y), width, height):
                draw.rectangle(
                    [_scaled((x, y)), _scaled((x + width, y + height))], outline="#bbbbbb", width=_SCALE
                )
            case Label():
                _write(draw, shape, font)
    out = io.BytesIO()
    image.reduce(_FINE).save(out, "PNG", optimize=True)
    return out.getvalue()


def _write(draw: ImageDraw, label: Label, font: _Font) -> None:
    # The one font that Pillow brings has one weight.
    stroke = _SCALE / 3 if label.is_bold else 0
    draw.text(
        _scaled(label.at),
        label.text,
        label.colour,
        font,
        _ANCHORS[label.anchor],
        stroke_width=stroke,
        stroke_fill=label.colour,
    )


def _scaled(point: Point) -> Point:
    return point[0] * _SCALE, point[1] * _SCALE


def _dashes(points: Sequence[Point]) -> Iterator[tuple[Point, Point]]:
    """Yields the parts of a line that are drawn."""
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        length = math.hypot(x2 - x1, y2 - y1)
        for number in range(math.ceil(length / (_DASH + _GAP))):
            begin = number * (_DASH + _GAP)
            end = min(begin + _DASH, length)
            yield (
                (x1 + (x2 - x1) * begin / length, y1 + (y2 - y1) * begin / length),
                (x1 + (x2 - x1) * end / length, y1 + (y2 - y1) * end / length),
            )
