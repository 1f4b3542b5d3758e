"""`mlvc runs`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import command_line, run_json, table
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.runs import ListedRun, list_runs

__all__ = ["command"]

_HEADINGS = ("run", "name", "status", "verdict", "started", "params", "metrics", "command")
_WIDEST_COMMAND = 60


@make_command("runs", "mlvc runs", "mlvc runs --name train --status finished -n 5")
def command(
    context: typer.Context,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Only runs of that name.")] = None,
    status: Annotated[
        Literal["finished", "failed", "interrupted"] | None, typer.Option(help="Only runs that ended so.")
    ] = None,
    limit: Annotated[int | None, typer.Option("-n", "--limit", metavar="N", min=1, help="At most N.")] = None,
) -> None:
    """Lists the recorded runs.

    The newest comes first, with its parameters, its metrics and the verdict of its latest reproduction.
    """
    session = session_of(context)
    result = list_runs(open_repository(session), name=name, status=status, limit=limit)
    session.answer(
        lambda: {"runs": [{**run_json(listed.run), "verdict": listed.verdict} for listed in result.runs]},
        table(_HEADINGS, [_row(listed) for listed in result.runs]),
    )


def _row(listed: ListedRun) -> tuple[str, ...]:
    run = listed.run
    typed = command_line(run.argv)
    return (
        run.id.short,
        run.name or "-",
        run.status if run.status != "failed" else f"failed ({run.exit_code})",
        listed.verdict or "-",
        run.started[:19].replace("T", " "),
        _values(run.params),
        _values(run.metrics),
        typed if len(typed) <= _WIDEST_COMMAND else typed[: _WIDEST_COMMAND - 1] + "…",
    )


def _values(values: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items()) or "-"
