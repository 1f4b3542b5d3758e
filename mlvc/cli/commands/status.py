"""`mlvc status`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from mlvc.cli.changes import change_json, change_line, drift_json, drift_lines
from mlvc.cli.framework import make_command
from mlvc.cli.render import indented, plural
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.status import StatusResult, status

__all__ = ["command"]

_LISTED = 20


@make_command("status", "mlvc status", "mlvc status --check --json")
def command(
    context: typer.Context,
    *,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if any data is not in a commit.")] = False,
) -> None:
    """Shows what changed: data, lock and environment.

    The files against mlvc.lock, mlvc.lock against the last commit, and the installed packages against the locked ones.
    """
    session = session_of(context)
    result = status(open_repository(session))
    session.answer(lambda: _json(result), _lines(result))
    if check and not result.is_clean:
        raise typer.Exit(1)


def _json(result: StatusResult) -> dict[str, Any]:
    return {
        "clean": result.is_clean,
        "branch": result.branch,
        "head": result.head,
        "tracked": result.tracked,
        "changes": [change_json(change) for change in result.changes],
        "staged": [{"path": item.path, "change": item.change} for item in result.staged],
        "environment": None if result.drift is None else drift_json(result.drift),
    }


def _lines(result: StatusResult) -> Iterator[str]:
    where = "detached head" if result.branch is None else f"branch {result.branch}"
    head = "no commit yet" if result.head is None else result.head[:12]
    yield f"{where}, {head}, {plural(result.tracked, 'tracked path')}"
    yield from _section(
        "in mlvc.lock, for the next commit:", [f"{i.change:<9} {i.path}" for i in result.staged]
    )
    yield from _section("changed since `mlvc add`:", [change_line(change) for change in result.changes])
    if result.drift:
        yield from _section("the environment is not the locked one:", list(drift_lines(result.drift)))
    if result.is_clean:
        yield "all data is committed"


def _section(heading: str, lines: Sequence[str]) -> Iterator[str]:
    if not lines:
        return
    yield heading
    yield from indented(lines[:_LISTED])
    if len(lines) > _LISTED:
        yield f"  and {len(lines) - _LISTED:,} more; --json lists them all"
