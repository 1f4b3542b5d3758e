"""`mlvc fetch`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural, size
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.fetch import fetch

__all__ = ["command"]


@make_command("fetch", "mlvc fetch", "mlvc fetch --data")
def command(
    context: typer.Context,
    *,
    remote: Annotated[
        str | None, typer.Option("--remote", metavar="NAME", help="Which remote; by default the default one.")
    ] = None,
    data: Annotated[bool, typer.Option("--data", help="Bring all data too, of every revision.")] = False,
) -> None:
    """Brings the records of a remote, and no data yet.

    Trees, commits, runs, environments and verdicts: enough to look at everything. No file is changed.
    """
    session = session_of(context)
    result = fetch(open_repository(session), remote, with_data=data)
    session.answer(
        lambda: {"url": result.url, "packs": result.packs, "bytes": result.size_bytes},
        [
            f"fetched {plural(result.packs, 'pack')}, {size(result.size_bytes)}, from {result.url}"
            if result.packs
            else f"nothing new on {result.url}"
        ],
    )
