"""Follows data through runs, up and down, as far as it goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from mlvc.index import schema
from mlvc.index.answers import LineageEdge
from mlvc.model.ids import BlobId, RunId, TreeId
from mlvc.model.tree import Kind

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row, Table

__all__ = ["trace"]

_BATCH = 500
"""Values in one query; SQLite took 999 for a long time."""


def trace(
    connection: Connection, project: str, targets: Sequence[BlobId | TreeId]
) -> tuple[set[RunId], set[LineageEdge]]:
    """Returns the runs that the targets come from or went into, and what those runs read and made.

    Goes up from makers to what they read, and down from readers to what they made; never from an ancestor down again,
    so that a sibling made from the same data is not there.
    """
    start = {str(target) for target in targets}
    reads, makes = schema.run_inputs, schema.run_outputs
    found = _follow(connection, project, start, makes, reads) | _follow(
        connection, project, start, reads, makes
    )
    edges = {
        LineageEdge(RunId.parse(row.run_id), row.path, _data_id(row.kind, row.data_id), table is makes)
        for table in (reads, makes)
        for row in _rows(connection, project, table, "run_id", found)
    }
    return {RunId.parse(text) for text in found}, edges


def _follow(connection: Connection, project: str, data: set[str], enter: Table, leave: Table) -> set[str]:
    """Returns the runs reached from `data`: those with it in `enter`, then those with what they have in `leave`."""
    runs: set[str] = set()
    seen = set(data)
    frontier = set(data)
    while frontier:
        entered = {row.run_id for row in _rows(connection, project, enter, "data_id", frontier)} - runs
        runs |= entered
        frontier = {row.data_id for row in _rows(connection, project, leave, "run_id", entered)} - seen
        seen |= frontier
    return runs


def _rows(
    connection: Connection, project: str, table: Table, column: str, values: set[str]
) -> Iterator[Row[Any]]:
    ordered = sorted(values)
    for start in range(0, len(ordered), _BATCH):
        batch = ordered[start : start + _BATCH]
        yield from connection.execute(
            select(table).where(table.c.project == project, table.c[column].in_(batch))
        )


def _data_id(kind: str, text: str) -> BlobId | TreeId:
    return TreeId.parse(text) if kind == Kind.DIRECTORY.word else BlobId.parse(text)
