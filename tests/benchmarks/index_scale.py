"""How fast the index answers over many runs and commits, on both engines, and by which database indexes.

python -m tests.benchmarks.index_scale [--full] [--runs N] [--values N] [--commits N] [--files N] [--directory DIR]

Not part of the test run. Every question is asked inside this process, so that the figures are the index's own. The
plan of every statement is asked for by EXPLAIN; a large table that is read from end to end is printed as such.
A server's own processor time is read from /proc, and so on Linux alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mlvc.index.database import MetadataIndex
from mlvc.index.intake import Taken, take_in
from mlvc.index.postgres import PostgresDatabase
from mlvc.index.rows import rows_of
from mlvc.index.sqlite import SqliteFile
from tests.support.index_scale import (
    PROJECT,
    AnyDatabase,
    MadeUp,
    fill,
    questions,
    statements,
    take_in_commit,
    walked,
)
from tests.support.postgres import serve_postgres
from tests.support.reporter import RecordingReporter

_TURNS = 5
_FULL = {"runs": 100_000, "values": 50, "commits": 1_000, "files": 100_000}
_LATER_RUNS = 500


def took_ms(ask: Callable[[], object]) -> tuple[float, float]:
    """Returns the wall time and the processor time of this process."""
    wall, processor = time.perf_counter(), time.process_time()
    ask()
    return (time.perf_counter() - wall) * 1000, (time.process_time() - processor) * 1000


def spent_ms(server: int | None) -> float:
    """Returns the processor time of a server's processes that have ended: each question had one or two of its own."""
    if server is None:
        return 0.0
    time.sleep(0.3)  # Until the server took note of the end of the last.
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * 1000 / os.sysconf("SC_CLK_TCK")


def size_of(database: AnyDatabase) -> int:
    question = (
        "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        if isinstance(database, SqliteFile)
        else "SELECT pg_database_size(current_database())"
    )
    with database.reading() as connection:
        return int(connection.exec_driver_sql(question).scalar() or 0)


def measure(name: str, database: AnyDatabase, made: MadeUp, server: int | None = None) -> None:
    index = MetadataIndex(database, made, PROJECT)
    filling_ms, _ = took_ms(lambda: fill(database, made))
    costs = [took_ms(partial(take_in_commit, database, made, number))[1] for number in range(made.commits)]
    trees_ms, _ = took_ms(lambda: index.find_data(RecordingReporter(), "00"))
    later = [made.run(made.runs + number, made.values) for number in range(_LATER_RUNS)]

    def take_in_runs() -> None:
        with database.writing() as connection:
            take_in(connection, PROJECT, [Taken(run.id, tuple(rows_of(run.id, run))) for run in later])

    _, later_ms = took_ms(take_in_runs)
    database.update_statistics()
    print(f"\n{name}: {size_of(database) / 1e6:,.0f} MB; filled in {filling_ms / 1000:,.0f} s\n")
    print("| taken in | ms, processor |\n|---|---|")
    print(f"| a run, after all others | {later_ms / _LATER_RUNS:.2f} |")
    for words, few in (("first", costs[:1]), ("next ten", costs[1:11]), ("last ten", costs[-10:])):
        print(f"| {words} commit{'s' if len(few) > 1 else ''} | {statistics.median(few):.2f} |")
    print(f"| the files below a commit's directory, mean, wall | {trees_ms / made.commits:.2f} |")
    print("\n| question | lines | ms, median | ms, processor | ms, server's | walks through |")
    print("|---|---|---|---|---|---|")
    for question in questions(made):
        with statements(database) as seen:
            lines = question.ask(index)
        before = spent_ms(server)
        taken = [took_ms(partial(question.ask, index)) for _ in range(_TURNS)]
        there = (spent_ms(server) - before) / _TURNS
        wall, processor = (statistics.median(each) for each in zip(*taken, strict=True))
        ways = walked(database, seen)
        whole = ", ".join(
            [*sorted(ways["whole"]), *(f"{table} by project" for table in sorted(ways["project"]))]
        )
        print(
            f"| `{question.asked}` | {lines:,} | {wall:,.0f} | {processor:,.0f} | {there:,.0f} | {whole or '-'} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="ten times as many runs, commits and files")
    for name in _FULL:
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--engine", choices=["sqlite", "postgresql", "both"], default="both")
    options = parser.parse_args()
    scale = {
        name: getattr(options, name) or (most if options.full or name == "values" else most // 10)
        for name, most in _FULL.items()
    }
    made = MadeUp(**scale)
    print(", ".join(f"{number:,} {name}" for name, number in scale.items()), flush=True)
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        if options.engine != "postgresql":
            measure("SQLite", SqliteFile(Path(folder) / "index.db"), made)
        if options.engine != "sqlite":
            with serve_postgres() as server:
                pid = None if server.process is None else server.process.pid
                measure("PostgreSQL", PostgresDatabase(server.url("bench")), made, pid)


if __name__ == "__main__":
    main()
