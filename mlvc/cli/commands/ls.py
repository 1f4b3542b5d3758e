"""`mlvc ls`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.model.tree import Kind
from mlvc.verbs.ls import ls

__all__ = ["command"]


@make_command("ls", "mlvc ls", "mlvc ls HEAD~1:data")
def command(
    context: typer.Context,
    address: Annotated[
        str,
        typer.Argument(
            metavar="[REV[:PATH]]",
            help="A git revision, and a path from the repository's top; without a revision, mlvc.lock as it is.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Lists tracked files of any revision.

    Without a path, the tracked paths; with one, what is in that directory. Nothing is checked out.
    """
    session = session_of(context)
    result = ls(open_repository(session), address)
    session.answer(
        lambda: {
            "entries": [
                {"path": e.name, "kind": e.kind.word, "id": str(e.id), "bytes": e.size_bytes}
                for e in result.entries
            ]
        },
        (f"{entry.name}{'/' if entry.kind is Kind.DIRECTORY else ''}" for entry in result.entries),
    )
