"""`mlvc add`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural, size, tracked_json
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.add import Added, add

__all__ = ["command"]


@make_command("add", "mlvc add data models/base.safetensors")
def command(
    context: typer.Context,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files or directories.", show_default=False)
    ],
) -> None:
    """Stores files or directories, and tracks them.

    Writes their lines into mlvc.lock and .gitignore once every byte is durable.
    A path inside a tracked directory brings that directory up to date.
    """
    session = session_of(context)
    result = add(open_repository(session), paths)
    session.answer(
        lambda: {
            "paths": [
                {**tracked_json(item.entry), "stored_bytes": item.stored_bytes} for item in result.paths
            ]
        },
        map(_line, result.paths),
    )


def _line(item: Added) -> str:
    entry = item.entry
    counted = f"{plural(entry.files, 'file')}, {size(entry.size_bytes)}, {size(item.stored_bytes)} stored"
    return f"{'added' if item.changed else 'unchanged'} {entry.name}  {entry.id.short}  {counted}"
