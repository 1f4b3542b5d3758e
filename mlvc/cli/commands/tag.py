"""`mlvc tag`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.tag import tag

__all__ = ["command"]


@make_command(
    "tag",
    "mlvc tag churn@1.4.0 --path models/model.joblib",
    'mlvc tag "churn#production" HEAD -m "checked by hand"',
)
def command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME@VERSION|NAME#ALIAS", help="The name to give.")],
    rev: Annotated[
        str, typer.Argument(metavar="[REV]", help="A revision, or NAME@VERSION.", show_default=False)
    ] = "HEAD",
    path: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="What the name stands for; without it, the only tracked path, or all."
        ),
    ] = None,
    message: Annotated[str, typer.Option("-m", "--message", metavar="MSG", help="A message.")] = "",
) -> None:
    """Names a version of a model or dataset, or moves an alias.

    The name is an annotated git tag: `git push --tags` shares it, and it can be given wherever a revision can. A
    version is given once; an alias moves, and remembers where it was; git then pushes and fetches it with --force.
    """
    session = session_of(context)
    result = tag(open_repository(session), name, rev, path=path, message=message)
    named, entry = result.named, result.entry
    what = "all data" if entry is None else f"{entry.name} {entry.id.short}"
    was = "" if result.moved_from is None else f", before at {result.moved_from[:12]}"
    session.answer(
        lambda: {
            "name": named.name,
            "code_sha": named.tag.sha,
            "path": None if entry is None else entry.name,
            "id": None if entry is None else str(entry.id),
            "moved_from": result.moved_from,
        },
        [f"{named.name} is {what} at {named.tag.sha[:12]}{was}"],
    )
