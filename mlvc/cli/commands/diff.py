"""`mlvc diff`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlvc.cli.changes import change_json, change_line
from mlvc.cli.framework import after_dashes, make_command
from mlvc.cli.render import as_json
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.repro.compare.comparison import sentence
from mlvc.verbs.diff import DiffResult, diff

if TYPE_CHECKING:
    from mlvc.worktree.trees import PathChange

__all__ = ["command"]


@make_command(
    "diff",
    "mlvc diff",
    "mlvc diff HEAD~1 HEAD -- data",
    "mlvc diff HEAD~1 --content -- models/model.joblib",
    "mlvc diff --check",
    paths_after_dashes=True,
)
def command(
    context: typer.Context,
    before: Annotated[
        str | None, typer.Argument(metavar="[A]", help="A git revision; without it, mlvc.lock as it is.")
    ] = None,
    after: Annotated[
        str | None, typer.Argument(metavar="[B]", help="A git revision; without it, the files.")
    ] = None,
    named: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]...", help="Of these alone; after A and B they need no `--`."),
    ] = None,
    *,
    content: Annotated[
        bool,
        typer.Option("--content", help="Say what differs inside of the files: tensors, columns, rows, keys."),
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if anything differs.")] = False,
) -> None:
    """Names the data files that differ.

    Between the lock and the files, between a revision and the files, or between two revisions.
    """
    session = session_of(context)
    paths = (*(named or ()), *after_dashes(context))
    result = diff(open_repository(session), before, after, paths=paths, content=content)
    session.answer(
        lambda: {"changes": [_json(result, change) for change in result.changes]},
        (line for change in result.changes for line in _lines(result, change)),
    )
    if check and result.changes:
        raise typer.Exit(1)


def _json(result: DiffResult, change: PathChange) -> dict[str, Any]:
    told = result.contents.get(change.path)
    return change_json(change) | ({} if told is None else {"content": as_json(told)})


def _lines(result: DiffResult, change: PathChange) -> Iterator[str]:
    yield change_line(change)
    told = result.contents.get(change.path)
    if told is None:
        return
    yield f"  {told.verdict}" + (f": {told.detail}" if told.verdict == "uncomparable" else "")
    yield from (f"    {item.nature:<9} {sentence(item)}" for item in told.differences)
