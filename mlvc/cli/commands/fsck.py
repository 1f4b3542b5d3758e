"""`mlvc fsck`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural, size
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.fsck import FsckResult, Problem, fsck

__all__ = ["command"]


@make_command("fsck", "mlvc fsck", "mlvc fsck --json")
def command(context: typer.Context) -> None:
    """Reads everything that is stored, and names what is damaged.

    Each problem names the tracked paths, commits and runs that it reaches. Nothing is changed.
    Data that is on a remote and was never fetched is counted, and is no problem. Exit 1 if there is any problem.
    """
    session = session_of(context)
    result = fsck(open_repository(session))
    session.answer(
        lambda: {
            "ok": not result.problems,
            "problems": [_json(problem) for problem in result.problems],
            "absent": {"objects": result.absent_objects, "bytes": result.absent_bytes},
        },
        _lines(result),
    )
    if result.problems:
        raise typer.Exit(1)


def _lines(result: FsckResult) -> Iterator[str]:
    for problem in result.problems:
        yield f"{problem.kind}: {problem.message}"
        for place in problem.reaches:
            yield f"  reaches {place}"
    if result.absent_objects:
        what = f"{plural(result.absent_objects, 'file')}, {size(result.absent_bytes)}"
        yield f"not here, but on a remote: {what}; `mlvc pull` brings what the lock needs, `mlvc fetch --data` all"
    yield plural(len(result.problems), "problem") if result.problems else "everything is as it was stored"


def _json(problem: Problem) -> dict[str, Any]:
    return {
        "kind": problem.kind,
        "message": problem.message,
        "object": None if problem.object_id is None else str(problem.object_id),
        "reaches": list(problem.reaches),
    }
