"""Where data came from and what came of it, as one HTML page: a picture, the runs, and where commits track it.

However much there is, the page stays small: a part is shown, the rest counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mlvc.cli.drawing import Node, draw_graph
from mlvc.cli.page import code, figure, page, table, text
from mlvc.cli.render import command_line, plural

if TYPE_CHECKING:
    from mlvc.index.answers import LineageEdge, RunRow
    from mlvc.verbs.lineage import LineageResult

__all__ = ["lineage_html"]

_MOST_DRAWN = 40
"""Runs in the picture; a person can follow no more."""
_MOST_ROWS = 500


def lineage_html(target: str, result: LineageResult) -> bytes:
    """Returns the answer of `mlvc lineage` as a page of bounded length."""
    heading = f"Lineage of {text(target)}"
    return ("\n".join(page(heading, heading, _body(result))) + "\n").encode()


def _body(result: LineageResult) -> Iterator[str]:
    yield f"<p>{plural(len(result.runs), 'run')}, before and after, across all commits.</p>"
    yield _picture(result)
    yield from _runs(result.runs)
    yield from _data(result)
    yield from _tracked(result)


def _picture(result: LineageResult) -> str:
    targets = {str(made.entry.id) for made in result.targets}
    near = _nearest(targets, result.edges)
    nodes = {
        str(made.entry.id): Node(str(made.entry.id), "target", made.entry.name, made.entry.id.short)
        for made in result.targets[:_MOST_DRAWN]
    }
    for run in result.runs:
        if str(run.id) in near:
            nodes[str(run.id)] = Node(str(run.id), "run", run.name or command_line(run.argv), run.id.short)
    arrows = []
    for edge in result.edges:
        data, maker = str(edge.data), str(edge.run)
        if maker in near:
            nodes.setdefault(data, Node(data, "data", edge.path, edge.data.short))
            arrows.append((maker, data) if edge.made else (data, maker))
    picture = draw_graph(
        list(nodes.values()),
        list(dict.fromkeys(arrows)),
        key="lineage",
        title="Lineage",
        description=f"From data to {plural(len(near), 'run')} and what they made; the same follows as tables.",
    )
    shown = "Data is square, runs are round; each stands right of what it came from."
    rest = len(result.runs) - len(near)
    return figure(picture, f"{shown} {plural(rest, 'run')} farther away not drawn." if rest else shown)


def _nearest(targets: set[str], edges: Sequence[LineageEdge]) -> set[str]:
    """Returns the runs to draw: the fewest steps from the targets, whichever way."""
    of_data: dict[str, list[str]] = {}
    of_run: dict[str, list[str]] = {}
    for edge in edges:
        of_data.setdefault(str(edge.data), []).append(str(edge.run))
        of_run.setdefault(str(edge.run), []).append(str(edge.data))
    found: dict[str, None] = {}
    seen, frontier = set(targets), sorted(targets)
    while frontier and len(found) < _MOST_DRAWN:
        runs = [run for data in frontier for run in of_data.get(data, []) if run not in found]
        found.update(dict.fromkeys(runs))
        frontier = [data for run in dict.fromkeys(runs) for data in of_run[run] if data not in seen]
        seen.update(frontier)
    return set(list(found)[:_MOST_DRAWN])


def _runs(runs: Sequence[RunRow]) -> Iterator[str]:
    rows = [
        (
            code(run.id.short),
            text(run.name or ""),
            text(run.status),
            text(run.started[:19].replace("T", " ")),
            code(command_line(run.argv)),
            code((run.code_sha or "")[:12]) + (" and uncommitted changes" if run.dirty else ""),
            code("" if run.environment is None else run.environment.short),
        )
        for run in runs[:_MOST_ROWS]
    ]
    yield table(
        "Runs, the oldest first", ("run", "name", "status", "started", "command", "code", "environment"), rows
    )
    yield from _rest(len(runs), "run")


def _data(result: LineageResult) -> Iterator[str]:
    names = {run.id: run.name or run.id.short for run in result.runs}
    rows = [
        (code(edge.path), code(edge.data.short), "made by" if edge.made else "read by", text(names[edge.run]))
        for edge in result.edges[:_MOST_ROWS]
    ]
    yield table("Data", ("path", "id", "how", "run"), rows)
    yield from _rest(len(result.edges), "line")


def _tracked(result: LineageResult) -> Iterator[str]:
    rows = [(code(row.path), code(row.commit.short)) for row in result.tracked[:_MOST_ROWS]]
    yield table("Where commits track it, or something made of it", ("path", "commit"), rows)
    yield from _rest(len(result.tracked), "line")


def _rest(count: int, noun: str) -> Iterator[str]:
    if count > _MOST_ROWS:
        yield f'<p class="faint">And {plural(count - _MOST_ROWS, f"more {noun}")}, which --json has.</p>'
