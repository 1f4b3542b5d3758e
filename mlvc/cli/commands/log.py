"""`mlvc log`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import indented
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.log import log

if TYPE_CHECKING:
    from mlvc.index.answers import CommitRow

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
        lambda: {"commits": [_json(commit) for commit in result.commits]},
        (line for commit in result.commits for line in _lines(commit)),
    )


def _json(commit: CommitRow) -> dict[str, str]:
    return {
        "id": str(commit.id),
        "code_sha": commit.code_sha,
        "message": commit.message,
        "author": commit.author,
        "time": commit.time,
    }


def _lines(commit: CommitRow) -> Iterator[str]:
    yield f"commit {commit.id}"
    yield f"code   {commit.code_sha}"
    yield f"author {commit.author}"
    yield f"time   {commit.time}"
    yield ""
    yield from indented(commit.message.splitlines(), "    ")
    yield ""
