"""What a person reads when an S3 server says no."""

import random

import pytest

from tests.support.gateway import refusal, serve_gateway

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
