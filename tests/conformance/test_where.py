"""`runs --where`: every expression has the answer that going through the objects one by one has."""

import json
import operator
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from mlvc.errors import UsageError
from mlvc.index.database import MetadataIndex
from mlvc.index.expression import FIELDS, ExpressionError
from mlvc.index.postgres import PostgresDatabase
from mlvc.model.ids import PlanId, TreeId
from mlvc.model.objects import Code, Distribution, Environment, Run, Verdict
from mlvc.model.tree import Kind
from mlvc.ports import RecordKind
from tests.support.index_project import INTERPRETER, Project, data

NAMES = ["lr", "depth", "a.b", "learning rate", 'q"uote', "it's", "%", "ü", "nul\0", "x" * 300, "or"]
TEXTS = ["adam", "", "it's", 'say "x"', "100%", "a\nb", "\\", "ü", "Z", "a", "_", "nul\0", "6", "y" * 3000]
VALUES = [0, 6, -3, 0.1, 11, 1e300, 9007199254740993, True, False, None, [1], *TEXTS]
VERSIONS = ["0.9", "1.0", "1.0.post1", "1.1rc1", "1.1", "1.10", "2.0+cpu", "not a version"]
PACKAGES = ["pandas", "Scikit_Learn", "torch"]
COMPARE = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def some_values(chance):
    return {
        name: json.dumps(chance.choice(VALUES), ensure_ascii=False)
        for name in chance.sample(NAMES, chance.randint(0, len(NAMES)))
    }


def fill(project):
    """Sixty runs, in three environments and none, with everything that can be asked for."""
    chance = random.Random(7)
    environments = [
        project.add(
            Environment(
                INTERPRETER,
                {},
                str(number),
                tuple(
                    Distribution(name, chance.choice(VERSIONS))
                    for name in chance.sample(PACKAGES, chance.randint(0, 3)) * chance.randint(1, 2)
                ),
            )
        )
        for number in range(8)
    ]
    for number in range(60):
        sha = chance.choice([None, "a" * 40, "ab" * 20, "c" * 40])
        run = Run(
            PlanId.of(b""),
            ("train", str(number)),
            chance.choice(["", "sub"]),
            "/p",
            Code(sha, dirty=chance.random() < 0.5, tree=TreeId.of(str(number % 5).encode())),
            inputs=(data("data", str(number % 3), kind=Kind.DIRECTORY),),
            outputs=(data(f"out {number % 4}"),),
            environment=chance.choice([None, *environments]),
            params=some_values(chance),
            metrics=some_values(chance),
            name=chance.choice([None, "train", "eval", "it's"]),
            status=chance.choice(["finished", "failed"]),
            exit_code=number % 3,
            seed=chance.choice([None, 1, 7]),
            started=f"2024-01-{number % 28 + 1:02}T00:00:00.000000+00:00",
            duration_ms=number * 1000,
        ).with_plan()
        run_id = project.add(run)
        for day in range(chance.randint(0, 2)):
            verdict = chance.choice(["identical", "different"])
            project.add(Verdict(run_id, verdict, started=f"2024-02-0{day + 1}T00:00:00.000000+00:00"))
    project.catch_up()
    return project


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def filled(request, tmp_path_factory):
    """A project with runs, and every run with its environment and verdict, read from the objects."""
    database = None
    if request.param == "postgresql":
        database = PostgresDatabase(request.getfixturevalue("postgres_server").url("where"))
    project = fill(Project(tmp_path_factory.mktemp("where"), database=database))
    store = project.store
    runs = [store.read_object(run_id) for run_id in store.iter_object_ids(RecordKind.RUN)]
    verdicts = [store.read_object(item) for item in store.iter_object_ids(RecordKind.VERDICT)]
    facts = []
    for run in runs:
        environment = None if run.environment is None else store.read_object(run.environment)
        own = sorted((item for item in verdicts if item.run == run.id), key=lambda item: item.started)
        facts.append((run, environment, own[-1].verdict if own else None))
    return project, facts


def quoted(text, quote="'"):
    return f"{quote}{text.replace(quote, quote * 2)}{quote}"


def fits(run_value, sign, value):
    """Compares as the reference says: what is missing, or of another type, fits only `!=`."""
    if run_value is None:
        return False
    value, run_value = (
        item.replace("\0", "␀") if isinstance(item, str) else item for item in (value, run_value)
    )
    kinds = {bool: "truth", int: "number", float: "number", str: "text"}
    if kinds.get(type(run_value)) != kinds[type(value)]:
        return sign == "!="
    return COMPARE[sign](run_value, value)


def of_values(head):
    def make(name, sign, value):
        sign = sign if not isinstance(value, bool) or sign in {"=", "!="} else "="
        shown = quoted(value) if isinstance(value, str) else json.dumps(value)

        def holds(run, _environment, _verdict):
            values = getattr(run, head)
            if name not in values:
                return False
            found = json.loads(values[name])
            if found is None or isinstance(found, list):
                return sign == "!="
            found = float(found) if type(found) is int else found
            return fits(found, sign, float(value) if type(value) is int else value)

        return f"{head}.{quoted(name, chr(34))} {sign} {shown}", holds

    plain = [value for value in VALUES if value is not None and not isinstance(value, list)]
    return st.builds(
        make, st.sampled_from([*NAMES, "absent"]), st.sampled_from([*COMPARE]), st.sampled_from(plain)
    )


def of_field(field, read, values, signs=tuple(COMPARE)):
    def make(sign, value):
        shown = quoted(value) if isinstance(value, str) else json.dumps(value)
        return f"{field} {sign} {shown}", lambda *facts: fits(read(*facts), sign, value)

    return st.builds(make, st.sampled_from(signs), st.sampled_from(values))


def begins(field, read, values):
    def make(sign, value):
        def holds(run, _environment, _verdict):
            found = read(run)
            return found is not None and found.startswith(value) == (sign == "=")

        return f"{field} {sign} {quoted(value)}", holds

    return st.builds(make, st.sampled_from(["=", "!="]), st.sampled_from(values))


def of_version():
    def make(package, sign, version):
        def holds(_run, environment, _verdict):
            wanted = SpecifierSet(f"{'==' if sign == '=' else sign}{version}")
            return environment is not None and any(
                canonicalize_name(item.name) == canonicalize_name(package) and contains(wanted, item.version)
                for item in environment.distributions
            )

        return f"env.{package} {sign} {quoted(version)}", holds

    return st.builds(
        make,
        st.sampled_from([*PACKAGES, "scikit-learn", "absent"]),
        st.sampled_from([*COMPARE]),
        st.sampled_from(["1.0", "1.1", "2", "0.1"]),
    )


def contains(wanted, version):
    try:
        return wanted.contains(version, prereleases=True)
    except InvalidVersion:
        return False


def of_data():
    def make(head, value):
        def holds(run, _environment, _verdict):
            entries = run.inputs if head == "input" else run.outputs
            return any(
                str(entry.id).startswith(value) if value.startswith("b3:") else entry.name == value
                for entry in entries
            )

        return f"{head} = {quoted(value)}", holds

    known = str(data("data", "1", kind=Kind.DIRECTORY).id)
    return st.builds(
        make,
        st.sampled_from(["input", "output"]),
        st.sampled_from(["data", "out 2", known, known[:12], "no"]),
    )


COMPARISONS = st.one_of(
    of_values("params"),
    of_values("metrics"),
    of_version(),
    of_data(),
    of_field("name", lambda run, *_: run.name, ["train", "it's", "f", "absent"]),
    of_field("status", lambda run, *_: run.status, ["finished", "failed", "fin"]),
    of_field("exit_code", lambda run, *_: run.exit_code, [0, 1, 2]),
    of_field("seed", lambda run, *_: run.seed, [1, 5, 7]),
    of_field("duration_ms", lambda run, *_: run.duration_ms, [0, 30_000]),
    of_field("directory", lambda run, *_: run.directory, ["", "sub"]),
    of_field("verdict", lambda _run, _environment, verdict: verdict, ["identical", "different"]),
    of_field("code.dirty", lambda run, *_: run.code.dirty, [True, False], ("=", "!=")),
    of_field("started", lambda run, *_: run.started[:10], ["2024-01-07"], ("=", "!=", "<", ">=")),
    begins("code.sha", lambda run: run.code.sha, ["a", "ab", "c" * 40, "0"]),
    begins("code.tree", lambda run: run.code.tree.hex, [TreeId.of(b"1").hex, TreeId.of(b"2").hex[:5]]),
)


def joined(word):
    return lambda parts: (
        "(" + f" {word} ".join(text for text, _ in parts) + ")",
        lambda *facts: (all if word == "and" else any)(holds(*facts) for _, holds in parts),
    )


EXPRESSIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(joined("and")),
        st.lists(inner, min_size=2, max_size=3).map(joined("or")),
        inner.map(lambda part: (f"NOT ({part[0]})", lambda *facts: not part[1](*facts))),
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(expression=EXPRESSIONS)
def test_every_expression_has_the_answer_of_the_objects(filled, expression):
    """Made at random, over every kind of field, with hostile names and values."""
    project, facts = filled
    text, holds = expression

    found = {entry.row.id for entry in project.index.run_table(where=text)}

    assert {run.id for run, *rest in facts if holds(run, *rest)} == found, text


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("field", "read"),
    [
        ("seed", lambda run: run.seed),
        ("name", lambda run: run.name),
        ("code.sha", lambda run: run.code.sha),
        ("params.depth", lambda run: json.loads(run.params["depth"]) if "depth" in run.params else None),
    ],
)
def test_sorting(filled, field, read, descending):
    """By value, what a run does not have last; among equals the newest first."""
    project, facts = filled
    runs = [run for run, *_ in facts]
    newest = sorted(sorted(runs, key=lambda run: str(run.id)), key=lambda run: run.started, reverse=True)
    if field == "params.depth":
        newest = [run for run in newest if type(read(run)) in {int, float}]
    have = sorted((run for run in newest if read(run) is not None), key=read, reverse=descending)
    # Sorting backwards keeps equals in their order, and so does the index.
    wanted = have + [run for run in newest if read(run) is None]
    where = f"{field} > -1e308" if field == "params.depth" else None

    found = project.index.run_table(where=where, sort=f"{'-' if descending else ''}{field}")

    assert [run.id for run in wanted] == [entry.row.id for entry in found]
    limited = project.index.run_table(where=where, sort=f"{'-' if descending else ''}{field}", limit=5)
    assert found[:5] == limited


@pytest.mark.parametrize("head", [*FIELDS, "params.absent", "metrics.absent", "env.absent"])
def test_every_field_sorts(filled, head):
    """Both ways, every run is there; also where no run has it, and where there is no run."""
    project, facts = filled
    empty = MetadataIndex(project.database, project.store, "another project")
    for sort in (head, f"-{head}"):
        if FIELDS.get(head) == "data":
            with pytest.raises(ExpressionError, match="several values"):
                project.index.run_table(sort=sort)
        else:
            assert {run.id for run, *_ in facts} == {row.row.id for row in project.index.run_table(sort=sort)}
            assert [] == empty.run_table(sort=sort)


@pytest.mark.parametrize(("limit", "count"), [(-1, 0), (0, 0), (1, 1), (1 << 31, 60), (1 << 70, 60)])
def test_any_limit(filled, limit, count):
    """Is taken by every engine, and means the same there."""
    project, _ = filled

    assert count == len(project.index.run_table(limit=limit))
    assert count == len(project.index.run_table(limit=limit, sort="-metrics.lr"))


@pytest.mark.parametrize("number", ["1e400", "-1e400", "99999999999999999999", "1e-400", "0.5"])
@pytest.mark.parametrize("field", ["exit_code", "seed", "duration_ms", "params.depth"])
def test_numbers_that_no_column_holds(filled, field, number):
    """Are compared as numbers all the same."""
    project, facts = filled
    count = {
        sign: len(project.index.run_table(where=f"{field} {sign} {number}")) for sign in ("<", ">", "=", "!=")
    }

    there = len(project.index.run_table(where=f"{field} != 123456789"))
    if field != "params.depth":
        assert there == count["<"] + count[">"] + count["="]
    assert there == count["="] + count["!="]
    assert (there > 0) == bool(facts)


def test_versions_sort_as_versions(filled):
    """1.10 after 1.1, and what PEP 440 does not know before all."""
    project, _ = filled
    versions = project.index.versions_of("pandas")
    found = [versions.get(str(entry.row.environment)) for entry in project.index.run_table(sort="env.pandas")]
    order = ["not a version", "0.9", "1.0", "1.0.post1", "1.1rc1", "1.1", "1.10", "2.0+cpu"]
    present = [version for version in found if version is not None]

    assert sorted(present, key=order.index) == present
    assert [None] * (len(found) - len(present)) == found[len(present) :]


def test_a_version_with_more_digits_than_python_reads(project):
    """Is one that PEP 440 does not know: it fits nothing, sorts first, and stops no question."""
    long, plain = (
        project.add(Environment(INTERPRETER, {}, version, (Distribution("pandas", version),)))
        for version in ("1" * 5000, "1.0")
    )
    second, first = project.run(environment=plain), project.run(environment=long)

    index = project.catch_up()

    assert [second] == [entry.row.id for entry in index.run_table(where="env.pandas >= '1.0'")]
    assert [first, second] == [entry.row.id for entry in index.run_table(sort="env.pandas")]
    assert [plain] == [row.environment for row in index.environments_with("pandas", ">=1.0")]


def test_an_entry_says_what_the_run_says(filled):
    """Values by name, and the latest verdict."""
    project, facts = filled
    entries = {entry.row.id: entry for entry in project.index.run_table()}

    for run, _, verdict in facts:
        expected = {name.replace("\0", "␀"): text.replace("\0", "␀") for name, text in run.params.items()}
        assert (expected, verdict) == (dict(entries[run.id].params), entries[run.id].verdict)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at its end"),
        ("params.depth =", "at its end"),
        ("params.depth = 6 and", "at its end"),
        ("params.depth = 'x", 'at "\'x"'),
        ("status = finished", "at 'finished'"),
        ("1 = 1; DROP TABLE runs", "at '1 = 1; DROP TABLE runs'"),
        ("nonsense = 1", "a run has no 'nonsense'"),
        ("params = 1", "a run has no 'params'"),
        ("status = 3", "status is compared with a text in quotes"),
        ("exit_code = '3'", "exit_code is compared with a number"),
        ("code.dirty = 'yes'", "compared with true or false"),
        ("code.sha < 'abc'", "has no meaning"),
        ("code.sha = 'xyz'", "the digits that an id begins with"),
        ("input != 'data'", "write not input"),
        ("started > 'yesterday'", "is no time"),
        ("env.pandas < 'about 1'", "is no version specifier"),
        ("env.pandas < '1." + "2" * 5000 + "'", "is no version specifier"),
        ("(" * 60_000 + ")" * 60_000, "too long"),
        ("params.x = '" + "x" * 10_000_000 + "'", "too long"),
        (" or ".join(["params.depth = 6"] * 1000), "too long"),
    ],
)
def test_what_is_no_expression(project, text, said):
    """One error that says where and what."""
    with pytest.raises(UsageError) as caught:
        project.index.run_table(where=text)

    assert said in caught.value.message
    assert caught.value.hint
    assert len(caught.value.message) < 1000


def test_texts_that_are_no_unicode(project):
    """Bytes of an argument that are not UTF-8 are in no record: nothing fits, in whatever place they stand."""
    run_id = project.run(name="a", params={"p": "1"})
    index, odd = project.catch_up(), "a\udcffb"

    for where in (f"name = '{odd}'", f'params."{odd}" = 1', f"params.p = '{odd}'", f"input = '{odd}'"):
        assert [] == index.run_table(where=where)
    assert [] == index.run_rows(name=odd)
    assert {} == index.versions_of(odd)
    assert [run_id] == [entry.row.id for entry in index.run_table(sort=f"params.{odd}")]


@pytest.mark.parametrize("sort", ["", "-", "nonsense", "params.", "input", "status; DROP TABLE runs"])
def test_what_cannot_be_sorted_by(project, sort):
    """Is told, and no part of a statement."""
    with pytest.raises(ExpressionError):
        project.index.run_table(sort=sort)


def test_texts_of_ten_megabytes(project):
    """As a name, a value, a path's neighbour and a message: kept, found and told apart."""
    large = [letter * 10_000_000 for letter in "ab"]
    first = project.run(params={large[0]: json.dumps(large[0])}, name=large[0], argv=("x", large[1]))
    second = project.run(
        params={large[0]: json.dumps(large[1])}, name=large[1], started="2024-01-01" + "9" * 5000
    )

    index = project.catch_up()

    assert [first] == [row.id for row in index.run_rows(name=large[0])]
    assert [second] == [row.id for row in index.run_rows(name=large[1])]
    assert {first, second} == {entry.row.id for entry in index.run_table()}
    assert large[0] in next(entry for entry in index.run_table(name=large[0])).params
