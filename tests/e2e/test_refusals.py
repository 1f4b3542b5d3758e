"""What a person reads when an S3 server says no, or what none should say."""

import random

import pytest

from mlvc.store import remote_s3
from mlvc.store.fetch import fetch_records
from mlvc.store.local import LocalStore
from mlvc.store.push import push
from mlvc.store.remote import Remote
from mlvc.store.remote_files import RemoteUnreachableError
from mlvc.store.remote_indexes import RemoteIndexes
from mlvc.store.remote_s3 import BucketOptions
from tests.support.gateway import refusal, serve_gateway
from tests.support.reporter import RecordingReporter

pytestmark = pytest.mark.s3

REFUSALS = [
    (403, "RequestTimeTooSkewed", "remote-denied", "set the clock"),
    (400, "ExpiredToken", "remote-denied", "expired"),
    (403, "AccessDenied", "remote-denied", "right to write"),
    (403, "QuotaExceeded", "remote-full", "gc --remote"),
    (507, "XMinioStorageFull", "remote-full", "gc --remote"),
    (400, "IllegalLocationConstraintException", "remote-unreachable", "--region"),
]


@pytest.fixture
def gateway(s3_server, server, monkeypatch):
    """What stands between every command of the test and the server."""
    with serve_gateway(s3_server.endpoint) as gateway:
        monkeypatch.setenv("AWS_ENDPOINT_URL", gateway.endpoint)
        yield gateway


@pytest.fixture
def project(git_repo, run_mlvc, gateway):
    """A project with data, whose remote is empty."""
    run_mlvc("init")
    (git_repo / "data.bin").write_bytes(random.Random(0).randbytes(300_000))
    run_mlvc("add", "data.bin")
    run_mlvc("remote", "add", "team", "s3://models/far")
    return run_mlvc


def error_of(run, verb):
    done = run(verb, "--json", check=2)
    assert "Traceback" not in done.stderr
    return done.json()["error"]


def test_a_push_that_is_refused_says_why_and_what_to_do(project, gateway):
    """Once, without asking again and again; also where reading is allowed and writing is not."""
    for status, said, code, hint in REFUSALS:
        answer = refusal(status, said)
        gateway.before = lambda method, _path, answer=answer: answer if method == "PUT" else None
        gateway.asked.clear()

        error = error_of(project, "push")

        assert (code, True, True) == (error["code"], said in error["message"], hint in error["hint"]), said
        assert 1 == sum(asked.method == "PUT" for asked in gateway.asked), said
    gateway.before = lambda _method, _path: None
    assert project("push", "--json").json()["packs"] > 0


def test_a_fetch_that_is_refused_says_why_and_what_to_do(project, gateway):
    """Where another region is meant that nobody names, and where single files may be read and not listed."""
    gateway.before = lambda _method, _path: refusal(301, "PermanentRedirect")
    error = error_of(project, "fetch")
    assert ("remote-unreachable", True) == (error["code"], "somewhere else" in error["message"])
    assert "--region" in error["hint"]

    gateway.before = lambda _method, path: refusal(403, "AccessDenied") if "list-type=2" in path else None
    error = error_of(project, "fetch")
    assert ("remote-denied", True) == (error["code"], "ListObjectsV2" in error["message"])
    assert "right to read" in error["hint"]


def test_what_a_server_says_is_cleaned_before_it_is_shown(project, gateway):
    """Neither control bytes nor a megabyte reach the terminal, nor signatures and passwords in URLs."""
    text = "see https://me:hush@host/x?X-Amz-Signature=hush\x9b31m" + "long " * 200_000
    gateway.before = lambda _method, _path: refusal(400, "Odd", text)

    told = project("fetch", check=2).stderr

    assert "see https://…host/x?…" in told
    assert "hush" not in told
    assert "\x9b" not in told
    assert len(told) < 1_000


# ------------------------------------------------------------------------------ answers that are none


def listing(*contents, token=""):
    """Returns a page of a listing; each of `contents` is the XML of what is told of one file."""
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    body = f"<IsTruncated>{str(bool(token)).lower()}</IsTruncated>{more}"
    body += "".join(f"<Contents>{each}</Contents>" for each in contents)
    return 200, {"Content-Type": "application/xml"}, f"<ListBucketResult>{body}</ListBucketResult>".encode()


def entry(name, size="5", time="2026-01-01T00:00:00Z"):
    return f"<Key>far/{name}</Key><Size>{size}</Size><LastModified>{time}</LastModified>"


def bring(endpoint, folder):
    """Brings all that a remote has into a new store; returns how much, and what is damaged."""
    store = LocalStore.create(folder)
    remote = Remote.open("s3://models/far", BucketOptions(endpoint=endpoint))
    listed = remote.list_packs()
    indexes = RemoteIndexes(store, remote, listed, folder / "cache")
    wanted = indexes.records(listed)
    return fetch_records(store, remote, listed, indexes, wanted, RecordingReporter()), indexes.damaged


@pytest.mark.parametrize(
    "answer",
    [
        listing("<Key>far/x</Key>"),
        listing(entry("x", size="many")),
        listing(entry("x", time="long ago")),
        (200, {"Content-Type": "text/html"}, b"<html>who are you?</html>"),
        (200, {}, b""),
    ],
    ids=["no size", "no number", "no time", "a page for people", "nothing"],
)
def test_an_answer_that_is_none_of_s3_is_an_error(gateway, tmp_path, answer):
    """Neither a bug of mlvc nor an empty remote."""
    gateway.before = lambda _method, _path: answer

    with pytest.raises(RemoteUnreachableError, match="otherwise than S3"):
        bring(gateway.endpoint, tmp_path / "store")


def test_names_and_lengths_that_no_remote_has_are_not_believed(gateway, tmp_path):
    """Nothing is written outside the store, and no memory set aside for a length that somebody says."""
    pack = "a" * 64
    names = ["../../x.pack", "/etc/passwd", "data/../../x.idx", "gc/../../x.list", "data/" + "m" * 1_000_000]
    huge = [entry(f"data/{pack}.{suffix}", size=10**15) for suffix in ("pack", "idx")]
    gateway.before = lambda _method, path: (
        listing(*map(entry, names), *huge) if "list-type=2" in path else None
    )

    moved, damaged = bring(gateway.endpoint, tmp_path / "a" / "b" / "store")

    assert 0 == moved.size_bytes
    assert ["no index of such a pack has 1,000,000,000,000,000 bytes"] == [what for _, what in damaged]
    assert {"a"} == {path.name for path in tmp_path.iterdir()}


def test_a_listing_that_never_ends_is_left(gateway, tmp_path, monkeypatch):
    """Each page names another one."""
    monkeypatch.setattr(remote_s3, "_MOST_LISTED", 50)
    gateway.before = lambda _method, _path: listing(*map(entry, range(10)), token=len(gateway.asked) + 1)

    with pytest.raises(RemoteUnreachableError, match="no end"):
        bring(gateway.endpoint, tmp_path / "store")
    assert 6 == len(gateway.asked)


def test_a_push_to_who_never_shows_what_was_sent_ends(gateway, tmp_path):
    """A server whose listings are of yesterday, or lie: three times is enough."""
    gateway.before = lambda _method, path: listing() if "list-type=2" in path else None
    store = LocalStore.create(tmp_path / "store")
    with store.writer() as writer:
        writer.add_blob(random.Random(1).randbytes(100_000))
    remote = Remote.open("s3://models/far", BucketOptions(endpoint=gateway.endpoint))

    with pytest.raises(RemoteUnreachableError, match="does not list the pack"):
        push(store, remote, tmp_path / "cache", RecordingReporter())
    assert 3 == sum(
        asked.path.startswith("/models/far/data") and ".pack" in asked.path for asked in gateway.asked
    )
