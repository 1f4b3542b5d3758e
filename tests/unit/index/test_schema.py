"""The schema: the same from the tables, from the migrations and in its page."""

import re
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine, insert, inspect

from mlvc.index import schema
from mlvc.index.database import MetadataIndex
from mlvc.index.migrate import UnknownRevisionError, upgrade
from mlvc.index.sqlite import SqliteFile
from tests.support.command import child_environment

ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


def test_migrations_make_the_schema(tmp_path):
    """From nothing, the migrations end at the tables and the version that this mlvc makes directly."""
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}", poolclass=NullPool)
    with engine.begin() as connection:
        upgrade(connection)

        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert schema.SCHEMA_VERSION == context.get_current_revision()
        assert [] == compare_metadata(context, schema.METADATA)


def test_the_latest_migration_is_the_schemas_version(root):
    """The version that a new index gets is the one that the migrations lead to."""
    script = ScriptDirectory(str(root / "mlvc" / "index" / "migrations"))

    assert schema.SCHEMA_VERSION == script.get_current_head()


def test_an_older_index_is_brought_up_to_date(project):
    """An index from before the first schema gets the tables, and can be used."""
    engine = create_engine(f"sqlite:///{project.directory / 'index.db'}", poolclass=NullPool)
    with engine.begin() as connection:
        schema.schema_versions.create(connection)

    assert 0 == project.index.counts()["runs"]


def test_statistics_of_an_older_index(project):
    """It gets those of a new one: without them every question would go through all rows of the project."""
    new, old = SqliteFile(project.directory / "new.db"), project.database
    engine = create_engine(f"sqlite:///{project.directory / 'index.db'}", poolclass=NullPool)
    with engine.begin() as connection:
        upgrade(connection)
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0002'")
        connection.exec_driver_sql("DROP TABLE unread_trees")

    found = []
    for database in (new, old):
        with database.reading() as connection:
            rows = connection.exec_driver_sql("SELECT tbl, idx, stat FROM sqlite_stat1")
            found.append({tuple(row) for row in rows})

    assert found[0] == found[1]
    assert ("runs", "ix_runs_project_id", "100000 100000 1") in found[0]


def test_a_version_that_no_migration_knows(project):
    """A stored version before ours that no migration starts from leads to a rebuild."""
    path = project.directory / "index.db"
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.begin() as connection:
        schema.schema_versions.create(connection)
        connection.execute(insert(schema.schema_versions).values(version_num="0000"))

    with pytest.raises(UnknownRevisionError) as caught:
        MetadataIndex(SqliteFile(path), project.store, "project").run_rows()

    assert "run `mlvc index rebuild`" == caught.value.hint


def test_the_page_names_every_table_and_column(root):
    """The reference page lists exactly the tables and columns that there are, in their order."""
    page = (root / "docs" / "reference" / "index.md").read_text()
    sections = re.split(r"^### `(\w+)`\n", page, flags=re.MULTILINE)
    documented = {name: ROW.findall(text) for name, text in zip(sections[1::2], sections[2::2], strict=True)}

    tables = {
        table.name: [column.name for column in table.columns] for table in schema.METADATA.sorted_tables
    }
    assert documented == tables


def test_the_page_marks_keys_and_indexes(root, project):
    """Bold is what the database has for a primary key, and *i* the column that an index of it leads to."""
    page = (root / "docs" / "reference" / "index.md").read_text()
    sections = re.split(r"^### `(\w+)`\n", page, flags=re.MULTILINE)
    rows = {
        (table, name): text
        for table, section in zip(sections[1::2], sections[2::2], strict=True)
        for name, text in re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE)
    }
    project.catch_up()
    with project.database.reading() as connection:
        found = inspect(connection)
        tables = found.get_table_names()
        keys = {
            (table, name)
            for table in tables
            for name in found.get_pk_constraint(table)["constrained_columns"]
        }
        indexed = {
            (table, next(name for name in index["column_names"] if name != "project"))
            for table in tables
            for index in found.get_indexes(table)
        }

    assert keys == {column for column, text in rows.items() if "**" in text}
    assert indexed == {column for column, text in rows.items() if "*i*" in text}


def test_the_drawing_is_of_the_database(root, project):
    """Every table that a database really has is in the drawing, and every line of it is a column that there is."""
    page = (root / "docs" / "reference" / "index.md").read_text()
    drawing = re.search(r"```mermaid\nerDiagram\n(.*?)```", page, re.DOTALL)[1]
    lines = re.findall(r"^    (\w+) \|\|--o\{ (\w+) : (\w+)$", drawing, re.MULTILINE)
    project.catch_up()
    with project.database.reading() as connection:
        found = inspect(connection)
        columns = {
            name: {item["name"] for item in found.get_columns(name)} for name in found.get_table_names()
        }

    assert len(drawing.splitlines()) == len(lines)
    assert {name for line in lines for name in line[:2]} == columns.keys() - {schema.VERSION_TABLE, "packs"}
    assert [] == [line for line in lines if line[2] not in columns[line[1]]]
    # A column with a number of another table leads to it.
    assert {
        (table, name) for table, names in columns.items() for name in names if name.endswith("_number")
    } == {(line[1], line[2]) for line in lines if line[2].endswith("_number")}


def test_questions_load_no_alembic(project, root):
    """Alembic takes long to load, and an index of our own version does not need it."""
    script = (
        "import sys, pathlib\n"
        "from mlvc.index.database import open_index\n"
        "from mlvc.store.local import LocalStore\n"
        "top = pathlib.Path(sys.argv[1])\n"
        "open_index(top / 'index.db', None, LocalStore(top / 'store'), 'p').run_rows()\n"
        "print(sorted({'alembic', 'sqlalchemy.orm', 'sqlite3'} & sys.modules.keys()))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, project.directory],
        cwd=root,
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=True,
    )

    assert "['sqlite3']" == done.stdout.strip()
