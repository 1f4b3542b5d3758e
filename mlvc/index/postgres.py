"""A PostgreSQL server behind the index, for a team: any number of projects, repositories and writers in one database.

Writers take their turns by an advisory lock of the database, which a transaction holds to its end; readers see one
state and never wait. Nothing here is kept between transactions, so a server may restart at any time.
"""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, NullPool, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from mlvc.errors import MlvcError, UsageError
from mlvc.fsio import DiskFullError
from mlvc.index import schema
from mlvc.index.errors import (
    IndexBusyError,
    IndexDamagedError,
    IndexUnreachableError,
    IndexUnusableError,
)
from mlvc.index.storage import bring_up_to_date, stored_version

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["PostgresDatabase", "PostgresMissingError"]

_LOCK_KEY = int.from_bytes(b"mlvc", "big")
_BUSY_TIMEOUT_S = 30
_CONNECT_TIMEOUT_S = 10
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNREACHABLE = ("08", "28", "3D", "53300", "57P")
_BUSY = {"55P03", "40001", "40P01"}
_DAMAGED = {"42P01", "42703"}
_FULL = "53100"


class PostgresMissingError(MlvcError):
    """The library that talks to PostgreSQL is not installed."""

    code = "postgres-missing"


class PostgresDatabase:
    """A `storage.Database` on a server: each transaction has a connection of its own.

    Attributes:
        place: The server's address without the password.
    """

    def __init__(self, url: str) -> None:
        """Describes a database; nothing is asked of the server yet.

        Raises:
            UsageError: `url` is no address of a PostgreSQL database.
            PostgresMissingError: psycopg is not installed.
        """
        parsed = _parse(url)
        port = "" if parsed.port is None else f":{parsed.port}"
        user = "" if parsed.username is None else f"{parsed.username}@"
        self.place = f"postgresql://{user}{parsed.host or ''}{port}/{parsed.database or ''}"
        self._secrets = _secrets_of(parsed)
        self._engine = _engine(parsed)
        self._is_checked = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Begins a transaction that sees one state of the index and never waits for a writer."""
        self._check_schema()
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._translated(), self._engine.execution_options(**options).begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Begins a transaction that excludes other writers from its start; leaving it by an exception undoes it."""
        self._check_schema()
        with self._translated(), self._locked() as connection:
            yield connection

    def update_statistics(self) -> None:
        """Has the server look at how its rows are spread; by itself it does so after a minute at best.

        Without statistics it takes any column to have 200 values, and so a project to be small: it would look for
        one run among all of them, each time.
        """
        tables = ", ".join(table.name for table in schema.METADATA.sorted_tables)
        with self._translated(), self._engine.begin() as connection:
            connection.execute(text(f"ANALYZE (SKIP_LOCKED) {tables}"))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Connection]:
        # In the default isolation, every statement after the lock sees what its last holder wrote.
        with self._engine.begin() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{_BUSY_TIMEOUT_S}s'"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})"))
            yield connection

    def _check_schema(self) -> None:
        if self._is_checked:
            return
        with self._translated():
            with self._engine.begin() as connection:
                is_current = stored_version(connection) == schema.SCHEMA_VERSION
            if not is_current:
                with self._locked() as connection:
                    bring_up_to_date(connection, self.place)
        self._is_checked = True

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as exc:
            raise self._translate(exc) from exc

    def _translate(self, error: SQLAlchemyError) -> MlvcError:
        origin = error.orig if isinstance(error, DBAPIError) else None
        said = " ".join(str(origin or error).split())
        for secret in self._secrets:
            said = said.replace(secret, "***")
        state = getattr(origin, "sqlstate", None) or ""
        if state in _BUSY:
            return IndexBusyError(self.place)
        if state == _FULL:
            return DiskFullError(
                f"cannot write {self.place}: {said}", hint="free some space there and repeat"
            )
        if state in _DAMAGED:
            return IndexDamagedError(self.place, said, is_server=True)
        # A connection that could not be made, or broke, has no state of the server's.
        if state.startswith(_UNREACHABLE) or (isinstance(error, DBAPIError) and not state):
            return IndexUnreachableError(self.place, said)
        return IndexUnusableError(self.place, said)


def _parse(url: str) -> URL:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgresql", "postgres"}:
        raise UsageError(
            "the address of the index does not begin with postgresql://",
            hint="write it as in postgresql://USER@HOST/DATABASE, into MLVC_INDEX_URL or your own index.url",
        )
    with contextlib.suppress(ArgumentError, ValueError):
        # A password ends at its first `@`: of one that holds another, the rest would be told as the server's name.
        if rest.count("@") < 2:
            return make_url(f"postgresql+psycopg://{rest}")
    # What could not be read may hold a password, so nothing of it is told.
    raise UsageError(
        "the address of the index cannot be read",
        hint="write it as in postgresql://USER@HOST:PORT/DATABASE, a `@` in a password as %40",
    )


def _secrets_of(url: URL) -> tuple[str, ...]:
    values = [url.password, *(value for key, value in url.query.items() if "pass" in key.lower())]
    plain = {value for value in values if isinstance(value, str) and value}
    return tuple(plain | {urllib.parse.quote(value, safe="") for value in plain})


def _engine(url: URL) -> Engine:
    settings = {} if "connect_timeout" in url.query else {"connect_timeout": _CONNECT_TIMEOUT_S}
    try:
        return create_engine(url, poolclass=NullPool, connect_args=settings)
    except ModuleNotFoundError as exc:
        raise PostgresMissingError(
            "an index on PostgreSQL needs psycopg, which is not installed",
            hint="pip install 'mlvc[postgres]'",
        ) from exc
