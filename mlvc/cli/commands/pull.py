"""`mlvc pull`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural, size, tracked_json
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.cli.transfers import DryRun, Jobs, RemoteName, plan_json, plan_lines
from mlvc.store.transfer import AT_ONCE
from mlvc.verbs.plans import plan_pull
from mlvc.verbs.pull import pull

__all__ = ["command"]


@make_command("pull", "mlvc pull", "mlvc pull data", "mlvc pull 'data/*.csv'")
def command(
    context: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Only the data of these, or of what matches; by default all that the lock needs.",
        ),
    ] = None,
    *,
    remote: RemoteName = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite changed data files too; they are stored first.")
    ] = False,
    dry_run: DryRun = False,
    jobs: Jobs = AT_ONCE,
) -> None:
    """Brings the data that the lock needs, and writes the files.

    In a path, * and ? stand for any characters of a name, and ** for any directories.
    Without paths, what it takes to reproduce the runs of the lock comes too: their code, inputs and environments.
    Refuses, before any file is touched, if data that is stored nowhere would be lost.
    """
    session = session_of(context)
    if dry_run:
        plan = plan_pull(open_repository(session), paths or (), remote, jobs=jobs)
        session.answer(lambda: plan_json(plan), plan_lines(plan, "fetch", "from"))
        return
    result = pull(open_repository(session), paths or (), remote, force=force, jobs=jobs)
    files = result.files
    session.answer(
        lambda: {
            "dry_run": False,
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
