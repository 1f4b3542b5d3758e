"""`mlvc fetch`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural, size
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.cli.transfers import DryRun, Jobs, RemoteName, plan_json, plan_lines
from mlvc.store.transfer import AT_ONCE
from mlvc.verbs.fetch import fetch
from mlvc.verbs.plans import plan_fetch

__all__ = ["command"]


@make_command("fetch", "mlvc fetch", "mlvc fetch --data")
def command(
    context: typer.Context,
    *,
    remote: RemoteName = None,
    data: Annotated[bool, typer.Option("--data", help="Bring all data too, of every revision.")] = False,
    dry_run: DryRun = False,
    jobs: Jobs = AT_ONCE,
) -> None:
    """Brings the records of a remote, and no data yet.

    Trees, commits, runs, environments and verdicts: enough to look at everything. No file is changed.
    """
    session = session_of(context)
    if dry_run:
        plan = plan_fetch(open_repository(session), remote, with_data=data, jobs=jobs)
        session.answer(lambda: plan_json(plan), plan_lines(plan, "fetch", "from"))
        return
    result = fetch(open_repository(session), remote, with_data=data, jobs=jobs)
    session.answer(
        lambda: {"dry_run": False, "url": result.url, "packs": result.packs, "bytes": result.size_bytes},
        [
            f"fetched {plural(result.packs, 'pack')}, {size(result.size_bytes)}, from {result.url}"
            if result.packs
            else f"nothing new on {result.url}"
        ],
    )
