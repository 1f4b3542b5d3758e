"""`mlvc lineage`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.graphs import Graph, Node, graph_dot, graph_svg
from mlvc.cli.lineage_page import lineage_html
from mlvc.cli.render import as_json, command_line, indented, tracked_json
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.model.objects import Run
from mlvc.verbs.lineage import LineageResult, Made, lineage

if TYPE_CHECKING:
    from mlvc.index.answers import RunRow

__all__ = ["command"]


@make_command(
    "lineage",
    "mlvc lineage models/model.joblib",
    "mlvc lineage HEAD --json",
    "mlvc lineage data --format svg",
    "mlvc lineage models/model.joblib --format html",
)
def command(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A tracked path, a run, a commit or a revision.")
    ],
    form: Annotated[
        Literal["dot", "svg", "html"] | None,
        typer.Option(
            "--format", help="Draw it: for Graphviz, as a picture, or as a page with all that is known."
        ),
    ] = None,
) -> None:
    """Shows what something was made from, and what was made from it.

    Data leads to the run that made it, with that run's code, environment and inputs, and so on to data that was added.
    """
    session = session_of(context)
    result = lineage(open_repository(session), target)
    if form == "html":
        session.bytes_out.write(lineage_html(target, result))
        return
    if form is not None:
        drawn = graph_dot(_graph(result)) if form == "dot" else graph_svg(_graph(result))
        session.bytes_out.write("".join(f"{line}\n" for line in drawn).encode())
        return
    session.answer(
        lambda: {
            "targets": [_json(made) for made in result.targets],
            "runs": [as_json(run) for run in result.runs],
            "edges": [as_json(edge) for edge in result.edges],
            "tracked": [as_json(row) for row in result.tracked],
        },
        (line for made in result.targets for line in _lines(made)),
    )


def _graph(result: LineageResult) -> Graph:
    """Returns data and runs as nodes; the same bytes under two paths are one node."""
    labels = {str(made.entry.id): made.entry.name for made in result.targets}
    labels.update((str(edge.data), edge.path) for edge in result.edges)
    nodes = [Node(key, f"{name} {key[3:11]}", is_run=False) for key, name in labels.items()]
    nodes += [
        Node(str(run.id), f"{run.name or command_line(run.argv)} {run.id.short[:8]}", is_run=True)
        for run in result.runs
    ]
    arrows = [
        (str(edge.run), str(edge.data)) if edge.made else (str(edge.data), str(edge.run))
        for edge in result.edges
    ]
    return Graph(tuple(nodes), tuple(dict.fromkeys(arrows)))


def _lines(made: Made) -> Iterator[str]:
    yield f"{made.entry.name}  {made.entry.id.short}"
    if made.missing_run is not None:
        yield f"  made by run {made.missing_run.short}, whose record is not here"
    elif made.run is None:
        yield "  added as it is"
    else:
        yield from indented(_run_lines(made, made.run))
        for item in made.inputs:
            yield from indented(_lines(item), "      ")
    for user in made.used_by:
        yield f"  used by run {user.id.short} {user.name or command_line(user.argv)}"


def _run_lines(made: Made, run: Run) -> Iterator[str]:
    yield f"made by run {run.id.short}{'' if run.name is None else ' ' + run.name}"
    if made.repeated or made.is_far:
        yield "  (shown above)" if made.repeated else f"  (and so on: mlvc lineage {run.id.hex[:12]})"
        return
    edited = ", with uncommitted changes" if run.code.dirty else ""
    yield f"  command      {command_line(run.argv)}"
    yield f"  code         {(run.code.sha or 'no commit yet')[:12]}{edited}"
    if run.environment is not None:
        yield f"  environment  {run.environment.short}"
    if run.inputs:
        yield "  from"


def _run_json(run: Run) -> dict[str, Any]:
    return {
        "id": str(run.id),
        "name": run.name,
        "argv": list(run.argv),
        "status": run.status,
        "code_sha": run.code.sha,
        "code_dirty": run.code.dirty,
        "environment": None if run.environment is None else str(run.environment),
    }


def _user_json(run: RunRow) -> dict[str, Any]:
    return {
        "id": str(run.id),
        "name": run.name,
        "argv": list(run.argv),
        "status": run.status,
        "code_sha": run.code_sha,
        "code_dirty": run.dirty,
        "environment": None if run.environment is None else str(run.environment),
    }


def _json(made: Made) -> dict[str, Any]:
    return {
        **tracked_json(made.entry),
        "run": None if made.run is None else _run_json(made.run),
        "missing_run": None if made.missing_run is None else str(made.missing_run),
        "inputs": [_json(item) for item in made.inputs],
        "used_by": [_user_json(run) for run in made.used_by],
    }
