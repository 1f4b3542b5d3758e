"""The real pre-commit framework installs this project's hooks from a local clone, and git calls them through it."""

import shutil
import subprocess
import sys

import pytest

from tests.support.command import child_environment

STAGES = ("pre-commit", "pre-push", "post-checkout", "post-commit", "post-merge", "post-rewrite")
SOURCES = ("mlvc", "hooks", "pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml")
NO_INDEX = ("No matching distribution", "Could not find a version", "Could not find a suitable TLS CA")


@pytest.fixture
def framework(project, root, git, tmp_path, monkeypatch):
    """The project with `pre-commit install`; the environment that it makes holds mlvc and all that needs."""
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in SOURCES:
        if (root / name).is_dir():
            shutil.copytree(root / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(root / name, clone / name)
    git("init", "-q", cwd=clone)
    git("add", ".", cwd=clone)
    git("-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m", "clone", cwd=clone)
    revision = git("rev-parse", "HEAD", cwd=clone).strip()
    hooks = "\n".join(f"      - id: mlvc-{stage}" for stage in STAGES)
    (project / ".pre-commit-config.yaml").write_text(
        f"default_install_hook_types: [{', '.join(STAGES)}]\n"
        f"repos:\n  - repo: file://{clone}\n    rev: {revision}\n    hooks:\n{hooks}\n"
    )
    git("add", ".pre-commit-config.yaml")
    cache = tmp_path / "environments"
    monkeypatch.setenv("PRE_COMMIT_HOME", str(cache))
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "install", "--install-hooks"],
        cwd=project,
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    if done.returncode != 0 and any(sign in said for sign in NO_INDEX):
        pytest.skip("NOT TESTED: no package index answers, so pre-commit cannot make its environment")
    assert done.returncode == 0, said
    yield project
    shutil.rmtree(cache)  # 190 MB, which pytest would keep.


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_framework_runs_every_hook(framework, git, run_mlvc, agree_at, tmp_path):
    """A commit, a push, a checkout, a merge and a rebase, as in docs/guides/hooks.md."""
    data = framework / "data"
    git("commit", "-q", "-m", "hooks")
    agree_at(framework)
    (data / "table.csv").write_text("edited")
    assert "tracked data differs" in git("commit", "--allow-empty", "-m", "x", check=False, both=True)
    run_mlvc("add", "data")
    git("checkout", "-q", "-b", "topic")
    git("commit", "-q", "-a", "-m", "topic")

    git("init", "-q", "--bare", str(tmp_path / "server.git"))
    git("remote", "add", "origin", str(tmp_path / "server.git"))
    assert "in this clone alone" in git("push", "origin", "topic", check=False, both=True)
    run_mlvc("remote", "add", "team", tmp_path / "far")
    run_mlvc("push")
    git("push", "-q", "origin", "topic")

    git("checkout", "-q", "main")
    agree_at(framework)
    assert "a,b\n1,2\n" == (data / "table.csv").read_text()
    git("commit", "-q", "--allow-empty", "-m", "main goes on")
    git("checkout", "-q", "topic")
    git("rebase", "-q", "main")
    agree_at(framework)
    git("checkout", "-q", "main")
    git("merge", "-q", "--ff-only", "topic")
    agree_at(framework)
    assert "edited" == (data / "table.csv").read_text()


def test_manifest_is_what_the_framework_accepts(root):
    """One hook for each stage, with the framework's own check."""
    subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-manifest", root / ".pre-commit-hooks.yaml"], check=True
    )
    ids = [
        line.removeprefix("- id: mlvc-")
        for line in (root / ".pre-commit-hooks.yaml").read_text().splitlines()
        if line.startswith("- id: ")
    ]

    assert set(STAGES) == set(ids)
