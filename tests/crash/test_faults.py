"""Promises 5 and 7 on a bad disk: whichever step finds no room or cannot be read or written, nothing is lost.

The command says what is wrong, in one message, or does without what failed; the next one ends its work. By default a
few steps of each command are tried; all of them with

    pytest tests/crash/test_faults.py --hypothesis-profile=deep
"""

import contextlib
import errno
import gc
import os
import random
import shutil
import subprocess

import pytest

from tests.crash.scenes import SCENES
from tests.crash.test_commands import differences
from tests.support.disk_steps import Plan
from tests.support.promises import broken_promises, final_state

SAMPLED = 3
NAMES = {
    "add",
    "add-forked",
    "add-large",
    "checkout-large",
    "commit",
    "commit-a",
    "checkout",
    "checkout-forked",
    "checkout-force",
    "checkout-rev",
}
PLAYED = [scene for scene in SCENES if scene.name in NAMES]
FAULTS = {
    "ENOSPC": Plan("error", errno=errno.ENOSPC, sticky=True),
    "EIO": Plan("error", errno=errno.EIO, reads=True),
}


def play_faulty(stage, scene, fault, at):
    """Plays a scene on a disk that fails at a step, and returns everything that is then wrong."""
    before = stage.set(scene)
    plan = Plan(fault.action, at, errno=fault.errno, sticky=fault.sticky, reads=fault.reads)
    outcome = stage.zygote(stage.project, *scene.argv, plan=plan, forked=scene.forked)
    wrong = []
    told = outcome.stderr
    if outcome.status not in {0, 2}:
        wrong.append(f"the exit status is {outcome.status}: {told}")
    if "bug" in told or "Traceback" in told:
        wrong.append(told)
    if outcome.status == 2 and not ("error: " in told and "hint: " in told):
        wrong.append(f"no hint: {told}")
    if outcome.status == 2 and fault.errno == errno.ENOSPC and "no space left" not in told.lower():
        wrong.append(f"it does not say that the disk is full: {told}")
    wrong += broken_promises(stage.project, before)
    again = stage.zygote(stage.project, *scene.argv, forked=scene.forked)
    if again.status != 0 and not (scene.repeated and scene.repeated in again.stderr):
        wrong.append(f"7: the same command again says {again.stderr!r}")
    wrong += [f"7: {what}" for what in differences(wanted(stage, scene)[1], final_state(stage.project))]
    return [f"{scene.name} at {at}: {what}" for what in wrong]


_FINAL = {}


def wanted(stage, scene, *, reads=False):
    """Returns the number of steps of a scene, and the state after it, played undisturbed."""
    key = scene.name, reads
    if key not in _FINAL:
        stage.set(scene)
        outcome = stage.zygote(
            stage.project, *scene.argv, plan=Plan("count", reads=reads), forked=scene.forked
        )
        assert outcome.status == 0, outcome
        _FINAL[key] = outcome.steps, final_state(stage.project)
    return _FINAL[key]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scene", PLAYED, ids=lambda scene: scene.name)
def test_some_steps_fail(stage, scene, fault):
    """Promises 5 and 7 hold, and the message names the thing."""
    steps, _ = wanted(stage, scene, reads=FAULTS[fault].reads)
    wanted(stage, scene)
    chosen = random.Random(scene.name + fault).sample(range(1, steps + 1), SAMPLED)
    assert [] == [wrong for at in chosen for wrong in play_faulty(stage, scene, FAULTS[fault], at)]


@pytest.mark.deep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scene", PLAYED, ids=lambda scene: scene.name)
def test_every_step_fails(stage, scene, fault):
    """Promises 5 and 7 hold, and the message names the thing, wherever the disk fails."""
    steps, _ = wanted(stage, scene, reads=FAULTS[fault].reads)
    wanted(stage, scene)
    every = range(1, steps + 1)
    assert [] == [wrong for at in every for wrong in play_faulty(stage, scene, FAULTS[fault], at)]


@pytest.mark.parametrize("action", ["short", "signals"])
@pytest.mark.parametrize("scene", PLAYED, ids=lambda scene: scene.name)
def test_short_and_interrupted_calls(stage, scene, action):
    """Reads and writes that do half of what they were asked for, and signals all the time, change nothing."""
    _, state = wanted(stage, scene)
    stage.set(scene)
    outcome = stage.zygote(stage.project, *scene.argv, plan=Plan(action), forked=scene.forked)
    assert (0, []) == (outcome.status, list(differences(state, final_state(stage.project)))), outcome


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root may mount a small file system")
@pytest.mark.parametrize("free_kib", [0, 4, 16, 40])
def test_a_commit_on_a_really_full_disk(stage, free_kib):
    """Promise 7: a commit that finds no room for its record says so, a question none for the index; with room, it ends.

    What a commit stores takes three pages, and the index, which the next question brings up to date, more than ten.
    """
    (scene,) = (scene for scene in SCENES if scene.name == "commit")
    _, state = wanted(stage, scene)
    before = stage.set(scene)
    place = stage.project / ".git/mlvc"
    kept = stage.work / "kept"
    place.rename(kept)
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"NOT TESTED: a small file system cannot be mounted: {mounted.stderr.strip()}")
    try:
        shutil.copytree(kept, place, dirs_exist_ok=True)
        with (place / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(bytes(4096)):
                pass
        os.truncate(place / "filler", (place / "filler").stat().st_size - (free_kib << 10))
        command = scene.argv
        if free_kib >= 16:
            committed = stage.zygote(stage.project, *scene.argv)
            assert 0 == committed.status, committed
            command = ("runs",)
        outcome = stage.zygote(stage.project, *command)
        assert (2, True) == (outcome.status, "no space left" in outcome.stderr), outcome
        (place / "filler").unlink()
        assert [] == broken_promises(stage.project, before)
        again = stage.zygote(stage.project, *command)
        assert (0, []) == (again.status, list(differences(state, final_state(stage.project)))), again
    finally:
        gc.collect()
        subprocess.run(["umount", place], check=True)
