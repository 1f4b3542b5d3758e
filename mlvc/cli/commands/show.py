"""`mlvc show`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.records import record_lines
from mlvc.cli.render import object_json
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.show import show

__all__ = ["command"]


@make_command("show", "mlvc show HEAD", "mlvc show train --json")
def command(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="[REV|ID]",
            help="A git revision, the name of a run, or an id or its start.",
            show_default=False,
        ),
    ] = "HEAD",
) -> None:
    """Shows one commit, run, environment or verdict.

    With --json, every field of the record.
    """
    session = session_of(context)
    value = show(open_repository(session), target).value
    session.answer(lambda: object_json(value), record_lines(value))
