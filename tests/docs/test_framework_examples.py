"""The project of each framework in `examples/`: the three commands of its README, as they stand."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from tests.support.command import ROOT, child_environment

FRAMEWORKS = ["scikit-learn", "xgboost", "lightgbm", "torch"]


def commands(name):
    """Returns the lines of the only example in a README."""
    (block,) = re.findall(
        r"^```sh\n(.*?)^```$", (ROOT / "examples" / name / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return block.splitlines()


@pytest.fixture(scope="module")
def projects(frameworks_python, tmp_path_factory):
    """A repository with all of them, so that their environment is captured and rebuilt once for all."""
    folder = tmp_path_factory.mktemp("frameworks")
    home, top, programs = folder / "home", folder / "top", folder / "bin"
    for directory in (home, top, programs):
        directory.mkdir()
    (programs / "mlvc").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mlvc "$@"\n')
    (programs / "mlvc").chmod(0o755)
    (home / ".gitconfig").write_text("[user]\nname = Test User\nemail = test@example.org\n")
    changes = {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "VIRTUAL_ENV": None, "PYTHONPATH": None}
    environment = child_environment({**changes, "DOCKER_HOST": "unix:///nonexistent/docker.sock"})
    environment["PATH"] = f"{frameworks_python.parent}:{programs}:{environment['PATH']}"
    for name in FRAMEWORKS:
        shutil.copytree(ROOT / "examples" / name, top / name)

    def call(command, cwd=top):
        return subprocess.run(
            command, shell=True, cwd=cwd, env=environment, check=False, capture_output=True, text=True
        )

    assert 0 == call("git init -q && mlvc init").returncode
    yield top, call
    # Two gigabytes.
    shutil.rmtree(folder)


def test_every_project_is_tested():
    """A folder with a README is one."""
    assert sorted(FRAMEWORKS) == sorted(path.parent.name for path in (ROOT / "examples").glob("*/README.md"))


@pytest.mark.frameworks
@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_examples_come_out_the_same(projects):
    """Three commands each, and the model that a real framework trained is the same to the byte."""
    top, call = projects
    verdicts = {}
    # One test, because each process that runs tests would capture and rebuild the environment again.
    for name in FRAMEWORKS:
        lines = commands(name)
        assert 3 == len(lines)
        for line in lines:
            done = call(line, top / name)
            assert done.returncode in {0, 1}, done.stderr
        assert "engine: bubblewrap" in done.stderr
        verdicts[name] = done.stdout.splitlines()[-1]
        # A model that has learned nothing would be reproducible too.
        ((metric, value),) = json.loads((top / name / "metrics.json").read_text()).items()
        assert value > 0.9 if metric == "r2" else 0 < value < {"rmse": 30, "mse": 0.1}[metric]
    assert dict.fromkeys(FRAMEWORKS, "identical") == verdicts
