"""`mlvc.step`: what a training noted is kept with its run, and says at which step a reproduction parted from it."""

import pytest

from tests.support.environments import find_system_python

SCRIPT = """
import random, mlvc

draw = random.Random({seed})
weights = [draw.random() for _ in range(4)]
mlvc.step(0, model=weights)
random.seed(1)
rows = [[random.random() for _ in range(4)] for _ in range(40)]
for number in range(1, 41):
    batch = {chosen}
    error = sum(w * x for w, x in zip(weights, batch)) - sum(batch)
    weights = [w - 0.1 * error * x for w, x in zip(weights, batch)]
    mlvc.step(number, model=weights, batch=batch, loss=error * error)
open("out.txt", "w").write(repr(weights))
"""


def causes(run_mlvc, *options):
    done = run_mlvc("repro", "out.txt", "--json", "--engine", "bubblewrap", *options, check=1).json()
    return [(item["cause"], item["detail"], item["status"]) for item in done["runs"][0]["diagnosis"]]


def record(run_mlvc, folder, **parts):
    (folder / "train.py").write_text(SCRIPT.format(**parts))
    return run_mlvc("run", "-o", "out.txt", "--json", "--", find_system_python(), "train.py")


@pytest.mark.sandbox
def test_where_a_training_parts(run_mlvc, git_repo, home):
    """Named without an experiment; what is stored for it survives gc, and the environment has no mlvc."""
    run_mlvc("init")
    settings = home / ".config" / "mlvc" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("[gc]\nkeep_days = 0\n")
    record(run_mlvc, git_repo, seed=5, chosen="random.Random().choice(rows)")
    run_mlvc("gc")

    cause, detail, status = causes(run_mlvc)[0]

    assert ("data-order", "likely") == (cause, status)
    assert "at step 1 (step 0 is the same)" in detail

    record(run_mlvc, git_repo, seed="", chosen="rows[number % 40]")

    assert "initial-values" == causes(run_mlvc)[0][0]

    record(run_mlvc, git_repo, seed=5, chosen="rows[number % 40]")

    assert run_mlvc("repro", "--engine", "bubblewrap").stdout.rstrip().endswith("identical")


def test_what_could_not_be_read_is_said(run_mlvc, git_repo):
    """The program knows nothing of it, and goes on."""
    run_mlvc("init")
    (git_repo / "train.py").write_text(
        "import mlvc\nmlvc.step(1, loss='much', model=[])\nmlvc.step(2, loss=0.5, model=[])\n"
    )
    done = run_mlvc("run", "--", find_system_python(), "train.py")

    assert "could not read the loss of step 1" in done.stderr
    assert "the model" not in done.stderr
