"""The examples at the end of every help text run as they stand."""

import os
import shutil
import subprocess
import sys

import pytest
from typer.core import TyperGroup

from tests.support.command import Mlvc, child_environment
from tests.support.reference import all_commands

TRAIN = """\
import pathlib
import sys

text = pathlib.Path("data/table.csv").read_text()
pathlib.Path("model.joblib" if "--fast" in sys.argv else "models/model.joblib").write_text(text * 2)
"""

EXAMPLES = [
    line.strip()
    for command, _ in all_commands()
    if not isinstance(command, TyperGroup)
    for line in command.epilog.splitlines()[2:]
]
CLONED = "https://example.org/team/model.git"
NO = 1
"""The status of an answer that is no, which the prepared project gives to every `--check`."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A project in the state that the examples speak of; each example gets a copy."""
    folder = tmp_path_factory.mktemp("examples")
    home, project, programs = folder / "home", folder / "project", folder / "bin"
    for directory in (home, project / "data", project / "models", programs):
        directory.mkdir(parents=True)
    (programs / "mlvc").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mlvc "$@"\n')
    (programs / "mlvc").chmod(0o755)
    environment = child_environment({"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "VIRTUAL_ENV": None})
    environment["PATH"] = os.pathsep.join([".venv/bin", str(programs), environment["PATH"]])
    (home / ".gitconfig").write_text(
        "[user]\nname = Test User\nemail = test@example.org\n[init]\ndefaultBranch = main\n"
    )
    (project / ".gitignore").write_text(".venv/\n")
    (project / "data" / "table.csv").write_text("a,b\n")
    (project / "models" / "base.safetensors").write_bytes(bytes(100))
    (project / "train.py").write_text(TRAIN)

    def run(line):
        subprocess.run(line, shell=True, cwd=project, env=environment, check=True, capture_output=True)

    run("git init -q")
    run(f'"{sys.executable}" -m venv --without-pip .venv')
    for line in ("mlvc init", "mlvc add data models/base.safetensors", "git add -A", "mlvc env lock"):
        run(line)
    run("mlvc commit -m first && git tag v1.0")
    for name in ("baseline", "candidate", "train"):
        run(f"mlvc run -n {name} -i data -o models/model.joblib -- python train.py")
    run("mlvc commit -m second")
    run(f"mlvc remote add backup {folder / 'remote'} && mlvc push")
    run(f"git clone -q --bare . {folder / 'model.git'}")
    run(f"git remote add origin {folder / 'model.git'} && git fetch -q origin")
    with (home / ".gitconfig").open("a") as config:
        # Where the examples clone from, without a network.
        config.write(f'[url "{folder / "model.git"}"]\ninsteadOf = {CLONED}\n')
    return project, environment


@pytest.fixture
def copy_of(prepared, tmp_path):
    """A copy of the prepared project; data in it is edited where the example is about changes."""
    project, environment = prepared
    copy = tmp_path / "project"
    shutil.copytree(project, copy, symlinks=True)
    return copy, environment


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(line, marks=pytest.mark.sandbox if line.startswith(("mlvc repro", "mlvc ci")) else ())
        for line in EXAMPLES
    ],
)
def test_example_runs(copy_of, example):
    """Exit 0, or 1 where a check finds the edit; nothing but the result on stdout."""
    project, environment = copy_of
    expected = 0
    if example.startswith(("mlvc commit", "mlvc status", "mlvc diff")):
        (project / "data" / "table.csv").write_text("edited\n")
        expected = NO if "--check" in example else 0
    if example == "mlvc undo":
        Mlvc(cwd=project)("rm", "data")
    if example.startswith("mlvc commit") and "-a" not in example:
        Mlvc(cwd=project)("add", "data")

    done = subprocess.run(
        example, shell=True, cwd=project, env=environment, check=False, capture_output=True, text=True
    )

    assert expected == done.returncode, done.stderr
    assert "error" not in done.stderr


def test_every_command_has_an_example():
    """At least one for each."""
    commands = [
        context.command_path for command, context in all_commands() if not isinstance(command, TyperGroup)
    ]

    assert {path.removesuffix(" [OPTIONS]") for path in commands} == {
        next(path for path in sorted(commands, key=len, reverse=True) if f"{line} ".startswith(f"{path} "))
        for line in EXAMPLES
    }
