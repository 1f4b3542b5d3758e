"""`mlvc runs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import as_json, command_line, json_value, run_json, table
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.cli.tabular import TableFormat, write_table
from mlvc.index.answers import RunEntry
from mlvc.repo import Repo
from mlvc.verbs.runs import Cell, RunsQuery, list_runs, table_of, whole_record

__all__ = ["command", "split_columns"]

_HEADINGS = ("run", "name", "status", "verdict", "started", "params", "metrics", "command")
_WIDEST_COMMAND = 60


@make_command(
    "runs",
    "mlvc runs",
    "mlvc runs --name train --status finished -n 5",
    "mlvc runs --where \"metrics.mae < 11 and params.depth = 6 and env.pandas < '1.1'\" --sort metrics.mae",
    "mlvc runs --columns id,params.depth,metrics.mae,env.pandas --format csv",
)
def command(
    context: typer.Context,
    where: Annotated[
        str | None,
        typer.Option(metavar="EXPRESSION", help="Only runs for which it holds; see the reference."),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Only runs of that name.")] = None,
    status: Annotated[
        Literal["finished", "failed", "interrupted"] | None, typer.Option(help="Only runs that ended so.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="FIELD", help="Sort by it; with - before it, the largest first.")
    ] = None,
    limit: Annotated[int | None, typer.Option("-n", "--limit", metavar="N", min=1, help="At most N.")] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="FIELD,…", help="What to tell of each run, instead of the usual.")
    ] = None,
    form: Annotated[
        TableFormat | None, typer.Option("--format", help="Write a table for another program.")
    ] = None,
) -> None:
    """Lists the recorded runs.

    The newest comes first, with its parameters, its metrics and the verdict of its latest reproduction.
    """
    session = session_of(context)
    repo = open_repository(session)
    result = list_runs(repo, RunsQuery(where, name, status, sort, limit))
    chosen = [] if columns is None else split_columns(columns)
    if form is not None:
        write_table(session, table_of(repo, result, chosen), form)
        return
    if chosen:
        found = table_of(repo, result, chosen)
        session.answer(
            lambda: {"runs": [dict(zip(found.columns, row, strict=True)) for row in found.rows]},
            table(found.columns, [[_shown(cell) for cell in row] for row in found.rows]),
        )
        return
    session.answer(
        lambda: {"runs": [_json(repo, entry) for entry in result.runs]},
        table(_HEADINGS, [_row(entry) for entry in result.runs]),
    )


def split_columns(text: str) -> Sequence[str]:
    """Returns the columns that commas separate; one in quotes is part of a name."""
    parts = text.split('"')
    # Every second part stands in quotes, and no argument of a process holds a NUL.
    parts[::2] = [part.replace(",", "\0") for part in parts[::2]]
    return [column.strip() for column in '"'.join(parts).split("\0")]


def _json(repo: Repo, entry: RunEntry) -> dict[str, Any]:
    run = whole_record(repo, entry)
    if run is not None:
        return {**run_json(run), "verdict": entry.verdict}
    values = {
        name: {key: json_value(text) for key, text in found.items()}
        for name, found in (("params", entry.params), ("metrics", entry.metrics))
    }
    return {"type": "run", **as_json(entry.row), **values, "verdict": entry.verdict}


def _row(entry: RunEntry) -> tuple[str, ...]:
    run = entry.row
    typed = command_line(run.argv)
    return (
        run.id.short,
        run.name or "-",
        run.status if run.status != "failed" else f"failed ({run.exit_code})",
        entry.verdict or "-",
        run.started[:19].replace("T", " "),
        _values(entry.params),
        _values(entry.metrics),
        typed if len(typed) <= _WIDEST_COMMAND else typed[: _WIDEST_COMMAND - 1] + "…",
    )


def _shown(cell: Cell) -> str:
    if cell is None:
        return "-"
    text = str(cell).lower() if isinstance(cell, bool) else str(cell)
    return text.removeprefix("b3:")[:12] if text.startswith("b3:") else text


def _values(values: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items()) or "-"
