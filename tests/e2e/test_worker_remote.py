"""A worker that sees only the remote reaches it as the one who gave the order does."""

import dataclasses
import os
import subprocess
import uuid

import pytest

from mlvc.model.ids import RunId
from mlvc.repo import Repo
from mlvc.verbs.orders import Answer
from mlvc.verbs.repro import ReproOptions, order_of
from mlvc.verbs.worker import carry_out
from tests.support.reporter import RecordingReporter


@pytest.mark.s3
def test_the_endpoint_of_the_remote_is_handed_over(git_repo, run_mlvc, s3_server, tmp_path, monkeypatch):
    """It stands in the client's own configuration alone; the credentials are the worker's own, and are in no order."""
    for name, value in s3_server.environment.items():
        if value is None or name == "AWS_ENDPOINT_URL":
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    bucket = f"worker-{uuid.uuid4().hex}"
    s3_server.filesystem().mkdir(bucket)
    run_mlvc("init")
    (git_repo / "in").write_text("x")
    run_mlvc("add", "in")
    subprocess.run(["git", "add", "-A"], cwd=git_repo, check=True)
    run_mlvc("commit", "-m", "data")
    run_id = run_mlvc("run", "--json", "-i", "in", "-o", "out", "--", "cp", "in", "out").json()["id"]
    run_mlvc("remote", "add", "far", f"s3://{bucket}/x", "--endpoint", s3_server.endpoint)
    run_mlvc("push")
    repo = Repo.open(git_repo, reporter=RecordingReporter(), environment=os.environ)
    run = repo.store.read_object(RunId.parse(run_id))
    order = order_of(repo, run, ReproOptions(engine="none"))
    order = dataclasses.replace(order, root=str(tmp_path / "elsewhere"))
    assert "secret" not in order.encode().decode()

    answer = Answer.decode(carry_out(order.encode(), os.environ, cache=tmp_path / "cache"))

    assert answer.error is None
    assert ["identical"] == [verdict.verdict for verdict, _ in answer.verdicts]
