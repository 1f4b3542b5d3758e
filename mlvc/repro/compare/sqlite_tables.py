"""SQLite databases: every table by its rows, in memory. Views, triggers and virtual tables are text, never executed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from mlvc.model.objects import Difference
from mlvc.repro.compare.comparison import UnfitError, shown
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.tables import Table, compare_tables
from mlvc.repro.compare.windows import Window

__all__ = ["compare"]

_MOST_BYTES = 512 << 20
_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ}


def compare(left: Window, right: Window, job: Job) -> None:
    """Compares two databases.

    Raises:
        UnfitError: One is too large.
    """
    before, after = _open(left), _open(right)
    count = len(job.findings)
    tables, others = _schema(before), _schema(after)
    for name in [*tables, *(name for name in others if name not in tables)]:
        where = shown(name)
        if name not in tables or name not in others or tables[name] != others[name]:
            told = shown(tables.get(name, "")), shown(others.get(name, ""))
            job.findings.add(Difference(where, "structure", *told))
        elif tables[name].upper().startswith("CREATE TABLE"):
            _compare_table(before, after, name, job)
    if len(job.findings) == count:
        job.findings.add(Difference("", "container", rule="sqlite.pages"))


def _open(window: Window) -> sqlite3.Connection:
    if window.size > _MOST_BYTES:
        raise UnfitError("the database is too large to compare")
    data = bytearray(window.read(0, window.size))
    # One that is written ahead has its journal elsewhere; in memory there is none.
    data[18:20] = b"\1\1"
    connection = sqlite3.connect(":memory:")
    connection.deserialize(bytes(data))
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    connection.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
    )
    return connection


def _schema(connection: sqlite3.Connection) -> dict[str, str]:
    """Returns the statement that made each table, view, index and trigger."""
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
    return {str(name): str(sql) for name, sql in rows}


def _compare_table(before: sqlite3.Connection, after: sqlite3.Connection, name: str, job: Job) -> None:
    quoted = name.replace('"', '""')
    tables = []
    for connection in (before, after):
        cursor = connection.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608  # quoted, and only reading is allowed
        tables.append(Table([column[0] for column in cursor.description], _iter_rows(cursor)))
    inner = Job(job.name, job.place(shown(name)), job.findings, job.unpacked, job.compare)
    compare_tables(tables[0], tables[1], inner)


def _iter_rows(cursor: sqlite3.Cursor) -> Iterator[Sequence[Any]]:
    yield from cursor
