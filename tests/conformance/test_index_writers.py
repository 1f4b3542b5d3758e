"""Many processes that write one index at once, and a server that goes away meanwhile."""

import subprocess
import sys

import pytest

from mlvc.index.errors import IndexUnreachableError
from mlvc.index.postgres import PostgresDatabase
from tests.support.command import child_environment
from tests.support.index_project import Project, data, everything

CATCH_UP = """
import pathlib, sys
from mlvc.index.database import open_index
from mlvc.model.ids import PlanId, TreeId
from mlvc.model.objects import Code, Run
from mlvc.store.local import LocalStore
from tests.support.reporter import RecordingReporter

directory, task, url = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3] or None
store = LocalStore(directory / "store")
index = open_index(directory / "index.db", url, store, "project")
sys.stdin.readline()
if task == "rebuild":
    index.rebuild(RecordingReporter())
for number in range(3 if task == "record" else 0):
    code = Code("c" * 40, dirty=False, tree=TreeId.of(b"code"))
    with store.writer() as writer:
        writer.add_object(Run(PlanId.of(b""), (sys.argv[4], str(number)), "", "/p", code, params={"same": "1"}))
    index.catch_up(RecordingReporter())
index.catch_up(RecordingReporter())
print(index.counts()["runs"])
"""


def together(project, root, tasks):
    """Starts a process for each task, lets all go at once, and returns what each told."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CATCH_UP, project.directory, task, project.url or "", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=root,
            env=child_environment({"PYTHONPATH": str(root)}),
        )
        for number, task in enumerate(tasks)
    ]
    for child in children:
        child.stdin.write(b"go\n")
        child.stdin.flush()
    return [child.communicate()[0].strip() for child in children]


@pytest.mark.parametrize("tasks", [["catch-up"] * 4, ["catch-up", "rebuild", "catch-up", "rebuild"]])
def test_four_processes_at_once(project, root, tasks):
    """Processes that make, fill and replace one index at once end with every row, each once."""
    for _ in range(12):
        project.add_one_of_each()

    answers = together(project, root, tasks)

    assert [b"12"] * 4 == answers
    grown = everything(project.database)
    project.index.rebuild(project.reporter)
    assert grown == everything(project.database)


def test_every_process_records_runs(project, root):
    """Sixteen processes on a server and eight on a file store runs and take them in: no error, none lost or twice."""
    count = 8 if project.url is None else 16

    answers = together(project, root, ["record"] * count)

    assert all(int(answer) >= 3 for answer in answers), answers
    assert {"runs": 3 * count, "params": 3 * count, "names": 1}.items() <= project.catch_up().counts().items()
    grown = everything(project.database)
    project.index.rebuild(project.reporter)
    assert grown == everything(project.database)


def stop_within(database, server):
    """Ends the server in the middle of a transaction."""
    with database.writing() as connection:
        server.stop()
        connection.exec_driver_sql("SELECT 1")


@pytest.mark.postgres
def test_a_server_that_restarts(postgres_server, tmp_path):
    """What it was doing is told, and the next command takes in what was not."""
    url = postgres_server.url("restarts")
    project = Project(tmp_path, database=PostgresDatabase(url), url=url)
    first = project.run([data("in")], [data("out")])
    project.catch_up()
    second = project.run()
    try:
        with pytest.raises(IndexUnreachableError, match=r"postgresql://tester@127\.0\.0\.1:\d+/restarts"):
            stop_within(project.database, postgres_server)
        with pytest.raises(IndexUnreachableError):
            project.catch_up()
    finally:
        postgres_server.start()

    assert [second, first] == [row.id for row in project.catch_up().run_rows()]
