"""Plain git with the hooks installed: data, lock and mlvc's commits stay in agreement."""

import pytest


@pytest.fixture
def hooked(project, run_mlvc):
    run_mlvc("hooks", "install")
    return project


@pytest.fixture
def change(hooked, run_mlvc, git):
    """Changes one data file and commits that through plain git."""

    def call(name, text):
        (hooked / "data" / name).write_text(text)
        run_mlvc("add", "data")
        git("commit", "-q", "-a", "-m", f"{name} {text}")

    return call


@pytest.fixture
def agree(run_mlvc, git):
    """Data is as the lock says, the lock as HEAD says, and HEAD has its data commit."""

    def call():
        state = run_mlvc("status", "--json").json()
        newest = run_mlvc("log", "--json").json()["commits"][0]
        assert ([], []) == (state["changes"], state["staged"])
        assert git("rev-parse", "HEAD").strip() == newest["code_sha"]
        assert newest["id"] is not None

    return call


def test_branches_merge_rebase_and_amend(hooked, change, agree, git):
    """After each step of plain git."""
    git("checkout", "-q", "-b", "other")
    change("new.bin", "there")
    agree()
    git("checkout", "-q", "main")
    assert not (hooked / "data" / "new.bin").exists()
    change("table.csv", "here")
    git("branch", "before")
    git("merge", "other", "-m", "merge")
    agree()
    assert "there" == (hooked / "data" / "new.bin").read_text()
    git("commit", "-q", "--amend", "-m", "another message")
    agree()
    git("checkout", "-q", "other")
    git("rebase", "-q", "before")
    agree()
    assert "here" == (hooked / "data" / "table.csv").read_text()
    assert "there" == (hooked / "data" / "new.bin").read_text()


def test_commit_is_refused_with_the_way_out(hooked, git):
    """Changed data, and a model that would go into git."""
    (hooked / "model.safetensors").write_bytes(b"x")
    git("add", "model.safetensors")
    said = git("commit", "-m", "x", check=False, both=True)
    assert "mlvc add model.safetensors" in said
    git("rm", "-q", "--cached", "model.safetensors")
    (hooked / "data" / "table.csv").write_text("edited")
    said = git("commit", "--allow-empty", "-m", "x", check=False, both=True)
    assert "tracked data differs from mlvc.lock: data/table.csv" in said


def test_unsaved_work_stays(hooked, change, git):
    """One message, and git's own work is done."""
    git("checkout", "-q", "-b", "other")
    change("table.csv", "there")
    (hooked / "data" / "table.csv").write_text("unsaved")
    said = git("checkout", "-q", "main", both=True)
    assert "would be lost: data/table.csv" in said
    assert "unsaved" == (hooked / "data" / "table.csv").read_text()


def test_hooks_that_were_there_run_first_and_come_back(project, run_mlvc, git):
    """A failing one still refuses; uninstalled, the directory is as it was."""
    hook = project / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\necho first >&2\nexit 1\n")
    hook.chmod(0o755)
    before = sorted(path.name for path in hook.parent.iterdir())
    run_mlvc("hooks", "install")
    run_mlvc("hooks", "install")

    assert "first" in git("commit", "--allow-empty", "-m", "x", check=False, both=True)
    run_mlvc("hooks", "uninstall")
    assert before == sorted(path.name for path in hook.parent.iterdir())
    assert "echo first" in hook.read_text()
