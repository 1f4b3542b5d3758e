"""`mlvc cat`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import tracked_json
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.cat import cat

__all__ = ["command"]


@make_command("cat", "mlvc cat HEAD~1:data/table.csv > old.csv")
def command(
    context: typer.Context,
    address: Annotated[
        str,
        typer.Argument(
            metavar="REV:PATH",
            help="A git revision, and a path from the repository's top; `:PATH` reads mlvc.lock as it is.",
            show_default=False,
        ),
    ],
) -> None:
    """Writes a tracked file of any revision to stdout.

    Every byte is verified before it is written. With --json, tells what the file is instead.
    """
    session = session_of(context)
    result = cat(open_repository(session), address)
    if session.json:
        session.write_json(tracked_json(result.entry))
        return
    out = session.bytes_out
    for piece in result.pieces:
        out.write(piece)
    out.flush()
