"""`mlvc verify`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.errors import UsageError
from mlvc.verbs.verify import VerifyResult, verify

__all__ = ["command"]


@make_command("verify", "mlvc verify", "mlvc verify --remote", "mlvc verify --remote --deep")
def command(
    context: typer.Context,
    rev: Annotated[
        str | None, typer.Argument(metavar="[REV]", help="A git revision; without it, mlvc.lock as it is.")
    ] = None,
    *,
    remote: Annotated[
        bool, typer.Option("--remote", help="On the default remote, without downloading the data.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="With --remote: read every byte of it, and keep none.")
    ] = False,
) -> None:
    """Tells whether everything that a revision needs exists.

    Its data, and the runs that made it with their code, inputs and environments. Exit 1 if anything is missing.
    With --remote --deep, all of the remote is read; damage is named with what it reaches. `mlvc fsck` does that here.
    """
    session = session_of(context)
    if deep and not remote:
        raise UsageError("--deep needs --remote", hint="`mlvc fsck` reads everything that is stored here")
    result = verify(open_repository(session), rev, remote=remote, deep=deep)
    session.answer(
        lambda: {
            "ok": not result.problems,
            "objects": result.objects,
            "problems": [
                {
                    "kind": problem.kind,
                    "message": problem.message,
                    "object": None if problem.object_id is None else str(problem.object_id),
                    "reaches": list(problem.reaches),
                }
                for problem in result.problems
            ],
        },
        _lines(result),
    )
    if any(problem.kind == "remote-damaged" for problem in result.problems):
        session.tell("`mlvc push --repair` mends the remote, from a clone that has the data")
    if result.problems:
        raise typer.Exit(1)


def _lines(result: VerifyResult) -> Iterator[str]:
    for problem in result.problems:
        yield f"{problem.kind}: {problem.message}"
        yield from (f"  reaches {place}" for place in problem.reaches)
    found = plural(len(result.problems), "problem") if result.problems else "all there"
    yield f"{plural(result.objects, 'object')} needed: {found}"
