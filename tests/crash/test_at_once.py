"""Promises 7 and 8: eight processes add, commit, check out and check one project at once; none fails, nothing is lost.

By default for a few seconds; for a minute with

    pytest tests/crash/test_at_once.py --hypothesis-profile=deep
"""

import json
import subprocess
import sys

import pytest

from mlvc import fsio
from mlvc.store.fsck import check
from tests.crash.scenes import Scene
from tests.support.command import ROOT, child_environment
from tests.support.promises import open_repo, stored
from tests.support.reporter import RecordingReporter

PROCESSES = 8
QUICK_S = 5
DEEP_S = 60
WAITING = "waiting for another mlvc"

# Eight forked processes run commands until their time is over, and write down how each ended.
PROGRAM = """
import json, os, random, sys, time
from pathlib import Path
from tests.support.zygote import load, request_for, run_forked

processes, project, seconds, log = int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])

def choose(rng, number):
    name = f"mine{number}"
    kind = rng.choice(["add", "add", "commit", "checkout-lost", "checkout", "status", "fsck"])
    if kind == "add":
        (project / name).mkdir(exist_ok=True)
        for file in range(rng.randrange(1, 6)):
            (project / name / str(file)).write_bytes(rng.randbytes(rng.choice([10, 90_000])))
        return ["add", name]
    if kind == "checkout-lost":
        # Files of its own that are gone come back.
        for file in (project / name).glob("*"):
            file.unlink()
        return ["checkout", "--", name]
    return {"commit": ["commit", "-m", f"by {number}"], "checkout": ["checkout", "--", "data"]}.get(kind, [kind])

def run(number):
    rng = random.Random(number)
    end = time.monotonic() + seconds
    with (log / str(number)).open("w") as file:
        while time.monotonic() < end:
            argv = choose(rng, number)
            outcome = run_forked(request_for(project, argv, forked=rng.random() < 0.3))
            file.write(json.dumps([argv, outcome.status, outcome.stdout, outcome.stderr]) + "\\n")

load()
children = []
for number in range(processes):
    pid = os.fork()
    if pid == 0:
        try:
            run(number)
            os._exit(0)
        finally:
            os._exit(1)
    children.append(pid)
sys.exit(any([os.waitpid(pid, 0)[1] for pid in children]))
"""


def play(project, seconds, log):
    """Returns what all commands of all processes said: [argv, status, stdout, stderr]."""
    log.mkdir()
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(PROCESSES), str(project), str(seconds), str(log)],
        cwd=ROOT,
        env=child_environment({}),
        check=True,
    )
    return [json.loads(line) for path in sorted(log.iterdir()) for line in path.read_text().splitlines()]


def wrong_in(said):
    """Returns the commands that failed for a reason other than that there was nothing to do."""
    allowed = ("nothing to commit", "mlvc.lock tracks no mine")
    return [
        one
        for one in said
        if one[1] != 0 and not (one[1] == 2 and any(reason in one[3] for reason in allowed))
    ]


def check_at_once(stage, seconds, log):
    stage.set(Scene("at-once", ()))
    said = play(stage.project, seconds, log)
    assert [] == wrong_in(said)
    assert {"add", "commit", "checkout", "fsck", "status"} == {argv[0] for argv, *_ in said}
    # While one writes, others wait, and say so.
    assert any(WAITING in stderr for _, _, _, stderr in said)
    repo = open_repo(stage.project)
    assert [] == list(check(repo.store, RecordingReporter()))
    every_lock = {line for sha in stage.revisions() for line in repo.lock_at(sha).entries.values()} | set(
        repo.read_lock().entries.values()
    )
    assert len(every_lock) > 2
    assert [] == stored(repo, every_lock)
    # Every line that a process was told of is in the lock, unless the same process replaced it.
    last = {}
    for argv, status, stdout, _ in said:
        if argv[0] == "add" and status == 0:
            last[argv[1]] = stdout.split()[2]
    found = {line.name: line.id.hex[:12] for line in repo.read_lock().entries.values()}
    assert last == {name: found[name] for name in last}


def test_some_seconds(stage, tmp_path):
    """Promises 7 and 8 hold with eight processes at once."""
    check_at_once(stage, QUICK_S, tmp_path / "log")


@pytest.mark.deep
@pytest.mark.timeout(300)
def test_a_minute(stage, tmp_path):
    """Promises 7 and 8 hold with eight processes at once, for a minute."""
    check_at_once(stage, DEEP_S, tmp_path / "log")


def test_a_reader_does_not_wait(stage):
    """Promise 8: while the store and the work tree are locked by a writer, reading commands end and say nothing."""
    stage.set(Scene("at-once", ()))
    repo = open_repo(stage.project)
    with fsio.file_lock(repo.store.layout.lock), fsio.file_lock(repo.state_dir / "worktree.lock"):
        for argv in (["status"], ["ls"], ["log"], ["diff"], ["cat", "HEAD:data/0.txt"], ["fsck"], ["verify"]):
            outcome = stage.zygote(stage.project, *argv)
            assert (0, False) == (outcome.status, WAITING in outcome.stderr), (argv, outcome)
