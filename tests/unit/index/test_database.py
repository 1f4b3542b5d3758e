"""How the index comes to know what the store holds, and what happens to a damaged or foreign file."""

import contextlib
import os
import sqlite3

import pytest
from sqlalchemy import create_engine

from mlvc.errors import IntegrityError
from mlvc.fsio import DiskFullError, FileUnreadableError
from mlvc.index.database import MetadataIndex
from mlvc.index.errors import (
    IndexBusyError,
    IndexDamagedError,
    IndexUnusableError,
    IndexVersionError,
    translate_sql_errors,
)
from mlvc.index.sqlite import SqliteFile
from tests.support.index_project import everything


def test_a_rebuild_drops_what_no_object_says(project):
    """A row that no object accounts for is gone after a rebuild, and nothing is left beside the file."""
    project.add_one_of_each()
    project.catch_up()
    before = everything(project.database)
    with contextlib.closing(sqlite3.connect(project.directory / "index.db")) as connection:
        connection.execute("UPDATE runs SET argv = '[\"forged\"]'")
        connection.execute("INSERT INTO packs VALUES ('project', 'b3:none', 1)")
        connection.commit()

    project.index.rebuild(project.reporter)

    assert before == everything(project.database)
    assert [] == [name for name in os.listdir(project.directory) if name.endswith((".new", "-wal", "-shm"))]


def test_a_lost_file_is_filled_again(project):
    """Deleting the file loses nothing, also while the index is in use."""
    run_id = project.run()
    project.catch_up()
    for name in os.listdir(project.directory):
        if name.startswith("index.db"):
            (project.directory / name).unlink()

    assert [] == list(project.index.run_rows())
    assert [run_id] == [row.id for row in project.catch_up().run_rows()]


@pytest.mark.parametrize(
    "content", [b"not a database, but some text\n" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database(project, content):
    """Foreign bytes are named as damage, nothing is deleted, and a rebuild helps."""
    run_id = project.run()
    path = project.directory / "index.db"
    path.write_bytes(content)

    with pytest.raises(IndexDamagedError, match=r"index\.db is damaged") as caught:
        project.catch_up()

    assert "mlvc index rebuild" in caught.value.hint
    assert content == path.read_bytes()
    project.index.rebuild(project.reporter)
    assert [run_id] == [row.id for row in project.index.run_rows()]


def test_a_damaged_page(project):
    """Damage inside the file is found when the page is read, and a rebuild helps."""
    run_ids = [project.run(name=f"run {number}" * 50) for number in range(30)][::-1]
    project.catch_up()
    path = project.directory / "index.db"
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)

    with pytest.raises(IndexDamagedError):
        MetadataIndex(SqliteFile(path), project.store, "project").run_rows()

    project.index.rebuild(project.reporter)
    assert run_ids == [row.id for row in project.index.run_rows()]


def test_a_missing_table_is_damage(project):
    """A file that claims the right version without its tables is damaged."""
    project.catch_up()
    with contextlib.closing(sqlite3.connect(project.directory / "index.db")) as connection:
        connection.execute("DROP TABLE runs")

    with pytest.raises(IndexDamagedError, match="no such table: runs"):
        project.index.run_rows()


def test_a_newer_schema_is_refused(project):
    """An index of a newer mlvc is left alone, with both ways out; a rebuild is one of them."""
    project.run()
    project.catch_up()
    path = project.directory / "index.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = everything(project.database)
    index = MetadataIndex(SqliteFile(path), project.store, "project")

    with pytest.raises(IndexVersionError, match="'9999'") as caught:
        index.catch_up(project.reporter)

    assert "install a newer mlvc" in caught.value.hint
    assert "mlvc index rebuild" in caught.value.hint
    assert before == everything(project.database)
    index.rebuild(project.reporter)
    assert before == everything(project.database)


def test_a_file_without_tables_is_completed(project):
    """What a process that was killed while it made the file left behind is made whole."""
    with contextlib.closing(sqlite3.connect(project.directory / "index.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")

    assert 0 == project.index.counts()["runs"]


def test_a_file_that_cannot_be_opened(project):
    """A directory in the place of the file is told as such."""
    (project.directory / "index.db").mkdir()

    with pytest.raises(IndexUnusableError, match="unable to open"):
        project.index.run_rows()


def test_a_directory_that_is_not_there(project):
    """An index without a place is an error that names it."""
    index = MetadataIndex(SqliteFile(project.directory / "gone" / "index.db"), project.store, "project")

    with pytest.raises(FileUnreadableError, match=r"gone/index\.db"):
        index.run_rows()


def test_a_damaged_object_stops_the_rebuild(project):
    """An object that cannot be read is named, and the old index stays in use."""
    run_id = project.run()
    project.catch_up()
    project.run(name="x")
    for path in (project.directory / "store").rglob("*.pack"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.chmod(0o644)
        path.write_bytes(content)

    with pytest.raises(IntegrityError):
        project.index.rebuild(project.reporter)

    assert [run_id] == [row.id for row in project.index.run_rows()]


def test_a_reader_does_not_wait_for_a_writer(project):
    """While another process writes, questions are answered from before."""
    run_id = project.run()
    project.catch_up()
    with contextlib.closing(sqlite3.connect(project.directory / "index.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM runs")

        assert [run_id] == [row.id for row in project.index.run_rows()]


def test_a_writer_that_waited_too_long(tmp_path):
    """A lock that does not go away is told as such."""
    path = tmp_path / "x.db"
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with (
            pytest.raises(IndexBusyError, match="another process is writing"),
            translate_sql_errors(path),
            engine.connect() as connection,
        ):
            connection.exec_driver_sql("CREATE TABLE t (a)")
    engine.dispose()


def test_a_full_disk(tmp_path):
    """No room is told as everywhere else."""
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        with pytest.raises(DiskFullError, match="no space left"), translate_sql_errors(tmp_path / "x.db"):
            connection.exec_driver_sql("CREATE TABLE t (a)")
    engine.dispose()
