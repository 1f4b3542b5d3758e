"""Wherever a remote is, it keeps `RemoteFiles`: a directory, and real servers that speak S3, GCS, Azure and SFTP."""

import asyncio
import base64
import concurrent.futures
import contextlib
import datetime
import functools
import os
import random
import re
import socket
import subprocess
import sys
import threading
import uuid
from types import SimpleNamespace

import aiohttp
import pytest
from blake3 import blake3

from mlvc.errors import MlvcError
from mlvc.model.ids import BlobId
from mlvc.store import answers, cloud_answers, pace, remote_clouds, remote_s3, remote_ssh
from mlvc.store.errors import DamagedFileError
from mlvc.store.fetch import fetch_records
from mlvc.store.local import LocalStore
from mlvc.store.outgoing import Outgoing
from mlvc.store.push import push
from mlvc.store.remote import Remote
from mlvc.store.remote_clouds import CloudFiles
from mlvc.store.remote_files import (
    DirectoryFiles,
    RemoteDeniedError,
    RemoteFile,
    RemoteMissingError,
    RemoteUnreachableError,
)
from mlvc.store.remote_indexes import RemoteIndexes
from mlvc.store.remote_s3 import BucketFiles, BucketOptions
from mlvc.store.remote_ssh import SshFiles
from tests.support.azure import AZURE_KEY
from tests.support.proxy import serve_proxy
from tests.support.reporter import RecordingReporter

# gcsfs hands large pieces over as they are, and aiohttp would have them otherwise; users see no such warning.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")

KINDS = [
    "directory",
    pytest.param("s3", marks=pytest.mark.s3),
    pytest.param("gs", marks=pytest.mark.gcs),
    pytest.param("az", marks=pytest.mark.azure),
    pytest.param("ssh", marks=pytest.mark.ssh),
]


HASTE = {"initial_backoff": 0, "increment_base": 0, "random_jitter_range": 0}


@pytest.fixture(params=KINDS)
def files(request, tmp_path, home, monkeypatch):
    """The files of a remote that is ready."""
    name = f"r-{uuid.uuid4().hex}"
    if request.param == "directory":
        made = DirectoryFiles(tmp_path / "far")
    elif request.param == "s3":
        server = request.getfixturevalue("s3_server")
        for key, value in server.environment.items():
            monkeypatch.setenv(key, value or "")
        for key in ("AWS_PROFILE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.delenv(key, raising=False)
        server.filesystem().mkdir(name)
        made = BucketFiles(f"s3://{name}/far", BucketOptions())
    elif request.param == "gs":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", request.getfixturevalue("gcs_server"))
        made = CloudFiles(f"gs://models/{name}")
    elif request.param == "az":
        server = request.getfixturevalue("azure_server")
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", server.connection_string())
        server.container(name)
        made = CloudFiles(f"az://{name}/far")
    else:
        request.getfixturevalue("ssh_server").introduce(home)
        made = SshFiles(f"ssh://far{tmp_path}/far")
    made.prepare()
    return made


def read(files, name, size_bytes, offset=0):
    return b"".join(files.read(name, size_bytes, offset))


def test_what_was_written_is_listed_and_read(files):
    """By its name below the remote, with its length; whole, and any range of it; an empty file too."""
    before = set(files.list())
    files.write("gc/empty", b"")
    files.write("data/one", b"0123456789")

    found = files.list()

    assert {"gc/empty", "data/one"} == set(found) - before
    assert [0, 10] == [found["gc/empty"].size_bytes, found["data/one"].size_bytes]
    assert b"0123456789" == read(files, "data/one", 10)
    assert b"345" == read(files, "data/one", 3, 3)


def test_a_file_replaces_one_of_its_name_and_becomes_younger(files):
    """As a pack that is sent again: a list of a gc does not mean it any more."""
    files.write("data/one", b"old")
    first = files.list()["data/one"]
    for _ in range(30):
        files.write("data/one", b"newer")
        if files.list()["data/one"].time_s > first.time_s:
            break

    assert files.list()["data/one"].time_s >= first.time_s
    assert b"newer" == read(files, "data/one", 5)


def test_a_large_file_comes_back(files, tmp_path):
    """It is uploaded and read in pieces."""
    data = random.Random(1).randbytes(70 << 20)
    (tmp_path / "large").write_bytes(data)

    files.upload("data/large", Outgoing(tmp_path / "large", blake3(data).digest()), 4)

    assert len(data) == files.list()["data/large"].size_bytes
    assert data == read(files, "data/large", len(data))
    assert data[50_000_000:50_100_000] == read(files, "data/large", 100_000, 50_000_000)


@pytest.mark.parametrize("size_bytes", [100_000, 65 << 20])
def test_other_bytes_than_the_name_says_do_not_arrive(files, tmp_path, size_bytes):
    """They are hashed as they are sent, and nothing is seen of what was sent before that was known."""
    data = random.Random(3).randbytes(size_bytes)
    (tmp_path / "pack").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    before = files.list()

    with pytest.raises(DamagedFileError, match="was not sent"):
        files.upload("data/pack", Outgoing(tmp_path / "pack", blake3(data).digest()), 4)

    assert before == files.list()


def test_what_is_removed_is_gone(files):
    """One that was gone before is no error, with others or alone."""
    names = [f"data/{number}" for number in range(5)]
    for name in names:
        files.write(name, b"x")
    files.remove([*names[:3], "data/never"])
    files.remove(["data/never"])

    assert set(names[3:]) == {name for name in files.list() if name.startswith("data/")}


def test_what_is_missing_is_said(files):
    """With the remote's own error, which makes readers look again."""
    with pytest.raises(RemoteMissingError):
        read(files, "data/never", 10)


def test_many_threads_at_once(files, tmp_path):
    """Each gets its own bytes."""
    contents = {f"data/{number}": random.Random(number).randbytes(200_000) for number in range(24)}
    for name, data in contents.items():
        (tmp_path / name.replace("/", "-")).write_bytes(data)
    sources = [
        Outgoing(tmp_path / name.replace("/", "-"), blake3(data).digest()) for name, data in contents.items()
    ]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(files.upload, contents, sources))
        found = dict(zip(contents, pool.map(lambda name: read(files, name, 200_000), contents), strict=True))

    assert contents == found


def test_beyond_the_end_there_is_nothing(files):
    """A range that ends there is shorter, and one that begins there is empty; so is every range of an empty file."""
    files.write("gc/empty", b"")
    files.write("data/one", b"0123456789")

    ranges = [read(files, "data/one", 20, offset) for offset in (0, 4, 10, 100)]

    assert [b"0123456789", b"456789", b"", b""] == ranges
    assert b"" == read(files, "gc/empty", 20)


def test_a_push_and_a_fetch(files, tmp_path):
    """What one store has, another gets; a second push sends nothing."""
    remote = Remote("file:///far", files)
    store, other = LocalStore.create(tmp_path / "store"), LocalStore.create(tmp_path / "other")
    data = random.Random(2).randbytes(3_000_000)
    with store.writer() as writer:
        blob = writer.add_blob(data)

    assert 2 == push(store, remote, tmp_path / "cache", RecordingReporter()).packs
    assert 0 == push(store, remote, tmp_path / "cache", RecordingReporter()).packs
    listed = remote.list_packs()
    indexes = RemoteIndexes(other, remote, listed, tmp_path / "other-cache")
    fetch_records(other, remote, listed, indexes, indexes.records(listed), RecordingReporter())

    assert data == other.read_blob(BlobId(blob.digest))


@pytest.mark.gcs
def test_a_missing_bucket_is_said(gcs_server, monkeypatch):
    """An empty answer would look like an empty remote."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server)

    with pytest.raises(RemoteMissingError, match="gs://no-such"):
        CloudFiles("gs://no-such/x").list()


@pytest.fixture
def container(azure_server, monkeypatch):
    """A container of Azure, and what reads a folder of it as a remote."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_server.connection_string())
    name = f"r-{uuid.uuid4().hex}"
    return azure_server.container(name), f"az://{name}/far"


@pytest.mark.azure
def test_what_lies_beside_a_folder_of_azure_is_not_listed(container):
    """Nor what begins alike, nor what is deeper than a remote goes."""
    beside, url = container
    for name in ("far/data/one", "far/mlvc-remote-1", "farther/data/two", "data/three", "far/a/data/four"):
        beside.upload_blob(name, b"x")

    assert {"data/one", "mlvc-remote-1"} == set(CloudFiles(url).list())


@pytest.mark.azure
def test_a_thousand_blobs_are_removed_at_once(container):
    """As many as a gc hands over; those of them that are gone already are no error, and nothing else goes."""
    beside, url = container
    files = CloudFiles(url)
    beside.upload_blob("far/data/kept", b"x")
    names = [f"data/{number}" for number in range(990)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: files.write(name, b"x"), names))
    assert {*names, "data/kept"} == set(files.list())

    files.remove([*names, *(f"data/never-{number}" for number in range(10))])

    assert {"data/kept"} == set(files.list())


@pytest.mark.azure
def test_a_large_blob_arrives_in_blocks(container, tmp_path):
    """Each of 16 MiB, so that a lost connection costs no more."""
    beside, url = container
    data = random.Random(5).randbytes(40 << 20)
    (tmp_path / "large").write_bytes(data)

    CloudFiles(url).upload("data/large", Outgoing(tmp_path / "large", blake3(data).digest()))

    blocks, _ = beside.get_blob_client("far/data/large").get_block_list()
    assert [16 << 20, 16 << 20, 8 << 20] == [block.size for block in blocks]


ASKED = {
    "list": lambda files, _: files.list(),
    "read": lambda files, _: read(files, "data/one", 10),
    "write": lambda files, _: files.write("data/one", b"x"),
    "upload": lambda files, source: files.upload("data/one", Outgoing(source, blake3(b"x").digest())),
    "remove": lambda files, _: files.remove(["data/one"]),
}


@pytest.fixture(params=ASKED)
def ask(request, tmp_path):
    """Asks something of a remote, whatever that is."""
    (tmp_path / "source").write_bytes(b"x")
    return lambda files: ASKED[request.param](files, tmp_path / "source")


@pytest.mark.azure
def test_a_missing_container_of_azure_is_said(container, ask):
    """Whatever it was asked for: nothing is listed, written or removed where there is nothing."""
    with pytest.raises(RemoteMissingError, match="az://no-such/far is not there"):
        ask(CloudFiles("az://no-such/far"))


@pytest.mark.azure
@pytest.mark.parametrize("what", ["wrong key", "expired signature"])
def test_who_may_not_is_refused_by_azure(azure_server, container, ask, monkeypatch, what):
    """By one error, which shows no signature."""
    _, url = container
    key = base64.b64encode(b"of somebody else").decode()
    string = (
        azure_server.connection_string(key=key)
        if what == "wrong key"
        else azure_server.signed_string(datetime.timedelta(minutes=-1))
    )
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", string)

    with pytest.raises(RemoteDeniedError, match=f"{url} does not let us in") as raised:
        ask(CloudFiles(url))

    assert key not in str(raised.value)
    assert "sig=" not in str(raised.value)


@pytest.mark.azure
def test_a_signature_lets_in(azure_server, container, ask, monkeypatch):
    """As the key does."""
    beside, url = container
    beside.upload_blob("far/data/one", b"x")
    monkeypatch.setenv(
        "AZURE_STORAGE_CONNECTION_STRING", azure_server.signed_string(datetime.timedelta(hours=1))
    )

    ask(CloudFiles(url))


@pytest.mark.ssh
@pytest.mark.parametrize("lacks", ["knows_host", "has_key"])
def test_an_unknown_host_and_an_unknown_user_are_refused(ssh_server, tmp_path, home, lacks):
    """Neither is anybody asked, nor a host believed that was never seen."""
    ssh_server.introduce(home, **{lacks: False})

    with pytest.raises(RemoteDeniedError, match="ssh://far"):
        SshFiles(f"ssh://far{tmp_path}/far").list()


@pytest.mark.ssh
def test_a_server_that_is_gone_is_said(ssh_server, tmp_path, home):
    """In one message that names the remote."""
    ssh_server.introduce(home)
    config = home / ".ssh" / "config"
    config.write_text(config.read_text().replace(str(ssh_server.port), "1"))

    with pytest.raises(RemoteUnreachableError, match="ssh://far"):
        SshFiles(f"ssh://far{tmp_path}/far").list()


@pytest.fixture
def stalling(s3_server, monkeypatch, request):
    """A bucket with an object of a MB, on a server behind a proxy, which is waited for two seconds."""
    for key, value in s3_server.environment.items():
        monkeypatch.setenv(key, value) if value else monkeypatch.delenv(key, raising=False)
    bucket = f"r-{uuid.uuid4().hex}"
    s3_server.filesystem().mkdir(bucket)
    s3_server.filesystem().pipe_file(f"{bucket}/far/data/one", bytes(1_000_000))
    monkeypatch.setitem(remote_s3._CONFIG, "read_timeout", 2)
    monkeypatch.setitem(remote_s3._CONFIG, "retries", {"mode": "standard", "total_max_attempts": 2})
    with serve_proxy(s3_server.endpoint) as proxy:
        yield BucketFiles(f"s3://{bucket}/far", BucketOptions(endpoint=proxy.endpoint)), proxy


@pytest.mark.s3
def test_a_server_that_stalls_in_an_answer_is_asked_again(stalling):
    """It hangs up on nobody, and sends no more; the next answer is whole."""
    files, proxy = stalling
    proxy.stall_after, proxy.cuts = 200_000, 1

    assert bytes(1_000_000) == read(files, "data/one", 1_000_000)
    assert 0 == proxy.cuts


@pytest.mark.s3
@pytest.mark.parametrize(
    "ask",
    [lambda files: read(files, "data/one", 1_000_000), lambda files: files.list()],
    ids=["read", "list"],
)
def test_a_server_that_always_stalls_is_one_error(stalling, ask):
    """It says what happened, and where."""
    files, proxy = stalling
    proxy.stall_after = 100

    with pytest.raises(
        RemoteUnreachableError,
        match=r"s3://r-.*/far does not answer: Read timeout on .*(far/data/one|http)",
    ):
        ask(files)


@pytest.fixture(
    params=[
        pytest.param("s3", marks=pytest.mark.s3),
        pytest.param("gs", marks=pytest.mark.gcs),
        pytest.param("az", marks=pytest.mark.azure),
        pytest.param("ssh", marks=pytest.mark.ssh),
    ]
)
def far_and_proxy(request, tmp_path, home, monkeypatch):
    """A remote with a file of a MB, behind a proxy; a server that says nothing is asked again at once."""
    name = f"r-{uuid.uuid4().hex}"
    kind = request.param
    server = request.getfixturevalue({"gs": "gcs", "az": "azure"}.get(kind, kind) + "_server")
    endpoint = {
        "gs": lambda: server,
        "ssh": lambda: f"http://127.0.0.1:{server.port}",
    }.get(kind, lambda: server.endpoint)()
    with serve_proxy(endpoint) as proxy:
        if kind == "s3":
            for key, value in server.environment.items():
                monkeypatch.setenv(key, value) if value else monkeypatch.delenv(key, raising=False)
            server.filesystem().mkdir(name)
            options = BucketOptions(endpoint=proxy.endpoint)
            make = functools.partial(BucketFiles, f"s3://{name}/far", options)
        elif kind == "gs":
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.endpoint)
            make = functools.partial(CloudFiles, f"gs://models/{name}")
        elif kind == "az":
            server.container(name)
            string = server.connection_string(proxy.endpoint)
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", string)
            make = functools.partial(CloudFiles, f"az://{name}/far")
        else:
            server.introduce(home)
            for part in ("config", "known_hosts"):
                path = home / ".ssh" / part
                path.write_text(path.read_text().replace(str(server.port), str(proxy.port)))
            make = functools.partial(SshFiles, f"ssh://far{tmp_path}/far")
        patient = make()
        patient.prepare()
        patient.write("data/one", bytes(1_000_000))
        hasten(monkeypatch)
        yield make(), proxy


def hasten(monkeypatch):
    """Makes what asks a server wait for a second or two, and not pause between questions."""
    monkeypatch.setattr(answers, "_UNTAKEN_S", 1)
    monkeypatch.setattr(pace, "WINDOW_S", 2)
    monkeypatch.setitem(remote_s3._CONFIG, "read_timeout", 2)
    monkeypatch.setitem(remote_s3._CONFIG, "retries", {"mode": "standard", "total_max_attempts": 2})
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=1, sock_read=1)
    monkeypatch.setattr(cloud_answers, "PATIENCE", timeout)
    monkeypatch.setattr("gcsfs.retry.asyncio", SimpleNamespace(sleep=lambda _: asyncio.sleep(0)))
    haste = {**remote_clouds._AZURE_PATIENCE, **HASTE, "read_timeout": 1}
    monkeypatch.setattr(remote_clouds, "_AZURE_PATIENCE", haste)
    for patience in ("_CONNECT_S", "_SILENCE_S"):
        monkeypatch.setattr(remote_ssh, patience, 1)


def test_a_server_that_stalls_once_is_asked_again(far_and_proxy):
    """It hangs up on nobody, and sends no more; the next answer is whole."""
    files, proxy = far_and_proxy
    proxy.stall_after, proxy.cuts = 200_000, 1

    assert bytes(1_000_000) == read(files, "data/one", 1_000_000)
    assert 0 == proxy.cuts


@pytest.mark.parametrize(
    "ask",
    [
        lambda files: read(files, "data/one", 1_000_000),
        lambda files: files.list(),
        lambda files: files.write("data/two", b"x"),
        lambda files: files.remove(["data/one"]),
    ],
    ids=["read", "list", "write", "remove"],
)
def test_a_server_that_says_nothing_is_one_error(far_and_proxy, ask):
    """On the connection that there is, and on every new one; it is named."""
    files, proxy = far_and_proxy
    proxy.stall_after = 1

    with pytest.raises(RemoteUnreachableError, match=re.escape(f"{files._url} does not answer: ")):
        ask(files)


@pytest.mark.parametrize(
    "far_and_proxy",
    [
        pytest.param("s3", marks=pytest.mark.s3),
        pytest.param("gs", marks=pytest.mark.gcs),
        pytest.param("az", marks=pytest.mark.azure),
    ],
    indirect=True,
)
@pytest.mark.parametrize("trickles_after", [1, 100_000], ids=["from its head on", "in the middle"])
def test_a_server_that_trickles_is_one_error(far_and_proxy, trickles_after):
    """It always says something before it could be called silent, and never gets anywhere."""
    files, proxy = far_and_proxy
    proxy.trickle_after = trickles_after

    with pytest.raises(RemoteUnreachableError, match=re.escape(f"{files._url} does not answer: ")):
        read(files, "data/one", 1_000_000)


@pytest.mark.parametrize(
    "far_and_proxy",
    [
        pytest.param("gs", marks=pytest.mark.gcs),
        pytest.param("az", marks=pytest.mark.azure),
    ],
    indirect=True,
)
def test_a_listing_that_trickles_is_one_error(far_and_proxy):
    """As what is read from a file."""
    files, proxy = far_and_proxy
    files.list()
    proxy.trickle_after = 1

    with pytest.raises(RemoteUnreachableError, match=re.escape(f"{files._url} does not answer: ")):
        files.list()


def test_a_slow_link_is_no_silence(far_and_proxy):
    """It needs many times as long as silence may last; but each time there is enough of it."""
    files, proxy = far_and_proxy
    files.write("data/slow", bytes(40_000))
    proxy.rate_bytes = 8_000

    assert bytes(40_000) == read(files, "data/slow", 40_000)


def test_a_server_that_takes_nothing_is_one_error(far_and_proxy, tmp_path):
    """In the middle of what is sent to it; what buffers on the way hold does not matter."""
    files, proxy = far_and_proxy
    noise = random.Random(6).randbytes(40 << 20)
    (tmp_path / "pack").write_bytes(noise)
    proxy.stall_sent_after = 1 << 20

    with pytest.raises(RemoteUnreachableError, match=re.escape(f"{files._url} does not answer: ")):
        files.upload("data/pack", Outgoing(tmp_path / "pack", blake3(noise).digest()))


@pytest.fixture
def cut_off(ssh_server, tmp_path, home):
    """A remote on the SSH server, and the proxy that stands before it."""
    ssh_server.introduce(home)
    with serve_proxy(f"http://127.0.0.1:{ssh_server.port}") as proxy:
        for name in ("config", "known_hosts"):
            path = home / ".ssh" / name
            path.write_text(path.read_text().replace(str(ssh_server.port), str(proxy.port)))
        made = SshFiles(f"ssh://far{tmp_path}/far")
        made.prepare()
        yield made, proxy


@pytest.mark.ssh
def test_a_connection_that_is_lost_is_made_anew_once(cut_off, tmp_path):
    """In the middle of reading, of writing, and while nobody asked; by all threads that were using it."""
    files, proxy = cut_off
    data = random.Random(4).randbytes(5_000_000)
    (tmp_path / "pack").write_bytes(data)
    proxy.cut_sent_after, proxy.cuts = 1_000_000, 1
    files.upload("data/pack", Outgoing(tmp_path / "pack", blake3(data).digest()))
    assert 0 == proxy.cuts
    assert [] == os.listdir(tmp_path / "far" / "tmp")

    proxy.cut_sent_after, proxy.cut_after, proxy.cuts = None, 1_000_000, 1
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: read(files, "data/pack", len(data)), range(4)))

    assert [data] * 4 == found
    assert 0 == proxy.cuts
    proxy.cut_after = None
    proxy.hang_up()
    assert {"data/pack"} == set(files.list())


@pytest.mark.ssh
def test_a_connection_that_is_lost_again_and_again_is_one_error(cut_off, tmp_path):
    """It is not asked for ever; and what was begun does not appear."""
    files, proxy = cut_off
    (tmp_path / "far" / "data" / "pack").write_bytes(bytes(5_000_000))
    proxy.cut_after = 1_000_000

    with pytest.raises(RemoteUnreachableError, match="ssh://far"):
        read(files, "data/pack", 5_000_000)

    proxy.cut_after = None
    assert bytes(5_000_000) == read(files, "data/pack", 5_000_000)


@pytest.mark.ssh
def test_what_a_killed_push_left_goes(ssh_server, tmp_path, home):
    """By the other machine's clock, and only what nobody wrote to for days."""
    ssh_server.introduce(home)
    far = tmp_path / "far"
    (far / "tmp").mkdir(parents=True)
    for name, days in (("old", 3), ("young", 1)):
        (far / "tmp" / name).write_bytes(b"half")
        then = (far / "tmp").stat().st_mtime - days * 86_400
        os.utime(far / "tmp" / name, (then, then))

    SshFiles(f"ssh://far{far}").prepare()

    assert ["young"] == os.listdir(far / "tmp")


@pytest.mark.ssh
def test_an_upload_that_fails_leaves_nothing(ssh_server, tmp_path, home):
    """Neither under its name nor beside."""
    ssh_server.introduce(home)
    files = SshFiles(f"ssh://far{tmp_path}/far")
    files.prepare()
    (tmp_path / "far" / "data" / "one").mkdir()

    with pytest.raises(MlvcError):
        files.write("data/one", b"x")

    assert [] == os.listdir(tmp_path / "far" / "tmp")


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("gs://models/x", "gcsfs", "gs"),
        ("az://models/x", "adlfs", "az"),
        ("ssh://host/x", "asyncssh", "ssh"),
    ],
)
def test_what_is_not_installed_is_named(run_mlvc, tmp_path, url, package, extra):
    """With the command that installs it."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / f"{package}.py").write_text(
        f"raise ModuleNotFoundError('No module named {package}', name={package!r})"
    )
    run_mlvc("init")
    run_mlvc("remote", "add", "far", url)

    error = run_mlvc("fetch", "--json", check=2, env={"PYTHONPATH": str(hidden)}).json()["error"]

    assert "remote-extra" == error["code"]
    assert package in error["message"]
    assert f"pip install 'mlvc[{extra}]'" in error["hint"]


def test_azure_without_an_account_is_said(run_mlvc):
    """Where to set one; nothing is asked of any server."""
    run_mlvc("init")
    run_mlvc("remote", "add", "far", "az://models/x")

    told = run_mlvc("fetch", check=2)

    assert "Traceback" not in told.stderr
    assert "AZURE_STORAGE_ACCOUNT_NAME" in told.stderr


@pytest.fixture
def azure(monkeypatch):
    """A server that answers each request with what `answers` has next, and hangs up; it notes what it was asked."""
    answers, asked = [], []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    asked.append(client.recv(1 << 16).decode())
                    client.sendall(answers.pop(0) if answers else b"")
                    client.close()

        threading.Thread(target=serve, daemon=True).start()
        monkeypatch.setenv(
            "AZURE_STORAGE_CONNECTION_STRING",
            f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey={AZURE_KEY};BlobEndpoint=http://127.0.0.1:{port}/a",
        )
        monkeypatch.setattr(remote_clouds, "_AZURE_PATIENCE", {**remote_clouds._AZURE_PATIENCE, **HASTE})
        yield answers, asked
        # Wakes the thread that waits for connections.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def http_answer(status, body):
    return f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize("is_busy", [True, False], ids=["busy", "hangs up"])
def test_azure_that_does_not_answer_is_asked_a_few_times_and_one_error(azure, is_busy):
    """Its libraries would ask twenty times, and wait for three minutes."""
    answers, asked = azure
    told = "<Error><Code>ServerBusy</Code><Message>The server is busy.</Message></Error>"
    answers += [http_answer("503 Busy", told)] * 100 * is_busy

    with pytest.raises(RemoteUnreachableError, match="az://models/x") as raised:
        CloudFiles("az://models/x").list()

    # One level further below, what was hung up on is asked once more each time.
    assert (5 if is_busy else 10) == len(asked)
    assert AZURE_KEY not in str(raised.value)


def test_a_container_of_azure_is_listed_by_one_question(azure):
    """As the documentation of its service writes the answer."""
    answers, asked = azure
    blob = (
        "<Blob><Name>far/data/one</Name><Properties><Last-Modified>Sat, 21 Nov 2026 20:00:00 GMT</Last-Modified>"
        "<Etag>0x8D</Etag><Content-Length>10</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
    )
    answers.append(
        http_answer(
            "200 OK",
            '<?xml version="1.0" encoding="utf-8"?>'
            '<EnumerationResults ServiceEndpoint="http://h/a" ContainerName="models">'
            f"<Prefix>far/</Prefix><Blobs>{blob}</Blobs><NextMarker /></EnumerationResults>",
        )
    )

    found = CloudFiles("az://models/far").list()

    assert {"data/one": RemoteFile(10, 1795291200.0)} == found
    (question,) = asked
    assert "GET /a/models?" in question
    assert "prefix=far" in question


def test_a_container_that_is_not_there_is_said(azure):
    """And is not asked for again."""
    answers, asked = azure
    told = "<Error><Code>ContainerNotFound</Code><Message>The container does not exist.</Message></Error>"
    answers.append(http_answer("404 Not Found", told))

    with pytest.raises(RemoteMissingError, match="az://models/far"):
        CloudFiles("az://models/far").list()

    assert 1 == len(asked)


def test_a_server_that_sends_more_than_it_was_asked_for_is_not_listened_to(monkeypatch):
    """An endpoint that ignores ranges, or means to fill the memory: what was asked for is taken, and then hung up."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody")
    sent_bytes = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def flood():
            nonlocal sent_bytes
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):
                client.recv(1 << 16)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
                while sent_bytes < 1 << 30:
                    sent_bytes += client.send(b"x" * (1 << 20))

        server = threading.Thread(target=flood, daemon=True)
        server.start()
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        files = BucketFiles("s3://models/far", BucketOptions(endpoint=endpoint, region="us-east-1"))

        assert b"x" * 100 == read(files, "data/one", 100, 50)

        server.join(30)
    assert sent_bytes < 64 << 20


_UPLOAD = """
import resource, sys
from pathlib import Path
from mlvc.store.outgoing import Outgoing
from mlvc.store.remote_s3 import BucketFiles, BucketOptions

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

url, small, digest_of_small, large, digest_of_large = sys.argv[1:]
files = BucketFiles(url, BucketOptions())
files.upload("data/small", Outgoing(Path(small), bytes.fromhex(digest_of_small)))
before = peak_bytes()
files.upload("data/large", Outgoing(Path(large), bytes.fromhex(digest_of_large)))
print(peak_bytes() - before)
"""


@pytest.mark.s3
def test_what_is_uploaded_at_one_go_is_in_memory_once(tmp_path, s3_server):
    """Four packs are on their way at once, and the whole of a push has 400 MB."""
    size_bytes = 60 << 20
    arguments = []
    for name, data in (("small", b"small"), ("large", bytes(size_bytes))):
        (tmp_path / name).write_bytes(data)
        arguments += [str(tmp_path / name), blake3(data).hexdigest()]
    bucket = f"r-{uuid.uuid4().hex}"
    s3_server.filesystem().mkdir(bucket)
    variables = {**os.environ, **s3_server.environment}

    done = subprocess.run(
        [sys.executable, "-c", _UPLOAD, f"s3://{bucket}/far", *arguments],
        env={name: value for name, value in variables.items() if value is not None},
        check=True,
        capture_output=True,
    )

    assert int(done.stdout) < 1.3 * size_bytes
