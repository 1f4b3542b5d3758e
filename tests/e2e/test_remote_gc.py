"""Two clones, one bucket on a real S3 server, and a gc of it between their pushes."""

import subprocess
import time

import pytest

from mlvc.repo import Repo
from mlvc.store.remote_gc import collect_remote
from mlvc.verbs.remote import open_remote
from mlvc.verbs.source import index_cache
from tests.support.command import Mlvc
from tests.support.reporter import RecordingReporter

pytestmark = pytest.mark.s3


def git(cwd, *arguments):
    subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture
def clones(git_repo, run_mlvc, server, tmp_path):
    """Two of one project; the first has pushed a commit, and data that nothing needs."""
    run_mlvc("init")
    with (git_repo / "mlvc.toml").open("a") as settings:
        settings.write('\n[remote]\nurl = "s3://models/a/b"\n')
    (git_repo / "data").mkdir()
    (git_repo / "data" / "kept").write_bytes(b"kept" * 20_000)
    run_mlvc("add", "data")
    git(git_repo, "add", "-A")
    run_mlvc("commit", "-m", "data")
    (git_repo / "data" / "tried").write_bytes(b"tried, and never committed" * 20_000)
    run_mlvc("add", "data")
    run_mlvc("push")
    git(tmp_path, "clone", "--quiet", str(git_repo), "second")
    second = Mlvc(cwd=tmp_path / "second")
    second("init")
    return run_mlvc, second


def gc(clone, grace_s):
    """Takes a step as `mlvc gc --remote` does, with other periods than a user may choose."""
    repo = Repo.open(clone.cwd, reporter=RecordingReporter(), environment={})
    with repo.store.in_use():
        return collect_remote(
            repo.store,
            open_remote(repo),
            (),
            index_cache(repo),
            repo.reporter,
            keep_s=0,
            grace_s=grace_s,
        )


def test_gc_between_two_clones(clones, server, home):
    """Promise 6: listed, told, spared when a clone needs it meanwhile, deleted when nobody does; the rest is whole."""
    first, second = clones
    config = home / ".config" / "mlvc" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[gc]\nkeep_days = 0\n")
    before = set(server.find("models/a/b"))

    told = second("gc", "--remote", "--dry-run", "--json").json()
    assert ("condemned", True) == (told["step"], len(told["files"]) > 1)
    assert before == set(server.find("models/a/b"))
    listed = second("gc", "--remote", "--json").json()
    assert (told["files"], "condemned") == (listed["files"], listed["step"])
    waiting = second("gc", "--remote")
    assert "go with the next gc after" in waiting.stdout

    # The first clone needs now what is condemned, and sends it again.
    first("commit", "-m", "after all")
    first("push")
    spared = gc(second, 0)
    assert "deleted" == spared.step
    assert first("verify", "--remote", "--json").json()["ok"] is True

    (first.cwd / "data" / "tried").write_bytes(b"another try" * 20_000)
    first("add", "data")
    first("push")
    # The server tells times in seconds, and what is as young as a list is not on it.
    time.sleep(2)
    condemned = gc(second, 0)
    deleted = gc(second, 0)
    assert ("condemned", "deleted", condemned.files) == (condemned.step, deleted.step, deleted.files)
    assert not {f"models/a/b/{file}" for file in deleted.files} & set(server.find("models/a/b"))
    assert not [name for name in server.find("models/a/b") if "/gc/" in name]
    git(second.cwd, "pull", "--quiet")
    second("pull")
    assert b"tried, and never committed" * 20_000 == (second.cwd / "data" / "tried").read_bytes()
    assert second("verify", "--remote", "--deep", "--json").json()["ok"] is True
    assert second("fsck", "--json").json()["ok"] is True
