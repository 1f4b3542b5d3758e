"""`mlvc run`, `runs`, `show` and `lineage` as a user runs them; commands that are no Python keep it quick."""

import signal
import subprocess
import sys

import pytest

from tests.support.command import child_environment


def test_streams_and_status_are_the_commands_own(project, run_mlvc):
    """Stdout on stdout, stderr on stderr, the exit status passed on; the run is recorded as failed."""
    result = run_mlvc("run", "-n", "bad", "--", "sh", "-c", "echo out; echo err >&2; exit 7", check=7)
    (listed,) = run_mlvc("runs", "--json").json()["runs"]

    assert "out\n" == result.stdout
    assert result.stderr.startswith("err\n")
    assert ("bad", "failed", 7) == (listed["name"], listed["status"], listed["exit_code"])


def test_json_leaves_stdout_to_the_answer(project, run_mlvc):
    """What the command prints goes to stderr."""
    result = run_mlvc(
        "run",
        "--json",
        "-i",
        "data",
        "-o",
        "copy.csv",
        "--",
        "sh",
        "-c",
        "echo hi; cp data/table.csv copy.csv",
    )

    assert "hi\n" in result.stderr
    assert 0 == result.json()["exit_code"]
    assert ["copy.csv"] == [output["path"] for output in result.json()["outputs"]]


def test_options_of_the_command_are_its_own(project, run_mlvc):
    """Everything after `--`, also what looks like an option of mlvc."""
    run_mlvc("run", "--", "echo", "--json", "-C", "nowhere", "--")
    (listed,) = run_mlvc("runs", "--json").json()["runs"]

    assert ["echo", "--json", "-C", "nowhere", "--"] == listed["argv"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["-i", "nowhere", "--", "true"], "nowhere"),
        (["-o", "train.py", "--", "true"], "train.py"),
        (["--env", "API_TOKEN=x", "--", "true"], "API_TOKEN"),
        (["--env", "NOVALUE", "--", "true"], "NOVALUE"),
        (["--bogus", "--", "true"], "--bogus"),
        (["--profile", "lax", "--", "true"], "lax"),
        (["--"], "CMD"),
    ],
)
def test_failure_before_the_start_is_125(project, run_mlvc, arguments, named):
    """The message names what is wrong; nothing is recorded."""
    result = run_mlvc("run", *arguments, check=125)

    assert named in result.stderr
    assert "bug" not in result.stderr


def test_program_that_is_not_there_is_127(project, run_mlvc):
    """As a shell has it; the attempt is on record."""
    result = run_mlvc("run", "--", "no-such-program", check=127)

    assert "no-such-program" in result.stderr


def test_interrupted_run_is_recorded(project, run_mlvc):
    """Control-C ends the command and mlvc with 130."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mlvc", "run", "--", "sh", "-c", "echo started; sleep 60"],
        cwd=project,
        env=child_environment({}),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert b"started\n" == process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    (listed,) = run_mlvc("runs", "--json").json()["runs"]

    assert 130 == process.returncode
    assert "interrupted" == listed["status"]


def test_lineage_leads_from_output_to_data_and_back(project, run_mlvc):
    """The run between them is named in both directions."""
    made = run_mlvc(
        "run",
        "-n",
        "copy",
        "-i",
        "data",
        "-o",
        "copy.csv",
        "--json",
        "--",
        "cp",
        "data/table.csv",
        "copy.csv",
    ).json()

    (up,) = run_mlvc("lineage", "copy.csv", "--json").json()["targets"]
    (down,) = run_mlvc("lineage", "data", "--json").json()["targets"]
    text = run_mlvc("lineage", "copy.csv").stdout

    assert made["id"] == up["run"]["id"]
    assert ["data"] == [item["path"] for item in up["inputs"]]
    assert [made["id"]] == [run["id"] for run in down["used_by"]]
    assert None is down["run"]
    for word in ("copy.csv", "copy", "cp data/table.csv copy.csv", "data"):
        assert word in text


def test_show_finds_a_run_by_name_and_by_id(project, run_mlvc):
    """With what it read and made."""
    made = run_mlvc(
        "run",
        "-n",
        "copy",
        "-i",
        "data",
        "-o",
        "copy.csv",
        "--json",
        "--",
        "cp",
        "data/table.csv",
        "copy.csv",
    ).json()

    assert made["id"] == run_mlvc("show", "copy", "--json").json()["id"]
    assert "copy.csv" in run_mlvc("show", made["id"][3:15]).stdout
    assert "target-missing" == run_mlvc("show", "0000ffff", "--json", check=2).json()["error"]["code"]


def test_a_secret_that_is_not_set_is_said(project, run_mlvc):
    """Passing nothing on in silence would let the command fail far from the cause."""
    refused = run_mlvc("run", "--secret", "NOT_THERE", "--", "true", check=125)

    assert "NOT_THERE" in refused.stderr
