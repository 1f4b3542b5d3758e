"""`mlvc doctor`: each finding provoked on a real project, and a project without any."""

import dataclasses
import json
import os
import sys

import pytest

from mlvc.repo import Repo
from tests.support.environments import find_system_python, install, make_venv
from tests.support.reporter import RecordingReporter

AWS_KEY = "AKIA" + "ABCDEFGHIJKLMNOP"
SEEDED = "import random\nrandom.seed(3)\nprint(random.random())\n"


@pytest.fixture
def doctor(project, run_mlvc):
    """Returns the findings as pairs of severity and code, each with its messages."""

    def call(check=0, env=None):
        answer = run_mlvc("doctor", "--json", check=check, env=env).json()
        assert (check == 0) == answer["ok"]
        found = {}
        for item in answer["findings"]:
            assert item["fix"]
            found.setdefault((item["severity"], item["code"]), []).append(item["message"])
        return found

    return call


@pytest.fixture
def packages(project, tmp_path):
    """The project's own environment, without packages; its site-packages directory."""
    return make_venv(project / ".venv", find_system_python())


def record(run_mlvc, project, script, *options):
    """Records a run of a script through the shell, so that no environment has to be captured."""
    (project / "train.py").write_text(script)
    command = ["run", "--json", *options, "--", "sh", "-c", f"exec {sys.executable} train.py"]
    return run_mlvc(*command).json()["id"].removeprefix("b3:")[:12]


def test_nothing_is_found_in_a_clean_project(project, run_mlvc, git, packages, tmp_path):
    """Code and data committed and sent, the environment locked, the last run seeded: one line, exit 0."""
    (project / ".gitignore").write_text((project / ".gitignore").read_text() + ".venv/\n")
    (project / "train.py").write_text(SEEDED)
    install(packages, "example", "1.0", {"example.py": ""})
    run_mlvc("env", "lock")
    git("add", "-A")
    run_mlvc("commit", "-m", "clean")
    run_mlvc("remote", "add", "backup", tmp_path / "remote")
    run_mlvc("push")
    record(run_mlvc, project, SEEDED, "-i", "data")

    assert "nothing found\n" == run_mlvc("doctor").stdout
    assert {"ok": True, "findings": []} == {
        key: value for key, value in run_mlvc("doctor", "--json").json().items() if key != "run"
    }


def test_sources_without_a_seed_are_named_with_their_line(project, doctor):
    """One hint for each file and generator; what another file seeds, or a keyword, is no finding."""
    (project / "train.py").write_text(
        "import numpy as np, random, torch\n"
        "from sklearn.model_selection import train_test_split as split\n"
        "rng = np.random.default_rng()\n"
        "good = np.random.default_rng(1)\n"
        "split([1], random_state=1)\n"
        "split([1])\n"
        "np.random.rand()\n"
        "random.shuffle([1])\n"
        "torch.backends.cudnn.benchmark = True\n"
    )
    (project / "test_it.py").write_text("import torch\ntorch.rand(1)\n")
    (project / "own").mkdir()
    (project / "own" / "pyvenv.cfg").write_text("")
    (project / "own" / "library.py").write_text("import torch\ntorch.rand(1)\n")
    numpy = "train.py:6: sklearn.model_selection.train_test_split() draws from NumPy's global generator"
    python = "train.py:8: random.shuffle() draws from Python's global generator, which nothing seeds"

    found = doctor()

    assert [
        "train.py:3: numpy.random.default_rng() gets no seed",
        f"{numpy}, which nothing seeds (and 1 more there)",
        python,
    ] == found["hint", "unseeded-generator"]
    assert ["train.py:9: torch.backends.cudnn.benchmark = True undoes what the profile asks of torch"] == (
        found["hint", "not-deterministic"]
    )
    (project / "explore.ipynb").write_text(
        '{"metadata": {}, "cells": [{"cell_type": "code", "source": ["import random, numpy\\n", "random.seed(1)"]},'
        ' {"cell_type": "code", "source": "random.random()\\nnumpy.random.rand()"}]}'
    )
    notebook = (
        "explore.ipynb, cell 2: numpy.random.rand() draws from NumPy's global generator, which nothing seeds"
    )
    assert [notebook, *found["hint", "unseeded-generator"]] == doctor()["hint", "unseeded-generator"]
    (project / "seeds.py").write_text("from numpy.random import seed\nseed(1)\n")
    assert [python] == doctor()["hint", "unseeded-generator"][1:]


def test_scripts_in_r(project, doctor):
    """A hint for each kind, with the fix; a seed in any script counts, as for a file that it sources."""
    (project / "train.R").write_text(
        'install.packages("ranger")\nset.seed(NULL)\nx <- read.csv("/data/x.csv")\nsample(x)\nrnorm(2)\n'
    )
    (project / "tests" / "testthat").mkdir(parents=True)
    (project / "tests" / "testthat" / "test-model.R").write_text("runif(1)\n")
    found = doctor()

    assert ["train.R:4: sample() draws from R's generator, which nothing seeds (and 1 more there)"] == (
        found["hint", "unseeded-generator"]
    )
    assert ['train.R:3: read.csv("/data/x.csv") names a place that other machines do not have'] == (
        found["hint", "absolute-path"]
    )
    assert (
        "train.R:1: install.packages() takes the versions of the day, and a reproduction has no network"
        in (found["hint", "unpinned"])
    )
    (project / "seed.r").write_text("set.seed(1)\n")
    assert ("hint", "unseeded-generator") not in doctor()


def test_the_last_run_tells(project, run_mlvc, doctor, home):
    """Draws before the seed, no profile, and files that it read and nobody declared."""
    (home / "table.csv").write_text("1\n")
    (project / ".gitignore").write_text("/data\nextra.csv\n")
    (project / "extra.csv").write_text("2\n")
    script = "import random\nrandom.random()\nrandom.seed(1)\n"
    script += f"open('extra.csv').read()\nopen({str(home / 'table.csv')!r}).read()\n"
    run = record(run_mlvc, project, script, "--profile", "none")

    found = doctor()

    assert [f"the last run {run} drew from Python's global generator before it was seeded"] == (
        found["warning", "unseeded-generator"]
    )
    assert [f"the last run {run} pinned nothing (--profile none)"] == found["warning", "not-deterministic"]
    assert [
        f"the last run {run} read {name}, which it did not declare"
        for name in (f"{home}/table.csv", "extra.csv")
    ] == sorted(found["warning", "undeclared-read"])
    run_mlvc("add", "extra.csv")
    assert [f"the last run {run} read {home}/table.csv, which it did not declare"] == (
        doctor()["warning", "undeclared-read"]
    )


def test_a_seeded_run_ends_the_hints(project, run_mlvc, doctor):
    """`--seed` of the last run counts for the global generators, and for no other."""
    script = "import random\nrandom.random()\nrandom.Random().random()\n"
    record(run_mlvc, project, script, "--seed", "1")

    assert ["train.py:3: random.Random() gets no seed"] == doctor()["hint", "unseeded-generator"]
    assert ("warning", "unseeded-generator") not in doctor()


def test_what_a_run_did_not_keep_is_named(project, run_mlvc, doctor):
    """A program that changes what the profile pinned."""
    run = record(run_mlvc, project, "import os\nos.environ['OMP_NUM_THREADS'] = '7'\nimport numpy\n")

    messages = doctor()["warning", "not-deterministic"]

    assert [f"the last run {run} did not keep OMP_NUM_THREADS: set to 7"] == messages


def test_torch_without_a_profile(project, run_mlvc, doctor):
    """A project that imports torch, and whose last run pinned nothing; asking torch itself ends the hint."""
    run_mlvc("run", "--profile", "none", "--", "true")
    (project / "train.py").write_text("from torch import nn\n")
    message = "torch may choose algorithms that do not repeat: train.py"
    assert [message] == doctor()["hint", "not-deterministic"]

    (project / "more.py").write_text("import torch\ntorch.use_deterministic_algorithms(True)\n")

    assert ("hint", "not-deterministic") not in doctor()


def test_credentials_are_errors_and_never_repeated(project, run_mlvc, git):
    """In a file of the code, in a variable that would be recorded, and in the last run's command; exit 1."""
    run_mlvc("run", "--", "true", f"--key={AWS_KEY}")
    (project / "settings.ini").write_text(f"\n[aws]\nkey = {AWS_KEY}\n")
    (project / "deploy.pem").write_text("certificate")
    (project / "my $(hit).pem").write_text("certificate")
    git("add", "deploy.pem", "my $(hit).pem")
    (project / "other.pem").write_text("not in git, so never recorded")

    done = run_mlvc("doctor", check=1, env={"HF_ENDPOINT": "https://me:hush-hush@example.org"})

    assert "error    credential: settings.ini:3 holds what looks like an access key of AWS" in done.stdout
    assert (
        "error    credential: the variable HF_ENDPOINT holds what looks like a password in a URL"
        in done.stdout
    )
    assert "recorded what looks like an access key of AWS, in its command" in done.stdout
    assert "warning  credential: deploy.pem is named like a secret" in done.stdout
    assert "fix: git rm --cached 'my $(hit).pem', and let git ignore it" in done.stdout
    assert "other.pem" not in done.stdout
    assert AWS_KEY not in done.stdout + done.stderr
    assert "hush-hush" not in done.stdout + done.stderr
    assert "error" in done.stdout.splitlines()[-1]


def test_a_large_notebook_is_read(project, git, doctor):
    """It holds the pictures that it drew, and git tracks it all the same."""
    cells = [{"cell_type": "code", "source": f"KEY = '{AWS_KEY}'", "outputs": ["x" * 2_000_000]}]
    (project / "explore.ipynb").write_text(json.dumps({"metadata": {}, "cells": cells}))
    git("add", "explore.ipynb")

    assert ["explore.ipynb:1 holds what looks like an access key of AWS, and code is recorded"] == (
        doctor(check=1)["error", "credential"]
    )


def test_what_no_commit_has_is_named(project, run_mlvc, doctor):
    """Code that differs, data that differs from the lock, and a lock that differs from HEAD's."""
    (project / "train.py").write_text("print(1)\n")
    (project / "new.py").write_text("print(2)\n")
    (project / "model").write_text("m")
    run_mlvc("add", "model")
    (project / "data" / "table.csv").write_text("other\n")

    found = doctor()

    assert ["no git commit has this code: new.py, train.py"] == found["warning", "uncommitted-code"]
    assert ["differs from mlvc.lock: data/table.csv", "in mlvc.lock and in no commit: model"] == (
        found["warning", "uncommitted-data"]
    )


def test_data_that_no_remote_has(project, run_mlvc, doctor, tmp_path):
    """Without a remote, before and after a push, and with one that cannot be reached."""
    key = ("warning", "not-on-remote")
    assert ["there is no remote: data is in this clone alone"] == doctor()[key]
    run_mlvc("remote", "add", "backup", tmp_path / "remote")
    assert ["on no remote: data"] == doctor()[key]
    run_mlvc("push")
    assert key not in doctor()

    (project / "model").write_text("m")
    run_mlvc("add", "model")
    run_mlvc("remote", "remove", "backup")
    run_mlvc("remote", "add", "away", "s3://nowhere/x")
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}

    (message,) = doctor(env=keys)[key]
    assert message.startswith("whether the data is on a remote cannot be told: ")


def test_input_of_the_last_run_that_no_remote_has(project, run_mlvc, doctor, tmp_path):
    """Also where nothing tracks it; a push sends it."""
    run_mlvc("remote", "add", "backup", tmp_path / "remote")
    run_mlvc("push")
    (project / "scratch.csv").write_text("1\n")
    run_mlvc("run", "-i", "scratch.csv", "--", "true")

    assert ["on no remote: scratch.csv"] == doctor()["warning", "not-on-remote"]
    run_mlvc("push")
    assert ("warning", "not-on-remote") not in doctor()


@pytest.mark.parametrize("path", ["data", "model"])
def test_data_that_is_nowhere_is_an_error(project, run_mlvc, doctor, tmp_path, path):
    """Neither the store here nor the remote has the directory or the file that the lock names."""
    (project / "model").write_text("m")
    run_mlvc("add", "model")
    run_mlvc("remote", "add", "backup", tmp_path / "remote")
    run_mlvc("push")
    lock = (project / "mlvc.lock").read_text()
    (known,) = (line.split()[1] for line in lock.splitlines() if line.endswith(f" {path}"))
    (project / "mlvc.lock").write_text(lock.replace(known, known[:-8] + "0" * 8))

    found = doctor(check=1)

    assert [f"neither here nor on a remote: {path}"] == found["error", "not-on-remote"]
    assert (path == "data") == (("error", "not-here") in found)


def test_packages_that_cannot_be_had_again(project, run_mlvc, doctor, packages, tmp_path):
    """Editable, altered, from elsewhere, without a RECORD, and not the locked ones any more."""
    lib = tmp_path / "lib"
    lib.mkdir()
    (lib / "linked.py").write_text("")
    install(
        packages,
        "linked",
        "1.0",
        {"linked.pth": f"{lib}\n"},
        metadata={"direct_url.json": f'{{"url": "file://{lib}", "dir_info": {{"editable": true}}}}'},
    )
    install(packages, "patched", "2.0", {"patched.py": "x = 1\n"})
    (packages / "patched.py").write_text("x = 2\n")
    install(
        packages,
        "forked",
        "3.0",
        {"forked.py": ""},
        metadata={"direct_url.json": '{"url": "https://example.org/forked.git", "vcs_info": {"vcs": "git"}}'},
    )
    (install(packages, "bare", "4.0", {"bare.py": ""}) / "RECORD").unlink()
    assert ["mlvc.lock names no environment"] == doctor()["hint", "unpinned"]
    run_mlvc("env", "lock")
    install(packages, "later", "5.0", {"later.py": ""})

    found = doctor()

    assert [f"linked 1.0 is an editable install of {lib}, which no commit here pins"] == (
        found["warning", "editable-install"]
    )
    assert ["bare 4.0 has no RECORD, so which files are its own is a guess"] == found["warning", "no-wheel"]
    assert [
        "the environment is not the locked one: later==5.0 is not locked",
        "patched 2.0 is not as it was published: patched.py",
    ] == found["warning", "unpinned"]
    assert ["forked 3.0 came from https://example.org/forked.git, and from no package index"] == [
        message for message in found["hint", "unpinned"] if message.startswith("forked")
    ]


def test_records_of_strangers_are_read_with_care(project, run_mlvc, doctor, packages):
    """A package without a wheel is an error; what is no JSON tells nothing, and no terminal is steered."""
    install(packages, "lost", "1.0", {"lost.py": ""})
    run_mlvc("env", "lock")
    record(run_mlvc, project, "")
    repo = Repo.open(project, reporter=RecordingReporter(), environment={})
    lock, (row,) = repo.read_lock(), repo.index_for_work().run_rows()
    environment, run = repo.store.read_object(lock.environment), repo.store.read_object(row.id)
    package = dataclasses.replace(environment.distributions[0], wheel=None)
    other = dataclasses.replace(
        environment.distributions[0], name="other", origin='{"url": "\\u001b[31mred"}', wheel_name="other"
    )
    environment = dataclasses.replace(environment, distributions=(package, other))
    effective = {"random": "[" * 100_000, "pins": "3"}
    run = dataclasses.replace(run, effective=effective, threads=10_000, profile="new", started="9")
    with repo.store.writer() as writer:
        writer.add_object(environment)
        writer.add_object(run)
    repo.write_lock(lock._replace(environment=environment.id))

    found = doctor(check=1)

    assert ["lost 1.0 was recorded without a wheel, so it cannot be installed again"] == (
        found["error", "no-wheel"]
    )
    assert [f"--threads of the last run {run.id.short} asks for 10000 threads"] == [
        message.partition(",")[0] for message in found["warning", "threads"]
    ]
    assert "other 1.0 came from %1B[31mred, and from no" in run_mlvc("doctor", check=1).stdout


def test_more_threads_than_cores(project, run_mlvc, doctor):
    """A variable that no profile pins counts always; one that `strict` pins after a run without a profile."""
    variables = {"RAYON_NUM_THREADS": "9999", "OMP_NUM_THREADS": "9998", "MKL_NUM_THREADS": "1"}
    cores = len(os.sched_getaffinity(0))
    rayon = f"RAYON_NUM_THREADS asks for 9999 threads, and {cores} cores may be used here"
    assert [rayon] == doctor(env=variables)["warning", "threads"]
    run_mlvc("run", "--profile", "none", "--", "true")

    messages = doctor(env=variables)["warning", "threads"]

    assert [f"OMP_NUM_THREADS asks for 9998 threads, and {cores} cores may be used here", rayon] == messages


def test_nothing_of_the_work_tree_is_executed(project, run_mlvc, git, doctor):
    """Neither sources, nor the project's interpreter; and no file of a strange kind or content stops it."""
    mark = project.parent / "executed"
    (project / "train.py").write_text(f"open({str(mark)!r}, 'w')\n")
    bin_directory = project / ".venv" / "bin"
    bin_directory.mkdir(parents=True)
    (bin_directory / "python").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (bin_directory / "python").chmod(0o755)
    (project / "deep.py").write_text("(" * 100_000)
    (project / "long.py").write_text("-" * 50_000 + "1\n")
    (project / "chain.py").write_text("x" + ".a" * 100_000 + "\n")
    (project / "null.py").write_bytes(b"x = 1\0\n")
    (project / "latin.py").write_bytes(b"# caf\xe9\n")
    (project / "warns.py").write_text("x = '\\d'\nassert (x, 1)\n")
    (project / "link.py").symlink_to("/etc/passwd")
    git("add", "train.py")
    os.mkfifo(project / "pipe.py")

    done = run_mlvc("doctor", "--json")

    assert "" == done.stderr
    assert not mark.exists()
    assert {"uncommitted-code", "not-on-remote", "unpinned"} == {
        item["code"] for item in done.json()["findings"]
    }


def test_before_the_first_commit(git_repo, run_mlvc):
    """A repository without commits, data or runs."""
    run_mlvc("init")

    answer = run_mlvc("doctor", "--json").json()

    assert (True, None, []) == (answer["ok"], answer["run"], answer["findings"])


def test_a_damaged_index_is_a_finding(project, run_mlvc, doctor):
    """With the command that mends it, beside all that needs no index; then the last run is looked at again."""
    record(run_mlvc, project, "import random\nprint(random.random())\n", "-i", "data", "--profile", "none")
    whole = doctor()
    index = project / ".git" / "mlvc" / "index.db"
    index.write_bytes(b"no database" * 1000)
    for leftover in ("index.db-wal", "index.db-shm"):
        index.with_name(leftover).unlink(missing_ok=True)

    found = doctor(check=1)
    answer = run_mlvc("doctor", "--json", check=1).json()

    (message,) = found.pop(("error", "index"))
    assert "index.db is damaged" in message
    assert "`mlvc index rebuild`" in answer["findings"][0]["fix"]
    assert answer["run"] is None
    assert set(found) == {key for key in whole if key[1] != "not-deterministic"} - {
        ("warning", "unseeded-generator")
    }
    run_mlvc("index", "rebuild")
    assert whole == doctor()


def test_damaged_objects_are_findings(project, run_mlvc, doctor):
    """Of the last run, the data and the environment; what needs none of them is still told."""
    record(run_mlvc, project, SEEDED, "-i", "data")
    (project / "train.py").write_text("import numpy\nnumpy.random.rand()\n")
    for pack in (project / ".git" / "mlvc" / "store" / "packs").glob("*.pack"):
        contents = bytearray(pack.read_bytes())
        contents[len(contents) // 2] ^= 0xFF
        pack.chmod(0o600)
        pack.write_bytes(contents)

    answer = run_mlvc("doctor", "--json", check=1).json()

    damaged = [item for item in answer["findings"] if item["code"] == "damaged"]
    assert damaged
    assert all(".pack is damaged: " in item["message"] for item in damaged)
    assert all("mlvc fsck --repair" in item["fix"] for item in damaged)
    assert len(damaged) == len({item["message"] for item in damaged})
    assert ("hint", "unseeded-generator") in doctor(check=1)
