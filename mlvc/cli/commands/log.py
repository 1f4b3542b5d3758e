"""`mlvc log`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import indented
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.log import Logged, log

__all__ = ["command"]


@make_command("log", "mlvc log", "mlvc log -n 5 v1.0")
def command(
    context: typer.Context,
    rev: Annotated[str, typer.Argument(metavar="[REV]", help="Where to begin.", show_default=False)] = "HEAD",
    *,
    limit: Annotated[int | None, typer.Option("-n", "--limit", metavar="N", min=1, help="At most N.")] = None,
) -> None:
    """Shows the history of commits, with their code.

    Git commits without data commit are left out.
    """
    session = session_of(context)
    result = log(open_repository(session), rev, limit=limit)
    session.answer(
        lambda: {"commits": [_json(logged) for logged in result.commits]},
        (line for logged in result.commits for line in _lines(logged)),
    )


def _json(logged: Logged) -> dict[str, str]:
    commit = logged.commit
    return {
        "id": str(logged.id),
        "code_sha": commit.code_sha,
        "message": commit.message,
        "author": commit.author,
        "time": commit.time,
    }


def _lines(logged: Logged) -> Iterator[str]:
    commit = logged.commit
    yield f"commit {logged.id}"
    yield f"code   {commit.code_sha}"
    yield f"author {commit.author}"
    yield f"time   {commit.time}"
    yield ""
    yield from indented(commit.message.splitlines(), "    ")
    yield ""
