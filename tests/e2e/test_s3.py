"""Two machines and an S3 server: what one recorded, the other pulls and reproduces."""

import os
import random
import shutil
import subprocess
import sys

import pytest

from mlvc.model.ids import BlobId
from tests.support.command import Mlvc

pytestmark = pytest.mark.s3

TRAIN = """\
import pathlib

rows = sorted(path.read_text() for path in pathlib.Path("data").iterdir())
pathlib.Path("model.bin").write_text("".join(rows))
"""


def git(cwd, *arguments):
    subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture
def recorded(request, git_repo, run_mlvc, server):
    """A project with some files and a recorded run in an environment of its own, pushed to the remote it names."""
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, ".venv"], cwd=git_repo, check=True)
    (git_repo / ".gitignore").write_text(".venv/\n")
    (git_repo / "train.py").write_text(TRAIN)
    (git_repo / "data").mkdir()
    for number in range(getattr(request, "param", 20)):
        (git_repo / "data" / f"{number}.csv").write_text(f"{number},{number * 7}\n" * 40)
    run_mlvc("init")
    with (git_repo / "mlvc.toml").open("a") as settings:
        settings.write('\n[remote]\nurl = "s3://models/a/b"\n')
    run_mlvc("add", "data")
    git(git_repo, "add", "-A")
    run_mlvc("commit", "-m", "data")
    run_mlvc("run", "-n", "train", "-i", "data", "-o", "model.bin", "--", ".venv/bin/python", "train.py")
    run_mlvc("commit", "-m", "model")
    run_mlvc("push")
    return run_mlvc


@pytest.fixture
def clone(recorded, tmp_path):
    """A clone in a fresh directory, after which the first machine is gone."""
    git(tmp_path, "clone", "--quiet", "--bare", str(recorded.cwd), "code.git")
    Mlvc(cwd=tmp_path)("clone", "code.git", "clone")
    shutil.rmtree(recorded.cwd)
    return Mlvc(cwd=tmp_path / "clone")


@pytest.mark.sandbox
@pytest.mark.parametrize("recorded", [10_000], indirect=True, ids=["10000 files"])
def test_another_machine_gets_the_same_model(clone, server):
    """Clone, pull, reproduce: identical, with nothing left of the first machine, and in few requests."""
    assert clone("verify", "--remote", "--json").json()["ok"] is True
    clone("pull")

    assert 10_000 == len(os.listdir(clone.cwd / "data"))
    assert len(server.find("models/a/b")) < 50
    assert clone("verify", "--json").json()["ok"] is True
    assert ["train"] == [run["name"] for run in clone("runs", "--json").json()["runs"]]
    report = clone("repro", "--engine", "bubblewrap", "--json").json()
    assert "identical" == report["verdict"]


@pytest.mark.sandbox
def test_a_run_is_reproduced_right_after_a_clone(recorded, clone):
    """Also one that the lock does not name: its code, inputs and environment are brought for it, and no other data."""
    (run,) = clone("runs", "--json").json()["runs"]
    lock = clone.cwd / "mlvc.lock"
    lock.write_text("".join(line for line in lock.read_text().splitlines(True) if "model.bin" not in line))

    report = clone("repro", "--engine", "bubblewrap", "--json", run["id"]).json()

    assert "identical" == report["verdict"]
    assert not (clone.cwd / "data").exists()


@pytest.mark.sandbox
def test_a_run_is_reproduced_where_nothing_was_fetched(recorded, clone, tmp_path):
    """After a plain git clone: the records come first, and then its name is known too."""
    git(tmp_path, "clone", "--quiet", str(tmp_path / "code.git"), "plain")
    plain = Mlvc(cwd=tmp_path / "plain")

    assert "identical" == plain("repro", "--engine", "bubblewrap", "--json", "train").json()["verdict"]


def test_second_push_sends_nothing_and_a_new_one_only_what_is_new(recorded):
    """By packs and bytes."""
    assert 0 == recorded("push", "--json").json()["packs"]
    (recorded.cwd / "data" / "new.csv").write_text("1,2\n")
    recorded("add", "data")

    sent = recorded("push", "--json").json()

    assert 2 == sent["packs"]
    assert sent["bytes"] < 100_000


def test_one_flipped_bit_is_found(clone, server):
    """Named, not stored, not handed out."""
    hurt = [path for path in server.find("models/a/b/data") if path.endswith(".pack")]
    for path in hurt:
        data = bytearray(server.cat_file(path))
        data[len(data) // 2] ^= 1
        server.pipe_file(path, bytes(data))

    error = clone("pull", "--json", check=2).json()["error"]

    assert "remote-damaged" == error["code"]
    assert "s3://models/a/b/data/" in error["message"]
    assert not (clone.cwd / "data").exists()
    deep = clone("verify", "--remote", "--deep", "--json", check=1).json()
    assert {path.rpartition("/")[2] for path in hurt} == {
        problem["message"].partition(" ")[0].rpartition("/")[2] for problem in deep["problems"]
    }


@pytest.mark.parametrize(
    ("url", "changes", "code"),
    [
        ("s3://no-such-bucket/x", {}, "remote-missing"),
        ("s3://models/a/b", {"AWS_SECRET_ACCESS_KEY": "hush-hush"}, "remote-denied"),
        ("s3://models/a/b", {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "remote-denied"),
        ("s3://models/a/b", {"AWS_PROFILE": "nobody"}, "remote-denied"),
        ("s3://models/a/b", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "remote-unreachable"),
        ("s3://models/a/b", {"AWS_ENDPOINT_URL": "localhost:8333"}, "remote-unreachable"),
    ],
    ids=["no bucket", "wrong secret", "no credentials", "no profile", "no network", "no URL"],
)
@pytest.mark.parametrize("verb", ["push", "fetch"])
def test_a_remote_that_cannot_be_used_is_one_error(git_repo, run_mlvc, server, url, changes, code, verb):
    """With its code, and no secret in it."""
    run_mlvc("init")
    run_mlvc("remote", "add", "team", url)

    refused = run_mlvc(verb, "--json", check=2, env=changes)

    assert code == refused.json()["error"]["code"]
    for secret in ("hush-hush", os.environ["AWS_SECRET_ACCESS_KEY"]):
        assert secret not in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr


def test_files_are_read_from_a_bucket_without_a_pull(clone, server):
    """By `mlvc.open` in a program of its own, which also keeps them."""
    script = "import mlvc; print(mlvc.open('data/7.csv', mode='r').readline().strip())"
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=clone.cwd, check=True, capture_output=True, text=True
        )
        assert ("7,49\n", "") == (done.stdout, done.stderr)
        if server.exists("models"):
            server.rm("models", recursive=True)


def test_a_large_file_is_one_object_of_the_bucket(git_repo, run_mlvc, server, tmp_path):
    """A file of 70 MB that cannot be compressed is sent in parts as it is, and pulled as it is."""
    noise = random.Random(9).randbytes(70_000_000)
    (git_repo / "model.bin").write_bytes(noise)
    run_mlvc("init")
    with (git_repo / "mlvc.toml").open("a") as settings:
        settings.write('\n[remote]\nurl = "s3://models/large"\n')
    run_mlvc("add", "model.bin")
    run_mlvc("commit", "-m", "model")
    run_mlvc("push")
    name = f"{BlobId.of(noise).hex}.pack"
    assert (git_repo / ".git/mlvc/store/packs" / name).read_bytes() == noise

    Mlvc(cwd=tmp_path)("clone", str(git_repo), "clone")
    Mlvc(cwd=tmp_path / "clone")("pull")
    assert (tmp_path / "clone" / "model.bin").read_bytes() == noise
    assert (tmp_path / "clone/.git/mlvc/store/packs" / name).stat().st_size == len(noise)


def test_endpoint_profile_and_region_are_the_remotes_own(
    git_repo, run_mlvc, server, s3_server, home, monkeypatch
):
    """A server beside Amazon's needs no variable; the credentials stay in the AWS tools' own file."""
    keys = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    for name in (*keys, "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    (home / ".aws").mkdir()
    (home / ".aws" / "credentials").write_text(
        "[lab]\n" + "".join(f"{name.lower()} = {value}\n" for name, value in keys.items())
    )
    run_mlvc("init")
    (git_repo / "data").write_text("data")
    run_mlvc("add", "data")
    options = ["--endpoint", s3_server.endpoint, "--profile", "lab", "--region", "us-east-1"]

    run_mlvc("remote", "add", "own", "s3://models/x", *options)
    run_mlvc("push")

    (entry,) = run_mlvc("remote", "list", "--json").json()["remotes"]
    assert {"endpoint": s3_server.endpoint, "profile": "lab", "region": "us-east-1"}.items() <= entry[
        "options"
    ].items()
    assert True is run_mlvc("verify", "--remote", "--json").json()["ok"]
    written = b"".join(
        path.read_bytes() for path in (git_repo / ".git" / "mlvc").rglob("*") if path.is_file()
    )
    assert keys["AWS_SECRET_ACCESS_KEY"].encode() not in written
