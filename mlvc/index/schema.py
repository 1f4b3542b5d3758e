"""The tables of the index, and the version of their schema.

Every row belongs to a project and to an object, and repeats what the object says, so any row can be made again.
Ids are in text form. Page: docs/reference/index.md
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, MetaData, String, Table

__all__ = [
    "METADATA",
    "SCHEMA_VERSION",
    "VERSION_TABLE",
    "commit_parents",
    "commit_paths",
    "commits",
    "distributions",
    "environments",
    "metrics",
    "packs",
    "params",
    "run_inputs",
    "run_outputs",
    "runs",
    "schema_versions",
    "verdict_outputs",
    "verdicts",
]

SCHEMA_VERSION = "0001"
"""The latest revision in `migrations/versions`; revisions sort as text."""

VERSION_TABLE = "alembic_version"

# A fixed naming convention, so that a migration can name what it changes on any database.
METADATA = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s"}
)


def _table(name: str, key: tuple[str, ...], *columns: Column[Any]) -> Table:
    """Returns a table whose primary key is the project and the text columns `key`; `position` is an integer."""
    keys = [Column(item, Integer if item == "position" else String, primary_key=True) for item in key]
    return Table(name, METADATA, Column("project", String, primary_key=True), *keys, *columns)


def _text(name: str, *, index: bool = False, nullable: bool = False) -> Column[str]:
    return Column(name, String, nullable=nullable, index=index)


def _integer(name: str, *, nullable: bool = False) -> Column[int]:
    # A dataset may have more bytes than 32 bits count, and SQLite has one size of integer anyway.
    return Column(name, BigInteger, nullable=nullable)


def _data_columns() -> tuple[Column[Any], ...]:
    return (_text("kind"), _text("data_id", index=True), _integer("files"), _integer("size_bytes"))


schema_versions = Table(VERSION_TABLE, METADATA, Column("version_num", String(32), primary_key=True))

packs = _table("packs", ("id",), _integer("objects"))

commits = _table(
    "commits",
    ("id",),
    _text("code_sha", index=True),
    _text("code_tree", nullable=True),
    _text("environment", nullable=True),
    _text("author"),
    _text("time"),
    _text("message"),
)
commit_parents = _table("commit_parents", ("commit_id", "position"), _text("parent", index=True))
commit_paths = _table("commit_paths", ("commit_id", "path"), *_data_columns(), _text("run", nullable=True))

environments = _table("environments", ("id",), _text("python"), _text("implementation"), _text("platform"))
distributions = _table(
    "distributions",
    ("environment", "position"),
    _text("name", index=True),
    _text("version"),
    _text("wheel", nullable=True),
)

runs = _table(
    "runs",
    ("id",),
    _text("plan", index=True),
    _text("name", index=True, nullable=True),
    _text("argv"),
    _text("directory"),
    _text("status"),
    _integer("exit_code"),
    _text("started", index=True),
    _integer("duration_ms"),
    _text("profile"),
    _integer("threads"),
    _integer("seed", nullable=True),
    _text("engine"),
    _text("code_sha", index=True, nullable=True),
    _text("code_tree"),
    Column("dirty", Boolean, nullable=False),
    _text("environment", index=True, nullable=True),
    _text("host"),
    _text("author"),
)
run_inputs = _table("run_inputs", ("run_id", "path"), *_data_columns())
run_outputs = _table("run_outputs", ("run_id", "path"), *_data_columns())
params = _table("params", ("run_id", "name"), _text("value"), Column("number", Float))
metrics = _table("metrics", ("run_id", "name"), _text("value"), Column("number", Float))

verdicts = _table(
    "verdicts",
    ("id",),
    _text("run_id", index=True),
    _text("verdict"),
    _text("engine"),
    Column("isolated", Boolean, nullable=False),
    _integer("exit_code"),
    _text("started"),
    _integer("duration_ms"),
    _text("host"),
)
verdict_outputs = _table(
    "verdict_outputs",
    ("verdict_id", "path"),
    _text("verdict"),
    _text("recorded"),
    _text("reproduced", nullable=True),
    _text("detail"),
)
