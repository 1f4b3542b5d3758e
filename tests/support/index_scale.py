"""A large made-up project, written into an index in bulk; what people ask of it; and by what the database answers.

Everything follows from the numbers of the runs and commits, so that it is the same everywhere.
"""

import contextlib
import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, event, text

from mlvc.index import schema
from mlvc.index.database import MetadataIndex
from mlvc.index.intake import Taken, number_names, take_in
from mlvc.index.postgres import PostgresDatabase
from mlvc.index.rows import rows_of
from mlvc.index.sqlite import SqliteFile
from mlvc.model.ids import BlobId, CommitId, ObjectId, PackId, PlanId, RunId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import (
    Code,
    Commit,
    Distribution,
    Environment,
    Interpreter,
    Run,
    StoredObject,
    Verdict,
)
from mlvc.model.tree import Kind, TreeEntry
from tests.support.reporter import RecordingReporter

__all__ = [
    "PROJECT",
    "AnyDatabase",
    "MadeUp",
    "Question",
    "fill",
    "questions",
    "statements",
    "take_in_commit",
    "walked",
]

PROJECT = "scale"
_CHAIN = 10
"""Runs that read one after another what the one before made; the first reads the tracked directory."""
_CHANGED = 10
"""Files that a commit changes."""
_BATCH = 1_000
_CPYTHON = Interpreter("/v/bin/python", "/usr/bin/python3", "3.11.7", "cpython", "3.11.7", "/v", "/usr")

AnyDatabase = SqliteFile | PostgresDatabase


def _blob(name: str) -> BlobId:
    return BlobId.of(name.encode())


def _file(path: str, content: str, run: RunId | None = None) -> TrackedPath:
    return TrackedPath(path.encode(), Kind.FILE, _blob(content), 1, 1, run)


@dataclass
class MadeUp:
    """The project: a line of commits of one directory and a hundred files, and chains of runs over it.

    Attributes:
        runs: How many.
        values: Parameters of a run, and as many metrics.
        commits: How many.
        files: Files below the directory.
    """

    runs: int
    values: int
    commits: int
    files: int

    def __post_init__(self) -> None:
        self._directories = max(self.files // _BATCH, 2)
        self._trees: dict[TreeId, Sequence[TreeEntry]] = {}
        self._roots: list[TreeId] = []
        self.environments = [self._environment(f"1.{minor}") for minor in range(20)]
        self.rare = self._environment("0.9")
        below: list[list[TreeEntry]] = [
            [_entry(number, "first") for number in range(directory, self.files, self._directories)]
            for directory in range(self._directories)
        ]
        for commit in range(self.commits):
            self._change(commit, below)

    def _environment(self, pandas: str) -> Environment:
        packages = (Distribution("pandas", pandas), Distribution("numpy", "2.0"))
        return Environment(_CPYTHON, {}, pandas, packages)

    def _change(self, commit: int, below: list[list[TreeEntry]]) -> None:
        """Makes the directory as it is at a commit; the first ten files change often, others once."""
        changed = {commit % _CHANGED} | {
            (commit * _CHANGED + each) * 7_919 % self.files for each in range(1, _CHANGED)
        }
        for number in changed:
            below[number % self._directories][number // self._directories] = _entry(number, commit)
        touched = {number % self._directories for number in changed} if commit else range(self._directories)
        entries = {entry.name: entry for entry in self._trees[self._roots[-1]]} if commit else {}
        for directory in touched:
            name = f"{directory:05}".encode()
            tree = TreeId.of(b"%s of %d" % (name, commit))
            self._trees[tree] = tuple(below[directory])
            entries[name] = TreeEntry(name, Kind.DIRECTORY, tree, 1)
        root = TreeId.of(b"root of %d" % commit)
        self._trees[root] = tuple(entries.values())
        self._roots.append(root)

    def has_tree(self, tree: TreeId) -> bool:
        return tree in self._trees

    def read_tree(self, tree: TreeId) -> Sequence[TreeEntry]:
        return self._trees[tree]

    def has_object(self, _object_id: ObjectId) -> bool:
        return False

    def read_object(self, object_id: ObjectId) -> StoredObject:
        raise AssertionError(f"{object_id} is only in the index")

    def iter_new_objects(self, _known: Container[PackId]) -> Iterator[tuple[PackId, list[ObjectId]]]:
        return iter(())

    def directory(self, commit: int) -> TrackedPath:
        return TrackedPath(b"data", Kind.DIRECTORY, self._roots[commit], self.files, self.files)

    def short_lived(self, commit: int) -> BlobId:
        """Returns a file that was there from a commit on and for nine more."""
        return _blob(f"file {commit % _CHANGED} of {commit}")

    def model(self, run: int) -> BlobId:
        return _blob(f"model {run}")

    def run(self, number: int, values: int = 0) -> Run:
        begins = number % _CHAIN == 0
        is_rare = number // _CHAIN == self.runs // _CHAIN // 2
        environment = self.rare if is_rare else self.environments[number // _CHAIN % len(self.environments)]
        source = self.directory(number * self.commits // max(self.runs, number + 1))
        return Run(
            plan=PlanId.of(str(number % 5_000).encode()),
            argv=("python", "train.py", str(number)),
            directory="",
            project="/project",
            code=Code(f"{number % 1_000:040x}", dirty=False, tree=TreeId.of(b"code")),
            inputs=(source if begins else _file("model", f"model {number - 1}"),),
            outputs=(_file("model", f"model {number}"),),
            environment=environment.id,
            params={f"p{index}": str(_param(number, index)) for index in range(values)},
            metrics={f"m{index}": repr(_metric(number, index)) for index in range(values)},
            name=f"run {number % 100}",
            started=f"2026-01-{1 + number // 86_400:02}T{number // 3600 % 24:02}:{number // 60 % 60:02}"
            f":{number % 60:02}.000000+00:00",
        )

    def commit(self, number: int) -> Commit:
        run = number * self.runs // self.commits
        single = [_file(f"single/{each:02}", f"single {each} {(number + each) // 100}") for each in range(98)]
        # Not its real parent: each id would take the one before it to be encoded.
        parents = (commit_id(number - 1),) if number else ()
        paths = (self.directory(number), _file("model", f"model {run}"), *single)
        return Commit(f"{number:040x}", None, paths, parents=parents, time="2026-01-01T00:00:00+00:00")


def _entry(number: int, version: int | str) -> TreeEntry:
    return TreeEntry(b"%07d" % number, Kind.FILE, _blob(f"file {number} of {version}"), 1)


def commit_id(number: int) -> CommitId:
    return CommitId.of(b"commit %d" % number)


def _param(run: int, index: int) -> int:
    return run * (index + 1) % 97


def _metric(run: int, index: int) -> float:
    return (run * 7_919 + index * 104_729) % 100_003 / 1_000


def fill(database: AnyDatabase, made: MadeUp) -> None:
    """Writes all runs, environments and verdicts; commits are the caller's."""
    _take_in(database, [*made.environments, made.rare])
    for start in range(0, made.runs, _BATCH):
        runs = [made.run(number) for number in range(start, min(start + _BATCH, made.runs))]
        _take_in(
            database, [*runs, *(Verdict(run.id, "identical", started=run.started) for run in runs[::20])]
        )
        if (start // _BATCH + 1).bit_count() == 1:  # As a catch-up does, more seldom the more there is.
            database.update_statistics()
    with database.writing() as connection:
        for table, letter, value in ((schema.params, "p", _param), (schema.metrics, "m", _metric)):
            names = number_names(connection, PROJECT, [f"{letter}{index}" for index in range(made.values)])
            numbers = [names[f"{letter}{index}"] for index in range(made.values)]
            for index in table.indexes:
                index.drop(connection)
            _write(connection, table, _values(made.runs, numbers, value))
            for index in table.indexes:
                index.create(connection)


def _take_in(database: AnyDatabase, objects: Sequence[Environment | Run | Verdict]) -> None:
    with database.writing() as connection:
        take_in(connection, PROJECT, [Taken(item.id, tuple(rows_of(item.id, item))) for item in objects])


def _values(runs: int, names: Sequence[int], value: Callable[[int, int], float]) -> Iterator[tuple[Any, ...]]:
    for run in range(runs):
        for index, name in sorted(enumerate(names), key=lambda each: each[1]):
            number = value(run, index)
            yield run + 1, name, repr(number), float(number), None


def _write(connection: Connection, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    raw: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        raw.executemany(f"INSERT INTO {table.name} VALUES (?, ?, ?, ?, ?)", rows)
        return
    with raw.cursor() as cursor, cursor.copy(f"COPY {table.name} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def take_in_commit(database: AnyDatabase, made: MadeUp, number: int) -> None:
    """Takes in a commit as a catch-up does once it has read it and the one before it."""
    rows = rows_of(commit_id(number), made.commit(number), made.commit(number - 1) if number else None)
    with database.writing() as connection:
        take_in(connection, PROJECT, [Taken(commit_id(number), tuple(rows))])


@dataclass(frozen=True)
class Question:
    """What somebody asks.

    Attributes:
        asked: In words.
        ask: How; returns what to count as the length of the answer.
        walks: Tables that it goes through: until enough was found, or because all of it is the answer.
    """

    asked: str
    ask: Callable[[MetadataIndex], int]
    walks: frozenset[str] = frozenset()


def questions(made: MadeUp) -> list[Question]:
    """Returns what people ask, with answers of up to some thousand lines, whatever the scale."""
    middle, quiet = made.runs // 2, RecordingReporter()
    early = [number for number in range(min(made.runs, 1_000)) if number // _CHAIN % 20 < 10]
    best = min(early, key=lambda number: _metric(number, 1))
    rare = (
        f"metrics.m1 < {_metric(best, 1) + 0.5:.3f} and params.p2 = {_param(best, 2)} and env.pandas < '1.10'"
    )
    runs, commits = frozenset({"runs"}), frozenset({"commits", "commit_parents"})

    def table(**options: Any) -> Callable[[MetadataIndex], int]:
        return lambda index: len(index.run_table(**options))

    def lineage(index: MetadataIndex, *data: BlobId | TreeId) -> int:
        found = index.lineage(data)
        made_by = {str(each) for each in data} | {str(edge.data) for edge in found.edges if edge.made}
        return len(found.edges) + len(index.paths_with_ids(made_by))

    def impact_of_package(index: MetadataIndex) -> int:
        environments = {row.environment for row in index.environments_with("pandas", "<1.0")}
        started = index.runs_in_environments(environments)
        return len(index.impact(quiet, runs=[row.id for row in started]).runs)

    def log(index: MetadataIndex) -> int:
        shas = [f"{number:040x}" for number in range(made.commits)]
        return sum(len(index.commits_for_shas(shas[at : at + 100])) for at in range(0, len(shas), 100))

    return [
        Question(f"runs --where {rare}", table(where=rare)),
        Question("runs --where code.sha = '…'", table(where=f"code.sha = '{7:040x}'")),
        Question("runs --where input = 'b3:…'", table(where=f"input = '{made.directory(0).id}'")),
        Question(
            "runs --where params.p1 = 3 --sort metrics.m1 -n 20",
            table(where="params.p1 = 3", sort="metrics.m1", limit=20),
        ),
        Question("runs --name … -n 20", table(name="run 7", limit=20), runs),
        Question("runs -n 20", table(limit=20), runs),
        Question("lineage of a model", lambda index: lineage(index, made.model(middle))),
        Question("lineage of a dataset", lambda index: lineage(index, made.directory(made.commits // 2).id)),
        Question(
            "impact of a file that was in ten versions of a dataset",
            lambda index: len(index.impact(quiet, data=[made.short_lived(made.commits // 2)]).runs),
        ),
        Question("impact of a package", impact_of_package),
        Question(
            "which data begins with some digits",
            lambda index: len(index.find_data(quiet, made.model(1).hex[:12])),
        ),
        Question("log, all commits", log),
        Question("blame of a path", lambda index: len(index.changes(["model"])), commits),
        Question("blame, all paths", lambda index: len(index.changes()), commits | {"commit_changes"}),
    ]


@contextlib.contextmanager
def statements(database: AnyDatabase) -> Iterator[list[tuple[str, Any]]]:
    """Collects every question that the database is asked, with its values."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        if statement.startswith(("SELECT", "WITH")):
            seen.append((statement, values))

    event.listen(database._engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database._engine, "before_cursor_execute", note)


_FEW = {"environments", "distributions", "names", "packs", "unread_trees", schema.VERSION_TABLE}
"""Tables that stay small, or are emptied by who reads them."""
_ONLY_PROJECT = re.compile(r"\(?\(?project = '?[^()]*'?(::text)?\)?\)?")


def walked(
    database: AnyDatabase, asked: Sequence[tuple[str, Any]], *, avoid_scans: bool = False
) -> dict[str, set[str]]:
    """Returns the large tables that an answer walks through, and in which way: `whole`, or all of a `project`.

    Args:
        database: Where the statements were asked.
        asked: The statements.
        avoid_scans: Makes a server use an index wherever it can, as it would if the tables were large.
    """
    found: dict[str, set[str]] = {"whole": set(), "project": set()}
    with database.reading() as connection:
        if avoid_scans and isinstance(database, PostgresDatabase):
            for way in ("seqscan", "hashjoin", "mergejoin"):
                connection.execute(text(f"SET LOCAL enable_{way} = off"))
        for statement, values in {repr(each): each for each in asked}.values():
            if isinstance(database, SqliteFile):
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
                reads = _sqlite_reads([row[3] for row in rows])
            else:
                plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values).scalar_one()
                reads = _postgres_reads(plan[0]["Plan"])
            for how, table in reads:
                if table not in _FEW:
                    found[how].add(table)
    return found


def _sqlite_reads(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        match = re.match(r"(SCAN|SEARCH) (\w+)(?:.*\((.*)\))?", line)
        if match is None or match[2].startswith(("held", "anon", "CONSTANT")):
            continue
        if match[1] == "SCAN":
            yield "whole", match[2]
        elif match[3] == "project=?":
            yield "project", match[2]


def _postgres_reads(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    kind, table, condition = node["Node Type"], node.get("Relation Name", ""), node.get("Index Cond")
    if kind == "Seq Scan":
        yield "whole", table
    elif kind in {"Index Scan", "Index Only Scan", "Bitmap Index Scan"}:
        table = table or next(
            item.name
            for item in schema.METADATA.sorted_tables
            if node["Index Name"] in {item.primary_key.name, *(index.name for index in item.indexes)}
        )
        if condition is None:
            yield "whole", table
        elif _ONLY_PROJECT.fullmatch(condition):
            yield "project", table
    for below in node.get("Plans", ()):
        yield from _postgres_reads(below)
