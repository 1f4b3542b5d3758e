"""Promises 1, 2, 5 and 7: every command that writes is killed at every step; nothing is lost, and it can be repeated.

A step is whatever a crash can separate: a file that is opened for writing, a write, an fsync, a rename, a file that is
deleted, the commit of a database transaction. By default a few steps of each command are tried, which the name of the
command chooses; all of them with

    pytest tests/crash/test_commands.py --hypothesis-profile=deep
"""

import random
import signal

import pytest

from tests.crash.scenes import SCENES
from tests.support.disk_steps import Plan
from tests.support.promises import broken_promises, final_state

SAMPLED = 2


def play_killed(stage, scene, at, action):
    """Plays a scene, kills it at a step, and returns everything that is then wrong."""
    before = stage.set(scene)
    wanted = _wanted(stage, scene)
    outcome = stage.zygote(stage.project, *scene.argv, plan=Plan(action, at), forked=scene.forked)
    if outcome.status not in {0, -signal.SIGKILL}:
        # A worker that was killed is told, unless its work could be done by another.
        assert (action, outcome.status) == ("kill", 2), outcome
        assert "worker" not in outcome.stderr
    wrong = broken_promises(stage.project, before)
    # 7: the next command needs no manual repair.
    again = stage.zygote(stage.project, *scene.argv, forked=scene.forked)
    if again.status != 0 and not (scene.repeated and scene.repeated in again.stderr):
        wrong.append(f"7: the same command again says {again.stderr!r}")
    wrong += [f"7: {what}" for what in differences(wanted, final_state(stage.project))]
    return [f"{scene.name} killed at {at}: {what}" for what in wrong]


def differences(wanted, found):
    """Names what is in one of two states alone."""
    for name in wanted:
        if wanted[name] != found[name]:
            one, other = wanted[name], found[name]
            if isinstance(one, dict):
                one, other = dict(one.items() - other.items()), dict(other.items() - one.items())
            yield f"{name}: {other!r}, not {one!r}"[:500]


_FINAL = {}


def _wanted(stage, scene):
    """Returns the state after the scene, played undisturbed."""
    if scene.name not in _FINAL:
        outcome = stage.zygote(stage.project, *scene.argv, plan=Plan("count"), forked=scene.forked)
        assert outcome.status == 0, outcome
        _FINAL[scene.name] = outcome.steps, final_state(stage.project)
        stage.set(scene)
    return _FINAL[scene.name][1]


def _steps(stage, scene):
    stage.set(scene)
    _wanted(stage, scene)
    return _FINAL[scene.name][0]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_killed_at_some_steps(stage, scene):
    """Promises 1, 2, 5 and 7 hold after SIGKILL of a command, and the same command then ends its work."""
    steps = _steps(stage, scene)
    assert steps > 5
    chosen = random.Random(scene.name).sample(range(1, steps + 1), SAMPLED)
    assert [] == [wrong for at in chosen for wrong in play_killed(stage, scene, at, "kill-all")]


@pytest.mark.deep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_killed_at_every_step(stage, scene):
    """Promises 1, 2, 5 and 7 hold wherever a command is killed."""
    steps = _steps(stage, scene)
    every = range(1, steps + 1)
    assert [] == [wrong for at in every for wrong in play_killed(stage, scene, at, "kill-all")]


@pytest.mark.deep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("action", ["kill", "kill-first"])
@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene.forked], ids=lambda scene: scene.name)
def test_one_of_several_processes_is_killed(stage, scene, action):
    """Promise 7 holds when one forked process is killed, and when those that it forked outlive the first."""
    every = range(1, _steps(stage, scene) + 1)
    assert [] == [wrong for at in every for wrong in play_killed(stage, scene, at, action)]
