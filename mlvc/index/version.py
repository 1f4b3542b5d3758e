"""The version of the schema. A module of its own, because to know it takes no library."""

from __future__ import annotations

__all__ = ["SCHEMA_VERSION", "VERSION_TABLE"]

SCHEMA_VERSION = "0003"
"""The latest revision in `migrations/versions`; revisions sort as text."""

VERSION_TABLE = "alembic_version"
