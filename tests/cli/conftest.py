"""A project with data in every shape, and git without ceremony."""

import os
import shutil
import subprocess
import sys

import pytest

from mlvc.repo import Repo
from mlvc.verbs.add import add
from tests.support.command import child_environment
from tests.support.environments import find_system_python, install, make_venv
from tests.support.reporter import RecordingReporter


@pytest.fixture
def git(git_repo):
    """Runs git in the repository and returns what it printed; with `both`, on stderr too."""

    def call(*arguments, check=True, both=False, cwd=git_repo, env=None):
        done = subprocess.run(
            ["git", *arguments],
            cwd=cwd,
            env=child_environment(env or {}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr if both else done.stdout

    return call


@pytest.fixture(scope="session")
def small_environment(tmp_path_factory):
    """The programs of a virtual environment with one package."""
    folder = tmp_path_factory.mktemp("python") / "venv"
    install(make_venv(folder, find_system_python()), "demo", "1.0", {"demo.py": "x = 1\n"})
    return folder / "bin"


@pytest.fixture(scope="module", autouse=True)
def _few_packages(small_environment):
    """What `mlvc run -- python` records is not the environment of these tests, which has gigabytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.pathsep.join([str(small_environment), os.environ["PATH"]]))
        yield


@pytest.fixture(scope="session")
def first_project(tmp_path_factory):
    """What `project` starts from: made once, because it takes four processes of mlvc."""
    folder = tmp_path_factory.mktemp("first") / "repo"
    folder.mkdir()
    # The settings of whoever runs the tests are not those of this project; see `home`.
    environment = {name: None for name in os.environ if name.startswith(("GIT_", "XDG_", "MLVC_"))}
    environment |= {"HOME": str(folder.parent), "GIT_CONFIG_NOSYSTEM": "1"}

    def call(*command):
        subprocess.run(
            command, cwd=folder, env=child_environment(environment), check=True, stdout=subprocess.DEVNULL
        )

    call("git", "init", "--quiet", "--initial-branch=main")
    call("git", "config", "user.name", "Test User")
    call("git", "config", "user.email", "test@example.org")
    call("git", "config", "commit.gpgsign", "false")
    call("git", "config", "gc.auto", "0")
    (folder / "train.py").write_text("print('training')\n")
    data = folder / "data"
    (data / "empty").mkdir(parents=True)
    (data / "deep" / "er").mkdir(parents=True)
    (data / "table.csv").write_text("a,b\n1,2\n")
    (data / "deep" / "er" / "x.bin").write_bytes(bytes(range(256)))
    (data / "run.sh").write_text("#!/bin/sh\n")
    (data / "run.sh").chmod(0o755)
    (data / "link").symlink_to("table.csv")
    mlvc = (sys.executable, "-m", "mlvc")
    call(*mlvc, "init")
    call(*mlvc, "add", "data")
    call("git", "add", "train.py")
    call(*mlvc, "commit", "-m", "first")
    return folder


@pytest.fixture
def project(first_project, git_repo):
    """An initialised repository with code in git and a directory `data` that is tracked and committed."""
    shutil.rmtree(git_repo)
    shutil.copytree(first_project, git_repo, symlinks=True)
    return git_repo


@pytest.fixture
def hooked(project, run_mlvc):
    """The project with git's hooks installed."""
    run_mlvc("hooks", "install")
    return project


@pytest.fixture
def type_in(hooked, tmp_path):
    """Gives a line to the shell, on whose PATH `mlvc` is this one."""
    program = tmp_path / "bin" / "mlvc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mlvc "$@"\n')
    program.chmod(0o755)

    def call(line, cwd=hooked):
        environment = child_environment({})
        environment["PATH"] = f"{program.parent}:{environment['PATH']}"
        subprocess.run(["bash", "-c", line], cwd=cwd, env=environment, check=True, stdout=subprocess.DEVNULL)

    return call


@pytest.fixture
def change(hooked, git):
    """Changes one data file and commits that through plain git."""

    def call(name, text, cwd=hooked):
        (cwd / "data" / name).write_text(text)
        add(Repo.open(cwd, reporter=RecordingReporter(), environment={}), ["data"])
        git("commit", "-q", "-a", "-m", f"{name} {text}", cwd=cwd)

    return call


@pytest.fixture
def agree(hooked, agree_at):
    """Checks the hooked project as `agree_at` does, or a worktree of it."""

    def call(cwd=hooked):
        agree_at(cwd)

    return call


@pytest.fixture
def agree_at(git):
    """Data is as the lock says, the lock as HEAD says, the index has HEAD's data commit, and nothing lies about."""

    def call(cwd):
        repo = Repo.open(cwd, reporter=RecordingReporter(), environment={})
        lock, head = repo.read_lock(), repo.code.resolve("HEAD")
        assert [] == [
            change for entry in lock.entries.values() for change in repo.worktree.differences(entry)
        ]
        assert lock == repo.lock_at(head)
        repo.index.catch_up(repo.reporter)
        record = repo.index.commit_for_sha(head)
        assert record is not None
        assert tuple(lock.entries.values()) == repo.store.read_object(record).paths
        assert "" == git("status", "--porcelain", cwd=cwd)

    return call
