"""Every question about a made-up history has the answer that going through all objects and git has."""

import os
import subprocess

import pytest

from mlvc.model.lock import decode_lock, encode_lock
from mlvc.model.objects import Commit
from mlvc.repo import INDEX_URL, Repo
from mlvc.verbs.blame import blame
from mlvc.verbs.compare import compare
from mlvc.verbs.impact import ImpactMissingError, impact
from mlvc.verbs.lineage import lineage
from mlvc.verbs.log import log
from mlvc.verbs.runs import RunsQuery, list_runs
from mlvc.verbs.tag import models
from tests.support.brute_force import BruteForce
from tests.support.histories import make_history
from tests.support.reporter import RecordingReporter

HISTORIES = [
    ("sqlite", 1),
    ("sqlite", 2),
    pytest.param(("postgresql", 3), marks=pytest.mark.postgres),
]


@pytest.fixture(scope="module", params=HISTORIES, ids=lambda each: f"{each[0]}-{each[1]}")
def history(request, tmp_path_factory):
    """A repository with its index on the engine, the commits in it, and everything that its store holds."""
    engine, seed = request.param
    root = tmp_path_factory.mktemp("history")
    environment = {"HOME": str(root)}
    if engine == "postgresql":
        environment[INDEX_URL] = request.getfixturevalue("postgres_server").url(f"questions-{seed}")
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["config", "user.name", "T"],
        ["config", "user.email", "t@e"],
        ["config", "tag.gpgsign", "false"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)
    planned = make_history(root, environment, seed)
    repo = Repo.open(root, reporter=RecordingReporter(), environment=environment)
    return repo, planned, BruteForce(repo.store, root)


def test_log(history):
    """From every commit, in git's order; what it says of a commit is what the record says."""
    repo, planned, brute = history
    for rev in ["HEAD", "churn@1.0", *(each.sha for each in planned)]:
        found = log(repo, rev).commits

        assert brute.log(rev) == [row.id for row in found]
        for row in found:
            record = brute.commits[row.id]
            for name in type(row).__slots__:
                assert row.id == record.id if name == "id" else getattr(record, name) == getattr(row, name)
    assert brute.log("HEAD")[:3] == [row.id for row in log(repo, limit=3).commits]


def test_blame(history, tmp_path):
    """Of every path at every commit, committed or with the lock of another commit."""
    repo, planned, brute = history
    last = planned[-1]
    try:
        for number, each in enumerate(planned):
            brute.git("checkout", "--quiet", "--force", "--detach", each.sha)
            for lock in (each.lock, planned[number // 2].lock):
                (repo.root / "mlvc.lock").write_bytes(encode_lock(repo.read_lock().__class__(lock)))
                expected = {path: brute.blame(entry, each.sha) for path, entry in lock.items()}

                found = blame(repo).paths

                assert expected == {item.entry.path: (item.commit, item.run) for item in found}
                for item in found:
                    assert (item,) == blame(repo, os.fsdecode(item.entry.path)).paths
                    sha = None if item.commit is None else brute.commits[item.commit].code_sha
                    assert sha == item.code_sha
    finally:
        brute.git("checkout", "--quiet", "--force", "main")
    assert last.sha == repo.code.head_sha()


def targets_of(brute, planned):
    """Yields what a person may name, with the data that it stands for and the run that its line names."""
    for entry in planned[-1].lock.values():
        yield os.fsdecode(entry.path), [(entry.id, entry.run)]
    for run_id, run in brute.runs.items():
        yield str(run_id), [(entry.id, run_id) for entry in run.outputs]
    for commit in brute.commits.values():
        yield commit.code_sha, [(entry.id, entry.run) for entry in commit.paths]


def check_origin(brute, made, named):
    """Each piece of data was made by the run that its line names, or else by the first that ever made it."""
    makers = [named] if named is not None else brute.makers(made.entry.id)
    assert (makers[0] if makers else None) == (None if made.run is None else made.run.id)
    if made.run is not None and not made.repeated:
        assert list(brute.runs[made.run.id].inputs) == [each.entry for each in made.inputs]
    for each in made.inputs:
        check_origin(brute, each, None)


def test_lineage(history):
    """Of every tracked path, run and commit: all runs before and after, what they read and made, and where it is."""
    repo, planned, brute = history
    for target, data in targets_of(brute, planned):
        runs, made = brute.lineage({data_id for data_id, _ in data})

        found = lineage(repo, target)

        assert brute.oldest_first(runs) == [row.id for row in found.runs]
        assert {
            (run_id, entry.name, entry.id, is_made)
            for run_id in runs
            for is_made, entries in ((False, brute.runs[run_id].inputs), (True, brute.runs[run_id].outputs))
            for entry in entries
        } == {(edge.run, edge.path, edge.data, edge.made) for edge in found.edges}
        assert brute.tracking(made) == {(row.commit, row.path) for row in found.tracked}
        for each, (data_id, named) in zip(found.targets, data, strict=True):
            check_origin(brute, each, named)
            assert data_id == each.entry.id
            assert brute.readers(data_id) == sorted(
                (run.id for run in each.used_by), key=lambda run_id: brute.runs[run_id].started
            )


def named_by_git(brute):
    """Returns each name of a model with its git commit and its path, as git says."""
    return {
        name: (
            brute.git("rev-parse", f"{name}^{{commit}}")[0],
            " ".join(brute.git("for-each-ref", "--format=%(contents)", f"refs/tags/{name}"))
            .partition("Mlvc-Path: ")[2]
            .split(" ")[0],
        )
        for name in brute.git("tag")
    }


def check_impact(repo, brute, what, data=(), runs=()):
    names = named_by_git(brute)
    reached_runs, reached = brute.impact(data, runs)
    shas = {(brute.commits[commit].code_sha, path) for commit, path in reached}

    found = impact(repo, what)

    assert brute.oldest_first(reached_runs) == [row.id for row in found.runs]
    assert reached == {(row.commit, row.path) for row in found.paths}
    assert {commit: brute.commits[commit].code_sha for commit, _ in reached} == dict(found.commits)
    assert {
        name
        for name, (sha, path) in names.items()
        if ((sha, path) in shas if path else sha in {each for each, _ in shas})
    } == {each.name for each in found.names}


def test_impact_of_data(history):
    """Of every content that was ever anywhere, by its id."""
    repo, _, brute = history
    for each in sorted(brute.contents(), key=str):
        check_impact(repo, brute, str(each), [each])


def test_impact_of_paths(history):
    """Of every tracked path, and of every file below one."""
    repo, planned, brute = history

    def paths(name, object_id):
        yield name, object_id
        if len(brute.below(object_id)) > 1:
            for entry in brute.store.read_tree(object_id):
                yield from paths(f"{name}/{entry.name.decode()}", entry.id)

    for entry in planned[-1].lock.values():
        for path, object_id in paths(entry.path.decode(), entry.id):
            check_impact(repo, brute, path, [object_id])


def test_impact_of_runs_commits_and_packages(history):
    """Of what they made, tracked, and ran with; versions that nobody had are said to be nowhere."""
    repo, _, brute = history
    for run_id in brute.runs:
        check_impact(repo, brute, str(run_id), runs=[run_id])
    for commit_id, commit in brute.commits.items():
        check_impact(repo, brute, str(commit_id), [entry.id for entry in commit.paths])
    for specifier in ("", "<1.1", "==1.2", ">=1.1"):
        check_impact(repo, brute, f"big-data{specifier}", runs=brute.runs_with("Big_Data", specifier))
    with pytest.raises(ImpactMissingError):
        impact(repo, "big-data>1.2")


def facts(brute, run):
    """Returns what is compared of a run, by section and name."""
    environment = None if run.environment is None else brute.environments[run.environment]
    return {
        ("code", "sha"): run.code.sha,
        ("code", "tree"): str(run.code.tree),
        ("code", "uncommitted changes"): "yes" if run.code.dirty else "no",
        ("code", "command"): " ".join(run.argv),
        **{("data", f"input {entry.name}"): str(entry.id) for entry in run.inputs},
        **{("data", f"output {entry.name}"): str(entry.id) for entry in run.outputs},
        **({} if environment is None else {("environment", "id"): str(run.environment)}),
        **({} if environment is None else {("environment", "python"): environment.interpreter.version}),
        **{
            ("environment", item.name.lower().replace("_", "-")): item.version
            for item in ([] if environment is None else environment.distributions)
        },
        **{("params", name): value for name, value in run.params.items()},
        **{("metrics", name): value for name, value in run.metrics.items()},
    }


def test_compare(history):
    """Any runs beside each other: every fact of each, and in each section what differs first."""
    repo, _, brute = history
    runs = [brute.runs[run_id] for run_id in brute.oldest_first(brute.runs)]
    for chosen in zip(runs, runs[1:], runs[3:], strict=False):
        told = [facts(brute, run) for run in chosen]

        lines = compare(repo, [str(run.id) for run in chosen]).lines

        assert {
            key: tuple(each.get(key) for each in told) for key in dict.fromkeys(k for e in told for k in e)
        } == {(line.section, line.name): line.values for line in lines if line.section != "run"}
        assert {"started": tuple(run.started for run in chosen)}.items() <= {
            line.name: line.values for line in lines if line.section == "run"
        }.items()
        for section in {line.section for line in lines}:
            differs = [len(set(line.values)) > 1 for line in lines if line.section == section]
            assert sorted(differs, reverse=True) == differs


def test_models(history):
    """Every name with the data at its commit, the run that made it, that run's metrics and latest verdict."""
    repo, _, brute = history
    expected = {}
    for name, (sha, path) in named_by_git(brute).items():
        text = subprocess.run(
            ["git", "show", f"{sha}:mlvc.lock"], cwd=repo.root, capture_output=True, check=True
        )
        entry = decode_lock(text.stdout).entries.get(path.encode())
        run = None if entry is None else entry.run
        expected[name] = (
            None if entry is None else entry.id,
            run,
            {} if run is None else dict(brute.runs[run].metrics),
            None if run is None else brute.verdict(run),
        )

    found = models(repo)

    assert expected == {
        each.named.name: (each.id, each.run, dict(each.metrics), each.verdict) for each in found
    }
    assert {"churn@1.0", "churn@1.1", "churn#production", "all@1"} == expected.keys()


def test_runs(history):
    """By what they read and made, ran with and came to; `test_where` asks everything else."""
    repo, _, brute = history
    predicates = {
        "metrics.mae < 5 and params.depth = 2": lambda run: (
            float(run.metrics["mae"]) < 5 and run.params["depth"] == "2"
        ),
        "env.big-data < '1.2'": lambda run: run.id in brute.runs_with("Big_Data", "<1.2"),
        "verdict = 'identical'": lambda run: brute.verdict(run.id) == "identical",
        "not name = 'train'": lambda run: run.name != "train",
        **{
            f"input = '{data}' or output = '{data}'": lambda run, data=data: any(
                entry.id == data for entry in (*run.inputs, *run.outputs)
            )
            for data in sorted(brute.contents(), key=str)
        },
    }
    for where, fits in predicates.items():
        found = list_runs(repo, RunsQuery(where=where)).runs

        expected = brute.oldest_first(run.id for run in brute.runs.values() if fits(run))[::-1]
        assert expected == [entry.row.id for entry in found]
        for entry in found:
            run = brute.runs[entry.row.id]
            assert (run.params, run.metrics) == (dict(entry.params), dict(entry.metrics))
            assert brute.verdict(run.id) == entry.verdict


def test_after_a_rebuild(history):
    """An index made anew says the same."""
    repo, planned, brute = history
    blobs = brute.blobs()[:5]

    def answers():
        return (
            log(repo),
            blame(repo),
            models(repo),
            list_runs(repo),
            [impact(repo, str(each)) for each in blobs],
            [lineage(repo, os.fsdecode(entry.path)) for entry in planned[-1].lock.values()],
        )

    before = answers()
    repo.index.rebuild(repo.reporter)

    assert before == answers()


def test_the_histories_hold_what_they_are_for(history):
    """Merges, branches, commits without a record, the same data in several places, runs over runs."""
    repo, planned, brute = history

    assert any(len(each.parents) == 2 for each in planned)
    assert any(not each.is_recorded for each in planned)
    assert len({parent for each in planned for parent in each.parents}) < len(planned) - 1
    assert max(len(brute.makers(each)) for each in brute.contents()) > 1
    assert any(len(brute.lineage([entry.id])[0]) > 3 for entry in planned[-1].lock.values())
    assert isinstance(repo.store.read_object(brute.log("HEAD")[0]), Commit)
