"""Promises 4, 5 and 7 for rm, undo and repair: killed at any step, everything can be had back."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlvc.repo import Repo
from mlvc.verbs.add import add
from mlvc.verbs.fsck import fsck
from mlvc.verbs.init import init
from mlvc.verbs.repair import repair
from mlvc.verbs.undo import undo
from mlvc.verbs.verify import verify
from tests.support.reporter import RecordingReporter

ROOT = Path(__file__).resolve().parent.parent.parent

# Runs a verb on a repository and kills itself before the step with the given number.
CHILD = """
import os, signal, sys
from pathlib import Path
from mlvc import fsio
from mlvc.repo import Repo
from mlvc.verbs.remove import remove
from mlvc.verbs.repair import repair
from mlvc.verbs.undo import undo
from tests.support.reporter import RecordingReporter

verb, root, kill_at = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
steps = 0

def counted(step):
    def wrapper(*args, **kwargs):
        global steps
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*args, **kwargs)
    return wrapper

for name in ("sync_file", "rename", "sync_directory"):
    setattr(fsio, name, counted(getattr(fsio, name)))
os.unlink = counted(os.unlink)
Path.unlink = counted(Path.unlink)

repo = Repo.open(root, reporter=RecordingReporter(), environment={"HOME": "/nonexistent"})
if verb == "rm":
    remove(repo, [str(root / "data")], cached=False, force=True)
elif verb == "undo":
    undo(repo)
else:
    repair(repo)
print(steps, flush=True)
"""

CONTENTS = {"a": b"first\n", "b": bytes(range(256)) * 300, "c": b"an edit that was never added\n"}


def opened(root):
    return Repo.open(root, reporter=RecordingReporter(), environment={"HOME": "/nonexistent"})


def run_child(verb, root, kill_at):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, verb, root, str(kill_at)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def at_every_step(verb, template, tmp_path, step=1):
    """Yields a copy of the template for each step at which the verb was killed."""
    whole = tmp_path / "whole"
    shutil.copytree(template, whole, symlinks=True)
    status, out, errors = run_child(verb, whole, 0)
    assert (0, "") == (status, errors)
    for kill_at in range(1, int(out) + 1, step):
        root = tmp_path / str(kill_at)
        shutil.copytree(template, root, symlinks=True)
        status, _, errors = run_child(verb, root, kill_at)
        assert -signal.SIGKILL == status, errors
        yield root
        shutil.rmtree(root)


def files(root):
    data = root / "data"
    # A file that was being written has a name that mlvc itself passes over.
    found = data.iterdir() if data.is_dir() else ()
    return {path.name: path.read_bytes() for path in found if not path.name.startswith(".mlvc-tmp-")}


@pytest.fixture
def template(git_repo):
    """A tracked directory, one file of which was edited since."""
    init(git_repo, git=False, reporter=RecordingReporter(), environment={"HOME": "/nonexistent"})
    (git_repo / "data").mkdir()
    for name, content in CONTENTS.items():
        (git_repo / "data" / name).write_bytes(content if name != "c" else b"added\n")
    add(opened(git_repo), [str(git_repo / "data")])
    (git_repo / "data" / "c").write_bytes(CONTENTS["c"])
    return git_repo


def test_rm_by_force_can_be_undone_after_any_crash(template, tmp_path):
    """Promise 5: the edit is in an object before the first file goes, and undo knows all of them."""
    before = (template / "mlvc.lock").read_bytes()
    for root in at_every_step("rm", template, tmp_path):
        if CONTENTS != files(root):
            undo(opened(root))
        assert CONTENTS == files(root)
        assert before == (root / "mlvc.lock").read_bytes()
        assert {problem.kind for problem in fsck(opened(root)).problems} <= {"missing-index"}


def test_undo_can_be_repeated_after_any_crash(template, tmp_path):
    """Promise 7: killed on its way, the next undo ends the same step; the edit that rm deleted is never lost."""
    before = (template / "mlvc.lock").read_bytes()
    gone = tmp_path / "gone"
    shutil.copytree(template, gone, symlinks=True)
    assert 0 == run_child("rm", gone, 0)[0]
    for root in at_every_step("undo", gone, tmp_path):
        if CONTENTS != files(root) or before != (root / "mlvc.lock").read_bytes():
            assert "rm" == undo(opened(root)).operation
        assert CONTENTS == files(root)
        assert before == (root / "mlvc.lock").read_bytes()
        assert {problem.kind for problem in fsck(opened(root)).problems} <= {"missing-index"}


def test_repair_can_be_repeated_after_any_crash(template, tmp_path):
    """Promise 4 and 7: good records are durable in a new pack before a damaged one is moved, and none is deleted."""
    packs = template / ".git" / "mlvc" / "store" / "packs"
    (pack,) = [path for path in packs.glob("*.pack") if b"first\n" in path.read_bytes()]
    content = bytearray(pack.read_bytes())
    content[content.index(b"first\n")] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)
    next(index for index in packs.glob("*.idx") if index.stem != pack.stem).unlink()
    for root in at_every_step("repair", template, tmp_path):
        result = repair(opened(root))
        assert () == result.left.problems
        store = root / ".git" / "mlvc" / "store"
        assert content in [path.read_bytes() for path in store.rglob("*.pack")]
        assert not verify(opened(root)).problems
