"""What can be wrong with the index, told apart, and how SQL's own errors become that."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from mlvc.errors import IntegrityError, MlvcError, VersionError
from mlvc.fsio import DiskFullError, has_room

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "INDEX_ERRORS",
    "IndexBusyError",
    "IndexDamagedError",
    "IndexUnreachableError",
    "IndexUnusableError",
    "IndexVersionError",
    "translate_sql_errors",
]

_REBUILD = "`mlvc index rebuild` makes a new one from the objects; nothing is lost"
# What stands in a database of a server may be of other people, or of another program: no command drops it.
_EMPTY = (
    "name an empty database, which `mlvc index rebuild` and everybody's next question fill; nothing is lost"
)
_NEWER = "install the mlvc that the others have; without MLVC_INDEX_URL and index.url mlvc keeps an index of its own"
_PRIMARY_CODE = 0xFF  # SQLite's extended result codes keep the primary one in the lowest byte.
_SIDE_FILE_BYTES = 64 << 10
"""Beside a database SQLite keeps a file of 32 KiB; a little more, so that the probe is no closer than that."""
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class IndexDamagedError(IntegrityError):
    """The index's file is not a database, or a damaged one.

    Attributes:
        place: The file, or the server's address without the password.
        is_server: Which of the two it is.
    """

    code = "index-damaged"

    def __init__(self, place: Path | str, what: str, *, is_server: bool = False) -> None:
        super().__init__(f"the index {place} is damaged: {what}", hint=_EMPTY if is_server else _REBUILD)
        self.place = str(place)
        self.is_server = is_server


class IndexBusyError(MlvcError):
    """Another process has been writing to the index for too long.

    Attributes:
        place: The file, or the server's address without the password.
    """

    code = "index-busy"

    def __init__(self, place: Path | str) -> None:
        super().__init__(f"another process is writing to the index {place}", hint="repeat when it has ended")
        self.place = str(place)


class IndexVersionError(VersionError):
    """The index has a schema that this mlvc does not know.

    Attributes:
        place: The file, or the server's address without the password.
        version: The schema's version, as stored.
    """

    code = "unknown-index-version"

    def __init__(self, place: Path | str, version: str, *, is_server: bool = False) -> None:
        super().__init__(
            f"this mlvc does not know version {version[:40]!r} of the schema of {place}",
            hint=_NEWER
            if is_server
            else "install a newer mlvc, or make an index for this one with `mlvc index rebuild`",
        )
        self.place = str(place)
        self.version = version


class IndexUnreachableError(MlvcError):
    """The server of the index does not answer, or lets nobody in.

    Attributes:
        place: The server's address without the password.
    """

    code = "index-unreachable"

    def __init__(self, place: str, what: str) -> None:
        super().__init__(
            f"the index {place} cannot be reached: {what}",
            hint="see whether the server runs and lets you in; without MLVC_INDEX_URL and index.url mlvc keeps an "
            "index of its own",
        )
        self.place = place


class IndexUnusableError(MlvcError):
    """The index could not be opened, read or written, for a reason outside it.

    Attributes:
        place: The file, or the server's address without the password.
    """

    code = "index-unusable"

    def __init__(self, place: Path | str, what: str) -> None:
        super().__init__(
            f"the index {place} cannot be used: {what}",
            hint="see whether there is room and permission; it can always be rebuilt: `mlvc index rebuild`",
        )
        self.place = str(place)


INDEX_ERRORS = (
    IndexBusyError,
    IndexDamagedError,
    IndexUnreachableError,
    IndexUnusableError,
    IndexVersionError,
)
"""All that an index itself can come to; objects that are damaged are none of it."""


@contextlib.contextmanager
def translate_sql_errors(path: Path) -> Iterator[None]:
    """Turns every SQL error of the body into one of ours.

    Args:
        path: The index's file.

    Raises:
        IndexDamagedError: The file is no database, or a damaged one; a table or column is missing.
        IndexBusyError: The busy timeout passed.
        DiskFullError: There is no room.
        IndexUnusableError: Anything else, such as a file that may not be written.
    """
    try:
        yield
    except SQLAlchemyError as exc:
        # `code` is also an attribute of SQLAlchemy's own errors, so SQLite's is asked for by its full name.
        origin = exc.orig if isinstance(exc, DBAPIError) else None
        primary = getattr(origin, "sqlite_errorcode", 0) & _PRIMARY_CODE
        if primary in _BUSY:
            raise IndexBusyError(path) from exc
        # SQLITE_ERROR means SQL that does not fit the schema: the version says that it should.
        if primary in _DAMAGED or primary == sqlite3.SQLITE_ERROR:
            raise IndexDamagedError(path, str(origin)) from exc
        # Of the files that it shares between processes SQLite says no more than that it could not make them longer.
        is_full = primary in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN} and not has_room(
            path.parent, _SIDE_FILE_BYTES
        )
        if primary == sqlite3.SQLITE_FULL or is_full:
            raise DiskFullError(
                f"cannot write {path}: no space left", hint="free some space and repeat"
            ) from exc
        raise IndexUnusableError(path, str(origin or exc)) from exc
