"""`mlvc push`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural, size
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.cli.transfers import DryRun, Jobs, RemoteName, plan_json, plan_lines
from mlvc.errors import UsageError
from mlvc.store.transfer import AT_ONCE
from mlvc.verbs.plans import plan_push
from mlvc.verbs.push import push

__all__ = ["command"]


@make_command("push", "mlvc push", "mlvc push --dry-run", "mlvc push --remote backup --jobs 8")
def command(
    context: typer.Context,
    *,
    remote: RemoteName = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Read all of the remote, and replace what is damaged there.")
    ] = False,
    dry_run: DryRun = False,
    jobs: Jobs = AT_ONCE,
) -> None:
    """Sends what the remote lacks.

    Everything that is stored: data, records, code and environments. An interrupted push goes on where it stopped.
    What was cut short on the remote is sent again; other damage is found, and mended, only with --repair.
    """
    session = session_of(context)
    if dry_run:
        if repair:
            raise UsageError(
                "--repair has no dry run", hint="`mlvc verify --remote --deep` tells what is damaged"
            )
        plan = plan_push(open_repository(session), remote, jobs=jobs)
        session.answer(lambda: plan_json(plan), plan_lines(plan, "push", "to"))
        return
    result = push(open_repository(session), remote, repair=repair, jobs=jobs)
    session.answer(
        lambda: {"dry_run": False, "url": result.url, "packs": result.packs, "bytes": result.size_bytes},
        [
            f"pushed {plural(result.packs, 'pack')}, {size(result.size_bytes)}, to {result.url}"
            if result.packs
            else f"{result.url} has everything"
        ],
    )
