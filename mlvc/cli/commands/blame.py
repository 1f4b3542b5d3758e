"""`mlvc blame`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import table, tracked_json
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.blame import Blamed, blame

__all__ = ["command"]


@make_command("blame", "mlvc blame", "mlvc blame models --json")
def command(
    context: typer.Context,
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="[PATH]", help="A tracked path, or a directory above some.", show_default=False
        ),
    ] = None,
) -> None:
    """Tells which commit and run each tracked path comes from.

    The commit is the oldest since which the path has been as it is now, on whichever side of a merge that was.
    """
    session = session_of(context)
    result = blame(open_repository(session), path)
    session.answer(
        lambda: {"paths": [_json(item) for item in result.paths]},
        table(
            ("path", "id", "commit", "run"),
            [
                (
                    item.entry.name,
                    item.entry.id.short,
                    "not recorded" if item.code_sha is None else item.code_sha[:12],
                    "-" if item.run is None else item.run.short,
                )
                for item in result.paths
            ],
        ),
    )


def _json(item: Blamed) -> dict[str, Any]:
    return {
        **tracked_json(item.entry),
        "commit": None if item.commit is None else str(item.commit),
        "code_sha": item.code_sha,
        "run": None if item.run is None else str(item.run),
    }
