"""`mlvc push`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural, size
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.push import push

__all__ = ["command"]


@make_command("push", "mlvc push", "mlvc push --remote backup")
def command(
    context: typer.Context,
    *,
    remote: Annotated[
        str | None, typer.Option("--remote", metavar="NAME", help="Which remote; by default the default one.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Read all of the remote, and replace what is damaged there.")
    ] = False,
) -> None:
    """Sends what the remote lacks.

    Everything that is stored: data, records, code and environments. An interrupted push goes on where it stopped.
    What was cut short on the remote is sent again; other damage is found, and mended, only with --repair.
    """
    session = session_of(context)
    result = push(open_repository(session), remote, repair=repair)
    session.answer(
        lambda: {"url": result.url, "packs": result.packs, "bytes": result.size_bytes},
        [
            f"pushed {plural(result.packs, 'pack')}, {size(result.size_bytes)}, to {result.url}"
            if result.packs
            else f"{result.url} has everything"
        ],
    )
