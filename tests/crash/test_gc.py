"""Promises 6 and 7 for gc: killed at any step, and run by and beside many processes, it loses nothing."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlvc import fsio
from mlvc.errors import MlvcError
from mlvc.model.ids import BlobId
from mlvc.store.fsck import check
from mlvc.store.gc import Roots, collect
from mlvc.store.local import LocalStore
from tests.support.reporter import RecordingReporter

ROOT = Path(__file__).resolve().parent.parent.parent

NEEDED = [bytes([number]) * 40 for number in range(4)] + [bytes(range(256)) * 600]
GARBAGE = [bytes([number + 100]) * 40 for number in range(4)] + [bytes(range(255, -1, -1)) * 600]

# Runs gc on a store and kills itself before, or after, the step with the given number.
CHILD = """
import os, signal, sys
from pathlib import Path
from mlvc import fsio
from mlvc.store.gc import Roots, collect
from mlvc.store.local import LocalStore
from tests.support.reporter import RecordingReporter

directory, kill_at, when = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
needed = [bytes.fromhex(digits) for digits in sys.argv[4:]]
steps = 0

def counted(step):
    def wrapper(*args, **kwargs):
        global steps
        steps += 1
        if steps == kill_at and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = step(*args, **kwargs)
        if steps == kill_at and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return wrapper

for name in ("sync_file", "rename", "sync_directory"):
    setattr(fsio, name, counted(getattr(fsio, name)))
import mlvc.store.condemned as condemned
condemned.sync_directory = fsio.sync_directory
Path.unlink = counted(Path.unlink)
os.write = counted(os.write)

store = LocalStore(directory)
collect(store, lambda: Roots(needed, ()), RecordingReporter(), now_s=2_000_000_000, keep_s=0)
print("steps", steps, flush=True)
"""


def make_store(directory):
    """Each pack holds something that is needed and something that is not."""
    store = LocalStore.create(directory)
    for needed, garbage in zip(NEEDED, GARBAGE, strict=True):
        with store.writer() as writer:
            writer.add_blob(needed)
            writer.add_blob(garbage)
    return store


def run_child(directory, kill_at, when):
    digests = [BlobId.of(data).hex for data in NEEDED]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, directory, str(kill_at), when, *digests],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def assert_needed_is_whole(directory):
    store = LocalStore(directory)
    for data in NEEDED:
        assert data == store.read_blob(BlobId.of(data))


def finish(directory):
    """What the next commands of a user do: gc again, and store everything again."""
    digests = [BlobId.of(data).digest for data in NEEDED]
    collect(
        LocalStore(directory), lambda: Roots(digests, ()), RecordingReporter(), now_s=2_000_000_001, keep_s=0
    )


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_step(tmp_path, when):
    """Promise 7: what is needed is whole at every moment, and the next gc ends where an undisturbed one would.

    What looks stored is stored: an object that was being deleted is there as a whole, or not at all.
    """
    make_store(tmp_path / "whole")
    status, out, errors = run_child(tmp_path / "whole", 0, "never")
    assert (0, "") == (status, errors)
    steps = int(out.split()[-1])
    assert steps > 30
    for kill_at in range(1 if when == "before" else 2, steps + 1, 2):
        directory = tmp_path / str(kill_at)
        make_store(directory)
        status, _, errors = run_child(directory, kill_at, when)
        assert -signal.SIGKILL == status, errors

        assert_needed_is_whole(directory)
        store = LocalStore(directory)
        for data in GARBAGE:
            blob = BlobId.of(data)
            assert not store.has_blob(blob) or data == store.read_blob(blob), kill_at

        again = LocalStore(directory)
        if kill_at % 3:
            with again.writer() as writer:
                for data in GARBAGE:
                    writer.add_blob(data)
            for data in GARBAGE:
                assert data == LocalStore(directory).read_blob(BlobId.of(data)), kill_at
        finish(directory)
        assert_needed_is_whole(directory)
        assert not any(LocalStore(directory).has_blob(BlobId.of(data)) for data in GARBAGE)
        assert {damage.kind for damage in check(LocalStore(directory), RecordingReporter())} <= {
            "missing-index"
        }
        assert [] == os.listdir(directory / "tmp")


# ------------------------------------------------------------------------------------------ many at once

WORKER = """
import random, sys, time
from pathlib import Path
from mlvc.repo import Repo
from mlvc.errors import MlvcError
from mlvc.verbs.add import add
from mlvc.verbs.checkout import checkout
from mlvc.verbs.commit import commit
from mlvc.verbs.fsck import fsck
from mlvc.verbs.gc import gc
from mlvc.verbs.verify import verify
from tests.support.reporter import RecordingReporter

role, root, home, rounds = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])

def repo():
    return Repo.open(root, reporter=RecordingReporter(), environment={"HOME": home})

def work():
    chance = random.Random(role)
    data = root / "data"
    for number in range(rounds):
        for name in range(6):
            # The same few contents again and again: most of them were garbage a moment ago.
            (data / str(name)).write_bytes(random.Random(chance.randrange(8)).randbytes(100_000))
        time.sleep(chance.random() / 20)
        add(repo(), [str(data)])
        if number % 2:
            commit(repo(), f"{role} {number}")
            assert not verify(repo()).problems
            head = repo().code.branch()
            checkout(repo(), "HEAD~1")
            assert not verify(repo()).problems
            checkout(repo(), head)
        for path in data.iterdir():
            path.unlink()
        checkout(repo())
        assert not verify(repo()).problems

def tidy():
    deleted = 0
    while not (root.parent / "stop").exists():
        deleted += gc(repo()).collected.packs_deleted
    print(deleted)

def look():
    while not (root.parent / "stop").exists():
        problems = fsck(repo()).problems
        assert not problems, problems
        time.sleep(0.3)

{"work": work, "gc": tidy, "fsck": look}[role.split("-")[0]]()
"""


def test_eight_processes_at_once(git_repo, home):
    """Promises 6 and 8: adding, committing, checking out, checking and collecting at once, nothing fails or is lost."""
    settings = home / ".config" / "mlvc" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("[gc]\nkeep_days = 0\n")

    def git(*arguments):
        subprocess.run(["git", *arguments], cwd=git_repo, check=True, capture_output=True)

    def mlvc(*arguments):
        subprocess.run([sys.executable, "-m", "mlvc", *arguments], cwd=git_repo, check=True)

    mlvc("init", "-q")
    (git_repo / "data").mkdir()
    (git_repo / "data" / "0").write_bytes(b"first")
    mlvc("add", "-q", "data")
    mlvc("commit", "-q", "-m", "first")
    # Nothing that was replaced shall be needed by a reflog: so that gc has something to delete.
    git("config", "core.logAllRefUpdates", "false")
    git("reflog", "expire", "--expire=now", "--all")
    roles = []
    for number in range(5):
        place = git_repo.parent / f"tree-{number}"
        git("worktree", "add", "-q", "-b", f"branch-{number}", place)
        mlvc("-C", str(place), "checkout", "-q")
        roles.append((f"work-{number}", place, 6))
    roles += [("gc-0", git_repo, 0), ("gc-1", git_repo, 0), ("fsck", git_repo, 0)]

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, role, str(place), str(home), str(rounds)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for role, place, rounds in roles
    ]
    ends = [process.communicate() for process in processes[:5]]
    (git_repo.parent / "stop").touch()
    ends += [process.communicate() for process in processes[5:]]

    for (role, _, _), process, (_, errors) in zip(roles, processes, ends, strict=True):
        assert 0 == process.returncode, f"{role}: {errors[-3000:]}"
    assert sum(int(out) for out, _ in ends[5:7]) > 10
    mlvc("gc")
    for _, place, _ in roles:
        mlvc("-C", str(place), "verify", "-q")
    mlvc("fsck", "-q")


def failing(step, allowed, error):
    """Lets the first calls through and fails from then on, as a full or a broken disk does."""
    calls = iter(range(allowed))

    def call(*args, **kwargs):
        if next(calls, None) is None:
            raise OSError(error, os.strerror(error))
        return step(*args, **kwargs)

    return call


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize(
    ("module", "name"), [(os, "write"), (fsio, "sync_file"), (fsio, "publish"), (Path, "unlink")]
)
def test_a_disk_that_is_full_or_broken(tmp_path, monkeypatch, module, name, error):
    """Whichever call fails: an error of ours, what is needed is whole, and the next gc ends it."""
    failures = 0
    for allowed in range(40):
        directory = tmp_path / str(allowed)
        make_store(directory)
        with monkeypatch.context() as patch:
            patch.setattr(module, name, failing(getattr(module, name), allowed, error))
            try:
                finish(directory)
            except MlvcError:
                failures += 1
            else:
                break
        assert_needed_is_whole(directory)
        finish(directory)
        assert_needed_is_whole(directory)
        assert not any(LocalStore(directory).has_blob(BlobId.of(data)) for data in GARBAGE)
        shutil.rmtree(directory)
    assert failures
