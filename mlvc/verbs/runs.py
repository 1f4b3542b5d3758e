"""`mlvc runs`: the table of runs."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlvc.errors import UsageError
from mlvc.model.objects import Run
from mlvc.repo import Repo
from mlvc.verbs.absent import note_absent_records

if TYPE_CHECKING:
    from mlvc.index.answers import RunEntry

__all__ = ["Cell", "RunsQuery", "RunsResult", "Table", "list_runs", "table_of", "whole_record"]

Cell = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class RunsQuery:
    """Which runs, and in which order.

    Attributes:
        where: An expression that must hold; see docs/reference/expressions.md.
        name: Only runs that the user called so.
        status: Only `finished`, `failed` or `interrupted` ones.
        sort: A field to sort by; with `-` before it, the largest comes first. Otherwise the newest comes first.
        limit: At most so many.
    """

    where: str | None = None
    name: str | None = None
    status: str | None = None
    sort: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class RunsResult:
    """The runs, in the order asked for."""

    runs: tuple[RunEntry, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Runs as rows of plain values.

    Attributes:
        columns: The headings.
        rows: One for each run, as long as the headings; None where the run has no such thing.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def list_runs(repo: Repo, query: RunsQuery | None = None) -> RunsResult:
    """Returns recorded runs; of a team's index also those of colleagues, whose records may not be here.

    Raises:
        ExpressionError: What the query says cannot be read.
    """
    query = query or RunsQuery()
    repo.index.catch_up(repo.reporter)
    note_absent_records(repo)
    found = repo.index.run_table(
        where=query.where, name=query.name, status=query.status, sort=query.sort, limit=query.limit
    )
    return RunsResult(tuple(found))


def whole_record(repo: Repo, entry: RunEntry) -> Run | None:
    """Returns the record of a run; None where it is a colleague's that was not fetched."""
    if not repo.store.has_object(entry.row.id):
        return None
    run = repo.store.read_object(entry.row.id)
    return run if isinstance(run, Run) else None


_PLAIN: Mapping[str, Callable[[RunEntry], Cell]] = {
    "id": lambda entry: str(entry.row.id),
    "plan": lambda entry: str(entry.row.plan),
    "name": lambda entry: entry.row.name,
    "status": lambda entry: entry.row.status,
    "exit_code": lambda entry: entry.row.exit_code,
    "verdict": lambda entry: entry.verdict,
    "started": lambda entry: entry.row.started,
    "duration_ms": lambda entry: entry.row.duration_ms,
    "profile": lambda entry: entry.row.profile,
    "threads": lambda entry: entry.row.threads,
    "seed": lambda entry: entry.row.seed,
    "engine": lambda entry: entry.row.engine,
    "directory": lambda entry: entry.row.directory,
    "author": lambda entry: entry.row.author,
    "environment": lambda entry: None if entry.row.environment is None else str(entry.row.environment),
    "code.sha": lambda entry: entry.row.code_sha,
    "code.tree": lambda entry: str(entry.row.code_tree),
    "code.dirty": lambda entry: entry.row.dirty,
    "command": lambda entry: shlex.join(entry.row.argv),
}
_ALWAYS = (
    "id",
    "name",
    "status",
    "exit_code",
    "verdict",
    "started",
    "duration_ms",
    "code.sha",
    "environment",
)


def table_of(repo: Repo, result: RunsResult, columns: Sequence[str] = ()) -> Table:
    """Returns runs as a table.

    Args:
        repo: The repository.
        result: The runs.
        columns: Fields of `mlvc runs --where`, and `command`; none: the usual ones, and every parameter and metric.

    Raises:
        ExpressionError: There is no such field.
        UsageError: A field has several values.
    """
    if not columns:
        named = [
            *(f"params.{name}" for name in sorted({name for entry in result.runs for name in entry.params})),
            *(
                f"metrics.{name}"
                for name in sorted({name for entry in result.runs for name in entry.metrics})
            ),
        ]
        readers = [_PLAIN[name] for name in _ALWAYS]
        readers += [_value_reader(*name.split(".", 1)) for name in named]
        return _table((*_ALWAYS, *named, "command"), [*readers, _PLAIN["command"]], result)
    return _table(tuple(columns), [_reader(repo, column) for column in columns], result)


def _table(
    columns: tuple[str, ...], readers: Sequence[Callable[[RunEntry], Cell]], result: RunsResult
) -> Table:
    return Table(columns, tuple(tuple(read(entry) for read in readers) for entry in result.runs))


def _reader(repo: Repo, column: str) -> Callable[[RunEntry], Cell]:
    if column in _PLAIN:
        return _PLAIN[column]
    from mlvc.index.expression import parse_field  # noqa: PLC0415  # loads the parser, which few calls need

    field = parse_field(column)
    if field.kind == "value":
        return _value_reader(field.head, field.name)
    if field.kind == "version":
        versions = repo.index.pythons() if field.head == "python" else repo.index.versions_of(field.name)
        return lambda entry: versions.get(str(entry.row.environment))
    raise UsageError(f"{column} has several values, which no column holds", hint="see `mlvc show RUN`")


def _value_reader(head: str, name: str) -> Callable[[RunEntry], Cell]:
    def read(entry: RunEntry) -> Cell:
        text = (entry.params if head == "params" else entry.metrics).get(name)
        return None if text is None else _cell(text)

    return read


def _cell(text: str) -> Cell:
    """Returns the value that a JSON text is; a list or an object stays as its text, and so what JSON has not."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, float) and not math.isfinite(value):
        return text
    return value if isinstance(value, str | int | float | bool) or value is None else text
