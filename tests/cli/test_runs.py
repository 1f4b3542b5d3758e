"""The table of runs as a user asks for it."""

import csv
import dataclasses
import io
import json
import subprocess
import sys

import pyarrow.parquet
import pytest

from mlvc.repo import Repo
from mlvc.verbs.runs import list_runs, whole_record
from tests.support.command import child_environment, refuse
from tests.support.reporter import RecordingReporter


@pytest.fixture
def runs(project, run_mlvc):
    """Three runs, of which the last failed."""
    script = "import sys, mlvc; mlvc.log_param('depth', int(sys.argv[1])); mlvc.log_metric('mae', float(sys.argv[2]))"
    (project / "train.py").write_text(
        script
        + "; mlvc.log_param('note', 'a,\"b\"'); mlvc.log_param('x, y', 1); sys.exit(int(sys.argv[1]) // 9)\n"
    )
    for depth, mae in (("4", "10.5"), ("6", "10"), ("9", "12")):
        done = run_mlvc(
            "run", "-n", f"d{depth}", "-i", "data", "--", "python", "train.py", depth, mae, check=False
        )
        assert done.exit in {0, 1}
    return project


def test_runs_where(runs, run_mlvc):
    """An expression chooses, another field sorts, and the columns are those asked for."""
    done = run_mlvc(
        "runs",
        "--where",
        "metrics.mae < 11 and input = 'data'",
        "--sort",
        "metrics.mae",
        "--columns",
        "name,metrics.mae",
    )

    assert ["name  metrics.mae", "d6    10.0", "d4    10.5"] == done.stdout.splitlines()
    answer = run_mlvc("runs", "--where", "params.depth in (4, 9)", "--sort", "-params.depth", "--json").json()
    assert [("d9", 12), ("d4", 10.5)] == [(run["name"], run["metrics"]["mae"]) for run in answer["runs"]]
    columns = run_mlvc("runs", "--columns", 'name,params.none,params."x, y"', "-n", "1", "--json").json()
    assert [{"name": "d9", "params.none": None, 'params."x, y"': 1}] == columns["runs"]


def test_formats_say_the_same(runs, run_mlvc):
    """CSV, JSON and Parquet: one row for each run, with numbers as numbers."""
    rows = json.loads(run_mlvc("runs", "--format", "json").stdout)
    lines = list(csv.DictReader(io.StringIO(run_mlvc("runs", "--format", "csv").stdout, newline="")))
    with (runs / "runs.parquet").open("wb") as file:
        command = [sys.executable, "-m", "mlvc", "runs", "--format", "parquet"]
        subprocess.run(command, cwd=runs, env=child_environment({}), stdout=file, check=True)
    table = pyarrow.parquet.read_table(runs / "runs.parquet").to_pylist()

    assert rows == table
    assert [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows] == lines
    assert [(9, 12.0, 'a,"b"'), (6, 10.0, 'a,"b"'), (4, 10.5, 'a,"b"')] == [
        (row["params.depth"], row["metrics.mae"], row["params.note"]) for row in rows
    ]
    assert "id" == next(iter(rows[0]))


def test_numbers_that_json_has_not(project, run_mlvc):
    """What a diverged training wrote is told in JSON that every program reads: such a number is a text there."""
    (project / "m.json").write_text('{"loss": NaN, "losses": [1, NaN, -Infinity]}')
    run_mlvc("run", "-n", "diverged", "--metrics", "m.json", "--", "true")
    repo = Repo.open(project, reporter=RecordingReporter(), environment={"HOME": str(project)})
    run = whole_record(repo, list_runs(repo).runs[0])
    strange = {"a": "NaN", "b": "[1e999]", "c": "{", "d": "[" * 100_000, "e": "9" * 5_000}
    with repo.store.writer() as writer:
        writer.add_object(dataclasses.replace(run, name="strange", metrics=strange, started="2000-01-01"))
    columns = ("runs", "--columns", "metrics.a,metrics.loss", "--sort", "started")

    told, diverged = run_mlvc("runs", "--sort", "started", "--json").json()["runs"]

    assert {"loss": "nan", "losses": [1, "NaN", "-Infinity"]} == diverged["metrics"]
    assert {**strange, "b": ["1e999"]} == told["metrics"]
    assert told["metrics"] == run_mlvc("show", "strange", "--json").json()["metrics"]
    cells = [
        {"metrics.a": "NaN", "metrics.loss": None},
        {"metrics.a": None, "metrics.loss": "nan"},
    ]
    assert cells == run_mlvc(*columns, "--json").json()["runs"]
    assert cells == json.loads(run_mlvc(*columns, "--format", "json").stdout, parse_constant=refuse)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--where", "metrics.mae <"], "cannot be read at its end"),
        (["--where", "status = '\n"], "cannot be read"),
        (["--sort", "nothing"], "a run has no 'nothing'"),
        (["--columns", "input"], "several values"),
        (["--columns", "name,,"], "a run has no ''"),
    ],
)
def test_what_cannot_be_asked(runs, run_mlvc, arguments, said):
    """One error with the way out."""
    done = run_mlvc("runs", *arguments, check=2)

    assert said in done.stderr
    assert "hint:" in done.stderr


def test_a_damaged_index_stops_no_run(project, run_mlvc, git):
    """Data is added and brought back, and a command is executed, also where its outcome may be known.

    A question names the command that makes it anew; a commit, which needs to know those before it, does that itself.
    """
    head = git("rev-parse", "HEAD")
    (project / ".git" / "mlvc" / "index.db").write_bytes(b"no database" * 1000)
    for leftover in ("index.db-wal", "index.db-shm"):
        (project / ".git" / "mlvc" / leftover).unlink(missing_ok=True)
    (project / "data" / "table.csv").write_text("new\n")

    run_mlvc("add", "data")
    run_mlvc("checkout")
    done = run_mlvc("run", "--cached", "-o", "model", "--", "sh", "-c", "echo 1 > model")

    assert "index.db is damaged" in done.stderr
    assert "1\n" == (project / "model").read_text()
    assert "index-damaged" == run_mlvc("runs", "--json", check=2).json()["error"]["code"]
    committed = run_mlvc("commit", "-m", "x")
    (line,) = [line for line in committed.stderr.splitlines() if "index.db" in line]
    assert "it is made again from the objects, and nothing is lost" in line
    assert head != git("rev-parse", "HEAD")
    assert 2 == len([item for item in run_mlvc("log", "--json").json()["commits"] if item["id"]])
    assert 1 == len(run_mlvc("runs", "--json").json()["runs"])
