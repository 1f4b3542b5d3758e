"""`mlvc env`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from mlvc.cli.changes import drift_json, drift_lines
from mlvc.cli.framework import Group, make_command
from mlvc.cli.records import environment_lines
from mlvc.cli.render import object_json, plural
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.env import pylock
from mlvc.model.objects import Environment
from mlvc.verbs import environment as verbs

__all__ = ["command"]

_TARGET = typer.Argument(
    metavar="[TARGET]", help="A run, a commit, a revision or an environment; by default that of mlvc.lock."
)


@make_command("lock", "mlvc env lock", "mlvc env lock --resolve")
def _lock(
    context: typer.Context,
    *,
    resolve: Annotated[
        bool,
        typer.Option(
            "--resolve", help="Look up each public wheel too; it must agree file by file. Needs the network."
        ),
    ] = False,
) -> None:
    """Captures the environment, stores its wheels, and names it in mlvc.lock.

    Each distribution is packed as a wheel from the installed files, without network.
    """
    session = session_of(context)
    result = verbs.lock(open_repository(session), resolve=resolve)
    environment = result.environment
    counted = plural(len(environment.distributions), "distribution")
    session.answer(
        lambda: {
            **object_json(environment),
            "changed": result.changed,
            "unresolved": [{"name": item.name, "reason": item.reason} for item in result.unresolved],
        },
        [
            f"{'locked' if result.changed else 'unchanged'} {result.id.short}  {counted}",
            *_findings(environment),
            *(f"{item.name}: no public wheel: {item.reason}" for item in result.unresolved),
        ],
    )


@make_command("show", "mlvc env show", "mlvc env show HEAD~1 --json", "mlvc env show --pylock > pylock.toml")
def _show(
    context: typer.Context,
    target: Annotated[str | None, _TARGET] = None,
    *,
    as_pylock: Annotated[bool, typer.Option("--pylock", help="Write it as a PEP 751 lock file.")] = False,
) -> None:
    """Lists an environment: its interpreter, and each distribution with its wheel."""
    session = session_of(context)
    environment = verbs.show(open_repository(session), target).environment
    if as_pylock:
        session.stdout.write(pylock.encode(environment))
        return
    session.answer(lambda: object_json(environment), environment_lines(environment))


@make_command("diff", "mlvc env diff", "mlvc env diff train --check")
def _diff(
    context: typer.Context,
    target: Annotated[str | None, _TARGET] = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if anything differs.")] = False,
) -> None:
    """Names how the installed environment differs from a recorded one."""
    session = session_of(context)
    result = verbs.diff(open_repository(session), target)
    session.answer(
        lambda: {"recorded": str(result.recorded), "same": not result.drift, **drift_json(result.drift)},
        drift_lines(result.drift) if result.drift else ["the same"],
    )
    if check and result.drift:
        raise typer.Exit(1)


@make_command("sync", "mlvc env sync rebuilt", "mlvc env sync then --target HEAD~1")
def _sync(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where; must not exist.", show_default=False)
    ],
    *,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET", help="A run, a commit, a revision or an environment; by default the lock's."
        ),
    ] = None,
) -> None:
    """Rebuilds a recorded environment as a virtual environment, from stored wheels alone."""
    session = session_of(context)
    result = verbs.synchronise(open_repository(session), directory.absolute(), target)
    session.answer(
        lambda: {"id": str(result.id), "directory": str(result.directory)},
        [f"rebuilt {result.id.short} in {result.directory}"],
    )


def _findings(environment: Environment) -> Iterator[str]:
    """Yields what a person should know of the capture."""
    for item in environment.distributions:
        for name in item.modified:
            yield f"  {item.name}: {name} differs from its RECORD"
        for name in item.missing:
            yield f"  {item.name}: {name} is missing"
    if environment.unowned is not None:
        yield "  some files belong to no distribution; they are captured too"


command = Group(
    "env", "Captures, shows, compares and rebuilds the environment.", [_lock, _show, _diff, _sync]
)
