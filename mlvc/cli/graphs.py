"""Graphs as text: DOT and SVG. Pure.

Every label may be foreign: it is made visible and shortened here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from mlvc.cli.render import visible

__all__ = ["Graph", "Node", "graph_dot", "graph_svg"]

_COLUMN, _ROW, _BOX_WIDTH, _BOX_HEIGHT = 260, 60, 210, 40
_LONGEST_LABEL, _LONGEST_HINT = 30, 300
_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" '
    'font-family="sans-serif" font-size="12">'
)


@dataclass(frozen=True, slots=True)
class Node:
    """A box.

    Attributes:
        key: Tells it from others.
        label: What stands in it.
        is_run: Whether it is a run; else it is data.
    """

    key: str
    label: str
    is_run: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """Boxes, and arrows from what was first to what came of it."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]


def graph_dot(graph: Graph) -> Iterator[str]:
    """Yields the lines of the graph in the language of Graphviz."""
    yield "digraph lineage {"
    yield "  rankdir=LR;"
    for node in graph.nodes:
        shape = "box" if node.is_run else "ellipse"
        yield f"  {_dot(node.key)} [label={_dot(visible(node.label, _LONGEST_HINT))}, shape={shape}];"
    for start, end in graph.edges:
        yield f"  {_dot(start)} -> {_dot(end)};"
    yield "}"


def _dot(text: str) -> str:
    # In a quoted text of DOT a backslash begins an escape, and only the quote must have one.
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def graph_svg(graph: Graph) -> Iterator[str]:
    """Yields the lines of a picture: from left to right, each box after all that lead to it."""
    ranks = _ranks(graph)
    rows: dict[int, int] = {}
    places: dict[str, tuple[int, int]] = {}
    for node in graph.nodes:
        rank = ranks[node.key]
        row = rows.get(rank, 0)
        rows[rank] = row + 1
        places[node.key] = (20 + rank * _COLUMN, 20 + row * _ROW)
    width = 20 + (max(rows, default=0) + 1) * _COLUMN
    yield _HEAD.format(width, 20 + max(rows.values(), default=0) * _ROW)
    yield '<defs><marker id="to" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
    yield '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>'
    for start, end in graph.edges:
        (x1, y1), (x2, y2) = places[start], places[end]
        begin, arrive, half = x1 + _BOX_WIDTH, x2, _BOX_HEIGHT // 2
        middle = (begin + arrive) // 2
        yield (
            f'<path d="M{begin},{y1 + half} C{middle},{y1 + half} {middle},{y2 + half} {arrive},{y2 + half}" '
            'fill="none" stroke="#555" marker-end="url(#to)"/>'
        )
    for node in graph.nodes:
        x, y = places[node.key]
        fill, corner = ("#dbe9f6", 4) if node.is_run else ("#f4f1de", 18)
        hint, label = (escape(visible(node.label, longest)) for longest in (_LONGEST_HINT, _LONGEST_LABEL))
        yield (
            f'<g><title>{hint}</title><rect x="{x}" y="{y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" '
            f'rx="{corner}" fill="{fill}" stroke="#555"/>'
            f'<text x="{x + _BOX_WIDTH // 2}" y="{y + 25}" text-anchor="middle">{label}</text></g>'
        )
    yield "</svg>"


def _ranks(graph: Graph) -> Mapping[str, int]:
    """Returns how far from a beginning each node is; an arrow that closes a circle counts for nothing."""
    after: dict[str, list[str]] = {node.key: [] for node in graph.nodes}
    waiting = dict.fromkeys(after, 0)
    for start, end in graph.edges:
        after[start].append(end)
        waiting[end] += 1
    ranks = dict.fromkeys(after, 0)
    ready = [key for key, count in waiting.items() if count == 0]
    left = iter([key for key, count in waiting.items() if count])
    done: set[str] = set()
    # What is left when nothing is ready leads in a circle: one of it goes first.
    while ready or (ready := list(itertools.islice((key for key in left if key not in done), 1))):
        key = ready.pop()
        if key in done:
            continue
        done.add(key)
        for end in after[key]:
            if end in done:
                continue
            ranks[end] = max(ranks[end], ranks[key] + 1)
            waiting[end] -= 1
            if waiting[end] == 0:
                ready.append(end)
    return ranks
