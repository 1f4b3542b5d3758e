"""`mlvc pull`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural, size, tracked_json
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.pull import pull

__all__ = ["command"]


@make_command("pull", "mlvc pull", "mlvc pull data")
def command(
    context: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]...", help="Only the data of these; by default all that the lock needs."
        ),
    ] = None,
    *,
    remote: Annotated[
        str | None, typer.Option("--remote", metavar="NAME", help="Which remote; by default the default one.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite changed data files too; they are stored first.")
    ] = False,
) -> None:
    """Brings the data that the lock needs, and writes the files.

    Without paths, what it takes to reproduce the runs of the lock comes too: their code, inputs and environments.
    Refuses, before any file is touched, if data that is stored nowhere would be lost.
    """
    session = session_of(context)
    result = pull(open_repository(session), paths or (), remote, force=force)
    files = result.files
    session.answer(
        lambda: {
            "url": result.url,
            "packs": result.packs,
            "bytes": result.size_bytes,
            "written": files.written,
            "deleted": files.deleted,
            "unchanged": files.unchanged,
            "saved": [tracked_json(entry) for entry in files.saved],
        },
        [
            f"fetched {plural(result.packs, 'pack')}, {size(result.size_bytes)}, from {result.url}",
            f"{plural(files.written, 'file')} written, {files.deleted:,} deleted",
            *(f"saved {entry.name} as {entry.id}" for entry in files.saved),
        ],
    )
