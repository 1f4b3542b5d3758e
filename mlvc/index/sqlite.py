"""The SQLite file behind the index: opening, transactions, the schema's version, replacement by a new file.

Every use of the file holds `<file>.lock` shared, and replacing it holds that lock alone: SQLite would otherwise apply
the write-ahead log of the old file to the new one. Readers and writers of one file do not wait for each other (WAL);
writers wait for each other up to the busy timeout.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Column, Connection, Engine, NullPool, create_engine, event

from mlvc import fsio
from mlvc.index import schema
from mlvc.index.errors import translate_sql_errors
from mlvc.index.storage import bring_up_to_date, stored_version
from mlvc.model.names import encode_name

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["SqliteFile"]

_BUSY_TIMEOUT_MS = 30_000
_ROWS, _VALUES = 100_000, 1_000
"""Of a table, and of a column other than the project, in an index that is large enough for the plan to matter."""
_SIDE_FILES = ("-wal", "-shm", "-journal")


class SqliteFile:
    """A `storage.Database` in a file: each transaction has a connection of its own.

    Attributes:
        path: The file.
        place: Its name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = encode_name(os.fsencode(path))
        self._lock = path.with_name(path.name + ".lock")
        # No pool: a connection costs a tenth of a millisecond, and one that stayed open would outlive a replacement.
        self._engine = _engine(path)
        self._is_checked = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Begins a transaction that sees one state of the index and never waits for a writer."""
        with self._opened(), self._begin("BEGIN") as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Begins a transaction that excludes other writers from its start; leaving it by an exception undoes it."""
        # A transaction that first reads and then writes could not wait for another writer: it would fail at once.
        with self._opened(), self._begin("BEGIN IMMEDIATE") as connection:
            yield connection

    def update_statistics(self) -> None:
        """Does nothing: a file has fixed statistics from its beginning."""

    def replace_with(self, new: SqliteFile) -> None:
        """Puts the contents of `new`, which no other process knows of, in the place of this file.

        Waits until no transaction uses this file. A crash on the way leaves the old index, the new one, or none;
        none is an empty index, which the next `catch_up` fills.
        """
        with translate_sql_errors(new.path):
            # In this mode everything is in the one file, so that renaming that one is enough.
            new._set_journal_mode("DELETE")
        with fsio.translate_os_errors(f"replace {self.path}"), fsio.file_lock(self._lock):
            self.remove()
            fsio.publish(new.path, self.path)
            new.remove()
        self._is_checked = False

    def remove(self) -> None:
        """Removes the file and what SQLite keeps beside it; the file first: SQLite ignores the log of an empty one."""
        for suffix in ("", *_SIDE_FILES):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            with fsio.translate_os_errors(f"open {self.path}"):
                if not self.path.exists():
                    with fsio.file_lock(self._lock), translate_sql_errors(self.path):
                        self._set_journal_mode("WAL")
                    self._is_checked = False
                stack.enter_context(fsio.file_lock(self._lock, shared=True))
            stack.enter_context(translate_sql_errors(self.path))
            if not self._is_checked:
                self._check_schema()
                self._is_checked = True
            yield

    def _check_schema(self) -> None:
        with self._begin("BEGIN") as connection:
            if stored_version(connection) == schema.SCHEMA_VERSION:
                return
        with self._begin("BEGIN IMMEDIATE") as connection:
            bring_up_to_date(connection, self.place)
            _write_statistics(connection)

    def _begin(self, statement: str | None) -> AbstractContextManager[Connection]:
        return self._engine.execution_options(mlvc_begin=statement).begin()

    def _set_journal_mode(self, mode: str) -> None:
        with self._begin(None) as connection:  # The mode cannot be changed inside a transaction.
            connection.exec_driver_sql(f"PRAGMA journal_mode = {mode}")


def _write_statistics(connection: Connection) -> None:
    """Tells SQLite how rows are spread in a large index; without that it takes any index that begins with the project.

    Fixed, where ANALYZE would count what is there today: so the plans are the same in every index, and can be tested.
    """
    connection.exec_driver_sql(f"ANALYZE {schema.packs.name}")  # Makes SQLite's table of statistics.
    connection.exec_driver_sql("DELETE FROM sqlite_stat1")
    # A table without numbers is kept as its primary key, which has its name.
    rows: list[tuple[str, str | None, str]] = [
        (table.name, table.name, _spread(table.primary_key.columns, is_unique=True))
        for table in schema.METADATA.sorted_tables
        if not table.dialect_options["sqlite"]["with_rowid"]
    ]
    rows += [
        (table.name, index.name, _spread(index.columns, is_unique=bool(index.unique)))
        for table in schema.METADATA.sorted_tables
        for index in table.indexes
    ]
    connection.exec_driver_sql("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", rows)


def _spread(columns: Iterable[Column[Any]], *, is_unique: bool) -> str:
    """Returns the number of rows, and then how many agree in the first column, in the first two, and so on."""
    counts = [_ROWS]
    for column in columns:
        counts.append(counts[-1] if column.name == "project" else max(counts[-1] // _VALUES, 1))
    if is_unique:
        counts[-1] = 1
    return " ".join(map(str, counts))


def _engine(path: Path) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
        # Python's sqlite3 would begin transactions by itself, and only before the first change.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        # With a write-ahead log a power cut may lose the last transactions but never damages; objects are durable.
        connection.execute("PRAGMA synchronous = NORMAL")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        statement = connection.get_execution_options()["mlvc_begin"]
        if statement is not None:
            connection.exec_driver_sql(statement)

    return engine
