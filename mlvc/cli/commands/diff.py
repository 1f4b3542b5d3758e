"""`mlvc diff`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.changes import change_json, change_line
from mlvc.cli.framework import after_dashes, make_command
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.diff import diff

__all__ = ["command"]


@make_command(
    "diff",
    "mlvc diff",
    "mlvc diff HEAD~1 HEAD -- data",
    "mlvc diff --check",
    paths_after_dashes=True,
)
def command(
    context: typer.Context,
    before: Annotated[
        str | None, typer.Argument(metavar="[A]", help="A git revision; without it, mlvc.lock as it is.")
    ] = None,
    after: Annotated[
        str | None, typer.Argument(metavar="[B]", help="A git revision; without it, the files.")
    ] = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if anything differs.")] = False,
) -> None:
    """Names the data files that differ.

    Between the lock and the files, between a revision and the files, or between two revisions.
    """
    session = session_of(context)
    result = diff(open_repository(session), before, after, paths=after_dashes(context))
    session.answer(
        lambda: {"changes": [change_json(change) for change in result.changes]},
        map(change_line, result.changes),
    )
    if check and result.changes:
        raise typer.Exit(1)
