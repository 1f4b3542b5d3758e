"""Pictures as SVG text: a graph in layers from left to right, and horizontal bars. Pure.

Knows nothing of runs or data: callers say what stands in a box, and how many boxes a person can read.
Every text may be foreign: it is made visible, shortened and escaped here, and stands nowhere but in text content.
A picture has a title and a description for those who cannot see it, needs no script, font or file from elsewhere,
and takes its colours from `STYLE`, light or dark as the reader has it. No meaning hangs on a colour alone.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from mlvc.cli.layout import Point, lay_out
from mlvc.cli.render import visible

__all__ = ["STYLE", "Bar", "Node", "as_svg_file", "draw_bars", "draw_graph"]

STYLE = """\
.mlvc-picture { --ink: #1b1f24; --faint: #59636e; --line: #8c959f; --paper: #ffffff; --box: #f6f8fa;
  --good: #1a7f37; --fair: #9a6700; --bad: #c21c2c; --run: #0a5fc4;
  font: 12px ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.mlvc-picture text { fill: var(--ink); }
.mlvc-picture .faint { fill: var(--faint); font-size: 10px; }
.mlvc-picture .box { fill: var(--box); stroke: var(--line); }
.mlvc-picture .run .box { stroke: var(--run); stroke-width: 1.5; }
.mlvc-picture .good .box { stroke: var(--good); stroke-width: 1.5; }
.mlvc-picture .fair .box { stroke: var(--fair); stroke-width: 2; stroke-dasharray: 6 3; }
.mlvc-picture .bad .box { stroke: var(--bad); stroke-width: 2.5; }
.mlvc-picture .edge { fill: none; stroke: var(--line); }
.mlvc-picture .head { fill: var(--line); }
.mlvc-picture .axis { stroke: var(--line); stroke-dasharray: 2 3; }
.mlvc-picture .bar { fill: var(--run); }
.mlvc-picture .good .bar { fill: var(--good); }
.mlvc-picture .fair .bar { fill: var(--fair); }
.mlvc-picture .bad .bar { fill: var(--bad); }
@media screen and (prefers-color-scheme: dark) {
  .mlvc-picture { --ink: #e6edf3; --faint: #9198a1; --line: #6e7681; --paper: #0d1117; --box: #161b22;
    --good: #3fb950; --fair: #d29922; --bad: #ff7b72; --run: #58a6ff; }
}
"""
"""What the classes in a picture look like; a page that holds pictures has it once."""

_CHARACTER = 7.3  # A monospace glyph of 12 px is 0.6 em wide; a little more where the font is another.
_LONGEST_LABEL = 34
_LONGEST_HINT = 300
_BOX_HEIGHT = 50
_MARGIN = 12
_PADDING = 12
_ROW, _BAR_WIDTH, _BAR_HEIGHT = 22, 320, 12


@dataclass(frozen=True, slots=True)
class Node:
    """A box of a graph.

    Attributes:
        key: What edges call it.
        kind: A word that stands above the label; `run` is drawn round.
        label: What it is called, in one line.
        detail: A line below the label.
        tone: `good`, `fair`, `bad`, or nothing; say it in words, too.
    """

    key: str
    kind: str
    label: str
    detail: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A horizontal bar.

    Attributes:
        label: What is measured, in one line; stands left of the bar.
        share: Its length, from 0 to 1; what is more or no number counts as 1, what is less as 0.
        text: The value as a person reads it; stands right of the bar.
        tone: As of a `Node`.
    """

    label: str
    share: float
    text: str
    tone: str = ""


def as_svg_file(picture: str) -> str:
    """Returns a picture as a file of its own, with its colours."""
    opening, separator, rest = picture.partition(">")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{opening}{separator}<style>\n{STYLE}</style>{rest}\n'


def draw_graph(
    nodes: Sequence[Node], edges: Iterable[tuple[str, str]], *, key: str, title: str, description: str
) -> str:
    """Returns a graph as one `<svg>` element, causes left of their effects.

    Cycles are drawn too, with an edge that leads back. Takes the time of a few sorts for each layer.

    Args:
        nodes: The boxes, each key once; their order decides where nothing else does.
        edges: Pairs of keys, from cause to effect; unknown keys and loops are left out.
        key: Names the picture within a page: letters, digits and hyphens.
        title: What the picture shows.
        description: The same in words, for those who cannot see it.
    """
    number_of = {node.key: number for number, node in enumerate(nodes)}
    drawn = dict.fromkeys(
        (number_of[cause], number_of[effect])
        for cause, effect in edges
        if cause != effect and cause in number_of and effect in number_of
    )
    widths = [
        2 * _PADDING + max(_text_width(_label(text)) for text in (node.kind, node.label, node.detail))
        for node in nodes
    ]
    layout = lay_out(widths, _BOX_HEIGHT, list(drawn))
    parts = [_edge(line) for line in layout.lines]
    parts += [_box(*row) for row in zip(nodes, layout.corners, widths, strict=True)]
    inner = f'<g transform="translate({_MARGIN} {_MARGIN})">{"".join(parts)}</g>'
    return _picture(key, title, description, layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN, [inner])


def draw_bars(
    bars: Sequence[Bar],
    *,
    key: str,
    title: str,
    description: str,
    ticks: Sequence[tuple[float, str]] = (),
) -> str:
    """Returns horizontal bars as one `<svg>` element, in the order given.

    Args:
        bars: The bars.
        key: As of `draw_graph`.
        title: What the picture shows.
        description: The same in words.
        ticks: Where the scale is marked, from 0 to 1, and what stands there.
    """
    left = _MARGIN + max((_text_width(_label(bar.label)) for bar in bars), default=0) + _PADDING
    right = max((_text_width(visible(bar.text, _LONGEST_LABEL)) for bar in bars), default=0)
    top = _MARGIN + (_ROW if ticks else 0)
    height = top + _ROW * len(bars) + _MARGIN
    parts = []
    for place, text in ticks:
        x = _number(left + _share(place) * _BAR_WIDTH)
        parts.append(f'<path class="axis" d="M{x} {top - 4}V{height - _MARGIN}"/>')
        parts.append(f'<text class="faint" text-anchor="middle" x="{x}" y="{top - 9}">{_xml(text)}</text>')
    for number, bar in enumerate(bars):
        y = top + number * _ROW
        length = _share(bar.share) * _BAR_WIDTH
        parts.append(
            f'<g class="{_class(bar.tone)}"><title>{_xml(f"{bar.label}: {bar.text}", _LONGEST_HINT)}</title>'
            f'<text x="{_number(left - _PADDING)}" y="{y + 15}" text-anchor="end">{escape(_label(bar.label))}</text>'
            f'<rect class="bar" x="{_number(left)}" y="{y + 5}" width="{_number(max(length, 1))}"'
            f' height="{_BAR_HEIGHT}"/>'
            f'<text x="{_number(left + length + 6)}" y="{y + 15}">{_xml(bar.text)}</text></g>'
        )
    return _picture(key, title, description, left + _BAR_WIDTH + 6 + right + _MARGIN, height, parts)


def _picture(
    key: str, title: str, description: str, width: float, height: float, parts: Iterable[str]
) -> str:
    size = f"{math.ceil(width)} {math.ceil(height)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="mlvc-picture" role="img" viewBox="0 0 {size}"'
        f' width="{math.ceil(width)}" height="{math.ceil(height)}"'
        f' aria-labelledby="{key}-title" aria-describedby="{key}-text">'
        f'<title id="{key}-title">{_xml(title, _LONGEST_HINT)}</title>'
        f'<desc id="{key}-text">{_xml(description, _LONGEST_HINT * 4)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def _box(node: Node, corner: Point, width: float) -> str:
    x, y = corner
    radius = 16 if node.kind == "run" else 3
    middle = _number(x + width / 2)
    hint = _xml(" ".join(filter(None, (node.kind, node.label, node.detail))), _LONGEST_HINT)
    classes = " ".join(filter(None, ("run" if node.kind == "run" else "", _class(node.tone))))
    return (
        f'<g class="{classes}" text-anchor="middle"><title>{hint}</title>'
        f'<rect class="box" x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" height="{_BOX_HEIGHT}"'
        f' rx="{radius}"/>'
        f'<text class="faint" x="{middle}" y="{_number(y + 14)}">{_xml(node.kind)}</text>'
        f'<text x="{middle}" y="{_number(y + 29)}">{escape(_label(node.label))}</text>'
        f'<text class="faint" x="{middle}" y="{_number(y + 43)}">{escape(_label(node.detail))}</text></g>'
    )


def _edge(points: Sequence[Point]) -> str:
    """Returns a smooth line through the points, with a head at the last one, which looks where the line goes."""
    (x, y), *rest = points
    line = f"M{_number(x)} {_number(y)}"
    for next_x, next_y in rest:
        middle = _number((x + next_x) / 2)
        line += f"C{middle} {_number(y)} {middle} {_number(next_y)} {_number(next_x)} {_number(next_y)}"
        x, y = next_x, next_y
    back = 7 if x < points[-2][0] else -7
    head = f"M{_number(x)} {_number(y)}l{back} -4v8z"
    return f'<path class="edge" d="{line}"/><path class="head" d="{head}"/>'


def _class(tone: str) -> str:
    return tone if tone in {"good", "fair", "bad"} else ""


def _xml(text: str, longest: int = _LONGEST_LABEL) -> str:
    return escape(visible(text, longest))


def _label(text: str) -> str:
    """Returns a text that fits into a box; of a path the end is the part that tells one from another."""
    shown = visible(text, _LONGEST_HINT)
    if len(shown) <= _LONGEST_LABEL:
        return shown
    half = _LONGEST_LABEL // 2
    return f"{shown[: half - 1]}…{shown[-half:]}"


def _text_width(text: str) -> float:
    return _CHARACTER * sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _share(value: float) -> float:
    return 1.0 if math.isnan(value) else min(max(value, 0.0), 1.0)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
