"""Follows data through runs, up and down, as far as it goes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select

from mlvc.index import schema
from mlvc.index.answers import LineageEdge
from mlvc.index.intake import batches
from mlvc.index.runs import runs_with_data
from mlvc.model.ids import BlobId, RunId, TreeId
from mlvc.model.tree import Kind

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row, Table

__all__ = ["trace"]


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
        for row in _of_runs(connection, table, found)
    }
    return {edge.run for edge in edges}, edges


def _follow(connection: Connection, project: str, data: set[str], enter: Table, leave: Table) -> set[int]:
    """Returns the runs reached from `data`: those with it in `enter`, then those with what they have in `leave`."""
    runs: set[int] = set()
    seen = set(data)
    frontier = set(data)
    while frontier:
        entered = set(runs_with_data(connection, project, enter, frontier)) - runs
        runs |= entered
        frontier = {
            data_id
            for batch in batches(entered)
            for data_id in connection.scalars(select(leave.c.data_id).where(leave.c.run_number.in_(batch)))
        } - seen
        seen |= frontier
    return runs


def _of_runs(
    connection: Connection, table: Table, run_numbers: Collection[int]
) -> Iterator[Row[str, str, str, str]]:
    runs, names = schema.runs, schema.names
    for batch in batches(run_numbers):
        yield from connection.execute(
            select(runs.c.id.label("run_id"), names.c.name.label("path"), table.c.kind, table.c.data_id)
            .join(runs, runs.c.number == table.c.run_number)
            .join(names, names.c.number == table.c.path_number)
            .where(table.c.run_number.in_(batch))
        )


def _data_id(kind: str, text: str) -> BlobId | TreeId:
    return TreeId.parse(text) if kind == Kind.DIRECTORY.word else BlobId.parse(text)
