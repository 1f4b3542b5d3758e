"""What the index answers and keeps, on every engine that it may have."""

import pytest

from mlvc.errors import UsageError
from mlvc.index.database import MetadataIndex
from mlvc.index.postgres import PostgresDatabase
from mlvc.model.ids import BlobId, CommitId, EnvironmentId, PlanId, RunId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Commit, Distribution, Environment, Verdict
from mlvc.model.tree import Kind, TreeEntry
from tests.support.index_project import INTERPRETER, TABLES, Project, data, everything


def ids(found):
    return [row.id for row in found]


def test_runs_come_the_newest_first(project):
    """The order is that of their starts, and a limit takes the newest."""
    first, second, third = (project.run() for _ in range(3))

    index = project.catch_up()

    assert [third, second, first] == ids(index.run_rows())
    assert [third, second] == ids(index.run_rows(limit=2))


def test_runs_by_name_and_status(project):
    """Filters narrow together."""
    good = project.run(name="train")
    bad = project.run(name="train", status="failed", exit_code=3)
    other = project.run(name="other")

    index = project.catch_up()

    assert [bad, good] == ids(index.run_rows(name="train"))
    assert [good] == ids(index.run_rows(name="train", status="finished"))
    assert [other] == ids(index.run_rows(status="finished", limit=1))
    assert [] == ids(index.run_rows(name="nothing"))


def test_a_run_row_says_what_the_run_says(project):
    """Every field of the answer is the object's."""
    run_id = project.run(
        argv=("a b", "ü", "%0A"), name="n", status="failed", exit_code=7, duration_ms=1 << 40, threads=3
    )
    run = project.store.read_object(run_id)

    row = project.catch_up().run_rows()[0]

    for name in type(row).__slots__:
        expected = {
            "id": run_id,
            "code_sha": run.code.sha,
            "code_tree": run.code.tree,
            "dirty": run.code.dirty,
        }
        assert (expected[name] if name in expected else getattr(run, name)) == getattr(row, name)


def test_runs_by_data(project):
    """Runs are found by what they read and by what they made, as exact ids."""
    folder = data("in", kind=Kind.DIRECTORY)
    first = project.run([folder], [data("model")])
    second = project.run([folder, data("model")], [data("report")])

    index = project.catch_up()

    assert [second, first] == list(index.runs_by_input(folder.id))
    assert [second] == list(index.runs_by_input(data("model").id))
    assert [first] == list(index.runs_by_output(data("model").id))
    assert [] == list(index.runs_by_output(folder.id))


def test_runs_by_plan(project):
    """Two executions of one plan are found together, or only those that ended well."""
    good = project.run([data("in")], [data("out")])
    failed = project.run([data("in")], [data("out", "other")], status="failed")
    project.run([data("in")], [data("elsewhere")])
    plan = project.store.read_object(good).plan

    index = project.catch_up()

    assert [failed, good] == list(index.runs_by_plan(plan))
    assert [good] == list(index.runs_by_plan(plan, status="finished"))
    assert [] == list(index.runs_by_plan(PlanId.of(b"another")))


def test_verdicts_of_a_run(project):
    """Verdicts come the newest first, and only those of the run."""
    run_id, other = project.run(), project.run()
    old = Verdict(run_id, "different", started="2024-01-01T00:00:00.000000+00:00", engine="docker")
    new = Verdict(
        run_id, "identical", started="2024-01-02T00:00:00.000000+00:00", isolated=False, exit_code=4
    )
    project.add(old, new, Verdict(other, "failed"))

    found = project.catch_up().verdicts_of(run_id)

    assert [(new.id, "identical", "none", False, 4), (old.id, "different", "docker", True, 0)] == [
        (row.id, row.verdict, row.engine, row.isolated, row.exit_code) for row in found
    ]
    assert {run_id} == {row.run for row in found}


def test_commit_for_a_sha(project):
    """A git commit leads to its mlvc commit, by the whole SHA."""
    commit_id = project.add(Commit("a" * 40, None, ()))

    index = project.catch_up()

    assert commit_id == index.commit_for_sha("a" * 40)
    assert None is index.commit_for_sha("a" * 12)


def test_commits_come_the_newest_first(project):
    """Their times are compared as moments, whatever the authors' offsets are; one without a time comes last."""
    noon = Commit("a" * 40, None, (), time="2024-01-01T12:00:00+00:00")
    earlier = Commit("b" * 40, None, (), time="2024-01-01T13:00:00+05:00")
    merge = Commit(
        "c" * 40, None, (), parents=(noon.id, earlier.id), time="2024-01-01T10:00:00-07:00", message="m"
    )
    timeless = Commit("d" * 40, None, ())
    project.add(noon, earlier, merge, timeless)

    found = project.catch_up().commits()

    assert [merge.id, noon.id, earlier.id, timeless.id] == ids(found)
    assert ((noon.id, earlier.id), "m", "c" * 40) == (found[0].parents, found[0].message, found[0].code_sha)


def test_paths_with_an_id(project):
    """Data is found under every path and in every commit that tracks exactly it."""
    first = project.add(Commit("a" * 40, None, (data("x"), data("y", "x"), data("z"))))
    second = project.add(Commit("b" * 40, None, (data("x"),)))

    found = project.catch_up().paths_with_id(BlobId.of(b"x"))

    assert {(first, "x"), (first, "y"), (second, "x")} == {(row.commit, row.path) for row in found}
    assert ["x", "x", "y"] == [row.path for row in found]
    assert {CommitId} == {type(row.commit) for row in found}


def environment(*distributions):
    return Environment(
        INTERPRETER, {}, str(distributions), tuple(Distribution(*item) for item in distributions)
    )


@pytest.mark.parametrize(
    ("specifier", "versions"),
    [
        ("", {"0.9", "1.0.post1", "1.1", "2.0rc1", "not a version"}),
        ("<1.1", {"0.9", "1.0.post1"}),
        (">=1.1", {"1.1", "2.0rc1"}),
        ("==1.0.post1", {"1.0.post1"}),
        ("!=1.1,>1", {"2.0rc1"}),
    ],
)
def test_environments_with_a_version(project, specifier, versions):
    """Versions compare as PEP 440 says, pre-releases included; names are spelt in any way."""
    for version in ("0.9", "1.0.post1", "1.1", "2.0rc1", "not a version"):
        project.add(environment(("Scikit_Learn", version), ("other", "1.0")))

    found = project.catch_up().environments_with("scikit.learn", specifier)

    assert versions == {row.version for row in found}
    assert {"scikit-learn"} == {row.name for row in found}
    assert {EnvironmentId} == {type(row.environment) for row in found}


def test_the_same_name_twice_in_an_environment(project):
    """Two copies of a distribution on one path are both there."""
    project.add(environment(("pip", "1.0"), ("pip", "2.0")))

    assert ["1.0", "2.0"] == [row.version for row in project.catch_up().environments_with("pip")]


def test_no_specifier(project):
    """What is no specifier is refused with an example."""
    with pytest.raises(UsageError, match="is no version specifier") as caught:
        project.index.environments_with("pandas", "about 1")

    assert "<1.1" in caught.value.hint


def test_numbers_of_metrics(project):
    """A number can be compared as one; other values, and what no float can hold, have only their text."""
    values = {
        "whole": "3",
        "real": "0.25",
        "text": '"0.5"',
        "truth": "true",
        "null": "null",
        "nan": "NaN",
        "huge": "9" * 400,
        "broken": "{",
    }
    project.run(metrics=values)

    project.catch_up()
    found = everything(project.database)["metrics"]

    assert {name: (value, None) for name, value in values.items()} | {
        "whole": ("3", 3.0),
        "real": ("0.25", 0.25),
    } == {row["name_number"]: (row["value"], row["number"]) for row in found}
    assert ["0.5"] == [row["text"] for row in found if row["text"] is not None]


def test_lineage_goes_all_the_way_up_and_down(project):
    """From the middle of a chain every ancestor and every descendant is found; a sibling is not."""
    clean = project.run([data("raw")], [data("clean")])
    train = project.run([data("clean")], [data("model")])
    report = project.run([data("model"), data("style")], [data("report")])
    project.run([data("clean")], [data("sibling")])
    project.run([data("unrelated")], [data("other")])

    found = project.catch_up().lineage([data("model").id])

    assert [clean, train, report] == ids(found.runs)
    assert {
        (clean, "raw", False),
        (clean, "clean", True),
        (train, "clean", False),
        (train, "model", True),
        (report, "model", False),
        (report, "style", False),
        (report, "report", True),
    } == {(edge.run, edge.path, edge.made) for edge in found.edges}
    assert data("raw").id in {edge.data for edge in found.edges}


def test_lineage_of_a_run_that_reads_what_it_writes(project):
    """A circle, such as a file updated back to what it was, ends."""
    there = project.run([data("x")], [data("y")])
    back = project.run([data("y")], [data("x")])

    assert [there, back] == ids(project.catch_up().lineage([data("x").id]).runs)


def test_lineage_of_a_directory_where_a_file_is_made(project):
    """At one path of one run a directory is read and a file made: both are told, what was read first."""
    folder = data("x", kind=Kind.DIRECTORY)
    project.run([folder], [data("x")])

    edges = project.catch_up().lineage([folder.id]).edges

    assert [(folder.id, False), (data("x").id, True)] == [(edge.data, edge.made) for edge in edges]


def test_lineage_of_nothing(project):
    """Data that no run touched has no lineage."""
    found = project.index.lineage([data("x").id])

    assert ((), ()) == (found.runs, found.edges)


def test_lineage_of_many(project):
    """More runs than one query takes are followed."""
    first = data("start")
    project.run([first], [data(f"part {number}") for number in range(1_200)])
    project.run([data(f"part {number}") for number in range(1_200)], [data("end")])

    found = project.catch_up().lineage([first.id])

    assert (2, 2_402) == (len(found.runs), len(found.edges))


def test_a_new_index_is_empty(project):
    """The first question makes the file; without objects every table is empty."""
    assert dict.fromkeys(sorted(TABLES), 0) == dict(sorted(project.index.counts().items()))


def test_every_table_is_filled(project):
    """One object of each kind, with every list filled, leaves no table empty."""
    project.add_one_of_each()

    counts = project.catch_up().counts()

    # These are filled by the first question about a file below a tracked directory.
    assert ["tree_entries", "trees"] == [name for name, count in counts.items() if count == 0]
    assert (1, 2, 1, 1) == tuple(counts[name] for name in ("runs", "commits", "environments", "verdicts"))


def test_catching_up_takes_in_what_is_new(project):
    """What was added since the last time is found; what was known is not counted again."""
    first = project.run()
    assert [first] == [row.id for row in project.catch_up().run_rows()]
    second = project.run()

    assert [second, first] == [row.id for row in project.catch_up().run_rows()]
    assert [1, 1] == [task.done for task in project.reporter.tasks]


def test_catching_up_with_nothing_new_changes_nothing(project):
    """A second time in a row reads no object and writes no row."""
    project.add_one_of_each()
    project.catch_up()
    before = everything(project.database)

    project.catch_up()

    assert before == everything(project.database)
    assert 0 == project.reporter.tasks[-1].done


def test_a_rebuilt_index_has_the_same_rows(project):
    """Built pack by pack or at once, every row of every table is the same."""
    for _ in range(3):
        project.add_one_of_each()
        project.catch_up()
    grown = everything(project.database)

    project.index.rebuild(project.reporter)

    assert grown == everything(project.database)
    assert 3 == len(grown["runs"])


@pytest.mark.parametrize("table", TABLES)
def test_a_rebuild_brings_back_what_was_lost(project, table):
    """Whichever table lost its rows; also what lies in directories is told as before, and nothing leads nowhere."""
    with project.store.writer() as writer:
        trees = [
            writer.add_tree([TreeEntry(b"f", Kind.FILE, BlobId.of(content), 1)]) for content in (b"1", b"2")
        ]
    project.add_one_of_each()
    for tree in trees:
        project.run([TrackedPath(b"folder", Kind.DIRECTORY, tree, 1, 1)], [data(f"made of {tree}")])
        project.catch_up().impact(project.reporter, data=[BlobId.of(b"1")])
    answers = [project.index.impact(project.reporter, data=[BlobId.of(each)]) for each in (b"1", b"2")]
    before, counts = everything(project.database), project.index.counts()
    with project.database.writing() as connection:
        connection.exec_driver_sql(f"DELETE FROM {table}")

    project.index.rebuild(project.reporter)

    assert before == everything(project.database)
    assert answers == [
        project.index.impact(project.reporter, data=[BlobId.of(each)]) for each in (b"1", b"2")
    ]
    assert [1, 1] == [len(answer.runs) for answer in answers]
    assert counts == project.index.counts()


@pytest.mark.postgres
def test_a_rebuild_leaves_trees_of_a_colleague(postgres_url, tmp_path):
    """A version of a directory that only they have was told against one read anew: no circle comes of it."""
    database = PostgresDatabase(postgres_url)
    mine, theirs = (Project(tmp_path / name, database=database, url=postgres_url) for name in ("a", "b"))
    for project, contents in ((mine, [b"1"]), (theirs, [b"1", b"2"])):
        for content in contents:
            with project.store.writer() as writer:
                same = TreeEntry(b"same", Kind.FILE, BlobId.of(b"same"), 1)
                tree = writer.add_tree([TreeEntry(b"f", Kind.FILE, BlobId.of(content), 1), same])
            project.run(
                [TrackedPath(b"folder", Kind.DIRECTORY, tree, 1, 1)], started=f"2024-01-0{content.decode()}"
            )
            project.catch_up().impact(project.reporter, data=[BlobId.of(content)])

    mine.index.rebuild(mine.reporter)

    for project in (theirs, mine):
        found = project.index.impact(project.reporter, data=[BlobId.of(b"same")])
        assert {"2024-01-01", "2024-01-02"} == {row.started for row in found.runs}
        found = project.index.impact(project.reporter, data=[BlobId.of(b"1")])
        assert ["2024-01-01"] == [row.started for row in found.runs]


def test_projects_share_a_file(tmp_path, project):
    """Two projects in one file see their own rows only."""
    other = type(project)(tmp_path / "other", "another")
    other.index = MetadataIndex(project.database, other.store, "another")
    mine, theirs = project.run(name="mine"), other.run(name="theirs")

    assert [mine] == [row.id for row in project.catch_up().run_rows()]
    assert [theirs] == [row.id for row in other.catch_up().run_rows()]
    assert (1, 1) == (project.index.counts()["runs"], other.index.counts()["runs"])


def test_ids_come_back_as_their_own_types(project):
    """An id that was asked for can be asked for again."""
    run_id = project.run()

    assert RunId is type(project.catch_up().run_rows()[0].id)
    assert run_id == project.index.run_rows()[0].id
