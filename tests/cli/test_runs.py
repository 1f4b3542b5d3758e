"""The table of runs as a user asks for it."""

import csv
import io
import json
import subprocess
import sys

import pyarrow.parquet
import pytest

from tests.support.command import child_environment


@pytest.fixture
def runs(project, run_mlvc):
    """Three runs, of which the last failed."""
    script = "import sys, mlvc; mlvc.log_param('depth', int(sys.argv[1])); mlvc.log_metric('mae', float(sys.argv[2]))"
    (project / "train.py").write_text(
        script + "; mlvc.log_param('note', 'a,\"b\"'); sys.exit(int(sys.argv[1]) // 9)\n"
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
    columns = run_mlvc("runs", "--columns", "name,params.none", "-n", "1", "--json").json()
    assert [{"name": "d9", "params.none": None}] == columns["runs"]


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
