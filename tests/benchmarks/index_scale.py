"""How fast the index answers over many runs and commits, on both engines, and by which database indexes.

python tests/benchmarks/index_scale.py [--runs N] [--values N] [--commits N] [--files N] [--directory DIR]

Not part of the test run. Every question is timed inside this process, so that the figures are the index's own; the
plan of every statement is asked for by EXPLAIN, and a whole table that is read where it is large is printed as such.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, text

from mlvc.index import schema
from mlvc.index.database import MetadataIndex
from mlvc.index.intake import Taken, take_in
from mlvc.index.postgres import PostgresDatabase
from mlvc.index.rows import rows_of
from mlvc.index.sqlite import SqliteFile
from mlvc.model.ids import BlobId, PlanId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Code, Commit, Distribution, Environment, Interpreter, Run
from mlvc.model.tree import Kind
from mlvc.store.local import LocalStore
from tests.support.postgres import serve_postgres

if TYPE_CHECKING:
    from mlvc.index.storage import Database

_TURNS = 5
_SMALL = {"environments", "distributions", "names", "packs", "alembic_version"}
_CPYTHON = Interpreter("/v/bin/python", "/usr/bin/python3", "3.11.7", "cpython", "3.11.7", "/v", "/usr")


def blob(name: str) -> BlobId:
    return BlobId.of(name.encode())


def tracked(path: str, content: str) -> TrackedPath:
    return TrackedPath(path.encode(), Kind.FILE, blob(content), 1, 1)


def environments() -> list[Environment]:
    return [
        Environment(
            _CPYTHON, {}, str(minor), (Distribution("pandas", f"1.{minor}"), Distribution("numpy", "2.0"))
        )
        for minor in range(20)
    ]


def run_of(number: int, values: int, kinds: list[Environment]) -> Run:
    return Run(
        plan=PlanId.of(str(number % 5_000).encode()),
        argv=("python", "train.py", str(number)),
        directory="",
        project="/project",
        code=Code(f"{number % 1_000:040x}", dirty=False, tree=TreeId.of(b"code")),
        # Chains of ten: every tenth reads what was added, the others what the one before made.
        inputs=(tracked("data", f"data {number // 1_000}" if number % 10 == 0 else f"model {number - 1}"),),
        outputs=(tracked("model", f"model {number}"),),
        environment=kinds[number % len(kinds)].id,
        params={f"p{index}": str((number * (index + 1)) % 97) for index in range(values)},
        metrics={f"m{index}": repr((number * 7919 + index) % 100_003 / 1000) for index in range(values)},
        name=f"run {number % 100}",
        started=f"2026-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.{number:06}+00:00",
    )


def commits_of(count: int, files: int) -> Iterator[tuple[Commit, Commit | None]]:
    """Yields a line of commits, each with ten changed paths of `files` tracked ones, and the one before it."""
    paths = {f"data/{number:06}": tracked(f"data/{number:06}", f"first {number}") for number in range(files)}
    before: Commit | None = None
    for number in range(count):
        for change in range(10 if before is not None else 0):
            name = f"data/{(number * 10 + change) * 7919 % files:06}"
            paths[name] = tracked(name, f"{number} {change}")
        commit = Commit(
            f"{number:040x}",
            None,
            tuple(paths.values()),
            # Encoding a commit of 100,000 paths to name it would take most of the time here.
            parents=() if before is None else (type(before.id)(number.to_bytes(32, "big")),),
            time="2026-01-01T00:00:00+00:00",
        )
        yield commit, before
        before = commit


def fill(database: Database, options: argparse.Namespace) -> None:
    kinds = environments()
    with database.writing() as connection:
        take_in(connection, "bench", [Taken(item.id, tuple(rows_of(item.id, item))) for item in kinds])
    for start in range(0, options.runs, 1_000):
        runs = (
            run_of(number, options.values, kinds) for number in range(start, min(start + 1_000, options.runs))
        )
        taken = [Taken(run_id, tuple(rows_of(run_id, run))) for run in runs for run_id in [run.id]]
        with database.writing() as connection:
            take_in(connection, "bench", taken)


def fill_commits(database: Database, options: argparse.Namespace) -> list[float]:
    """Returns how long the rows of each commit took to be written."""
    taken_s = []
    id_type = Commit("", None, ()).id.__class__
    for number, (commit, base) in enumerate(commits_of(options.commits, options.files)):
        own = id_type((number + 1).to_bytes(32, "big"))
        begin = time.perf_counter()
        rows = tuple(rows_of(own, commit, base))
        with database.writing() as connection:
            take_in(connection, "bench", [Taken(own, rows)])
        taken_s.append(time.perf_counter() - begin)
    return taken_s


def questions(options: argparse.Namespace) -> dict[str, Callable[[MetadataIndex], Any]]:
    middle = options.runs // 2
    where = "metrics.m1 < 1.5 and params.p2 = 6 and env.pandas < '1.10'"
    return {
        f'runs --where "{where}"': lambda index: index.run_table(where=where),
        "runs --where … --sort metrics.m1 -n 20": lambda index: index.run_table(
            where="params.p3 in (1, 2, 3)", sort="metrics.m1", limit=20
        ),
        "runs --where \"code.sha = '…'\"": lambda index: index.run_table(
            where=f"code.sha = '{7:040x}'", limit=20
        ),
        "runs -n 20": lambda index: index.run_table(limit=20),
        "lineage of a model": lambda index: index.lineage([blob(f"model {middle}")]),
        "lineage of a dataset": lambda index: index.lineage([blob(f"data {middle // 1_000}")]),
        "where commits track a file": lambda index: index.paths_with_id(blob("first 1")),
        "log: commits of 100 SHAs": lambda index: index.commits_for_shas(
            [f"{number:040x}" for number in range(100)]
        ),
    }


@contextlib.contextmanager
def statements(database: Any) -> Iterator[list[tuple[str, Any]]]:
    """Collects every statement that the database is asked, with its values."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        if statement.startswith(("SELECT", "WITH")):
            seen.append((statement, values))

    event.listen(database._engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database._engine, "before_cursor_execute", note)


def scans(database: Any, asked: list[tuple[str, Any]]) -> set[str]:
    """Returns the large tables that a plan reads from end to end."""
    is_sqlite = isinstance(database, SqliteFile)
    large = {table.name for table in schema.METADATA.sorted_tables} - _SMALL
    found: set[str] = set()
    with database.reading() as connection:
        for statement, values in asked:
            explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
            for row in connection.exec_driver_sql(explain + statement, values):
                line = row[3] if is_sqlite else row[0]
                match = re.search(r"^SCAN (\w+)(?!.*USING)" if is_sqlite else r"Seq Scan on (\w+)", line)
                if match and match[1] in large:
                    found.add(match[1])
    return found


def measure(name: str, database: Any, options: argparse.Namespace, store: LocalStore) -> None:
    begin = time.perf_counter()
    fill(database, options)
    filled = time.perf_counter()
    commit_s = fill_commits(database, options)
    if isinstance(database, PostgresDatabase):
        with database._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
    index = MetadataIndex(database, store, "bench")
    with database.reading() as connection:
        question = (
            "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            if isinstance(database, SqliteFile)
            else "SELECT pg_database_size(current_database())"
        )
        size_bytes = connection.exec_driver_sql(question).scalar() or 0
    print(
        f"\n{name}: {size_bytes / 1e6:,.0f} MB; {options.runs / (filled - begin):,.0f} runs a second taken in;"
    )
    later, last = statistics.median(commit_s[1:]) * 1000, statistics.median(commit_s[-10:]) * 1000
    print(
        f"rows of a commit: first {commit_s[0] * 1000:,.0f} ms, then {later:.1f} ms, last ten {last:.1f} ms\n"
    )
    print("| question | median, ms | reads whole |\n|---|---|---|")
    for asked, ask in questions(options).items():
        with statements(database) as seen:
            ask(index)
        taken = []
        for _ in range(_TURNS):
            begin = time.perf_counter()
            ask(index)
            taken.append(time.perf_counter() - begin)
        whole = ", ".join(sorted(scans(database, seen))) or "-"
        print(f"| `{asked}` | {statistics.median(taken) * 1000:,.0f} | {whole} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("runs", 100_000), ("values", 50), ("commits", 1_000), ("files", 100_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--engine", choices=["sqlite", "postgresql", "both"], default="both")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        folder = Path(name)
        store = LocalStore.create(folder / "store")
        if options.engine != "postgresql":
            measure("SQLite", SqliteFile(folder / "index.db"), options, store)
        if options.engine != "sqlite":
            with serve_postgres() as server:
                measure("PostgreSQL", PostgresDatabase(server.url("bench")), options, store)


if __name__ == "__main__":
    main()
