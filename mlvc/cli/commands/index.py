"""`mlvc index`."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from mlvc.cli.framework import Group, make_command
from mlvc.cli.repository import open_repository
from mlvc.cli.session import Session, session_of
from mlvc.verbs.index import IndexResult, rebuild, show

__all__ = ["command"]


@make_command("rebuild", "mlvc index rebuild")
def _rebuild(context: typer.Context) -> None:
    """Makes the index anew from the objects.

    Nothing is lost by deleting the index: every row comes from a stored object. With another MLVC_INDEX_URL
    than before, this is how an index moves.
    """
    session = session_of(context)
    _answer(session, rebuild(open_repository(session)))


@make_command("show", "mlvc index show", "mlvc index show --json")
def _show(context: typer.Context) -> None:
    """Tells how many rows of each kind the index holds."""
    session = session_of(context)
    _answer(session, show(open_repository(session)))


def _answer(session: Session, result: IndexResult) -> None:
    session.answer(lambda: {"place": result.place, "tables": dict(result.counts)}, _lines(result))


def _lines(result: IndexResult) -> Iterator[str]:
    yield result.place
    for name, count in result.counts.items():
        yield f"{count:>8,}  {name}"


command = Group("index", "Rebuilds or describes the metadata index.", [_rebuild, _show])
