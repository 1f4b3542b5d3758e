"""A run that is recorded inside an engine, end to end, with commands that are no Python."""

import signal
import subprocess
import sys

import pytest

from tests.support.command import Mlvc, child_environment

ENGINES = [
    pytest.param("bubblewrap", marks=pytest.mark.sandbox),
    pytest.param("docker", marks=pytest.mark.docker),
]


@pytest.fixture
def project(git_repo, engine, request):
    """An initialised repository with data, and for docker the name of a base that is here."""
    run = Mlvc(cwd=git_repo)
    run("init")
    if engine == "docker":
        base = request.getfixturevalue("docker_engine").base_image
        with (git_repo / "mlvc.toml").open("a") as settings:
            settings.write(f'\n[image]\nbase = "{base}"\n')
    (git_repo / "data.csv").write_text("1\n")
    run("add", "data.csv")
    return run


@pytest.mark.parametrize("engine", ENGINES)
def test_recorded_inside_is_reproduced_inside(project, engine):
    """The same place both times: identical."""
    project(
        *("run", "--engine", engine, "-i", "data.csv", "-o", "out", "--", "sh", "-c", "cat data.csv > out")
    )

    assert "identical" == project("repro", "--engine", engine, "--json", "out").json()["verdict"]


@pytest.mark.parametrize("engine", ENGINES)
def test_missing_program_is_127(project, engine):
    """As outside; the attempt is on record."""
    project("run", "--engine", engine, "--", "no-such-program", check=127)

    assert ["failed"] == [run["status"] for run in project("runs", "--json").json()["runs"]]


@pytest.mark.parametrize("engine", ENGINES)
def test_interrupted_run_is_recorded(project, engine):
    """Control-C ends the command inside, and the record says so."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mlvc", "run", "--engine", engine, "--", "sh", "-c", "echo on; sleep 60"],
        cwd=project.cwd,
        env=child_environment({}),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert b"on\n" == process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert 130 == process.returncode
    assert ["interrupted"] == [run["status"] for run in project("runs", "--json").json()["runs"]]
