"""Between here and an S3 server: a cut cable, a server that is busy, a killed process, two people at once."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from mlvc.model.ids import BlobId
from mlvc.store.local import LocalStore
from tests.support.command import Mlvc, child_environment
from tests.support.proxy import serve_proxy

pytestmark = pytest.mark.s3

PACKS = 8
PACK_BYTES = 400_000
LARGE_BYTES = 72 << 20


@pytest.fixture
def proxy(s3_server, server, monkeypatch):
    """What stands between every command of the test and the server."""
    with serve_proxy(s3_server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


@pytest.fixture
def project(git_repo, run_mlvc, server):
    """A project with a remote, and several packs to push."""
    run_mlvc("init")
    (git_repo / "data.bin").write_bytes(random.Random(0).randbytes(PACK_BYTES))
    run_mlvc("add", "data.bin")
    subprocess.run(["git", "add", "-A"], cwd=git_repo, check=True)
    run_mlvc("commit", "-m", "first")
    run_mlvc("remote", "add", "team", "s3://models/far")
    fill(git_repo, seeds=range(1, PACKS))
    return run_mlvc


def fill(folder, seeds):
    """Adds a pack of one blob for each seed to a repository's store; returns the blobs."""
    store = LocalStore(folder / ".git" / "mlvc" / "store")
    blobs = []
    for seed in seeds:
        with store.writer() as writer:
            blobs.append(writer.add_blob(random.Random(seed).randbytes(PACK_BYTES)))
    return blobs


@pytest.fixture
def clone(project, tmp_path):
    """Makes another work tree of the project, which knows the remote."""

    def make(name):
        subprocess.run(["git", "clone", "--quiet", project.cwd, tmp_path / name], check=True)
        run = Mlvc(cwd=tmp_path / name)
        run("remote", "add", "team", "s3://models/far")
        return run

    return make


def start(run, *arguments, **changes):
    return subprocess.Popen(
        [sys.executable, "-m", "mlvc", *arguments],
        cwd=run.cwd,
        env=child_environment(changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def settled(proxy):
    """Returns how much was sent, once what a killed process left on its way has passed."""
    before = -1
    while before != proxy.sent:
        before = proxy.sent
        time.sleep(0.3)
    return before


def leftovers(run):
    return os.listdir(run.cwd / ".git" / "mlvc" / "store" / "tmp")


def test_a_connection_that_is_cut_is_one_error_and_the_next_fetch_goes_on(project, proxy, clone):
    """Again and again in the middle of an answer; nothing half is kept."""
    project("push")
    other = clone("other")
    proxy.cut_after = 200_000

    error = other("fetch", "--data", "--json", check=2).json()["error"]

    assert "remote-unreachable" == error["code"]
    assert "repeat" in error["hint"]
    assert [] == leftovers(other)
    proxy.cut_after = None
    other("pull")
    assert (project.cwd / "data.bin").read_bytes() == (other.cwd / "data.bin").read_bytes()
    assert True is other("fsck", "--json").json()["ok"]


def test_a_push_that_is_cut_is_one_error_and_the_next_one_goes_on(project, proxy):
    """In the middle of a pack; what is on the remote afterwards is whole."""
    proxy.cut_sent_after = 200_000

    assert "remote-unreachable" == project("push", "--json", check=2).json()["error"]["code"]
    proxy.cut_sent_after = None
    project("push")

    assert True is project("verify", "--remote", "--deep", "--json").json()["ok"]


def test_a_connection_that_is_cut_once_is_no_error(project, proxy, clone):
    """The same request is sent again."""
    proxy.cut_sent_after, proxy.cuts = 200_000, 1
    project("push")
    proxy.cut_sent_after, proxy.cut_after, proxy.cuts = None, 200_000, 1

    clone("other")("pull")

    assert 0 == proxy.cuts


def test_a_server_that_is_busy_is_asked_again(project, proxy):
    """503 SlowDown: waited for, and one error if it does not end."""
    proxy.busy = 2

    assert project("push", "--json").json()["packs"] > PACKS
    proxy.busy = 1_000_000
    refused = project("push", "--json", check=2)
    assert "remote-unreachable" == refused.json()["error"]["code"]
    assert "Traceback" not in refused.stderr


def test_a_killed_push_goes_on_where_it_stopped(project, proxy, server):
    """SIGKILL at three points: what had arrived is not sent again, and in the end all is there."""
    proxy.delay_s = 0.03
    arrived = 0
    for point_bytes in (300_000, 2_400_000, 1_000_000):
        # Four packs at once are 1.6 MB, so at the second point one has arrived.
        limit = settled(proxy) + point_bytes
        process = start(project, "push")
        while proxy.sent < limit and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        there = server.find("models/far/data", detail=True) if server.exists("models/far/data") else {}
        whole = {path.replace(".idx", ".pack") for path in there if path.endswith(".idx")}
        assert whole <= there.keys()
        large = [path for path in whole if there[path]["size"] > PACK_BYTES]
        assert arrived <= len(large)
        arrived = len(large)
    assert arrived > 0
    proxy.delay_s = 0.0
    before = settled(proxy)

    project("push")

    assert proxy.sent - before < (PACKS - arrived) * PACK_BYTES * 1.05 + 100_000
    assert True is project("verify", "--remote", "--deep", "--json").json()["ok"]
    assert 0 == project("push", "--json").json()["packs"]


@pytest.fixture
def large(project):
    """A file that is one pack of its own, in five parts; returns its bytes."""
    noise = random.Random(77).randbytes(LARGE_BYTES)
    (project.cwd / "model.bin").write_bytes(noise)
    project("add", "model.bin")
    project("commit", "-m", "model")
    return noise


def kill_after(run, proxy, moved, limit_bytes, *arguments):
    """Starts a command, and kills it once so many bytes have passed; returns how many did."""
    before = moved()
    process = start(run, *arguments)
    while moved() - before < limit_bytes and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, told = process.communicate()
    assert -signal.SIGKILL == process.returncode, told
    settled(proxy)
    return moved() - before


def test_a_killed_push_of_one_large_file_goes_on_where_it_stopped(project, proxy, large, clone, server):
    """SIGKILL after some of five parts: those that had arrived are not sent again, and what arrives is whole."""
    sent = kill_after(project, proxy, lambda: proxy.sent, 56 << 20, "push")
    assert not server.exists(f"models/far/data/{BlobId.of(large).hex}.pack")
    before = proxy.sent

    project("push")

    assert proxy.sent - before < LARGE_BYTES + PACKS * PACK_BYTES + (1 << 20) - sent // 2
    assert True is project("verify", "--remote", "--deep", "--json").json()["ok"]
    other = clone("other")
    other("pull")
    assert large == (other.cwd / "model.bin").read_bytes()


def test_a_part_that_arrived_damaged_is_sent_again(project, proxy, large, server):
    """A part of an upload that another program began counts only with the bytes that it should have."""
    name = f"far/data/{BlobId.of(large).hex}.pack"
    begun = server.call_s3("create_multipart_upload", Bucket="models", Key=name)
    server.call_s3(
        "upload_part",
        Bucket="models",
        Key=name,
        UploadId=begun["UploadId"],
        PartNumber=2,
        Body=random.Random(1).randbytes(16 << 20),
    )

    project("push")

    assert large == server.cat_file(f"models/{name}")
    assert not server.call_s3("list_multipart_uploads", Bucket="models", Prefix=name).get("Uploads")


def test_a_killed_fetch_of_one_large_file_goes_on_where_it_stopped(project, proxy, large, clone):
    """SIGKILL after most of it: what had arrived intact is not asked for again, and what was hurt since is."""
    project("push")
    other = clone("other")
    other("fetch")
    received = kill_after(other, proxy, lambda: proxy.received, 56 << 20, "fetch", "--data")
    (name,) = leftovers(other)
    assert f"{BlobId.of(large).hex}.part" == name
    with (other.cwd / ".git/mlvc/store/tmp" / name).open("r+b") as file:
        file.seek(20 << 20)
        file.write(b"hurt")
    before = proxy.received

    other("fetch", "--data")

    # Pieces of 8 MiB: the first two are intact.
    assert (
        LARGE_BYTES - (16 << 20) < proxy.received - before < LARGE_BYTES - (16 << 20) + PACKS * PACK_BYTES * 2
    )
    assert received > 56 << 20
    assert [] == leftovers(other)
    assert True is other("fsck", "--json").json()["ok"]
    other("pull")
    assert large == (other.cwd / "model.bin").read_bytes()


def test_two_pushes_at_once_lose_nothing(project, clone):
    """From two clones, with packs in common and of their own."""
    project("push")
    other = clone("other")
    other("fetch", "--data")
    blobs = fill(project.cwd, [100, 300]) + fill(other.cwd, [200, 300])
    pushes = [start(run, "push") for run in (project, other)]

    for push in pushes:
        _, told = push.communicate(timeout=120)
        assert 0 == push.returncode, told

    third = clone("third")
    third("fetch", "--data")
    store = LocalStore(third.cwd / ".git" / "mlvc" / "store")
    assert all(store.has_blob(blob) for blob in blobs)
    assert True is third("verify", "--remote", "--deep", "--json").json()["ok"]


def test_no_secret_is_shown_or_written(project, clone, tmp_path, home):
    """In no output of any command, even a verbose one that fails, and in no file that any of them wrote."""
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    wrong = "hush-hush-0123456789"
    other = clone("other")
    results = [project("-v", "push")]
    results += [
        other("-v", *verb.split()) for verb in ("fetch", "pull", "verify --remote --deep", "remote list")
    ]
    for verb in ("push", "pull --json"):
        results.append(other("-v", *verb.split(), check=2, env={"AWS_SECRET_ACCESS_KEY": wrong}))
    results.append(other("-v", "pull", check=2, env={"AWS_ENDPOINT_URL": f"http://me:{wrong}@127.0.0.1:9"}))

    for result in results:
        assert secret not in result.stdout + result.stderr
        assert wrong not in result.stdout + result.stderr
    written = [path for place in (tmp_path, home) for path in place.rglob("*") if path.is_file()]
    assert len(written) > 50
    for path in written:
        data = path.read_bytes()
        assert secret.encode() not in data, path
        assert wrong.encode() not in data, path
