"""`mlvc repro --upstream`: whole chains of runs, here, in several processes, and on a real Dask cluster."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlvc.cli.workers import read_answer, start_worker
from mlvc.forks import WorkerFailedError
from mlvc.repo import Repo
from mlvc.verbs.orders import Answer, Order
from mlvc.verbs.worker import carry_out
from tests.support.command import Mlvc, child_environment
from tests.support.reporter import RecordingReporter

pytestmark = pytest.mark.sandbox

BUBBLEWRAP = ("--engine", "bubblewrap")
SLOW = "test -e {home}/quick || sleep 600; echo {out} > {out}"
"""Ends at once when it is recorded, and not where the home directory is another."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two runs that each made an input of a third: `one` gives other bytes each time, `two` and `three` the same."""
    folder = tmp_path_factory.mktemp("recorded") / "repo"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.name", "Test User")
    git(folder, "config", "user.email", "test@example.org")
    for name in ("raw1", "raw2"):
        (folder / name).write_text(f"{name}\nb\na\n")
    call = Mlvc(cwd=folder)
    call("init")
    call("add", "raw1", "raw2")
    git(folder, "add", "-A")
    call("commit", "-m", "data")
    record(call, "one", ["raw1"], "mid1", "sort raw1 > mid1; cat /proc/sys/kernel/random/uuid >> mid1")
    record(call, "two", ["raw2"], "mid2", "sort raw2 > mid2")
    record(call, "three", ["mid1", "mid2"], "model", "cat mid1 mid2 > model")
    return folder


@pytest.fixture
def chain(recorded, git_repo, run_mlvc):
    """A copy of it to work on."""
    shutil.rmtree(git_repo)
    shutil.copytree(recorded, git_repo, symlinks=True)
    return run_mlvc


def git(cwd, *arguments):
    subprocess.run(["git", *arguments], cwd=cwd, check=True)


def record(run_mlvc, name, inputs, output, script, *options):
    flags = [word for path in inputs for word in ("-i", path)]
    # No Python on the way: to capture and rebuild the environment of these tests would take minutes.
    bare = {"PATH": "/usr/bin:/bin", "VIRTUAL_ENV": None}
    run_mlvc("run", "-n", name, *options, *flags, "-o", output, "--", "sh", "-c", script, env=bare)


def widen(git_repo, path):
    """Makes the run of a tracked path one that was recorded on a machine with 4,000 CPUs."""
    repo = Repo.open(git_repo, reporter=RecordingReporter(), environment={})
    lock = repo.read_lock()
    entry = lock.entries[path.encode()]
    wide = dataclasses.replace(repo.store.read_object(entry.run), threads=4000).with_plan()
    with repo.store.writer() as writer:
        writer.add_object(wide)
    repo.write_lock(lock.with_entries([entry._replace(run=wide.id)]))


def told(done):
    return [
        (run["name"], run["verdict"], [item["path"] for item in run["unproven"]])
        for run in done.json()["runs"]
    ]


EXPECTED = [("one", "different", []), ("two", "identical", []), ("three", "identical", ["mid1"])]


@pytest.mark.parametrize("options", [(), ("--jobs", "2")])
def test_every_run_is_judged_on_the_recorded_inputs(chain, git_repo, options):
    """What made the inputs comes first; what stands on one that was not reproduced says so; the worst is the answer."""
    done = chain("repro", "model", "--upstream", *BUBBLEWRAP, *options, "--json", check=1)

    assert EXPECTED == told(done)
    assert "different" == done.json()["verdict"]
    (unproven,) = done.json()["runs"][2]["unproven"]
    assert ("different", done.json()["runs"][0]["id"]) == (unproven["verdict"], unproven["run"])
    assert [] == list((git_repo / ".git/mlvc/tmp").glob("repro-*"))
    text = chain("show", done.json()["runs"][2]["verdict_id"]).stdout
    assert "identical" in text


def test_without_upstream_only_the_target_is_executed(chain):
    """It says nothing about its inputs."""
    done = chain("repro", "model", *BUBBLEWRAP, "--json")

    assert [("three", "identical", [])] == told(done)


def test_run_that_was_recorded_twice_is_executed_once(chain):
    """The same plan and the same outputs are the same work."""
    record(chain, "once", ["raw2"], "mid2", "sort raw2 > mid2")
    record(chain, "twice", ["raw2"], "mid2", "sort raw2 > mid2")
    assert 2 == len(chain("repro", "once", "twice", *BUBBLEWRAP, "--json").json()["runs"])

    done = chain("repro", "once", "twice", "--upstream", *BUBBLEWRAP, "--json")

    assert ["once"] == [name for name, *_ in told(done)]


@pytest.mark.parametrize("options", [(), ("--jobs", "2")])
def test_run_that_cannot_be_executed_does_not_hide_the_others(chain, git_repo, tmp_path, options):
    """Exit 2, and every verdict and the error are told, in every report; what stands on it says so."""
    record(chain, "wide", ["mid2"], "far", "cat mid2 > far")
    widen(git_repo, "far")
    record(chain, "last", ["far"], "end", "cat far > end")
    reports = [word for kind in ("html", "md", "xml") for word in ("--report", tmp_path / f"r.{kind}")]

    done = chain("repro", "end", "--upstream", *BUBBLEWRAP, *options, *reports, "--json", check=2)

    assert [("two", "identical", []), ("last", "identical", ["far"])] == told(done)
    (missed,) = done.json()["not_executed"]
    assert ("wide", "too-few-cpus") == (missed["name"], missed["error"]["code"])
    assert [None] == [item["verdict"] for item in done.json()["runs"][1]["unproven"]]
    for kind in ("html", "md", "xml"):
        assert "4000 threads" in (tmp_path / f"r.{kind}").read_text()
    plain = chain("repro", "end", "--upstream", *BUBBLEWRAP, *options, check=2)
    assert "stands on far, which was not reproduced" in plain.stdout
    assert "error: run " in plain.stderr


def test_nothing_that_can_be_executed_is_an_error(chain, git_repo):
    """As without `--upstream`."""
    record(chain, "wide", [], "far", "echo > far")
    widen(git_repo, "far")

    done = chain("repro", "far", "--jobs", "2", *BUBBLEWRAP, check=2)

    assert "4000 threads" in done.stderr
    assert "" == done.stdout


@pytest.fixture
def slow(chain, git_repo, home):
    """Two runs that end in ten minutes, being reproduced by two processes; gives the process of `mlvc`."""
    (home / "quick").touch()
    for out in ("slow1", "slow2"):
        record(chain, out, [], out, SLOW.format(home=home, out=out), "--threads", "1")
    (home / "quick").unlink()
    command = [sys.executable, "-m", "mlvc", "repro", "slow1", "slow2", "--jobs", "2", *BUBBLEWRAP]
    process = subprocess.Popen(
        command,
        cwd=git_repo,
        env=child_environment({}),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    at_once = min(2, len(os.sched_getaffinity(0)))
    wait_until(lambda: len(list(scratches(git_repo, "*/log"))) == at_once)
    yield process
    process.kill()
    process.communicate()


def scratches(git_repo, name=""):
    return (git_repo / ".git/mlvc/tmp").glob(f"repro-{name}" if name else "repro-*")


def wait_until(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen")


def test_interrupt_ends_every_process(slow, git_repo):
    """Exit 130 when all of them have cleaned up."""
    slow.send_signal(signal.SIGINT)

    _, stderr = slow.communicate(timeout=60)

    assert 130 == slow.returncode, stderr
    assert b"Traceback" not in stderr
    assert [] == list(scratches(git_repo))


def test_killed_command_leaves_no_process_behind(slow, git_repo):
    """The processes see that nobody waits for them."""
    slow.kill()

    wait_until(lambda: not list(scratches(git_repo)))


def test_lost_process_is_one_error(chain, git_repo):
    """The memory ran out, or somebody killed it."""
    process = start_worker(Order(str(git_repo), "", None, f"b3:{64 * '0'}", 0, {}).encode())
    process.kill()

    with pytest.raises(WorkerFailedError):
        read_answer(process)


# ------------------------------------------------------------------------------------------------------ Dask


@pytest.fixture
def cluster(tmp_path):
    """Starts a real scheduler and a real worker, which runs under the command that it is given."""
    started = []
    file = tmp_path / "scheduler.json"
    (tmp_path / "worker").mkdir()

    def start(*prefix):
        tool = Path(sys.executable).parent / "dask"
        scheduler = [
            tool,
            "scheduler",
            "--port",
            "0",
            "--host",
            "127.0.0.1",
            "--no-dashboard",
            "--scheduler-file",
            file,
        ]
        started.append(subprocess.Popen(scheduler, stderr=subprocess.DEVNULL, env=child_environment({})))
        wait_until(file.exists)
        address = wait_for(lambda: json.loads(file.read_text())["address"])
        worker = [
            tool,
            "worker",
            address,
            "--host",
            "127.0.0.1",
            "--no-dashboard",
            "--nworkers",
            "1",
            "--nthreads",
            "2",
        ]
        options = ["--local-directory", tmp_path / "worker", "--death-timeout", "60", "--no-nanny"]
        started.append(
            subprocess.Popen(
                [*prefix, *worker, *options], stderr=subprocess.DEVNULL, env=child_environment({})
            )
        )
        return address

    yield start
    for process in reversed(started):
        process.terminate()
        process.wait(30)


def wait_for(read):
    for _ in range(100):
        try:
            return read()
        except (ValueError, KeyError):
            time.sleep(0.1)
    raise AssertionError("the scheduler wrote no address")


def test_cluster_that_shares_the_directory(chain, cluster):
    """Each run is executed by a worker, with the same answer; the verdicts are here."""
    done = chain("repro", "model", "--upstream", *BUBBLEWRAP, "--executor", cluster(), "--json", check=1)

    assert EXPECTED == told(done)


def test_cluster_that_sees_only_the_remote(chain, cluster, git_repo, tmp_path, bubblewrap):
    """The worker brings what each run was made of into a copy of its own; verdicts and logs come back."""
    chain("remote", "add", "far", tmp_path / "far")
    address = cluster(bubblewrap, "--dev-bind", "/", "/", "--tmpfs", git_repo)
    chain("push")
    record(chain, "new", ["mid2"], "other", "cat mid2 > other")

    done = chain("repro", "model", "--upstream", *BUBBLEWRAP, "--executor", address, "--json", check=1)

    assert EXPECTED == told(done)
    chain("fsck")
    refused = chain("repro", "other", *BUBBLEWRAP, "--executor", address, check=2)
    assert "is not on the remote" in refused.stderr


def test_workers_of_one_machine_make_its_copy_one_after_the_other(chain, git_repo, tmp_path):
    """None of those that start at once meets what another has half made; here the run was not pushed."""
    chain("remote", "add", "far", tmp_path / "far")
    chain("push")
    project = Repo.open(git_repo, reporter=RecordingReporter(), environment={}).config.project_id
    run = f"b3:{64 * '0'}"
    order = Order("/nowhere", project, (tmp_path / "far").as_uri(), run, 1, {"engine": "bubblewrap"}).encode()

    with ThreadPoolExecutor(8) as workers:
        answers = list(
            workers.map(lambda _: carry_out(order, os.environ, cache=tmp_path / "cache"), range(8))
        )

    assert {"unreachable-run"} == {Answer.decode(answer).error.code for answer in answers}


def test_cluster_without_remote_says_what_is_missing(chain, cluster, git_repo, bubblewrap):
    """One error with the two ways out."""
    address = cluster(bubblewrap, "--dev-bind", "/", "/", "--tmpfs", git_repo)

    refused = chain("repro", "model", *BUBBLEWRAP, "--executor", address, check=2)

    assert "there is no remote to bring the run from" in refused.stderr
    assert "mlvc push" in refused.stderr


def test_scheduler_that_does_not_answer_is_one_error(chain):
    """Before anything is executed."""
    refused = chain("repro", "model", "--executor", "tcp://127.0.0.1:1", check=2)

    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("address", ["", "nonsense://x:1", "tcp://", "tcp://host", "/tmp/scheduler.json"])
def test_address_that_is_none_is_refused(chain, address):
    """At once."""
    assert "no address of a scheduler" in chain("repro", "--executor", address, check=2).stderr


def test_jobs_and_executor_exclude_each_other(chain):
    """Which of the two would count?"""
    assert "exclude each other" in chain("repro", "--jobs", "2", "--executor", "tcp://x:1", check=2).stderr


def test_upstream_and_against_exclude_each_other(chain):
    """What is executed in a run's place says nothing about what made its inputs."""
    refused = chain("repro", "model", "--upstream", "--against", "work", check=2)

    assert "exclude each other" in refused.stderr


def test_processes_store_nothing_about_what_was_executed_in_a_runs_place(chain):
    """As without `--jobs`: there is no verdict to be found later."""
    done = chain("repro", "two", "three", "--against", "two", "--jobs", "2", *BUBBLEWRAP, "--json", check=1)

    assert [None, None] == [run["verdict_id"] for run in done.json()["runs"]]
