"""This repository's own CI: `mlvc ci` on an example, as the workflow and `.ci/run` call it."""

import json
import re
import subprocess
import sys

import pytest
import yaml

from tests.support.command import ROOT, child_environment

SCRIPT = ROOT / "examples" / "ci.sh"
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
UNSEEDED = 'import os\nopen("model.bin", "w").write(open("data/a").read() + os.urandom(8).hex())\n'


def call(example):
    done = subprocess.run(
        ["bash", SCRIPT, example],
        env=child_environment({"DOCKER_HOST": "unix:///nonexistent/docker.sock", "VIRTUAL_ENV": None}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_workflow_is_what_github_takes():
    """By the official schema; every action is pinned by commit and says its version."""
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        WORKFLOW,
    ]

    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert 0 == checked.returncode, checked.stdout
    used = [line for line in WORKFLOW.read_text().splitlines() if "uses:" in line]
    assert all(re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line) for line in used), used


def test_every_job_asks_mlvc_about_the_examples():
    """Each example of the matrix is there, with the line that records it."""
    job = yaml.safe_load(WORKFLOW.read_text())["jobs"]["examples"]
    (step,) = (step for step in job["steps"] if step.get("name") == "Prove it")
    assert 'bash examples/ci.sh "examples/${{ matrix.example }}"' == step["run"]
    for name in job["strategy"]["matrix"]["example"]:
        assert "\nmlvc run " in (ROOT / "examples" / name / "README.md").read_text()

    assert "bash examples/ci.sh " in (ROOT / ".ci" / "run").read_text()


def test_example_without_a_line_that_records_it(tmp_path):
    """Exit 2, before anything is installed."""
    (tmp_path / "README.md").write_text("# An example\n")

    status, said = call(tmp_path)

    assert (2, True) == (status, "has no line that begins with mlvc run" in said)


@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_example_that_does_not_come_out_again_fails(tmp_path):
    """Somebody takes the seed out of an example: exit 1, and the reports name the model."""
    example = tmp_path / "unseeded"
    (example / "data").mkdir(parents=True)
    (example / "data" / "a").write_text("1\n")
    (example / "requirements.txt").touch()
    (example / "README.md").write_text("mlvc run -n tiny -i data -o model.bin -- python train.py\n")
    (example / "train.py").write_text(UNSEEDED)

    status, said = call(example)

    assert 1 == status, said
    told = json.loads((ROOT / ".cache" / "examples" / "unseeded" / "ci.json").read_text())
    assert ("failed", ["different"]) == (told["status"], [run["verdict"] for run in told["runs"]])
    assert [True, True, True, True, False] == [check["ok"] for check in told["checks"]]
