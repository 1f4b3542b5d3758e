"""A remote in a container of Azure, as people use it: push, clone, damage and repair, gc, and going on after a kill."""

import random
import signal
import subprocess
import sys
import time

import pytest

from mlvc.model.ids import BlobId
from mlvc.repo import Repo
from mlvc.store.remote_gc import collect_remote
from mlvc.verbs.remote import open_remote
from mlvc.verbs.source import index_cache
from tests.support.command import Mlvc, child_environment
from tests.support.proxy import serve_proxy
from tests.support.reporter import RecordingReporter

pytestmark = pytest.mark.azure

URL = "az://models/a/b"
LARGE_BYTES = 72 << 20


@pytest.fixture
def proxy(azure_server, monkeypatch):
    """What stands between every command of the test and the server."""
    with serve_proxy(azure_server.endpoint) as proxy:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_server.connection_string(proxy.endpoint))
        yield proxy


@pytest.fixture
def container(azure_server):
    """The container, for looking and hurting."""
    made = azure_server.container("models")
    yield made
    made.delete_container()


def files_in(container):
    return {blob.name.removeprefix("a/b/") for blob in container.list_blobs()}


def git(cwd, *arguments):
    subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture
def project(git_repo, run_mlvc, proxy, container):
    """A project with a remote in the container, and a commit that was pushed."""
    run_mlvc("init")
    with (git_repo / "mlvc.toml").open("a") as settings:
        settings.write(f'\n[remote]\nurl = "{URL}"\n')
    (git_repo / "data").mkdir()
    (git_repo / "data" / "kept").write_bytes(random.Random(0).randbytes(700_000))
    run_mlvc("add", "data")
    git(git_repo, "add", "-A")
    run_mlvc("commit", "-m", "data")
    run_mlvc("push")
    return run_mlvc


@pytest.fixture
def clone(project, tmp_path):
    """A clone that has fetched records, and no data."""
    Mlvc(cwd=tmp_path)("clone", project.cwd, "clone")
    return Mlvc(cwd=tmp_path / "clone")


def test_what_one_pushed_another_pulls(project, clone):
    """And a second push is nothing; every byte there is as it was sent."""
    assert 0 == project("push", "--json").json()["packs"]

    clone("pull")

    assert (project.cwd / "data" / "kept").read_bytes() == (clone.cwd / "data" / "kept").read_bytes()
    assert True is clone("verify", "--remote", "--deep", "--json").json()["ok"]
    assert True is clone("fsck", "--json").json()["ok"]


def test_a_flipped_bit_is_named_and_mended(project, clone, container):
    """It is not stored; and `--repair` of who has the data makes the remote whole."""
    hurt = [name for name in files_in(container) if name.startswith("data/") and name.endswith(".pack")]
    for name in hurt:
        blob = container.get_blob_client(f"a/b/{name}")
        data = bytearray(blob.download_blob().readall())
        data[len(data) // 2] ^= 1
        blob.upload_blob(bytes(data), overwrite=True)

    error = clone("pull", "--json", check=2).json()["error"]
    assert "remote-damaged" == error["code"]
    assert f"{URL}/data/" in error["message"]
    assert not (clone.cwd / "data").exists()
    project("push", "--repair")

    assert True is clone("verify", "--remote", "--deep", "--json").json()["ok"]
    clone("pull")
    assert (project.cwd / "data" / "kept").read_bytes() == (clone.cwd / "data" / "kept").read_bytes()


def test_what_nothing_needs_goes(project, clone, container):
    """By the clone's gc, in its two steps; the rest stays whole."""
    (project.cwd / "data" / "tried").write_bytes(b"tried, and never committed" * 20_000)
    project("add", "data")
    project("push")
    repo = Repo.open(clone.cwd, reporter=RecordingReporter(), environment={})
    # The server tells times in seconds, and what is as young as a list is not on it.
    time.sleep(2)

    with repo.store.in_use():
        condemned, deleted = (
            collect_remote(
                repo.store,
                open_remote(repo),
                (),
                index_cache(repo),
                repo.reporter,
                keep_s=0,
                grace_s=0,
            )
            for _ in range(2)
        )

    assert ("condemned", "deleted") == (condemned.step, deleted.step)
    assert condemned.files == deleted.files
    assert deleted.files
    left = files_in(container)
    assert left.isdisjoint(deleted.files)
    assert not [name for name in left if name.startswith("gc/")]
    assert True is clone("verify", "--remote", "--deep", "--json").json()["ok"]


def test_a_connection_that_is_cut_is_one_error_and_the_next_pull_goes_on(project, clone, proxy):
    """Again and again in the middle of an answer; nothing half is kept. A cut that comes once is no error at all."""
    proxy.cut_after = 200_000

    error = clone("pull", "--json", check=2).json()["error"]

    assert "remote-unreachable" == error["code"]
    assert URL in error["message"]
    assert "repeat" in error["hint"]
    proxy.cuts = 1
    clone("pull")
    assert 0 == proxy.cuts
    assert (project.cwd / "data" / "kept").read_bytes() == (clone.cwd / "data" / "kept").read_bytes()


def kill_after(run, moved, limit_bytes, *arguments):
    """Starts a command, and kills it once so many bytes have passed."""
    before = moved()
    process = subprocess.Popen(
        [sys.executable, "-m", "mlvc", *arguments],
        cwd=run.cwd,
        env=child_environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while moved() - before < limit_bytes and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, told = process.communicate()
    assert -signal.SIGKILL == process.returncode, told


def test_a_killed_push_and_a_killed_pull_of_a_large_file_go_on(project, clone, proxy, container):
    """Nothing is seen of what a killed push sent; what a killed pull brought is not brought again."""
    noise = random.Random(77).randbytes(LARGE_BYTES)
    (project.cwd / "model.bin").write_bytes(noise)
    project("add", "model.bin")
    project("commit", "-m", "model")
    kill_after(project, lambda: proxy.sent, 40 << 20, "push")
    assert f"data/{BlobId.of(noise).hex}.pack" not in files_in(container)
    project("push")
    git(clone.cwd, "pull", "--quiet")
    clone("fetch")
    kill_after(clone, lambda: proxy.received, 56 << 20, "pull")
    before = proxy.received

    clone("pull")

    assert proxy.received - before < LARGE_BYTES - (16 << 20) + (2 << 20)
    assert noise == (clone.cwd / "model.bin").read_bytes()
    assert True is clone("verify", "--remote", "--deep", "--json").json()["ok"]
