"""What data or runs reached: everything that was made with them, and where commits track it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy import select, union

from mlvc.index import schema
from mlvc.index.answers import Impact
from mlvc.index.commits import paths_holding
from mlvc.index.intake import batches
from mlvc.index.runs import runs_numbered, runs_with_data
from mlvc.index.trees import holders_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["data_beginning", "impact"]


def impact(connection: Connection, project: str, data: Collection[str], runs: Collection[str]) -> Impact:
    """Returns what some data and some runs reached, all the way down; all trees have been taken in.

    A tree that holds reached data is reached, and so is every run that read it, and all that this run made.

    Args:
        connection: A transaction.
        project: Whose rows.
        data: Ids of blobs and trees, as text.
        runs: Ids of runs, as text.
    """
    table = schema.runs
    reached_runs: set[int] = set()
    for batch in batches(runs):
        reached_runs.update(
            connection.scalars(
                select(table.c.number).where(table.c.project == project, table.c.id.in_(batch))
            )
        )
    reached = set(data) | holders_of(connection, project, data)
    frontier, new_runs = set(reached), set(reached_runs)
    while frontier or new_runs:
        new_runs |= set(runs_with_data(connection, project, schema.run_inputs, frontier)) - reached_runs
        reached_runs |= new_runs
        outputs = schema.run_outputs
        made = {
            data_id
            for batch in batches(new_runs)
            for data_id in connection.scalars(
                select(outputs.c.data_id).where(outputs.c.run_number.in_(batch))
            )
        } - reached
        frontier = made | (holders_of(connection, project, made) - reached)
        reached |= frontier
        new_runs = set()
    return Impact(
        frozenset(reached),
        tuple(runs_numbered(connection, reached_runs)),
        tuple(paths_holding(connection, project, sorted(reached))),
    )


def data_beginning(connection: Connection, project: str, digits: str) -> list[str]:
    """Returns the ids of the data in the index that begin so, as text, at most two; all trees have been taken in."""
    low, high = f"b3:{digits}", f"b3:{digits}g"
    queries = [
        select(column)
        .join(owner, owner.c.number == number)
        .where(owner.c.project == project, column >= low, column < high)
        for column, owner, number in (
            (schema.run_inputs.c.data_id, schema.runs, schema.run_inputs.c.run_number),
            (schema.run_outputs.c.data_id, schema.runs, schema.run_outputs.c.run_number),
            (schema.commit_changes.c.data_id, schema.commits, schema.commit_changes.c.commit_number),
            (schema.tree_entries.c.child, schema.trees, schema.tree_entries.c.tree_number),
        )
    ]
    return sorted(connection.scalars(union(*queries).limit(2)))
