"""Where a training stands is noted from inside, and two such lists tell at which step two trainings parted."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from mlvc.errors import FormatError, VersionError
from mlvc.repro.diagnose.parting import parting_cause
from mlvc.repro.profile import pins
from mlvc.repro.progress import decode_steps, encode_steps, find_parting, read_steps
from mlvc.repro.runtime_files import lay_runtime
from mlvc.runtime import steps as script

# Real descent with NumPy; what is in braces, a test fills in.
TRAINING = """
import sys
import numpy as np
import mlvc

data = np.random.default_rng(1).standard_normal((64, 5))
target = data @ np.arange(5.0)
{seed}
weights = {start}
mlvc.step(0, model=weights)
step = 0
for epoch in range(3):
    order = {shuffle}
    for rows in np.split(order, 8):
        step += 1
        error = data[rows] @ weights - target[rows]
        weights = weights - 0.05 * data[rows].T @ error
        {meddle}
        mlvc.step(step, model={{"weights": weights}}, batch=(data[rows], target[rows]), loss=np.mean(error**2))
    mlvc.step(step, model=weights, always=True)
"""
SANE = {
    "seed": "np.random.seed(3)",
    "start": "np.random.standard_normal(5)",
    "shuffle": "np.random.permutation(64)",
    "meddle": "pass",
}


@pytest.fixture
def train(tmp_path):
    """Runs a training as `mlvc run` runs one, and returns the steps that it noted."""
    runtime = lay_runtime(tmp_path / "runtime")

    def run(script=None, **parts):
        here = Path(tempfile.mkdtemp(dir=tmp_path))
        (here / "train.py").write_text(script or TRAINING.format(**{**SANE, **parts}))
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(runtime),
            **pins("strict", threads=1),
            "MLVC_TRACE": str(here / "trace"),
            "MLVC_STEPS": str(here / "steps"),
        }
        # Nothing of the project's own module: the program's environment need not have it.
        subprocess.run([sys.executable, "-P", "train.py"], cwd=here, env=environment, check=True)
        return read_steps(here / "steps")

    return run


def parted(train, **parts):
    return parting_cause(train(**parts), train(**parts))


def test_some_steps_are_noted(train):
    """Those before the first, the powers of two, and those that were asked for."""
    noted = train()

    assert [0, 1, 2, 4, 8, 8, 16, 16, 24] == [step.number for step in noted]
    assert {"numpy"} == set(noted[-1].random)
    assert "" == noted[0].batch
    assert all(step.batch and step.model and float(step.loss) >= 0 for step in noted[1:4])
    assert "after-steps" == parting_cause(noted, train()).cause


@pytest.mark.parametrize(
    ("parts", "cause", "where"),
    [
        ({"seed": "pass"}, "random-stream", "at step 0 (the first that was noted)"),
        (
            {"shuffle": "np.random.default_rng().permutation(64)"},
            "data-order",
            "at step 1 (step 0 is the same)",
        ),
        ({"start": "np.random.default_rng().standard_normal(5)"}, "initial-values", "at step 0"),
        (
            {
                "meddle": "weights = weights + (step == 6) * id(object()) * 1e-20 * __import__('time').time_ns()"
            },
            "numerics",
            "at step 8 (step 4 is the same, and of the 3 between nothing was noted)",
        ),
        (
            {"meddle": "step == 10 and np.random.seed()"},
            "random-stream",
            "at step 16 (step 8 is the same, and of the 7 between nothing was noted)",
        ),
    ],
)
def test_what_was_another_first(train, parts, cause, where):
    """Generators go before the batch, and both before the parameters, which follow from them."""
    found = parted(train, **parts)

    assert cause == found.cause
    assert where in found.detail


def test_a_generator_that_has_no_part_in_it_does_not_count(train):
    """Chance seeds Python's own in each process, and nobody draws from it."""
    first = train(seed="import random; np.random.seed(3)")

    assert "random" not in first[-1].random
    assert "after-steps" == parting_cause(first, train(seed="import random; np.random.seed(3)")).cause


def test_a_training_that_ends_earlier(train):
    """The last common step agrees, and one of them has more."""
    found = parting_cause(train(), train(meddle="step == 12 and sys.exit()"))

    assert "step-count" == found.cause
    assert "only the record has step 16" in found.detail


def test_noting_changes_nothing(tmp_path):
    """Neither random states nor results; outside a run nothing is noted, and nothing loaded for it."""
    ends = "print(weights.tobytes().hex(), np.random.get_state()[2], mlvc._steps)"
    client = lay_runtime(tmp_path / "runtime") / "client"
    printed = [
        subprocess.run(
            [sys.executable, "-P", "-c", TRAINING.format(**SANE) + ends],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(client),
                **pins("strict", threads=1),
                **variables,
            },
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for variables in ({"MLVC_STEPS": str(tmp_path / "steps")}, {})
    ]

    assert printed[0][:2] == printed[1][:2]
    assert "None" == printed[1][-1]
    assert [tmp_path / "runtime", tmp_path / "steps"] == sorted(tmp_path.iterdir())


def test_several_processes_are_told_apart(train):
    """Each has a list of its own, in the order of their ranks and not in that in which they came."""
    text = """
import os, mlvc
for rank in (1, 0):
    if os.fork() == 0:
        os.environ["RANK"] = str(rank)
        mlvc.step(1, loss=rank)
        mlvc.step(2, loss=rank)
        os._exit(0)
    os.wait()
"""
    noted = train(text)

    assert [(0, 1, "0.0"), (0, 2, "0.0"), (1, 1, "1.0"), (1, 2, "1.0")] == [
        (step.process, step.number, step.loss) for step in noted
    ]


class Odd:
    """Has attributes, some of them nested."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


def test_equal_content_has_equal_digests():
    """Wherever it lies in memory, and in whichever order dictionaries and sets have it."""
    array = np.arange(6.0).reshape(2, 3)

    assert script.digest({"a": 1, "b": {2, 3}}) == script.digest({"b": {3, 2}, "a": 1})
    assert script.digest(array) == script.digest(np.asfortranarray(array))
    assert script.digest(Odd(x=[array], y="z")) == script.digest(Odd(y="z", x=[array.copy()]))
    assert script.digest(np.array([1, "a"], dtype=object)) == script.digest(np.array([1, "a"], dtype=object))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 23], [12, 3]),
        (["ab", "c"], ["a", "bc"]),
        ([[1], 2], [1, [2]]),
        (1, 1.0),
        (0.0, -0.0),
        ("1", 1),
        (b"1", "1"),
        ({"a": None}, {}),
        ({1, 2}, {1, 3}),
        (Odd(a=1), Odd(a=2)),
        (len, print),
    ],
)
def test_other_content_has_another_digest(one, other):
    """Also where the parts read the same one after the other."""
    assert script.digest(one) != script.digest(other)


def test_what_cannot_be_read_is_noted_as_such(tmp_path):
    """A class that raises, and one that holds itself; the program goes on."""

    class Broken:
        def state_dict(self):
            raise KeyError("no")

    endless = []
    endless.append(endless)
    target = tmp_path / "steps"
    script.note(str(target), 1, {"model": Broken(), "batch": endless, "loss": "much"})
    (step,) = read_steps(target)

    assert ("?", "?", "?") == (step.model, step.batch, step.loss)
    assert parting_cause([step], [step]).cause == "after-steps"


def test_an_iterator_is_left_alone():
    """What was taken from it, the program would miss."""
    iterator = iter([1, 2])
    script.digest(iterator)

    assert [1, 2] == list(iterator)


def test_what_a_command_made_up_costs_only_itself(tmp_path):
    """Lines of any form; of the others nothing is believed but what has the form of a digest."""
    path = tmp_path / "steps"
    good = {
        "scheme": 1,
        "pid": 7,
        "step": 3,
        "random": {"numpy": "0" * 32, "../x": "0" * 32},
        "batch": "\x1b[2J",
    }
    lines = [b"\xff\xfe", b"[", b"[" * 100_000, b"1", json.dumps({**good, "scheme": 2}).encode()]
    lines += [json.dumps({**good, "random": []}).encode(), json.dumps({**good, "step": 10**400}).encode()[:9]]
    path.write_bytes(b"\n".join([*lines, json.dumps(good).encode(), b'{"scheme": 1']))
    (step,) = read_steps(path)

    assert (3, "", {"numpy": "0" * 32}) == (step.number, step.batch, step.random)
    assert () == read_steps(tmp_path / "none")
    assert (step,) == decode_steps(encode_steps([step]))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"{}", FormatError),
        (b'{"steps":[],"type":"steps","version":2}', VersionError),
        (b'{"steps":[{"step":1}],"type":"steps","version":1}', FormatError),
        (b'{"steps":7,"type":"steps","version":1}', FormatError),
        (b"\xff", FormatError),
    ],
)
def test_a_list_of_another_form_is_refused(data, error):
    """With one of our errors."""
    with pytest.raises(error):
        decode_steps(data)


@pytest.mark.parametrize("first", [0, 1, 30, 63, 64, 65])
def test_halving_finds_the_first_link_that_differs(tmp_path, first):
    """Everything after it differs too, whatever it holds."""

    def noted(change):
        path = tmp_path / f"{change}"
        for number in range(64):
            facts = {"scheme": 1, "pid": 1, "step": number, "random": {}, "loss": str(number == change)}
            with path.open("a") as file:
                file.write(json.dumps({**facts, "loss": "1.0" if number == change else "0.0"}) + "\n")
        return read_steps(path)

    place = find_parting(noted(-1), noted(first))

    assert (first if first < 64 else None) == place
