"""Promise 6 and sharing: clones that push, pull and collect garbage at once, killed and cut off, lose nothing.

By default a few short stories; longer ones, for as many seeds as wanted, by

    MLVC_TESTS_SEEDS=0:200 PYTHONHASHSEED=0 pytest tests/crash/test_clones.py -m long -n 2
"""

import os
import uuid

import pytest

from mlvc.store import push as pushing
from mlvc.store.remote_s3 import BucketFiles, BucketOptions
from tests.crash.clones import World
from tests.support.proxy import serve_proxy

ROUNDS, LONG_ROUNDS = 60, 250
S3_ROUNDS, LONG_S3_ROUNDS = 12, 80


def long_seeds():
    first, _, end = os.environ.get("MLVC_TESTS_SEEDS", "0:20").partition(":")
    return range(int(first), int(end or int(first) + 1))


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A push that meets a gc asks again at once, and gives up soon: what is killed here stays dead."""
    monkeypatch.setattr(pushing, "_POLL_S", 0.001)
    monkeypatch.setattr(pushing, "_PATIENCE_S", 0.05)


def play(world, rounds):
    for _ in range(rounds):
        world.round()
    world.end()
    assert world.pushed
    assert any(how == "done" for _, how in world.told)


@pytest.mark.parametrize("seed", range(2))
def test_a_directory(tmp_path, seed):
    """Whatever was pushed can be pulled, whatever is named here is here, and all agree at the end."""
    play(World(tmp_path, seed), ROUNDS)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("clones", [2, 3])
@pytest.mark.parametrize("seed", long_seeds())
def test_a_directory_for_long(tmp_path, seed, clones):
    """The same, until much was condemned, deleted, needed again and sent again."""
    play(World(tmp_path, seed, clones=clones), LONG_ROUNDS)


def on_s3(s3_server, monkeypatch, tmp_path, seed, rounds):
    for name, value in s3_server.environment.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    bucket = f"clones-{uuid.uuid4().hex}"
    s3_server.filesystem().mkdir(bucket)
    with serve_proxy(s3_server.endpoint) as proxy:

        def trouble(rng):
            proxy.busy = rng.choice([0, 0, 1])
            proxy.cuts = rng.choice([0, 1])
            proxy.cut_after = rng.choice([100, 20_000])
            proxy.cut_sent_after = rng.choice([None, 50_000])

        files = BucketFiles(f"s3://{bucket}/far", BucketOptions(endpoint=proxy.endpoint))
        world = World(tmp_path, seed, files, trouble=trouble)
        for clone in world.clones:
            world.commit(clone)
        play(world, rounds)


@pytest.mark.s3
def test_a_bucket(tmp_path, s3_server, monkeypatch):
    """The same on a real server, through a network that breaks off."""
    on_s3(s3_server, monkeypatch, tmp_path, 1, S3_ROUNDS)


@pytest.mark.s3
@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", long_seeds())
def test_a_bucket_for_long(tmp_path, s3_server, monkeypatch, seed):
    """The same for long."""
    on_s3(s3_server, monkeypatch, tmp_path, seed, LONG_S3_ROUNDS)
