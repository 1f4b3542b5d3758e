"""An index that an older mlvc made and filled: every version of the schema, on every engine."""

from pathlib import Path

import alembic.command
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, MetaData, NullPool, create_engine, insert, select

import mlvc.index.migrate
from mlvc.index import schema
from mlvc.index.database import MetadataIndex
from mlvc.index.sqlite import SqliteFile
from mlvc.model.ids import BlobId
from mlvc.model.tree import Kind, TreeEntry
from tests.support.index_project import data, everything

MIGRATIONS = Config()
MIGRATIONS.set_main_option("script_location", str(Path(mlvc.index.migrate.__file__).parent / "migrations"))
RELEASED = sorted(each.revision for each in ScriptDirectory.from_config(MIGRATIONS).walk_revisions())
OLD = [version for version in RELEASED if version != schema.SCHEMA_VERSION]


def make_old(project, version):
    """Makes the tables of a version where the project's index is to be; returns them and their engine."""
    url = f"sqlite:///{project.directory / 'index.db'}"
    if project.url is not None:
        url = project.url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        MIGRATIONS.attributes["connection"] = connection
        alembic.command.upgrade(MIGRATIONS, version)
        tables = MetaData()
        tables.reflect(connection)
    return engine, tables.tables


def rows_of_today(project):
    """Returns what an index of the present version has for the project, by table; some of its trees were read."""
    database = SqliteFile(project.directory / "today.db")
    index = MetadataIndex(database, project.store, "project")
    index.catch_up(project.reporter)
    with project.store.writer() as writer:
        tree = writer.add_tree([TreeEntry(b"f", Kind.FILE, BlobId.of(b"f"), 1)])
    folder = data("folder", kind=Kind.DIRECTORY)
    read = type(folder)(folder.path, folder.kind, tree, 1, 1)
    project.run([read], [data("made")])
    index.catch_up(project.reporter)
    index.impact(project.reporter, data=[BlobId.of(b"f")])
    with database.reading() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in schema.METADATA.sorted_tables
            if table is not schema.schema_versions
        }


def rows_0001(project, tables):
    """Returns a row in each table, none of them true, and that all packs were taken in."""
    found = {
        name: [
            {
                column.name: True
                if isinstance(column.type, Boolean)
                else 1
                if column.type.python_type is int
                else 1.0
                if column.type.python_type is float
                else "project"
                for column in table.columns
            }
        ]
        for name, table in tables.items()
    }
    return {**found, "packs": rows_of_today(project)["packs"]}


def rows_0002(project, _tables):
    """Returns the present rows: nothing of these tables has changed since."""
    return {name: rows for name, rows in rows_of_today(project).items() if name != "unread_trees"}


ROWS = {"0001": rows_0001, "0002": rows_0002}


@pytest.mark.parametrize("version", OLD)
def test_a_filled_index_of_an_older_mlvc(project, version):
    """The next question brings it up to date; it then has every row that an index made anew has, and answers as it."""
    environment, run, first, second, verdict = project.add_one_of_each()
    engine, tables = make_old(project, version)
    rows = ROWS[version](project, tables)
    with engine.begin() as connection:
        for name, table in tables.items():
            if name != schema.VERSION_TABLE and rows[name]:
                connection.execute(insert(table), rows[name])
    anew = MetadataIndex(SqliteFile(project.directory / "anew.db"), project.store, "project")
    anew.catch_up(project.reporter)
    bad = BlobId.of(b"f")

    index = project.catch_up()

    assert everything(SqliteFile(project.directory / "anew.db")) == everything(project.database)
    answer = index.impact(project.reporter, data=[bad])
    assert anew.impact(project.reporter, data=[bad]) == answer
    assert 1 == len(answer.runs)
    # The directories of the run and the commits, whose trees are not here, and none that was read.
    assert anew.counts() == index.counts()
    assert [verdict] == [row.id for row in index.verdicts_of(run)]
    assert {first, second} == {row.id for row in index.commits()}
    assert [environment] == [row.environment for row in index.environments_with("local")]


def test_every_version_is_tried():
    """A version that is released brings rows for this test."""
    assert ROWS.keys() == set(OLD)
