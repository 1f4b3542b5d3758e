"""Promises 3 and 4: with a wrong byte anywhere in the store, no command hands it out, sends it, or touches an object.

By default a few bytes of each file of the store are flipped in turn; many more of them with

    pytest tests/crash/test_wrong_bytes.py --hypothesis-profile=deep
"""

import random
import shutil

import pytest
from blake3 import blake3

from tests.crash.scenes import Scene
from tests.support.promises import contents

FLIPS = 1
DEEP_FLIPS = 60
LARGE = "data/deep/er/large.bin"
READING = (
    ("status",),
    ("diff",),
    ("ls", "HEAD:data"),
    ("log",),
    ("runs",),
    ("verify",),
    ("fsck",),
    ("gc", "--dry-run"),
)


def prepare(stage):
    stage.write("data/deep/er/large.bin", random.Random(0).randbytes(300_000))
    stage.mlvc("commit", "-a", "-m", "second")
    stage.mlvc("remote", "add", "disk", f"file://{stage.work}/remote")


SCENE = Scene("wrong-bytes", (), prepare)


def objects(project):
    """Returns every file of the store that holds objects, with its bytes."""
    store = project / ".git/mlvc/store"
    return {path: path.read_bytes() for path in (store / "packs").iterdir()}


def wrong_after_flip(stage, name, position, right):
    """Flips a byte, plays commands, and returns everything that they did wrong."""
    stage.set(SCENE)
    path = stage.project / ".git/mlvc/store/packs" / name
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= 1 << (position % 8)
    path.chmod(0o644)
    path.write_bytes(data)
    before = objects(stage.project)
    wrong, told = [], False
    for argv in READING:
        outcome = stage.zygote(stage.project, *argv)
        told = told or outcome.status != 0
        if outcome.status not in {0, 1, 2} or "bug" in outcome.stderr:
            wrong.append(f"{argv} says {outcome.stderr!r}")
    if not told:
        wrong.append("nobody has found it")
    outcome = stage.zygote(stage.project, "cat", f"HEAD:{LARGE}")
    # What had been handed out before the damage was met is right as well.
    if (
        not right[LARGE]
        .decode("utf-8", "replace")
        .startswith(outcome.stdout.rstrip("\N{REPLACEMENT CHARACTER}"))
    ):
        wrong.append("3: cat hands out wrong bytes")
    if objects(stage.project) != before:
        wrong.append("4: reading has changed the store")
    shutil.rmtree(stage.project / "data")
    (stage.project / ".git/mlvc/statcache").unlink(missing_ok=True)
    outcome = stage.zygote(stage.project, "checkout")
    found = {name: data for name, (_, data) in contents(stage.project).items() if name.startswith("data")}
    wrong += [f"3: checkout writes {name}" for name, data in found.items() if data != right[name]]
    if outcome.status == 0 and found != right:
        wrong.append("3: checkout says that it is done")
    outcome = stage.zygote(stage.project, "push")
    for pack in (stage.work / "remote").rglob("*.pack"):
        if blake3(pack.read_bytes()).hexdigest() != pack.stem:
            wrong.append("3: push has sent wrong bytes")
    if objects(stage.project) != before:
        wrong.append("4: checkout or push has changed an object")
    return [f"{name} at {position}: {what}" for what in wrong]


def check_flips(stage, count):
    stage.set(SCENE)
    right = {name: data for name, (_, data) in contents(stage.project).items() if name.startswith("data")}
    rng = random.Random(1)
    wrong = []
    for path in sorted(objects(stage.project)):
        for position in [rng.randrange(1 << 30) for _ in range(count)]:
            wrong += wrong_after_flip(stage, path.name, position, right)
    assert [] == wrong


@pytest.mark.timeout(400)
def test_some_flipped_bytes(stage):
    """Promises 3 and 4 hold: wrong bytes are found, named, never handed out or pushed, and left where they are."""
    check_flips(stage, FLIPS)


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_many_flipped_bytes(stage):
    """Promises 3 and 4 hold for many more bytes of every pack and index."""
    check_flips(stage, DEEP_FLIPS)
