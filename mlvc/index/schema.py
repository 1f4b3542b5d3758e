"""The tables of the index, and the version of their schema.

Every row belongs to a project and to an object, and repeats what the object says, so any row can be made again.
Ids are in text form. What a database counts by itself (`number`, and the columns that end in `_number`) means nothing
outside of it, and a rebuild counts anew.
Page: docs/reference/index.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects import postgresql

from mlvc.index.version import SCHEMA_VERSION, VERSION_TABLE

__all__ = [
    "METADATA",
    "OWNERS",
    "SCHEMA_VERSION",
    "VERSION_TABLE",
    "commit_changes",
    "commit_parents",
    "commits",
    "distributions",
    "environments",
    "metrics",
    "names",
    "packs",
    "params",
    "run_inputs",
    "run_outputs",
    "runs",
    "schema_versions",
    "tree_entries",
    "trees",
    "unread_trees",
    "verdict_outputs",
    "verdicts",
]

# A fixed naming convention, so that a migration can name what it changes on any database.
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# By code points on both engines, as Python compares: a server's own order of letters is another for each country.
_TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
# Only as INTEGER is a primary key the row's own number in SQLite; a dataset may have more bytes than 32 bits count.
_INTEGER = BigInteger().with_variant(Integer, "sqlite")


def _text(name: str, *, key: bool = False, nullable: bool = False) -> Column[str]:
    return Column(name, _TEXT, primary_key=key, nullable=nullable)


def _integer(name: str, *, key: bool = False, nullable: bool = False) -> Column[int]:
    return Column(name, _INTEGER, primary_key=key, nullable=nullable, autoincrement=False)


def _table(name: str, *items: Column[Any] | Index, numbered: bool = False) -> Table:
    """Returns a table; without a number of its own, SQLite keeps the rows in the order of the primary key."""
    return Table(name, METADATA, *items, sqlite_with_rowid=numbered)


def _index(*columns: str, unique: bool = False) -> Index:
    return Index(None, *columns, unique=unique)


def _data_columns() -> tuple[Column[Any], ...]:
    return (_text("kind"), _text("data_id"), _integer("files"), _integer("size_bytes"))


schema_versions = Table(VERSION_TABLE, METADATA, Column("version_num", String(32), primary_key=True))

packs = _table("packs", _text("project", key=True), _text("id", key=True), _integer("objects"))

names = _table(
    "names",
    _integer("number", key=True),
    _text("project"),
    # Unlike the name, short enough for an index of any database.
    _text("key"),
    _text("name"),
    _index("project", "key", unique=True),
    numbered=True,
)

commits = _table(
    "commits",
    _integer("number", key=True),
    _text("project"),
    _text("id"),
    _text("code_sha"),
    _text("code_tree", nullable=True),
    _text("environment", nullable=True),
    _text("base", nullable=True),
    _text("author"),
    _text("time"),
    _text("message"),
    _index("project", "id", unique=True),
    _index("project", "code_sha"),
    _index("project", "base"),
    numbered=True,
)
commit_parents = _table(
    "commit_parents",
    _integer("commit_number", key=True),
    _integer("position", key=True),
    _text("parent"),
    _index("parent"),
)
commit_changes = _table(
    "commit_changes",
    _integer("commit_number", key=True),
    _integer("path_number", key=True),
    _text("kind", nullable=True),
    _text("data_id", nullable=True),
    _integer("files", nullable=True),
    _integer("size_bytes", nullable=True),
    _text("run", nullable=True),
    _index("data_id"),
    _index("path_number"),
)

trees = _table(
    "trees",
    _integer("number", key=True),
    _text("project"),
    _text("id"),
    _text("base", nullable=True),
    _integer("path_number", nullable=True),
    _index("project", "id", unique=True),
    _index("project", "base"),
    _index("path_number"),
    numbered=True,
)
tree_entries = _table(
    "tree_entries",
    _integer("tree_number", key=True),
    _text("name", key=True),
    _text("child", nullable=True),
    _index("child"),
)

unread_trees = _table(
    "unread_trees",
    _text("project", key=True),
    _text("id", key=True),
    _integer("path_number"),
    _text("moment"),
)

environments = _table(
    "environments",
    _text("project", key=True),
    _text("id", key=True),
    _text("python"),
    _text("implementation"),
    _text("platform"),
)
distributions = _table(
    "distributions",
    _text("project", key=True),
    _text("environment", key=True),
    _integer("position", key=True),
    _integer("name_number"),
    _text("version"),
    _text("wheel", nullable=True),
    _index("name_number"),
)

runs = _table(
    "runs",
    _integer("number", key=True),
    _text("project"),
    _text("id"),
    _text("plan"),
    _integer("name_number", nullable=True),
    _text("argv"),
    _text("directory"),
    _text("status"),
    _integer("exit_code"),
    _text("started"),
    _integer("duration_ms"),
    _text("profile"),
    _integer("threads"),
    _integer("seed", nullable=True),
    _text("engine"),
    _text("code_sha", nullable=True),
    _text("code_tree"),
    Column("dirty", Boolean, nullable=False),
    _text("environment", nullable=True),
    _text("host"),
    _text("author"),
    _index("project", "id", unique=True),
    _index("project", "plan"),
    _index("project", "started"),
    _index("project", "code_sha"),
    _index("project", "environment"),
    _index("name_number"),
    numbered=True,
)


def _run_data(name: str) -> Table:
    return _table(
        name,
        _integer("run_number", key=True),
        _integer("path_number", key=True),
        *_data_columns(),
        _index("data_id"),
        _index("path_number"),
    )


def _values(name: str) -> Table:
    return _table(
        name,
        _integer("run_number", key=True),
        _integer("name_number", key=True),
        _text("value"),
        Column("number", Float),
        _text("text", nullable=True),
        _index("name_number", "number", "run_number"),
    )


run_inputs = _run_data("run_inputs")
run_outputs = _run_data("run_outputs")
params = _values("params")
metrics = _values("metrics")

verdicts = _table(
    "verdicts",
    _text("project", key=True),
    _text("id", key=True),
    _text("run_id"),
    _text("verdict"),
    _text("engine"),
    Column("isolated", Boolean, nullable=False),
    _integer("exit_code"),
    _text("started"),
    _integer("duration_ms"),
    _text("host"),
    _index("project", "run_id"),
)
verdict_outputs = _table(
    "verdict_outputs",
    _text("project", key=True),
    _text("verdict_id", key=True),
    _integer("position", key=True),
    _text("path"),
    _text("verdict"),
    _text("recorded"),
    _text("reproduced", nullable=True),
    _text("detail"),
)

OWNERS: Mapping[Table, tuple[Table, str]] = {
    run_inputs: (runs, "run_number"),
    run_outputs: (runs, "run_number"),
    params: (runs, "run_number"),
    metrics: (runs, "run_number"),
    commit_parents: (commits, "commit_number"),
    commit_changes: (commits, "commit_number"),
    tree_entries: (trees, "tree_number"),
}
"""Each table that has no project of its own, with the one whose rows it is about, and by which column."""
