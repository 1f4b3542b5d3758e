"""`mlvc undo`."""

from __future__ import annotations

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.undo import undo

__all__ = ["command"]


@make_command("undo", "mlvc undo")
def command(context: typer.Context) -> None:
    """Takes back the last add, rm or checkout; again, the one before it.

    Brings back the lock, and the files that it overwrote or deleted. Every further undo goes one step further back,
    to the start of the keep period (gc.keep_days). To go forward, give the command that was undone again.
    Refuses, before anything is touched, if data that is stored nowhere would be lost.
    """
    session = session_of(context)
    result = undo(open_repository(session))
    files = result.files
    moved = [] if result.sha is None else [f"code {result.sha[:12]}"]
    counted = f"{plural(files.written, 'file')} written, {files.deleted:,} deleted"
    session.answer(
        lambda: {
            "operation": result.operation,
            "time": result.time.isoformat(),
            "code_sha": result.sha,
            "written": files.written,
            "deleted": files.deleted,
        },
        [f"undid the {result.operation} of {result.time.isoformat(timespec='seconds')}", *moved, counted],
    )
