"""Changes the tables of an index that an older mlvc made, through Alembic. Loaded only when the versions differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import alembic.command
from alembic.config import Config
from alembic.util import CommandError

from mlvc.errors import VersionError
from mlvc.index.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["UnknownRevisionError", "upgrade"]


class UnknownRevisionError(VersionError):
    """No migration leads from the stored version of the schema to this mlvc's."""

    code = "index-migration"


def upgrade(connection: Connection) -> None:
    """Brings the schema to `SCHEMA_VERSION` inside the caller's transaction.

    Raises:
        UnknownRevisionError: No migration knows the stored version.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        alembic.command.upgrade(config, SCHEMA_VERSION)
    except CommandError as exc:
        raise UnknownRevisionError(
            f"the schema of the index cannot be brought up to date: {exc}", hint="run `mlvc index rebuild`"
        ) from exc
