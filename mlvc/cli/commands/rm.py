"""`mlvc rm`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import tracked_json
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.remove import remove

__all__ = ["command"]


@make_command("rm", "mlvc rm data", "mlvc rm --cached models/base.safetensors")
def command(
    context: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Tracked paths.", show_default=False)],
    *,
    cached: Annotated[bool, typer.Option("--cached", help="Keep the files.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Delete changed files too; they are stored first.")
    ] = False,
) -> None:
    """Stops tracking paths, and removes their files.

    What was stored stays in the store, and in every commit that has it.
    """
    session = session_of(context)
    result = remove(open_repository(session), paths, cached=cached, force=force)
    session.answer(
        lambda: {"paths": [tracked_json(entry) for entry in result.paths], "deleted": result.deleted},
        (f"removed {entry.name}" for entry in result.paths),
    )
