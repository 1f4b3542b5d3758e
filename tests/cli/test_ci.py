"""`mlvc ci`: every check answered with no on a real project, and which runs are executed, in fresh clones."""

import dataclasses
import json
import random
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlvc.model.objects import Environment, Interpreter
from mlvc.ports import RecordKind
from mlvc.repo import Repo
from mlvc.verbs.ci_checks import check_environments
from tests.support.command import Mlvc
from tests.support.environments import find_system_python, install, make_venv
from tests.support.junit import read_junit
from tests.support.reporter import RecordingReporter

# No Python on the way: to capture and rebuild the environment of these tests would take minutes.
BARE = {"PATH": "/usr/bin:/bin", "VIRTUAL_ENV": None}
EXECUTES = pytest.mark.sandbox


def git(cwd, *arguments):
    return subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Place:
    """A work tree, and mlvc in it."""

    root: Path

    def mlvc(self, *arguments, check=True, env=None):
        return Mlvc(cwd=self.root)(*arguments, check=check, env={**BARE, **(env or {})})

    def ci(self, *options, check=0):
        done = self.mlvc("ci", "--json", *options, check=check)
        assert (done.exit == 0) == done.json()["ok"]
        return done.json()

    def commit(self, message, *, push=True):
        git(self.root, "add", "-A")
        self.mlvc("commit", "-m", message)
        if push:
            self.mlvc("push")

    def record(self, name, source, output):
        self.mlvc("run", "-n", name, "-i", source, "-o", output, "--", "sh", f"{name}.sh")

    @property
    def repo(self):
        return Repo.open(self.root, reporter=RecordingReporter(), environment={})


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Two runs, each with its own script and input, and data that no run reads; all of it sent."""
    folder = tmp_path_factory.mktemp("first")
    place = Place(folder / "work")
    place.root.mkdir()
    git(place.root, "init", "--quiet", "--initial-branch=main")
    git(place.root, "config", "user.name", "Test User")
    git(place.root, "config", "user.email", "test@example.org")
    for number in ("one", "two"):
        (place.root / f"{number}.sh").write_text(f"sort {number}.csv > {number}.out\n")
        (place.root / f"{number}.csv").write_text(f"{number}\nb\na\n")
    (place.root / "unread.bin").write_bytes(random.Random(0).randbytes(6_000_000))
    place.mlvc("init")
    with (place.root / "mlvc.toml").open("a") as settings:
        settings.write(f'\n[remote]\nurl = "{(folder / "far").as_uri()}"\n')
    place.mlvc("add", "one.csv", "two.csv", "unread.bin")
    place.record("one", "one.csv", "one.out")
    place.record("two", "two.csv", "two.out")
    place.commit("data and models")
    return place


@pytest.fixture
def work(first, tmp_path):
    """A copy of it, with a remote of its own."""
    shutil.copytree(first.root.parent, tmp_path / "all", symlinks=True)
    place = Place(tmp_path / "all" / "work")
    settings = place.root / "mlvc.toml"
    settings.write_text(settings.read_text().replace(str(first.root.parent), str(tmp_path / "all")))
    git(place.root, "commit", "-qam", "another remote")
    return place


@pytest.fixture
def clone(work, tmp_path):
    """Makes a fresh clone of its present branch, as a pipeline does."""

    def make(*options, name="clone"):
        git(tmp_path, "clone", "--quiet", *options, work.root.as_uri(), name)
        return Place(tmp_path / name)

    return make


def problems(answer, check):
    (found,) = (item for item in answer["checks"] if item["name"] == check)
    return [(item["kind"], item["message"]) for item in found["problems"]]


@EXECUTES
def test_a_fresh_clone_is_enough_and_what_is_proven_is_not_repeated(clone):
    """Only what the runs read is brought; the second time nothing is executed, and `--fresh` executes it all."""
    place = clone()

    answer = place.ci()

    assert ["lock", "remote", "records", "environment", "runs"] == [item["name"] for item in answer["checks"]]
    assert [("one", "identical", False), ("two", "identical", False)] == [
        (run["name"], run["verdict"], run["cached"]) for run in answer["runs"]
    ]
    repo = place.repo
    lock = repo.read_lock()
    assert repo.store.lacking(repo.store.records_of(lock.entries[b"unread.bin"].id))
    assert not repo.store.lacking(repo.store.records_of(lock.entries[b"one.csv"].id))
    assert not (place.root / "one.csv").exists()
    assert [True, True] == [run["cached"] for run in place.ci()["runs"]]
    assert [False, False] == [run["cached"] for run in place.ci("--fresh")["runs"]]


@EXECUTES
def test_a_verdict_that_was_pushed_spares_other_machines_of_the_class(clone):
    """It comes with the records; one of a machine with another processor counts for nothing."""
    place = clone()
    place.ci("one.out")
    (verdict_id,) = place.repo.store.iter_object_ids(RecordKind.VERDICT)
    verdict = place.repo.store.read_object(verdict_id)
    other = clone(name="other")
    with other.repo.store.writer() as writer:
        writer.add_object(dataclasses.replace(verdict, host={**verdict.host, "cpu_vendor": "another"}))
    assert ["budget-spent"] == [
        missed["error"]["code"] for missed in other.ci("one.out", "--budget", "0s", check=2)["not_executed"]
    ]

    place.mlvc("push")

    assert [True] == [run["cached"] for run in other.ci("one.out", "--budget", "0s")["runs"]]


@EXECUTES
def test_index_server_that_is_down_withholds_no_verdict(clone):
    """What is proven here is known here; the job needs no server."""
    place = clone()
    place.ci("one.out")

    done = place.mlvc("ci", "--json", "one.out", env={"MLVC_INDEX_URL": "postgresql://127.0.0.1:9/x"})

    assert [True] == [run["cached"] for run in done.json()["runs"]]
    assert "cannot be reached" in done.stderr


@EXECUTES
def test_damaged_index_is_made_again(clone):
    """Once, with a note: a run is found by its name, and what is proven is known."""
    place = clone()
    place.ci("one.out")
    index = place.root / ".git" / "mlvc" / "index.db"
    index.write_bytes(b"no database" * 1000)
    for leftover in ("index.db-wal", "index.db-shm"):
        index.with_name(leftover).unlink(missing_ok=True)

    done = place.mlvc("ci", "--json", "one")

    assert [True] == [run["cached"] for run in done.json()["runs"]]
    assert 1 == done.stderr.count("it is made again from the objects, and nothing is lost")


@EXECUTES
def test_a_bad_verdict_is_no_proof(clone):
    """The latest of the class counts; a run that did not come out again is executed again."""
    place = clone()
    place.ci("one.out")
    (verdict_id,) = place.repo.store.iter_object_ids(RecordKind.VERDICT)
    verdict = place.repo.store.read_object(verdict_id)
    with place.repo.store.writer() as writer:
        writer.add_object(
            dataclasses.replace(verdict, verdict="different", started="2999" + verdict.started[4:])
        )

    assert [False] == [run["cached"] for run in place.ci("one.out")["runs"]]


@EXECUTES
@pytest.mark.parametrize("forged", ["different output", "no output", "unknown word"])
def test_a_verdict_that_contradicts_itself_is_no_proof(clone, forged):
    """As a newer mlvc or a damaged cache may bring one: the run is executed."""
    place = clone()
    place.ci("one.out")
    (verdict_id,) = place.repo.store.iter_object_ids(RecordKind.VERDICT)
    verdict = place.repo.store.read_object(verdict_id)
    changes = {
        "different output": {"outputs": (dataclasses.replace(verdict.outputs[0], verdict="different"),)},
        "no output": {"outputs": ()},
        "unknown word": {"verdict": "splendid"},
    }
    with place.repo.store.writer() as writer:
        started = "2999" + verdict.started[4:]
        writer.add_object(dataclasses.replace(verdict, started=started, **changes[forged]))

    assert [False] == [run["cached"] for run in place.ci("one.out")["runs"]]


@EXECUTES
def test_a_verdict_holds_for_the_gpus_that_it_was_found_on(work, clone, tmp_path):
    """A run that used a GPU is executed again on another model; one that used none is not."""
    repo = work.repo
    lock = repo.read_lock()
    entry = lock.entries[b"one.out"]
    record = dataclasses.replace(repo.store.read_object(entry.run), gpus=("NVIDIA A100",))
    with repo.store.writer() as writer:
        writer.add_object(record)
    repo.write_lock(lock.with_entries([entry._replace(run=record.id)]))
    work.commit("on a GPU")
    place = clone()
    place.mlvc("fetch")
    models = {}
    for model in ("A100", "H100"):
        models[model] = tmp_path / model
        models[model].mkdir()
        program = models[model] / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho 'NVIDIA {model}, 550.1, 81920 MiB'\n")
        program.chmod(0o755)

    def cached(model):
        done = place.mlvc("ci", "--json", env={"PATH": f"{models[model]}:{BARE['PATH']}"})
        return {run["name"]: run["cached"] for run in done.json()["runs"]}

    assert {"one": False, "two": False} == cached("A100")
    assert {"one": True, "two": True} == cached("A100")
    assert {"one": False, "two": True} == cached("H100")
    assert {"one": True, "two": True} == cached("H100")


@EXECUTES
def test_only_runs_that_the_change_touches_are_executed(work, clone):
    """With the code of this revision in the record's place; a harmless edit gives the recorded bytes."""
    git(work.root, "switch", "-qc", "change")
    (work.root / "two.sh").write_text("# sorted\n" + (work.root / "two.sh").read_text())
    (work.root / "README").write_text("nobody read this\n")
    work.commit("a comment")
    place = clone()

    answer = place.ci("--since", "origin/main")

    (run,) = answer["runs"]
    assert ("two", "identical", False, None) == (
        run["name"],
        run["verdict"],
        run["cached"],
        run["verdict_id"],
    )
    assert "two.sh" in run["stale"]
    assert 1 == answer["untouched"]
    assert git(work.root, "rev-parse", "main").strip() == answer["base"]


def test_change_of_the_image_touches_the_runs_that_recorded_none(work, clone):
    """They would be executed on another one; any other setting touches nothing."""
    git(work.root, "switch", "-qc", "change")
    settings = work.root / "mlvc.toml"
    plain = settings.read_text()

    def chosen(added):
        settings.write_text(plain + added)
        git(work.root, "commit", "-qam", "settings")
        options = ("--since", "origin/main", "--budget", "0s")
        answer = clone("--no-single-branch", name=f"clone{len(added)}").ci(*options, check=False)
        return [missed["name"] for missed in answer["not_executed"]]

    assert [] == chosen("\n[ci]\ncpu_hour = 2\n")
    assert ["one", "two"] == chosen('\n[image]\nbase = "python:3-alpine"\n')


@EXECUTES
def test_code_that_makes_another_model_than_the_lock_has(work, clone, tmp_path):
    """Exit 1, and the file that was edited without recording the run again; also in every report."""
    (work.root / "two.sh").write_text("sort -r two.csv > two.out\n")
    work.commit("another order")
    place = clone()
    reports = [tmp_path / name for name in ("c.md", "c.xml", "c.html", "c.json")]

    answer = place.ci(*(word for path in reports for word in ("--report", path)), check=1)

    ((kind, message),) = problems(answer, "runs")
    assert "different" == kind
    assert message.startswith("run two: two.out is different with ")
    assert "two.sh" in message
    markdown, _, page, told = (path.read_text() for path in reports)
    assert markdown.startswith("## mlvc ci: failed\n")
    assert "| runs | 1 problem |" in markdown
    suites = read_junit(tmp_path / "c.xml")
    assert {"mlvc ci": "0", "one": "0", "two": "1"} == {
        suite.get("name"): suite.get("failures") for suite in suites
    }
    assert "<title>mlvc ci: failed</title>" in page
    assert answer == json.loads(told)


@EXECUTES
def test_data_that_changed_after_its_run(work, clone):
    """The run is executed on the data of the lock."""
    (work.root / "one.csv").write_text("z\ny\n")
    work.mlvc("add", "one.csv")
    work.commit("new data")

    answer = clone().ci("--since", "HEAD~1", check=1)

    (run,) = answer["runs"]
    assert ("one", "different", ["one.csv"]) == (run["name"], run["verdict"], run["stale"])


@EXECUTES
@pytest.mark.parametrize("options", [(), ("--since", "origin/main")])
def test_environment_that_was_locked_after_its_run(work, clone, options):
    """The run is executed with the packages of the lock, whether all runs are asked about or a change."""
    packages = make_venv(work.root / ".venv", find_system_python())
    installed = install(packages, "example", "1.0", {"example.py": "VERSION = 1"})
    with (work.root / ".gitignore").open("a") as ignored:
        ignored.write(".venv/\n")
    (work.root / "train.py").write_text("import example\nopen('model', 'w').write(str(example.VERSION))\n")
    work.mlvc("run", "-n", "train", "-o", "model", "--", ".venv/bin/python", "train.py")
    work.commit("with a package")
    git(work.root, "switch", "-qc", "change")
    shutil.rmtree(installed)
    install(packages, "example", "2.0", {"example.py": "VERSION = 2"})
    work.mlvc("env", "lock")
    work.commit("another package")

    answer = clone("--no-single-branch").ci("model", *options, check=1)

    assert [("train", "different", ["the environment"])] == [
        (run["name"], run["verdict"], run["stale"]) for run in answer["runs"]
    ]
    ((_, message),) = problems(answer, "runs")
    assert message.endswith("model is different with the environment as it is now")
    if options:
        assert [{"name": "example", "before": "1.0", "after": "2.0"}] == (
            answer["changes"]["environment"]["changed"]
        )


@EXECUTES
def test_run_that_was_recorded_since(work, clone):
    """It is executed as recorded, and needs nothing in its place."""
    (work.root / "one.csv").write_text("z\ny\n")
    work.mlvc("add", "one.csv")
    work.record("one", "one.csv", "one.out")
    work.commit("new data, new model")

    answer = clone().ci("--since", "HEAD~1")

    (run,) = answer["runs"]
    assert ("one", "identical", [], ["one.out was recorded since"]) == (
        *(run[key] for key in ("name", "verdict", "stale", "why")),
    )


def test_nothing_is_touched(work, clone):
    """A page of text costs no execution."""
    (work.root / "one.sh").touch()

    answer = clone().ci("--since", "HEAD")

    assert ([], None, 2) == (answer["runs"], answer["verdict"], answer["untouched"])


def test_lock_that_no_commit_has(work):
    """Edits of code, data and lock are each named; nothing is executed."""
    (work.root / "one.sh").write_text("true\n")
    (work.root / "two.csv").write_text("edited\n")
    (work.root / "one.csv").write_text("added\n")
    work.mlvc("add", "one.csv")

    answer = work.ci(check=1)

    assert [
        ("uncommitted", "mlvc.lock is not what HEAD has"),
        ("uncommitted", "one.sh is not what HEAD has"),
        ("unsaved", "two.csv differs from mlvc.lock"),
    ] == problems(answer, "lock")
    assert {"checks-failed"} == {missed["error"]["code"] for missed in answer["not_executed"]}


def test_fixes_can_be_typed_into_a_shell(work):
    """Whatever a file is called, and each is a command that there is."""
    name = "a `touch hit`; $(touch hit) 'b' c"
    (work.root / f"{name}.csv").write_text("1\n")
    (work.root / f"{name}.sh").write_text("true\n")
    work.mlvc("add", f"{name}.csv")
    work.commit("names")
    for ending in ("csv", "sh"):
        (work.root / f"{name}.{ending}").write_text("edited\n")

    (code, data) = next(iter(work.ci(check=1)["checks"]))["problems"]
    add, _, _ = code["fix"].partition(" && ")
    _, _, put_back = data["fix"].partition(", or ")
    subprocess.run(["sh", "-c", add], cwd=work.root, check=True)
    assert f"M  {name}.sh" in git(work.root, "-c", "core.quotePath=false", "status", "--short").replace(
        '"', ""
    )
    program = f"{shlex.quote(sys.executable)} -m mlvc"
    subprocess.run(["sh", "-c", put_back.replace("mlvc", program, 1)], cwd=work.root, check=True)

    assert "1\n" == (work.root / f"{name}.csv").read_text()
    assert not (work.root / "hit").exists()


def test_lock_with_conflict_marks(clone):
    """Nothing else is asked, not even the remote."""
    place = clone()
    lock = place.root / "mlvc.lock"
    lock.write_text("<<<<<<< ours\n" + lock.read_text())
    shutil.rmtree(place.root.parent / "all" / "far")

    answer = place.ci(check=1)

    assert ["lock"] == [item["name"] for item in answer["checks"]]
    ((kind, _),) = problems(answer, "lock")
    assert "lock-conflict" == kind


def test_data_that_git_tracks_too(clone):
    """As somebody does who forces it in."""
    place = clone()
    (place.root / "one.out").write_text("by git\n")
    git(place.root, "add", "-f", "one.out")
    git(place.root, "-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "forced")

    assert ("tracked-twice", "git tracks files of one.out, which mlvc.lock tracks") in problems(
        place.ci(check=1), "lock"
    )


def test_data_that_nobody_pushed(work, clone, tmp_path):
    """It is named, and no run is begun."""
    (work.root / "new.bin").write_text("only here\n")
    work.mlvc("add", "new.bin")
    work.commit("not sent", push=False)

    answer = clone().ci(check=1)

    ((kind, message),) = problems(answer, "remote")
    assert "missing-object" == kind
    assert message.endswith(" of new.bin is not on the remote")
    assert ([], 2) == (answer["runs"], len(answer["not_executed"]))


def test_lock_that_names_a_run_that_did_not_make_it(work, clone):
    """As after a merge by hand."""
    lock = work.repo.read_lock()
    one, two = lock.entries[b"one.out"], lock.entries[b"two.out"]
    work.repo.write_lock(lock.with_entries([one._replace(run=two.run)]))
    git(work.root, "commit", "-qam", "by hand")

    ((kind, message),) = problems(clone().ci(check=1), "records")

    assert "not-its-output" == kind
    assert f"the run {two.run.short} made one.out" in message


def test_environments_that_cannot_be_installed(work):
    """Told from the record alone."""
    python = Interpreter("/x/python", "/x/python", "3.11.7", "cpython", "3.11.7 (main)", "/x", "/x")
    environment = Environment(python, {"machine": "z80"}, "a==1\n")
    repo = work.repo
    with repo.store.writer() as writer:
        writer.add_object(environment)

    found = check_environments(repo, [environment.id])

    assert ["other-platform", "no-interpreter"] == [item.kind for item in found.problems]


def test_shards_share_the_runs(clone):
    """Each run is one job's, whatever else is asked; a job may have none."""
    place = clone()
    jobs = [place.ci("--shard", f"{number}/3", "--budget", "0s", check=False) for number in (1, 2, 3)]

    runs = [missed["name"] for job in jobs for missed in job["not_executed"]]
    assert ["one", "two"] == sorted(runs)
    assert [2 - len(job["not_executed"]) for job in jobs] == [job["untouched"] for job in jobs]


def test_budget_that_is_spent(clone):
    """No run is begun; exit 2, because nothing is known."""
    answer = clone().ci("--budget", "0s", check=2)

    assert ("incomplete", []) == (answer["status"], answer["runs"])
    assert {"budget-spent"} == {missed["error"]["code"] for missed in answer["not_executed"]}


@EXECUTES
def test_cost_that_is_spent(clone):
    """No run is begun that would cost more; what costs nothing at the project's prices always fits."""
    place = clone()
    runs = {run.name: run for run in map(place.repo.store.read_object, recorded(place))}
    (short, long) = sorted(run.duration_ms / 3_600_000 * run.threads for run in runs.values())

    answer = place.ci("--max-cost", str(short + long / 2), "--jobs", "2", check=2)

    (missed,) = answer["not_executed"]
    assert "budget-spent" == missed["error"]["code"]
    assert "that the job may cost" in missed["error"]["message"]
    (run,) = answer["runs"]
    spent = run["duration_ms"] / 3_600_000 * runs[run["name"]].threads
    assert pytest.approx(spent, abs=1e-6) == answer["cost"]
    with (place.root / "mlvc.toml").open("a") as settings:
        settings.write("\n[ci]\ncpu_hour = 0\n")
    free = place.ci("--max-cost", "0", "--fresh")
    assert (0, ["one", "two"]) == (free["cost"], [run["name"] for run in free["runs"]])


def recorded(place):
    """The ids of the runs of the lock, whose records have been fetched."""
    place.mlvc("fetch")
    return [entry.run for entry in place.repo.read_lock().entries.values() if entry.run is not None]


@EXECUTES
def test_several_runs_at_a_time(work, clone):
    """One that cannot be executed and one that gives something else hide no other; verdicts are stored."""
    for name, text in (("three", "date +%N > three.out\n"), ("four", "cp four.csv four.out\n")):
        (work.root / f"{name}.sh").write_text(text)
        (work.root / f"{name}.csv").write_text(name)
        work.mlvc("add", f"{name}.csv")
        work.mlvc(
            *("run", "-n", name, "--threads", "1", "-i", f"{name}.csv", "-o", f"{name}.out", "--"),
            *("sh", f"{name}.sh"),
        )
    work.commit("more")
    place = clone()

    answer = place.ci("--jobs", "4", check=1)

    assert {"one": "identical", "two": "identical", "three": "different", "four": "identical"} == {
        run["name"]: run["verdict"] for run in answer["runs"]
    }
    assert answer["cost"] > 0
    again = place.ci("--jobs", "4", check=1)
    assert {"one": True, "two": True, "three": False, "four": True} == {
        run["name"]: run["cached"] for run in again["runs"]
    }
    (work.root / "three.csv").write_text("edited")
    work.mlvc("add", "three.csv")
    work.commit("stale")
    git(place.root, "pull", "-q")
    place.mlvc("fetch")
    stale = place.ci("--jobs", "2", "--since", "HEAD~1", check=1)
    assert [("three", None, ["three.csv"])] == [
        (run["name"], run["verdict_id"], run["stale"]) for run in stale["runs"]
    ]


@pytest.mark.parametrize(
    "options",
    [("--shard", "0/2"), ("--shard", "3/2"), ("--shard", "x"), ("--budget", "5"), ("--max-cost", "nan")],
)
def test_options_without_sense(work, options):
    """One error, before anything is asked."""
    error = work.mlvc("ci", "--json", *options, check=2).json()["error"]

    assert "usage" == error["code"]
    assert error["message"].startswith(" ".join(options))


def test_shallow_clone_has_no_merge_base(work, clone):
    """The hint says what brings it."""
    git(work.root, "switch", "-qc", "change")
    git(work.root, "commit", "-q", "--allow-empty", "-m", "x")
    place = clone("--depth=1", "--no-single-branch")

    error = place.mlvc("ci", "--json", "--since", "origin/main", check=2).json()["error"]

    assert "revision-missing" == error["code"]
    assert "git fetch --unshallow" in error["hint"]
    alone = clone("--depth=1", name="alone")
    error = alone.mlvc("ci", "--json", "--since", "origin/main", check=2).json()["error"]
    assert "git knows no revision 'origin/main'" == error["message"]
    command = error["hint"].split("`")[1]
    subprocess.run(["sh", "-c", command], cwd=alone.root, check=True, capture_output=True)
    error = alone.mlvc("ci", "--json", "--since", "origin/main", check=2).json()["error"]
    assert "git fetch --unshallow" in error["hint"]
    git(alone.root, "fetch", "--quiet", "--unshallow")
    assert [] == alone.ci("--since", "origin/main")["runs"]
