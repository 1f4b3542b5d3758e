"""`mlvc impact`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import as_json, command_line, plural
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.impact import ImpactResult, impact

__all__ = ["command"]


@make_command("impact", "mlvc impact data/table.csv", "mlvc impact data --json")
def command(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="PATH|ID|PACKAGE",
            help="A tracked path or a file below one, an id, or a package such as 'pandas<1.1'.",
        ),
    ],
) -> None:
    """Names everything that a file, dataset or package reached.

    Runs that used it or something made of it, all the way down; what commits track of that; and the models, versions
    and aliases among it. A run or a revision can be asked about as well.
    """
    session = session_of(context)
    result = impact(open_repository(session), what)
    session.answer(lambda: _json(result), _lines(result))


def _lines(result: ImpactResult) -> Iterator[str]:
    yield ", ".join(result.target)
    if not (result.runs or result.paths):
        yield "  reached nothing that is recorded"
    for run in result.runs:
        yield f"  run     {run.id.short}  {run.name or command_line(run.argv)}  {run.started[:19].replace('T', ' ')}"
    paths: dict[str, int] = {}
    for row in result.paths:
        paths[row.path] = paths.get(row.path, 0) + 1
    for path, count in paths.items():
        yield f"  path    {path}  in {plural(count, 'commit')}"
    for named in result.names:
        kind = "alias " if named.is_alias else "model "
        yield f"  {kind}  {named.name}  {named.path or 'all data'}  {named.tag.sha[:12]}"


def _json(result: ImpactResult) -> dict[str, Any]:
    shas = dict(result.commits)
    return {
        "target": list(result.target),
        "runs": [as_json(run) for run in result.runs],
        "paths": [
            {"path": row.path, "commit": str(row.commit), "code_sha": shas.get(row.commit)}
            for row in result.paths
        ],
        "names": [
            {"name": each.name, "alias": each.is_alias, "path": each.path or None, "code_sha": each.tag.sha}
            for each in result.names
        ],
    }
