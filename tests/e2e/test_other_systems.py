"""A run that is reproduced on another Python, or on a base that lacks a library, with real packages."""

import shutil
import subprocess
import sys

import pytest

from tests.support.command import Mlvc
from tests.support.environments import find_system_python
from tests.support.training import confirmed

BARE_IMAGE = "mlvc-base-without-gomp:local"


def new_project(folder, python, *packages):
    """A git repository with a virtual environment of that Python, and mlvc initialised in it."""
    folder.mkdir()
    for command in (
        ["git", "init", "--quiet", "--initial-branch=main"],
        ["git", "config", "user.name", "Test User"],
        ["git", "config", "user.email", "test@example.org"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    make_environment(folder, python, *packages)
    (folder / ".gitignore").write_text(".venv/\n")
    run = Mlvc(cwd=folder)
    run("init")
    return run


def make_environment(folder, python, *packages):
    uv = [sys.executable, "-m", "uv"]
    shutil.rmtree(folder / ".venv", ignore_errors=True)
    subprocess.run([*uv, "venv", "--quiet", "--python", python, ".venv"], cwd=folder, check=True)
    if packages:
        command = [*uv, "pip", "install", "--quiet", "--python", ".venv/bin/python", *packages]
        subprocess.run(command, cwd=folder, check=True)


def version_of(python):
    command = [python, "-c", "import platform; print(platform.python_version())"]
    return subprocess.check_output(command, text=True).strip()


@pytest.mark.sandbox
@pytest.mark.slow
def test_another_patch_release_of_python_is_named(tmp_path):
    """`equivalent`: zip headers changed between releases of Python; the arrays are the same."""
    versions = version_of(sys.executable), version_of(find_system_python())
    if versions[0] == versions[1] or versions[0].split(".")[:2] != versions[1].split(".")[:2]:
        pytest.skip(f"NOT TESTED: needs two patch releases of one Python, and here are {versions}")
    run = new_project(tmp_path / "project", sys.executable, "numpy")
    (run.cwd / "train.py").write_text("import numpy as np\nnp.savez('out.npz', x=np.arange(100.0))\n")
    run("run", "-o", "out.npz", "--", ".venv/bin/python", "train.py")
    make_environment(run.cwd, find_system_python(), "numpy")

    command = (
        "repro",
        "out.npz",
        "--engine",
        "bubblewrap",
        "--against",
        "work",
        "--diagnose",
        "full",
        "--json",
    )
    (found,) = run(*command, check=1).json()["runs"]

    assert ("equivalent", ["interpreter"]) == (found["verdict"], confirmed(found))
    assert f"the interpreter was Python {versions[0]}" in found["diagnosis"][0]["detail"]
    assert "zip.headers" in " ".join(item["detail"] for item in found["diagnosis"])


@pytest.fixture
def image_without_gomp(docker_engine):
    """The base image, without the library that LightGBM takes from the system."""
    docker = pytest.importorskip("docker", reason="NOT TESTED: the Python package docker is not installed")
    client = docker.from_env()
    command = ["sh", "-c", "rm -f $(find / -xdev -name 'libgomp.so*') && ldconfig"]
    container = client.containers.create(docker_engine.base_image, command, network_mode="none", user="0")
    try:
        container.start()
        assert 0 == container.wait()["StatusCode"]
        name, _, tag = BARE_IMAGE.partition(":")
        container.commit(name, tag)
        yield BARE_IMAGE
    finally:
        container.remove(force=True)
        client.images.remove(BARE_IMAGE, force=True)
        client.close()


@pytest.mark.docker
@pytest.mark.slow
def test_a_library_that_the_base_lacks_is_named(tmp_path, image_without_gomp):
    """`failed`: `pip freeze` cannot know of it, and the record does."""
    run = new_project(tmp_path / "project", sys.executable, "lightgbm")
    with (run.cwd / "mlvc.toml").open("a") as settings:
        settings.write(f'\n[image]\nbase = "{image_without_gomp}"\n')
    (run.cwd / "train.py").write_text(
        "import lightgbm, numpy as np\n"
        "x = np.arange(200.0).reshape(100, 2)\n"
        "model = lightgbm.train({'verbose': -1}, lightgbm.Dataset(x, x[:, 0]), 2)\n"
        "model.save_model('model.txt')\n"
    )
    run("run", "-o", "model.txt", "--", ".venv/bin/python", "train.py")

    command = ("repro", "model.txt", "--engine", "docker", "--diagnose", "full", "--json")
    (found,) = run(*command, check=1).json()["runs"]

    assert "failed" == found["verdict"]
    assert "system-library" == found["diagnosis"][0]["cause"]
    assert "libgomp.so.1" in found["diagnosis"][0]["detail"]
    assert "the base lacks libgomp.so.1" in [item["detail"] for item in found["diagnosis"]]


@pytest.mark.docker
@pytest.mark.sandbox
def test_what_the_base_image_changes_is_confirmed(tmp_path, docker_engine):
    """Recorded on the machine itself: with its system in the place of the image, the recorded bytes come again."""
    run = new_project(tmp_path / "project", find_system_python())
    with (run.cwd / "mlvc.toml").open("a") as settings:
        settings.write(f'\n[image]\nbase = "{docker_engine.base_image}"\n')
    (run.cwd / "train.py").write_text(
        "import os\nopen('out.txt', 'w').write(str(len(os.listdir('/usr/share'))))\n"
    )
    run("run", "-o", "out.txt", "--", ".venv/bin/python", "train.py")

    command = ("repro", "out.txt", "--engine", "docker", "--diagnose", "full", "--json")
    (found,) = run(*command, check=1).json()["runs"]

    assert ["base"] == confirmed(found)
