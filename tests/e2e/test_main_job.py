"""The main job from an empty git repository to a proven model, and what must not break it.

One project is recorded for the whole module, with a real virtual environment and a scikit-learn model; each test
takes a copy of it, hurts the copy in its own way, and asks for a reproduction.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Mlvc

TRAIN = """\
import json
import os
import pathlib
import joblib
import mlvc
import numpy as np
from sklearn.ensemble import RandomForestRegressor

rows = np.loadtxt("data/table.csv", delimiter=",")
model = RandomForestRegressor(n_estimators=8, random_state=7, n_jobs=-1).fit(rows[:, :-1], rows[:, -1])
mlvc.log_param("trees", 8)
mlvc.log_metric("score", model.score(rows[:, :-1], rows[:, -1]))
pathlib.Path("logs").mkdir(exist_ok=True)
pathlib.Path("logs/train.log").write_text("trained")
joblib.dump(model, "models/model.tmp")
os.replace("models/model.tmp", "models/model.joblib")
"""

ENGINES = [
    pytest.param("bubblewrap", marks=pytest.mark.sandbox),
    pytest.param("docker", marks=pytest.mark.docker),
]
OFFLINE = {
    "UV_OFFLINE": "1",
    "UV_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
}


def git(cwd: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout


def new_project(folder: Path) -> Mlvc:
    """A git repository with a virtual environment of its own, some data, and a training script."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.name", "Test User")
    git(folder, "config", "user.email", "test@example.org")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, ".venv"], cwd=folder, check=True)
    packages = ["scikit-learn", "joblib"]
    subprocess.run(
        [*uv, "pip", "install", "--quiet", "--python", ".venv/bin/python", *packages], cwd=folder, check=True
    )
    (folder / ".gitignore").write_text(".venv/\n")
    (folder / "train.py").write_text(TRAIN)
    (folder / "data").mkdir()
    rows = [f"{i % 7},{i * i % 11},{i % 3},{(i * 37) % 101}" for i in range(400)]
    (folder / "data" / "table.csv").write_text("\n".join(rows) + "\n")
    return Mlvc(cwd=folder)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    """A project whose run was recorded while its code was edited and not committed; the edit is reverted since."""
    folder = tmp_path_factory.mktemp("recorded") / "project"
    run = new_project(folder)
    run("init")
    run("add", "data")
    git(folder, "add", "-A")
    run("commit", "-m", "Data and code")
    (folder / "train.py").write_text("# an edit that was never committed\n" + TRAIN)
    run(
        *("run", "-n", "train", "-i", "data", "-o", "models/model.joblib", "--"),
        *(str(folder / ".venv/bin/python"), "train.py"),
    )
    git(folder, "checkout", "--", "train.py")
    run("commit", "-m", "Model")
    return folder


@pytest.fixture
def project(recorded, tmp_path) -> Mlvc:
    """A copy of the recorded project, at another path."""
    shutil.copytree(recorded, tmp_path / "moved", symlinks=True)
    return Mlvc(cwd=tmp_path / "moved")


def reproduce(run: Mlvc, engine: str, request: pytest.FixtureRequest, **kwargs: object) -> dict:
    if engine == "docker":
        base = request.getfixturevalue("docker_engine").base_image
        with (run.cwd / "mlvc.toml").open("a") as settings:
            settings.write(f'\n[image]\nbase = "{base}"\n')
    return run("repro", "--engine", engine, "--json", "models/model.joblib", **kwargs).json()


@pytest.mark.parametrize("engine", ENGINES)
def test_recorded_model_is_identical_without_anything_of_the_user(project, engine, request):
    """Uncommitted code, deleted data, a deleted virtual environment, no package index: still the same bytes."""
    shutil.rmtree(project.cwd / "data")
    shutil.rmtree(project.cwd / ".venv")

    report = reproduce(project, engine, request, env=OFFLINE)

    assert "identical" == report["verdict"]
    assert ["models/model.joblib"] == [output["path"] for output in report["runs"][0]["outputs"]]
    assert ["identical"] == [output["verdict"] for output in report["runs"][0]["outputs"]]


@pytest.mark.sandbox
def test_git_clean_and_a_linked_worktree_lose_nothing(project, tmp_path, request):
    """What mlvc holds survives `git clean -xfd`, and a linked worktree shares it."""
    git(project.cwd, "clean", "-xffdq")

    assert not (project.cwd / "data").exists()
    project("checkout")
    assert 400 == len((project.cwd / "data/table.csv").read_text().splitlines())

    git(project.cwd, "worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    linked = Mlvc(cwd=tmp_path / "linked")
    linked("checkout")
    assert (linked.cwd / "models/model.joblib").read_bytes() == (
        project.cwd / "models/model.joblib"
    ).read_bytes()
    assert "identical" == reproduce(linked, "bubblewrap", request)["verdict"]
    assert project("fsck", "--json").json()["ok"] is True


def test_the_record_says_what_determined_the_model(project):
    """`runs` and `lineage` lead from the model to data, code and environment."""
    (listed,) = project("runs", "--json").json()["runs"]
    lineage = project("lineage", "models/model.joblib")

    assert "train" == listed["name"]
    assert "8" == str(listed["params"]["trees"])
    assert "score" in listed["metrics"]
    assert listed["code"]["dirty"] is True
    assert git(project.cwd, "rev-parse", "HEAD~1").strip() == listed["code"]["sha"]
    for word in ("models/model.joblib", "train", "data"):
        assert word in lineage.stdout


@pytest.mark.parametrize("engine", ENGINES)
def test_an_unseeded_script_is_found_out(project, engine, request):
    """Exit 1 and `different` where the script draws from an unseeded generator."""
    (project.cwd / "models").mkdir(exist_ok=True)
    (project.cwd / "draw.py").write_text(
        "import random\nopen('drawn.txt', 'w').write(str(random.random()))\n"
    )
    project("run", "-o", "drawn.txt", "--", ".venv/bin/python", "draw.py")
    if engine == "docker":
        base = request.getfixturevalue("docker_engine").base_image
        with (project.cwd / "mlvc.toml").open("a") as settings:
            settings.write(f'\n[image]\nbase = "{base}"\n')

    report = project("repro", "--engine", engine, "--json", "drawn.txt", check=1).json()

    assert "different" == report["verdict"]


@pytest.mark.sandbox
def test_an_undeclared_input_is_named(project, home):
    """A file that was read and never declared is absent in the container; the message names it."""
    secret = home / "hidden.csv"
    secret.write_text("1,2,3\n")
    (project.cwd / "peek.py").write_text(
        f"text = open({str(secret)!r}).read()\nopen('copied.txt', 'w').write(text)\n"
    )
    recorded = project("run", "-o", "copied.txt", "--", ".venv/bin/python", "peek.py")

    report = project("repro", "--engine", "bubblewrap", "copied.txt", check=1)

    assert str(secret) in recorded.stderr
    assert "failed" in report.stdout
    assert str(secret) in report.stdout


def test_a_failing_run_is_recorded_and_changes_nothing(project):
    """The exit status is the command's; the lock stays; the overwritten output can be had back."""
    before = (project.cwd / "mlvc.lock").read_bytes()
    model = (project.cwd / "models/model.joblib").read_bytes()
    (project.cwd / "break.py").write_text(
        "open('models/model.joblib', 'w').write('junk')\nraise SystemExit(7)\n"
    )

    project("run", "-o", "models/model.joblib", "--", ".venv/bin/python", "break.py", check=7)

    assert before == (project.cwd / "mlvc.lock").read_bytes()
    assert "failed" == project("runs", "--json").json()["runs"][0]["status"]
    project("checkout", "--force", "--", "models/model.joblib")
    assert model == (project.cwd / "models/model.joblib").read_bytes()


def test_a_run_that_cannot_start_is_exit_125(project):
    """mlvc's own failure before the command starts has a status of its own."""
    missing = project("run", "-i", "nowhere", "--", "true", check=125)

    assert "nowhere" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_the_same_plan_is_restored_from_the_record(project):
    """`--cached` puts the recorded outputs back instead of running again."""
    command = ("run", "-o", "stamp.txt", "--cached", "--", ".venv/bin/python", "stamp.py")
    (project.cwd / "stamp.py").write_text("import time\nopen('stamp.txt', 'w').write(str(time.time_ns()))\n")
    project(*command)
    first = (project.cwd / "stamp.txt").read_text()
    (project.cwd / "stamp.txt").unlink()
    project(*command)

    assert first == (project.cwd / "stamp.txt").read_text()


def test_an_index_that_is_lost_is_rebuilt(project):
    """Deleting the index loses nothing."""
    before = project("runs", "--json").json()
    for file in (project.cwd / ".git/mlvc").glob("index.db*"):
        file.unlink()
    project("index", "rebuild")

    assert before == project("runs", "--json").json()


@pytest.mark.sandbox
def test_too_few_cpus_are_said_before_anything_runs(project):
    """No verdict, but exit 2: with fewer threads the libraries would give other numbers."""
    command = ("run", "--threads", "4096", "-o", "seen.txt", "--", ".venv/bin/python", "-c")
    project(*command, "open('seen.txt', 'w').write('1')")

    refused = project("repro", "--engine", "bubblewrap", "--json", "seen.txt", check=2).json()

    assert "too-few-cpus" == refused["error"]["code"]


@pytest.mark.sandbox
def test_a_run_recorded_inside_an_engine_reproduces_in_it(project):
    """`run --engine` leaves the outputs in the work tree, and the record has the same form."""
    (project.cwd / "data").rename(project.cwd / "aside")
    project("checkout")

    project(
        *("run", "--engine", "bubblewrap", "-i", "data", "-o", "models/model.joblib", "--"),
        *(".venv/bin/python", "train.py"),
    )
    inside, outside = project("runs", "--json").json()["runs"][:2]
    report = project("repro", "--engine", "bubblewrap", "--json", "models/model.joblib").json()

    assert (project.cwd / "models/model.joblib").is_file()
    assert "bubblewrap" == project("runs", "--json").json()["runs"][0]["engine"]
    assert "identical" == report["verdict"]
    # The same numbers, asked in the sandbox.
    assert "numpy.dgemm" in inside["fingerprint"]
    assert outside["fingerprint"] == inside["fingerprint"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_kernel_of_the_shell_leaks_neither_in_nor_out(project, engine, request):
    """One that the record has is there again; one that the shell has only now is not."""
    (project.cwd / "data").rename(project.cwd / "aside")
    project("checkout")
    script = (
        "import numpy as np; a = np.arange(90000.0).reshape(300, 300) % 7 + 0.1\n"
        "(a @ a / 3).tofile('models/model.joblib')"
    )
    shell = {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_L2_SIZE": "1024"}
    none = dict.fromkeys(shell)
    verdicts = []
    for recorded, repeated in ((shell, none), (none, shell)):
        project(
            *("run", "-o", "models/model.joblib", "--", str(project.cwd / ".venv/bin/python"), "-c", script),
            env=recorded,
        )
        verdicts.append(reproduce(project, engine, request, env=repeated)["verdict"])
        (project.cwd / "mlvc.toml").write_text(
            (project.cwd / "mlvc.toml").read_text().partition("[image]")[0]
        )

    assert ["identical", "identical"] == verdicts


@pytest.mark.sandbox
def test_a_shell_script_has_the_active_environment(project):
    """What `bash` calls as `python` is the virtual environment, here and in the reproduction."""
    (project.cwd / "all.sh").write_text(
        "set -e\npython -c 'import sklearn; print(sklearn.__version__)' > version.txt\n"
    )
    active = {"VIRTUAL_ENV": str(project.cwd / ".venv"), "PATH": f"{project.cwd}/.venv/bin:/usr/bin:/bin"}
    project("run", "-o", "version.txt", "--", "bash", "all.sh", env=active)

    report = project("repro", "--engine", "bubblewrap", "--json", "version.txt").json()

    assert "identical" == report["verdict"]
