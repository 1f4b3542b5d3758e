"""What the index needs of a database, and the version of the schema in it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import insert, inspect, select

from mlvc.index import schema
from mlvc.index.errors import IndexVersionError

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["MANY", "Database", "bring_up_to_date", "stored_version"]

MANY = 500
"""Objects after which the statistics of a database are worth another look, and then after as many as there were."""


class Database(Protocol):
    """A database with the index's schema; made, or its version checked, at its first use.

    Safe for use from several threads and processes.

    Attributes:
        place: What to call it; holds no password.
    """

    place: str

    def reading(self) -> AbstractContextManager[Connection]:
        """Begins a transaction that sees one state of the index and never waits for a writer.

        Raises:
            IndexDamagedError: A table or column is missing, or the file is damaged.
            IndexVersionError: It was made by a newer mlvc.
            IndexUnreachableError: The server does not answer.
        """
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """Begins a transaction that excludes other writers from its start; leaving it by an exception undoes it.

        Raises:
            IndexBusyError: Another process kept writing.
            IndexDamagedError: A table or column is missing, or the file is damaged.
            IndexVersionError: It was made by a newer mlvc.
            IndexUnreachableError: The server does not answer.
        """
        ...

    def update_statistics(self) -> None:
        """Has the database look at how its rows are spread, on which its plans depend, after many were written.

        Raises:
            IndexUnreachableError: The server does not answer.
        """
        ...


def stored_version(connection: Connection) -> str | None:
    """Returns the version of the schema; None for a database without it."""
    if not inspect(connection).has_table(schema.VERSION_TABLE):
        return None
    return connection.execute(select(schema.schema_versions.c.version_num)).scalar() or ""


def bring_up_to_date(connection: Connection, place: str) -> None:
    """Makes the tables of a new database, changes those of an older mlvc, and refuses those of a newer one.

    Args:
        connection: Excludes other writers.
        place: The database.

    Raises:
        IndexVersionError: It was made by a newer mlvc.
    """
    version = stored_version(connection)  # Another process may have been faster.
    if version is None:
        schema.METADATA.create_all(connection)
        connection.execute(insert(schema.schema_versions).values(version_num=schema.SCHEMA_VERSION))
    elif version > schema.SCHEMA_VERSION:
        raise IndexVersionError(place, version, is_server=connection.dialect.name != "sqlite")
    elif version < schema.SCHEMA_VERSION:
        from mlvc.index.migrate import upgrade  # noqa: PLC0415  # loads Alembic, which is almost never needed

        upgrade(connection)
