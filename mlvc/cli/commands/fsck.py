"""`mlvc fsck`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural, size
from mlvc.cli.repository import open_repository
from mlvc.cli.session import Session, session_of
from mlvc.model.names import encode_name
from mlvc.repo import Repo
from mlvc.verbs.fsck import FsckResult, Problem, fsck

__all__ = ["command"]


@make_command("fsck", "mlvc fsck", "mlvc fsck --json", "mlvc fsck --repair")
def command(
    context: typer.Context,
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Mend what can be mended, from the work tree and from every remote."),
    ] = False,
) -> None:
    """Reads everything that is stored, and names what is damaged.

    Each problem names the tracked paths, commits and runs that it reaches. Without --repair nothing is changed; with
    it, damaged packs are moved aside and never deleted.
    Data that is on a remote and was never fetched is counted, and is no problem.
    Exit 1 if there is any problem, or one that could not be mended.
    """
    session = session_of(context)
    repo = open_repository(session)
    if repair:
        problems = _repair(session, repo)
    else:
        result = fsck(repo)
        problems = result.problems
        session.answer(
            lambda: {
                "ok": not problems,
                "problems": [_json(problem) for problem in problems],
                "absent": {"objects": result.absent_objects, "bytes": result.absent_bytes},
            },
            _lines(result),
        )
    if problems:
        raise typer.Exit(1)


def _repair(session: Session, repo: Repo) -> tuple[Problem, ...]:
    from mlvc.verbs.repair import repair  # noqa: PLC0415  # what remotes need, which a check need not load

    done = repair(repo)
    result = done.left
    aside = [encode_name(bytes(path)) for path in done.set_aside]
    session.answer(
        lambda: {
            "ok": not result.problems,
            "problems": [_json(problem) for problem in result.problems],
            "mended": [_json(problem) for problem in done.mended],
            "set_aside": aside,
            "absent": {"objects": result.absent_objects, "bytes": result.absent_bytes},
        },
        [
            *(f"mended {problem.kind}: {problem.message}" for problem in done.mended),
            *(f"moved aside {name}" for name in aside),
            *_lines(result),
        ],
    )
    return result.problems


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
