"""The base image made from this machine: what quickstart and the docker tests stand on."""

import json
import subprocess
import sys

import pytest

from tests.support.command import ROOT
from tests.support.engine import TOOL

PROBE = (
    "import json, os, subprocess, sys, zlib, lzma, ssl, sqlite3, ctypes\n"
    "ctypes.CDLL('libstdc++.so.6'); ctypes.CDLL('libgomp.so.1')\n"
    "shell = subprocess.run(['sh', '-c', 'echo ok | tr a-z A-Z'], capture_output=True, text=True).stdout\n"
    "print(json.dumps({'version': sys.version, 'uid': os.getuid(), 'shell': shell}))\n"
)


def run_tool(*args, **changes):
    return subprocess.run(
        [sys.executable, TOOL, *args], capture_output=True, text=True, check=False, **changes
    )


def test_no_engine_is_an_answer(tmp_path):
    answered = run_tool("answers", env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert (answered.returncode, answered.stderr) == (1, "")


def test_no_engine_is_an_error_for_an_image(tmp_path):
    answered = run_tool("build-base", "mlvc-base:none", env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert answered.returncode == 2
    assert answered.stderr.startswith("error: ")


def test_an_unchanged_machine_keeps_its_image(docker_engine):
    again = run_tool("build-base", docker_engine.base_image)
    assert again.stdout.strip() == f"{docker_engine.base_image} is up to date"


def test_a_missing_image_is_not_there(docker_engine):
    assert run_tool("has", docker_engine.base_image).returncode == 0
    assert run_tool("has", "mlvc-no-such-image:none").returncode == 1


def test_the_systems_python_runs_in_the_image(docker_engine):
    docker = pytest.importorskip("docker")
    system = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys; print(sys.version)"],
        capture_output=True,
        text=True,
        check=False,
    )
    if system.returncode != 0:
        pytest.skip("NOT TESTED: this machine has no /usr/bin/python3")
    client = docker.from_env()
    try:
        told = client.containers.run(
            docker_engine.base_image,
            ["python3", "-c", PROBE],
            network_mode="none",
            read_only=True,
            remove=True,
            user="1000:1000",
        )
    finally:
        client.close()
    assert json.loads(told) == {"version": system.stdout.strip(), "uid": 1000, "shell": "OK\n"}


@pytest.mark.parametrize("script", ["examples/quickstart.sh", "tests/run.sh", ".ci/venv.sh"])
def test_scripts_parse(script):
    subprocess.run(["bash", "-n", ROOT / script], check=True)
