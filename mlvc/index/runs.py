"""Questions about runs and their verdicts. Every function asks within the transaction of its `connection`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Row, select

from mlvc.index import schema
from mlvc.index.answers import RunRow, VerdictRow
from mlvc.index.intake import batches
from mlvc.index.rows import key_text
from mlvc.model.ids import EnvironmentId, ObjectId, PlanId, RunId, TreeId, VerdictId

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select, Table

__all__ = [
    "name_number",
    "run_row",
    "run_select",
    "runs_by_id",
    "runs_numbered",
    "runs_where",
    "runs_with",
    "runs_with_data",
    "verdicts_of",
]


def name_number(project: str, text: str) -> Any:  # noqa: ANN401  # SQLAlchemy's type of a scalar subquery
    """Returns the expression of a text's number; NULL where nothing is called so."""
    table = schema.names
    return (
        select(table.c.number)
        .where(table.c.project == project, table.c.key == key_text(text))
        .scalar_subquery()
    )


def run_select() -> Select[Any]:
    """Returns the query for the columns that `run_row` reads."""
    runs, names = schema.runs, schema.names
    return select(runs, names.c.name).outerjoin(names, names.c.number == runs.c.name_number)


def runs_where(
    connection: Connection, project: str, *wanted: ColumnElement[bool], limit: int | None = None
) -> list[RunRow]:
    """Returns the runs that fit, the newest first."""
    runs = schema.runs
    query = (
        run_select()
        .where(runs.c.project == project, *wanted)
        .order_by(runs.c.started.desc(), runs.c.id)
        .limit(limit)
    )
    return [run_row(row) for row in connection.execute(query)]


def runs_numbered(connection: Connection, numbers: Collection[int]) -> list[RunRow]:
    """Returns the runs of these numbers, the oldest first."""
    # Asked for in the query, the project or the order would lead to all runs of the project.
    found = [
        run_row(row)
        for batch in batches(numbers)
        for row in connection.execute(run_select().where(schema.runs.c.number.in_(batch)))
    ]
    return sorted(found, key=lambda row: (row.started, row.id))


def runs_by_id(connection: Connection, project: str, run_ids: Collection[RunId]) -> list[RunRow]:
    """Returns the runs of these ids, the oldest first."""
    found = [
        row
        for batch in batches([str(run_id) for run_id in run_ids])
        for row in runs_where(connection, project, schema.runs.c.id.in_(batch))
    ]
    return sorted(found, key=lambda row: (row.started, row.id))


def runs_with(connection: Connection, project: str, table: Table, data_id: ObjectId) -> list[RunId]:
    """Returns the runs that have the data in `table`, the newest first."""
    numbers = runs_with_data(connection, project, table, [str(data_id)])
    found = runs_numbered(connection, list(dict.fromkeys(numbers)))
    return [row.id for row in sorted(found, key=lambda row: row.started, reverse=True)]


def runs_with_data(
    connection: Connection, project: str, table: Table, data_ids: Collection[str]
) -> Iterator[int]:
    """Yields the numbers of the runs that have one of the data in `table`."""
    runs = schema.runs
    for batch in batches(data_ids):
        query = (
            select(table.c.run_number, runs.c.project)
            .join(runs, runs.c.number == table.c.run_number)
            .where(table.c.data_id.in_(batch))
        )
        # Asked for in the query, the project would lead SQLite to go through all runs of it.
        yield from (row.run_number for row in connection.execute(query) if row.project == project)


def verdicts_of(connection: Connection, project: str, run: RunId) -> Sequence[VerdictRow]:
    """Returns the reproductions of a run, the newest first."""
    table = schema.verdicts
    query = (
        select(table)
        .where(table.c.project == project, table.c.run_id == str(run))
        .order_by(table.c.started.desc(), table.c.id)
    )
    return [
        VerdictRow(
            id=VerdictId.parse(row.id),
            run=run,
            verdict=row.verdict,
            engine=row.engine,
            isolated=row.isolated,
            exit_code=row.exit_code,
            started=row.started,
            duration_ms=row.duration_ms,
        )
        for row in connection.execute(query)
    ]


def run_row(row: Row[Any]) -> RunRow:
    """Returns a row of `run_select` as an answer."""
    return RunRow(
        id=RunId.parse(row.id),
        plan=PlanId.parse(row.plan),
        name=row.name,
        argv=tuple(json.loads(row.argv)),
        directory=row.directory,
        status=row.status,
        exit_code=row.exit_code,
        started=row.started,
        duration_ms=row.duration_ms,
        profile=row.profile,
        threads=row.threads,
        seed=row.seed,
        engine=row.engine,
        author=row.author,
        code_sha=row.code_sha,
        code_tree=TreeId.parse(row.code_tree),
        dirty=row.dirty,
        environment=None if row.environment is None else EnvironmentId.parse(row.environment),
    )
