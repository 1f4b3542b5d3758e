"""Which data commits git commits have, told without the index's own library."""

import contextlib
import sqlite3

import pytest

from mlvc.index.recorded import find_recorded
from mlvc.model.objects import Commit

SHA, OTHER = "a" * 40, "b" * 40


def record(project, sha, **fields):
    """Adds the data commit of a git commit, and returns its id."""
    return project.add(Commit(sha, None, (), time="2024-01-01T00:00:00+00:00", **fields))


def ask(project, *shas, owner="project"):
    return find_recorded(project.directory / "index.db", project.store, owner, shas)


def test_the_answer_is_that_of_an_index_that_is_caught_up(project):
    """Whether the file is missing, has seen a part, or all; of two records of one commit, the same counts."""
    asked = [SHA, OTHER, *(f"{number}" * 40 for number in range(6))]
    for number in range(6):
        record(project, SHA, message=str(number))
        record(project, f"{number}" * 40)
        before = ask(project, *asked)
        if number in {1, 4}:
            rows = project.catch_up().commits_for_shas(asked)

            assert number + 2 == len(rows)
            assert {sha: row.id for sha, row in rows.items()} == before == ask(project, *asked)


def test_nothing_is_written(project):
    """What is new is left for the next question to the index."""
    commit = record(project, SHA)

    assert {SHA: commit} == ask(project, SHA)

    assert not (project.directory / "index.db").exists()
    assert 1 == project.catch_up().counts()["commits"]


def test_rows_of_another_project(project):
    """On a file that several projects share, only one's rows count; its objects are those of the store."""
    record(project, SHA)
    project.catch_up()
    with contextlib.closing(sqlite3.connect(project.directory / "index.db")) as connection:
        connection.execute("UPDATE commits SET code_sha = ?", (OTHER,))
        connection.commit()

    assert [OTHER] == list(ask(project, SHA, OTHER))
    assert [SHA] == list(ask(project, SHA, OTHER, owner="another"))


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE alembic_version SET version_num = '9999'",
        "UPDATE alembic_version SET version_num = '0001'",
        "DELETE FROM alembic_version",
        "DROP TABLE packs",
        "UPDATE commits SET id = 'nonsense'",
    ],
)
def test_a_file_that_only_the_index_understands(project, spoil):
    """Of another version, or damaged: there is no answer, and the index itself tells more."""
    record(project, SHA)
    project.catch_up()
    with contextlib.closing(sqlite3.connect(project.directory / "index.db")) as connection:
        connection.execute(spoil)
        connection.commit()

    assert ask(project, SHA) is None


def test_a_file_that_is_no_database(project):
    """There is no answer, and the file stays as it is."""
    record(project, SHA)
    path = project.directory / "index.db"
    path.write_bytes(b"some text\n" * 1000)

    assert ask(project, SHA) is None
    assert b"some text\n" * 1000 == path.read_bytes()


def test_too_much_that_is_new(project):
    """Then it is the index that shall take it in, once."""
    commits = {f"{number:040x}": record(project, f"{number:040x}") for number in range(65)}

    assert ask(project, *commits) is None
    project.catch_up()
    assert commits == ask(project, *commits)
