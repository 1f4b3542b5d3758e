"""The table of runs: which, in which order, and what of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from sqlalchemy import select

from mlvc.index import schema
from mlvc.index.answers import RunEntry
from mlvc.index.expression import Field, parse_expression, parse_field
from mlvc.index.intake import batches
from mlvc.index.runs import name_number, run_row, run_select
from mlvc.index.where import latest_verdict, ordered_by, where

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Table

__all__ = ["entries_where", "parse_sort", "versions_in"]

_MOST = (1 << 31) - 1


def parse_sort(text: str) -> tuple[Field, bool]:
    """Returns the field to sort by, and whether the largest comes first, as a `-` before it says."""
    return parse_field(text.removeprefix("-")), text.startswith("-")


def entries_where(
    connection: Connection,
    project: str,
    *conditions: ColumnElement[bool],
    expression: str | None = None,
    sort: str | None = None,
    limit: int | None = None,
) -> list[RunEntry]:
    """Returns the runs that fit, sorted; by default, and among equals, the newest first.

    Raises:
        ExpressionError: The expression or the sorting cannot be read.
    """
    runs = schema.runs
    # The engines differ in what they take below zero and above 32 bits.
    limit = None if limit is None else min(max(limit, 0), _MOST)
    query = run_select().add_columns(latest_verdict().label("verdict"))
    query = query.where(runs.c.project == project, *conditions)
    if expression is not None:
        query = query.where(where(connection, project, parse_expression(expression)))
    if sort is not None:
        field, descending = parse_sort(sort)
        query = ordered_by(connection, project, query, field, descending=descending)
    rows = connection.execute(query.order_by(runs.c.started.desc(), runs.c.id).limit(limit)).all()
    numbers = [row.number for row in rows]
    params, metrics = (_values(connection, table, numbers) for table in (schema.params, schema.metrics))
    return [
        RunEntry(run_row(row), row.verdict, params.get(row.number, {}), metrics.get(row.number, {}))
        for row in rows
    ]


def versions_in(connection: Connection, project: str, package: str) -> Mapping[str, str]:
    """Returns the version of a distribution by environment, both as text; of several, the first on the path."""
    table = schema.distributions
    query = (
        select(table.c.environment, table.c.version)
        .where(table.c.name_number == name_number(project, canonicalize_name(package)))
        .order_by(table.c.position.desc())
    )
    return {row.environment: row.version for row in connection.execute(query)}


def _values(connection: Connection, table: Table, numbers: Sequence[int]) -> Mapping[int, Mapping[str, str]]:
    found: dict[int, dict[str, str]] = defaultdict(dict)
    named: dict[int, str] = {}
    for batch in batches(numbers):
        query = select(table.c.run_number, table.c.name_number, table.c.value)
        rows = connection.execute(query.where(table.c.run_number.in_(batch))).all()
        new = {row.name_number for row in rows} - named.keys()
        for part in batches(new):
            names = select(schema.names.c.number, schema.names.c.name).where(schema.names.c.number.in_(part))
            named.update((row.number, row.name) for row in connection.execute(names))
        for row in rows:
            found[row.run_number][named[row.name_number]] = row.value
    return {number: dict(sorted(values.items())) for number, values in found.items()}
