"""A project with data in every shape, and git without ceremony."""

import subprocess

import pytest

from tests.support.command import child_environment


@pytest.fixture
def git(git_repo):
    """Runs git in the repository and returns what it printed; with `both`, on stderr too."""

    def call(*arguments, check=True, both=False):
        done = subprocess.run(
            ["git", *arguments],
            cwd=git_repo,
            env=child_environment({}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr if both else done.stdout

    return call


@pytest.fixture
def project(git_repo, git, run_mlvc):
    """An initialised repository with code in git and a directory `data` that is tracked and committed."""
    (git_repo / "train.py").write_text("print('training')\n")
    data = git_repo / "data"
    (data / "empty").mkdir(parents=True)
    (data / "deep" / "er").mkdir(parents=True)
    (data / "table.csv").write_text("a,b\n1,2\n")
    (data / "deep" / "er" / "x.bin").write_bytes(bytes(range(256)))
    (data / "run.sh").write_text("#!/bin/sh\n")
    (data / "run.sh").chmod(0o755)
    (data / "link").symlink_to("table.csv")
    run_mlvc("init")
    run_mlvc("add", "data")
    git("add", "train.py")
    run_mlvc("commit", "-m", "first")
    return git_repo
