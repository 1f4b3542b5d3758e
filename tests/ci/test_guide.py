"""The workflows of docs/guides/ci.md, run as they are written, on a machine with nothing but Python and git.

`pip install mlvc` gets the wheel of this checkout, and everything else from the package index.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml

from tests.support.command import ROOT, Mlvc
from tests.support.contained import ContainedMachine, make_runner_image, started
from tests.support.environments import find_system_python
from tests.support.junit import read_junit
from tests.support.runner import Machine, run_github, run_gitlab, run_shell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TRAIN = """\
import pathlib

rows = sorted(path.read_text() for path in pathlib.Path("data").iterdir())
pathlib.Path("model.bin").write_text("".join(rows))
"""
UNSEEDED = TRAIN + 'pathlib.Path("model.bin").write_text(__import__("os").urandom(8).hex())\n'
UV = [sys.executable, "-m", "uv"]
SOCKET = "unix:///var/run/docker.sock"
NO_DOCKER = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
NO_SECRETS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


@dataclass(frozen=True)
class Project:
    """A repository whose data is on a remote, after the machine that made both is gone.

    `variables` and `secrets` are what a job must be given to reach the remote.
    """

    origin: Path
    remote: str
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)


def blocks(language):
    """Returns the guide's examples in one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", guide(), re.MULTILINE | re.DOTALL)


def guide():
    return (ROOT / "docs" / "guides" / "ci.md").read_text()


def git(cwd, *arguments):
    subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True)


def record(folder, url, script=TRAIN, base=None, variables=None):
    """Records a run and pushes it, as a colleague did on another machine."""
    work, origin = folder / "work", folder / "origin.git"
    work.mkdir(parents=True)
    git(work, "init", "--quiet", "--initial-branch=main")
    git(work, "config", "user.name", "Test User")
    git(work, "config", "user.email", "test@example.org")
    venv = [*UV, "venv", "--quiet", "--python", find_system_python(), ".venv"]
    subprocess.run(venv, cwd=work, check=True, capture_output=True)
    (work / ".gitignore").write_text(".venv/\n")
    (work / "train.py").write_text(script)
    (work / "data").mkdir()
    for number in range(30):
        (work / "data" / f"{number}.csv").write_text(f"{number},{number * 7}\n")
    run = Mlvc(cwd=work)
    run("init")
    with (work / "mlvc.toml").open("a") as settings:
        settings.write(f'\n[remote]\nurl = "{url}"\n')
        if base is not None:
            settings.write(f'\n[image]\nbase = "{base}"\n')
    run("add", "data")
    git(work, "add", "-A")
    run("commit", "-m", "data")
    run(
        *("run", "-n", "train", "-i", "data", "-o", "model.bin", "--"),
        *(".venv/bin/python", "train.py"),
    )
    run("commit", "-m", "model")
    run("push", env=variables)
    git(folder, "clone", "--quiet", "--bare", str(work), str(origin))
    shutil.rmtree(work)
    return Project(origin, url)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """One that can be reproduced, with its data in a directory."""
    folder = tmp_path_factory.mktemp("same")
    return record(folder, (folder / "far").as_uri())


@pytest.fixture(scope="module")
def unseeded(tmp_path_factory):
    """One whose model is another one each time."""
    folder = tmp_path_factory.mktemp("other")
    return record(folder, (folder / "far").as_uri(), UNSEEDED)


@pytest.fixture(scope="module")
def not_pushed(tmp_path_factory):
    """One whose lock was committed, and whose data is not on the remote."""
    folder = tmp_path_factory.mktemp("missing")
    recorded = record(folder, (folder / "far").as_uri())
    shutil.rmtree(folder / "far" / "data")
    return recorded


@pytest.fixture(scope="module")
def in_bucket(tmp_path_factory, s3_server):
    """One that can be reproduced, with its data in a bucket that wants credentials."""
    s3_server.filesystem().mkdir("ci-models")
    given = s3_server.environment
    recorded = record(tmp_path_factory.mktemp("s3"), "s3://ci-models/team", variables=given)
    secrets = {name: given[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return replace(recorded, variables={"AWS_ENDPOINT_URL": s3_server.endpoint}, secrets=secrets)


@pytest.fixture(scope="module")
def in_container(tmp_path_factory, docker_engine):
    """One whose base image is in the container engine."""
    folder = tmp_path_factory.mktemp("container")
    recorded = record(folder, (folder / "far").as_uri(), base=docker_engine.base_image)
    return replace(recorded, variables={"DOCKER_HOST": os.environ.get("DOCKER_HOST", SOCKET)})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [*UV, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def used_python(tmp_path_factory):
    """A Python on which an earlier job of this module may have installed something."""
    return make_python(tmp_path_factory.mktemp("used"))


def make_python(folder, base=sys.executable):
    """Returns the directory of the programs of a new Python that has pip, as on a runner."""
    subprocess.run(
        [*UV, "venv", "--quiet", "--seed", "--python", base, folder / "python"],
        check=True,
        capture_output=True,
    )
    return folder / "python" / "bin"


@pytest.fixture(scope="module")
def pip_cache(tmp_path_factory):
    """Outlives the machines, so that every job of the module downloads only once."""
    folder = tmp_path_factory.getbasetemp() / "pip"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def variables_for(tmp_path, wheel, pip_cache):
    """What the steps of a job about a project find in their environment."""
    constraint = tmp_path / "constraint.txt"
    constraint.write_text(f"mlvc @ {wheel.as_uri()}\n")
    allowed = ("PIP_", "SSL_", "REQUESTS_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    passed = {name: value for name, value in os.environ.items() if name.startswith(allowed)}
    (tmp_path / "home").mkdir()

    def make(project, path):
        return {
            **passed,
            "PATH": path,
            "HOME": str(tmp_path / "home"),
            "CI": "true",
            "LC_ALL": "C.UTF-8",
            "NO_PROXY": "127.0.0.1",
            "PIP_CONSTRAINT": str(constraint),
            "PIP_CACHE_DIR": str(pip_cache),
            **NO_DOCKER,
            **project.variables,
        }

    return make


@pytest.fixture
def machine(tmp_path, variables_for):
    """Makes a machine for a project."""

    def make(project, *, python=None, name="job"):
        path = [python or make_python(tmp_path), Path(shutil.which("git")).parent, "/usr/bin", "/bin"]
        return Machine(
            folder=tmp_path / name,
            origin=project.origin,
            variables=variables_for(project, os.pathsep.join(map(str, path))),
            cache=tmp_path / "cache",
            secrets=project.secrets or NO_SECRETS,
        )

    return make


@pytest.fixture
def used_machine(machine, used_python):
    """Makes a machine on which an earlier job may have installed something."""

    def make(project):
        return machine(project, python=used_python)

    return make


@pytest.fixture
def contained(tmp_path, variables_for, wheel, pip_cache, docker_engine):
    """Makes a machine in a fresh container of its own for a project."""
    with contextlib.ExitStack() as running:

        def make(project, *places, **settings):
            folders = [tmp_path, project.origin.parent, wheel.parent, pip_cache, *places]
            # As the tool cache of a service, it lies outside of the image.
            path = [make_python(tmp_path, find_system_python()), "/usr/bin", "/bin"]
            container = running.enter_context(started(make_runner_image(), folders, settings))
            assert 127 == container.exec_run(["bash", "-c", "mlvc --version"]).exit_code
            return ContainedMachine(
                folder=tmp_path / "job",
                origin=project.origin,
                variables=variables_for(project, os.pathsep.join(map(str, path))),
                cache=tmp_path / "cache",
                secrets=NO_SECRETS,
                container=container,
            )

        yield make


@pytest.fixture
def docker_runner(contained):
    """As GitHub's runners have it: the steps reach the engine that they run beside."""

    def make(project):
        url = urllib.parse.urlsplit(project.variables["DOCKER_HOST"])
        job = contained(project, *([Path(url.path)] if url.scheme == "unix" else []))
        # What the engine is to mount must be at the same place for it.
        temporary = job.folder.parent / "temporary"
        temporary.mkdir()
        return replace(job, variables={**job.variables, "TMPDIR": str(temporary)})

    return make


@pytest.fixture
def unconfined_runner(contained):
    """As a container that lets bubblewrap work in it: what the guide says of one, and a part of `privileged = true`."""

    def make(project):
        assert (
            "`docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined`" in guide()
        )
        # What the docker command makes of its two options.
        return contained(project, SecurityOpt=["seccomp=unconfined"], MaskedPaths=[], ReadonlyPaths=[])

    return make


def workflow():
    # YAML 1.1 takes the key `on` for a truth value; GitHub does not.
    return yaml.safe_load(blocks("yaml")[0].replace("\non:", '\n"on":'))


def template():
    return yaml.safe_load(blocks("yaml")[2])


def check_reports(folder, verdict, failures):
    """The reports say the same."""
    checks, suite = read_junit(folder / "junit.xml")
    assert ("mlvc ci", "4", "0") == (checks.get("name"), checks.get("tests"), checks.get("failures"))
    assert ("train", "1", str(failures)) == (suite.get("name"), suite.get("tests"), suite.get("failures"))
    status = "failed" if failures else "passed"
    assert f"<title>mlvc ci: {status}</title>" in (folder / "report.html").read_text()
    told = json.loads((folder / "ci.json").read_text())
    assert (status, verdict) == (told["status"], told["verdict"])


@pytest.mark.parametrize(("number", "schema"), [(0, "vendor.github-workflows"), (2, "vendor.gitlab-ci")])
def test_templates_are_what_the_systems_take(tmp_path, number, schema):
    """By the official schemas."""
    file = tmp_path / "template.yml"
    file.write_text(blocks("yaml")[number])
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, file]

    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert 0 == checked.returncode, checked.stdout


def test_composite_action_is_what_github_takes():
    """By the official schema; every action in it is pinned by commit."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-actions"]

    checked = subprocess.run(
        [*command, ROOT / "hooks" / "action.yml"], capture_output=True, text=True, check=False
    )

    assert 0 == checked.returncode, checked.stdout
    (step,) = yaml.safe_load(blocks("yaml")[1])
    assert set(step["with"]) <= set(yaml.safe_load((ROOT / "hooks" / "action.yml").read_text())["inputs"])
    used = [line for line in (ROOT / "hooks" / "action.yml").read_text().splitlines() if "uses:" in line]
    assert all(re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line) for line in used), used


@pytest.mark.sandbox
def test_composite_action_in_a_pull_request(project, machine, used_python):
    """With its own steps alone, from a checkout of mlvc; only what the change touches is executed."""
    steps = [
        {"uses": f"actions/checkout@{'0' * 40}", "with": {"fetch-depth": 0}},
        {"uses": "./hooks", "with": {"since": "origin/${{ github.base_ref }}", "arguments": "--budget 1h"}},
    ]
    job = {"runs-on": "ubuntu-24.04", "timeout-minutes": 60, "env": {}, "steps": steps}
    pushed = machine(project, python=used_python)
    # The action installs mlvc from its own checkout.
    variables = {name: value for name, value in pushed.variables.items() if name != "PIP_CONSTRAINT"}
    pull_request = replace(pushed, variables=variables, base="main")

    done = run_github(pull_request, {"jobs": {"ci": job}, "defaults": {"run": {"shell": "bash"}}})

    assert {"Install mlvc": 0, "Prove it": 0} == done.statuses, done.log
    told = json.loads((pull_request.artifacts / "ci.json").read_text())
    assert ("passed", [], 1) == (told["status"], told["runs"], told["untouched"])
    assert (pull_request.artifacts / "comment.md").read_text().startswith("## mlvc ci: passed\n")


def test_actions_are_pinned_and_say_their_version():
    """A commit for the machine, a version for the reader."""
    lines = [line for line in blocks("yaml")[0].splitlines() if "uses:" in line]

    assert 5 == len(lines)
    for line in lines:
        assert re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


@pytest.mark.parametrize(
    ("kind", "runner"),
    [
        pytest.param("in_bucket", "machine", marks=[pytest.mark.s3, pytest.mark.sandbox]),
        pytest.param("in_container", "docker_runner", marks=pytest.mark.docker),
    ],
)
def test_github_workflow_on_a_machine_with_nothing(request, kind, runner, tmp_path):
    """Every step ends well, the artifacts are there, and a second job with the cache executes nothing again."""
    project = request.getfixturevalue(kind)
    job = request.getfixturevalue(runner)(project)
    assert shutil.which("mlvc", path=job.variables["PATH"]) is None

    done = run_github(job, workflow())

    assert 0 == done.status, done.log
    assert ["Install mlvc", "Prove it"] == list(done.statuses)
    check_reports(job.artifacts, "identical", 0)
    assert done.summary.startswith("## mlvc ci: passed\n")
    assert "\n::" not in done.log
    assert f"engine: {'docker' if kind == 'in_container' else 'bubblewrap'}" in done.log
    for secret in project.secrets.values():
        assert secret not in done.log + done.summary

    again = replace(job, folder=tmp_path / "again")
    cached = run_github(again, workflow())

    assert 0 == cached.status, cached.log
    assert "run train: identical (known since " in cached.log
    check_reports(again.artifacts, "identical", 0)


RUNNERS = pytest.mark.parametrize(
    "runner",
    [
        pytest.param("used_machine", marks=pytest.mark.sandbox),
        pytest.param("unconfined_runner", marks=pytest.mark.docker),
    ],
)


@RUNNERS
def test_gitlab_template(request, runner, project):
    """One shell, and the reports as artifacts; also in a container in which nothing is installed."""
    job = request.getfixturevalue(runner)(project)

    done = run_gitlab(job, template())

    assert 0 == done.status, done.log
    check_reports(job.artifacts, "identical", 0)


@RUNNERS
def test_shell_commands_in_an_empty_directory(request, runner, project):
    """They bring the repository themselves; also into a container in which nothing is installed."""
    job = request.getfixturevalue(runner)(project)

    done = run_shell(job, blocks("sh")[0], {"PROJECT_URL": project.origin.as_uri()})

    assert 0 == done.status, done.log
    check_reports(job.folder / "project", "identical", 0)


@pytest.mark.sandbox
def test_model_that_does_not_come_out_again_fails_the_job(unseeded, machine, used_python):
    """Exit 1, and all artifacts, with the line that fixes it; what the job knows is kept for the next one."""
    github = machine(unseeded, python=used_python)
    done = run_github(github, workflow())

    assert 1 == done.statuses["Prove it"]
    check_reports(github.artifacts, "different", 1)
    assert "\n::error file=model.bin,title=mlvc repro%3A different::" in done.log
    assert done.summary.startswith("## mlvc ci: failed\n")
    assert "fix: `mlvc run -n train -i data -o model.bin --seed 0 -- " in done.summary
    (kept,) = github.cache.iterdir()
    assert list((kept / "0" / "packs").glob("*.pack"))

    gitlab = machine(unseeded, python=used_python, name="gitlab")
    assert 1 == run_gitlab(gitlab, template()).status
    check_reports(gitlab.artifacts, "different", 1)


def test_data_that_nobody_pushed_fails_the_job_at_once(not_pushed, machine, used_python):
    """Exit 1, and what is not there by name; no data is brought, and nothing is run."""
    github = machine(not_pushed, python=used_python)
    done = run_github(github, workflow())

    assert {"Install mlvc": 0, "Prove it": 1} == done.statuses
    assert "| remote | " in done.summary
    for name in ("data/0.csv", "model.bin"):
        assert re.search(rf"missing-object: .*{re.escape(name)}.* is not on the remote", done.log), done.log
    told = json.loads((github.artifacts / "ci.json").read_text())
    assert ([], ["checks-failed"]) == (told["runs"], [item["error"]["code"] for item in told["not_executed"]])

    gitlab = run_gitlab(machine(not_pushed, python=used_python, name="gitlab"), template())
    assert 1 == gitlab.status
    assert "is not on the remote" in gitlab.log

    shell = machine(not_pushed, python=used_python, name="shell")
    done = run_shell(shell, blocks("sh")[0], {"PROJECT_URL": not_pushed.origin.as_uri()})
    assert 1 == done.status
    assert not (shell.folder / "project" / "data").exists()


@pytest.mark.s3
def test_wrong_credentials_fail_the_job(in_bucket, machine, used_python):
    """Exit 2 and one error, without the secret; a pull request from a fork gets no secrets at all."""
    for name, secret in (("wrong", "hush-hush"), ("fork", "")):
        secrets = {"AWS_ACCESS_KEY_ID": "somebody" if secret else "", "AWS_SECRET_ACCESS_KEY": secret}
        job = machine(replace(in_bucket, secrets=secrets), python=used_python, name=name)
        done = run_github(job, workflow())

        assert 2 == done.statuses["Prove it"], done.log
        assert "error: " in done.log
        assert "hush-hush" not in done.log
        assert "Traceback" not in done.log
