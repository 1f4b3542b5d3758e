"""No question reads a large table from end to end: what the databases say of how they would answer.

A lost database index, or a question that no index helps, fails here, long before anybody has enough runs to notice.
"""

import pytest

from mlvc.index.database import MetadataIndex
from mlvc.index.postgres import PostgresDatabase
from mlvc.index.sqlite import SqliteFile
from mlvc.index.storage import MANY
from tests.support.index_project import Project
from tests.support.index_scale import (
    PROJECT,
    MadeUp,
    fill,
    questions,
    statements,
    take_in_commit,
    walked,
)
from tests.support.reporter import RecordingReporter

MADE = MadeUp(runs=1_000, values=3, commits=100, files=300)
QUESTIONS = {question.asked: question for question in questions(MADE)}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def scaled(request, tmp_path_factory):
    """A filled database that knows how its rows are spread."""
    if request.param == "sqlite":
        database = SqliteFile(tmp_path_factory.mktemp("scale") / "index.db")
    else:
        database = PostgresDatabase(request.getfixturevalue("postgres_server").url("scale"))
    fill(database, MADE)
    for number in range(MADE.commits):
        take_in_commit(database, MADE, number)
    MetadataIndex(database, MADE, PROJECT).find_data(RecordingReporter(), "00")
    database.update_statistics()
    return database


@pytest.mark.parametrize("asked", QUESTIONS)
def test_a_question_is_answered_by_indexes(scaled, asked):
    """Each has an answer, and nothing large is read whole for it."""
    question = QUESTIONS[asked]
    with statements(scaled) as seen:
        lines = question.ask(MetadataIndex(scaled, MADE, PROJECT))

    found = walked(scaled, seen, avoid_scans=True)

    assert set() == (found["whole"] | found["project"]) - question.walks
    assert lines > 0


def test_what_no_index_helps_is_seen(scaled):
    """The check itself: a condition on a column without an index reads the whole table."""
    with statements(scaled) as seen, scaled.reading() as connection:
        connection.exec_driver_sql("SELECT id FROM runs WHERE author = 'x'").all()

    assert {"runs"} == walked(scaled, seen, avoid_scans=True)["whole"]


@pytest.mark.postgres
@pytest.mark.parametrize("how", ["catch_up", "rebuild"])
def test_a_server_knows_its_rows_at_once(postgres_url, tmp_path, how):
    """Whoever takes in many has it look how they are spread; else it takes any project to be small, and walks it."""
    project = Project(tmp_path, database=PostgresDatabase(postgres_url), url=postgres_url)
    project.add(*(MADE.run(number, values=1) for number in range(MANY + 1)))

    getattr(project.index, how)(project.reporter)

    with project.database.reading() as connection:
        spread = connection.exec_driver_sql(
            "SELECT tablename, attname, n_distinct FROM pg_stats WHERE schemaname = 'public'"
        ).all()
    known = {(table, column): distinct for table, column, distinct in spread}
    assert 1 == known["runs", "project"]
    assert -1 == known["runs", "id"]
    assert {"params", "run_inputs", "names"} <= {table for table, _ in known}
