"""Fixtures and rules that every test shares.

A test that cannot run here is skipped with a reason that begins with NOT TESTED, and the summary names it in
a section of its own. Where `tests/run.sh` found or started a container engine it sets
MLVC_TESTS_REQUIRE_DOCKER, and then an engine that does not answer is a failure.
"""

import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from mlvc.repro.seccomp import prefix
from tests.support.azure import AzureError, serve_azure
from tests.support.command import Mlvc
from tests.support.engine import Engine, EngineError, find_bubblewrap, start_engine
from tests.support.frameworks import FrameworksError, find_frameworks
from tests.support.gcs import GcsError, serve_gcs
from tests.support.postgres import PostgresError, serve_postgres
from tests.support.s3 import S3Error, serve_s3
from tests.support.sshd import SshError, serve_ssh
from tests.support.xfs import XfsError, mount_xfs

NOT_TESTED = "NOT TESTED: "
REQUIREMENTS = {
    "azure": "azure_server",
    "docker": "docker_engine",
    "frameworks": "frameworks_python",
    "sandbox": "bubblewrap",
    "gcs": "gcs_server",
    "s3": "s3_server",
    "ssh": "ssh_server",
    "postgres": "postgres_server",
    "seccomp": "seccomp",
    "strace": "strace",
}

settings.register_profile(
    "default",
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", settings.get_profile("default"), derandomize=False, max_examples=5_000)
settings.load_profile("default")


def pytest_collection_modifyitems(config, items):
    """A marker brings the fixture that it stands for; what takes long runs only where it is asked for."""
    for item in items:
        for marker, fixture in REQUIREMENTS.items():
            if item.get_closest_marker(marker) and fixture not in item.fixturenames:
                # Not in place: the list is shared by all parametrisations of a test.
                item.fixturenames = [*item.fixturenames, fixture]
    left_out = set()
    if config.getoption("--hypothesis-profile") != "deep":
        left_out.add("deep")
    left_out.update(marker for marker in ("training", "long") if marker not in config.getoption("-m"))
    deselected = [item for item in items if any(map(item.get_closest_marker, left_out))]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


def pytest_terminal_summary(terminalreporter):
    untested = [
        (report.nodeid, report.longrepr[2])
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and NOT_TESTED in report.longrepr[2]
    ]
    if untested:
        terminalreporter.section("NOT TESTED", sep="!", red=True, bold=True)
        for nodeid, reason in untested:
            terminalreporter.line(f"{nodeid}: {reason.partition(NOT_TESTED)[2]}")
        terminalreporter.line(f"NOT TESTED: {len(untested)} tests; they did not pass.", red=True, bold=True)
    steps = [
        step.strip() for step in os.environ.get("MLVC_TESTS_FAILED_STEPS", "").split(";") if step.strip()
    ]
    if steps:
        terminalreporter.section("FAILED BEFORE THE TESTS", sep="!", red=True, bold=True)
        for step in steps:
            terminalreporter.line(step, red=True)


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """An empty home: no test sees or changes the configuration of whoever runs it."""
    folder = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(("GIT_", "XDG_", "MLVC_")) and not name.startswith("MLVC_TESTS_"):
            monkeypatch.delenv(name)
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHASHSEED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(folder / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("NO_COLOR", "1")
    return folder


@pytest.fixture
def git_repo(tmp_path, home):
    """An empty git repository, on an unborn branch main."""
    folder = tmp_path / "repo"
    folder.mkdir()
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["config", "user.name", "Test User"],
        ["config", "user.email", "test@example.org"],
        ["config", "commit.gpgsign", "false"],
        ["config", "gc.auto", "0"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.fixture
def run_mlvc(git_repo):
    """Runs `python -m mlvc` as a user would; see tests.support.command.Mlvc."""
    return Mlvc(cwd=git_repo)


def _do_without(part: str, reason: object) -> NoReturn:
    """Skips a test whose real part is missing, and says so; fails it where tests/run.sh says that it was to be here."""
    if os.environ.get(f"MLVC_TESTS_REQUIRE_{part}") == "1":
        pytest.fail(f"MLVC_TESTS_REQUIRE_{part} is set, but: {reason}")
    pytest.skip(f"{NOT_TESTED}{reason}")


@pytest.fixture(scope="session")
def docker_engine() -> Engine:
    """A container engine that answers, and the name of a base image in it made from this machine."""
    try:
        return start_engine()
    except EngineError as error:
        _do_without("DOCKER", error)


@pytest.fixture(scope="session")
def bubblewrap() -> Path:
    """A bwrap program that really can make a sandbox here."""
    try:
        return find_bubblewrap()
    except EngineError as error:
        _do_without("SANDBOX", error)


@pytest.fixture(scope="session")
def frameworks_python() -> Path:
    """The interpreter of an environment with scikit-learn, XGBoost, LightGBM and torch."""
    try:
        return find_frameworks()
    except FrameworksError as error:
        _do_without("FRAMEWORKS", error)


@pytest.fixture(scope="session")
def seccomp(tmp_path_factory) -> None:
    """A kernel that tells a process of the calls of another, and wakes it up where they wait."""
    output = tmp_path_factory.mktemp("seccomp") / "calls"
    done = subprocess.run([*prefix(output), "true"], check=False, capture_output=True, text=True)
    if done.returncode:
        _do_without("SECCOMP", done.stderr.strip() or "Linux is older than 6.6, or forbids it")


@pytest.fixture(scope="session")
def strace() -> str:
    """A strace that can watch something here."""
    done = (
        subprocess.run(
            ["strace", "-D", "-f", "--seccomp-bpf", "-e", "trace=execve", "-o", os.devnull, "true"],
            check=False,
            capture_output=True,
            text=True,
        )
        if shutil.which("strace")
        else None
    )
    if done is None or done.returncode:
        reason = "strace is not installed" if done is None else done.stderr.strip()
        _do_without("STRACE", reason)
    return "strace"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """An S3 server that answers."""
    try:
        with serve_s3(tmp_path_factory.mktemp("s3")) as server:
            yield server
    except S3Error as error:
        _do_without("S3", error)


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory):
    """The URL of a server that speaks as Google Cloud Storage does, with a bucket `models`."""
    folder = tmp_path_factory.mktemp("gcs") / "files"
    folder.mkdir()
    try:
        with serve_gcs(folder) as url:
            yield url
    except GcsError as error:
        _do_without("GCS", error)


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory):
    """A server that speaks as Azure Blob Storage does."""
    try:
        with serve_azure(tmp_path_factory.mktemp("azure")) as server:
            yield server
    except AzureError as error:
        _do_without("AZURE", error)


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory):
    """An SSH server that answers."""
    try:
        with serve_ssh(tmp_path_factory.mktemp("sshd")) as server:
            yield server
    except SshError as error:
        _do_without("SSH", error)


@pytest.fixture(scope="session")
def xfs(tmp_path_factory):
    """A directory on a file system that shares bytes between files."""
    try:
        with mount_xfs(tmp_path_factory.mktemp("xfs")) as folder:
            yield folder
    except XfsError as error:
        _do_without("XFS", error)


@pytest.fixture(scope="session")
def postgres_server():
    """A PostgreSQL server that answers."""
    try:
        with serve_postgres() as server:
            yield server
    except PostgresError as error:
        _do_without("POSTGRES", error)


@pytest.fixture
def postgres_url(postgres_server):
    """The address of an empty database."""
    return postgres_server.url(f"test-{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of this project's checkout."""
    return Path(__file__).resolve().parent.parent
