"""Which rows an object is: pure, so that an index built bit by bit and a rebuilt one cannot differ.

A `Name` stands for the number that the database has for a text; see `mlvc.index.intake`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from mlvc.index import schema
from mlvc.model.objects import Commit, Environment, Run, StoredObject, Verdict

if TYPE_CHECKING:
    from sqlalchemy import Table

    from mlvc.model.ids import ObjectId
    from mlvc.model.lock import TrackedPath

__all__ = ["Name", "Row", "Rows", "key_text", "plain", "rows_of"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_KEY = 200
"""Characters, at most 800 bytes; PostgreSQL takes 2,704 into an index."""


@dataclass(frozen=True, slots=True)
class Name:
    """A text that the database keeps once."""

    text: str


Row = dict[str, str | int | float | Name | None]
Rows = Iterator[tuple["Table", Row]]


def plain(text: str) -> str:
    """Returns a text as the index keeps it: PostgreSQL has no NUL, so its picture stands for it.

    A text that a person typed may hold bytes that are not UTF-8, which no record does and no database takes.
    """
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\0", "\N{SYMBOL FOR NULL}"))


def key_text(text: str) -> str:
    """Returns what stands for a text in an index: the text, or its beginning and its SHA-256 where it is long."""
    text = plain(text)
    if len(text) < _LONGEST_KEY:  # So long are those of long texts, with which none may be confused.
        return text
    return f"{text[: _LONGEST_KEY - 65]}…{hashlib.sha256(text.encode()).hexdigest()}"


def rows_of(object_id: ObjectId, value: StoredObject, base: Commit | None = None) -> Rows:
    """Yields the rows of one object, the one that it is itself first.

    Neither the project is in them nor the numbers of the object itself.

    Args:
        object_id: Its id.
        value: The object.
        base: For a commit, the one that its changes are told against; None tells all that it tracks.
    """
    match value:
        case Commit():
            return _commit_rows(str(object_id), value, base)
        case Run():
            return _run_rows(str(object_id), value)
        case Environment():
            return _environment_rows(str(object_id), value)
        case Verdict():
            return _verdict_rows(str(object_id), value)
        case _:
            raise AssertionError(f"a {type(value).__name__} has no rows")


def _commit_rows(commit_id: str, commit: Commit, base: Commit | None) -> Rows:
    yield (
        schema.commits,
        {
            "id": commit_id,
            "code_sha": key_text(commit.code_sha),
            "code_tree": _text(commit.code_tree),
            "environment": _text(commit.environment),
            "base": None if base is None else str(commit.parents[0]),
            "author": commit.author,
            "time": commit.time,
            "message": commit.message,
        },
    )
    for position, parent in enumerate(commit.parents):
        yield schema.commit_parents, {"position": position, "parent": str(parent)}
    before = {} if base is None else {entry.path: entry for entry in base.paths}
    for entry in commit.paths:
        if before.pop(entry.path, None) != entry:
            yield schema.commit_changes, {**_data(entry), "run": _text(entry.run)}
    for gone in before.values():
        yield (
            schema.commit_changes,
            {**dict.fromkeys(_data(gone)), "path_number": Name(gone.name), "run": None},
        )


def _run_rows(run_id: str, run: Run) -> Rows:
    yield (
        schema.runs,
        {
            "id": run_id,
            "plan": str(run.plan),
            "name_number": None if run.name is None else Name(run.name),
            "argv": _json(list(run.argv)),
            "directory": run.directory,
            "status": run.status,
            "exit_code": run.exit_code,
            "started": key_text(run.started),
            "duration_ms": run.duration_ms,
            "profile": run.profile,
            "threads": run.threads,
            "seed": run.seed,
            "engine": run.engine,
            "code_sha": None if run.code.sha is None else key_text(run.code.sha),
            "code_tree": str(run.code.tree),
            "dirty": run.code.dirty,
            "environment": _text(run.environment),
            "host": _json(run.host),
            "author": run.author,
        },
    )
    for table, entries in ((schema.run_inputs, run.inputs), (schema.run_outputs, run.outputs)):
        # A path that a hostile record names twice has one row, the last.
        for entry in {entry.path: entry for entry in entries}.values():
            yield table, _data(entry)
    for table, values in ((schema.params, run.params), (schema.metrics, run.metrics)):
        for name, value in values.items():
            yield table, {"name_number": Name(name), "value": value, **_read(value)}


def _environment_rows(environment_id: str, environment: Environment) -> Rows:
    yield (
        schema.environments,
        {
            "id": environment_id,
            "python": environment.interpreter.version,
            "implementation": environment.interpreter.implementation,
            "platform": _json(environment.platform),
        },
    )
    for position, distribution in enumerate(environment.distributions):
        yield (
            schema.distributions,
            {
                "environment": environment_id,
                # The same name may be installed twice, in two directories of the path.
                "position": position,
                "name_number": Name(canonicalize_name(distribution.name)),
                "version": distribution.version,
                "wheel": _text(distribution.wheel),
            },
        )


def _verdict_rows(verdict_id: str, verdict: Verdict) -> Rows:
    yield (
        schema.verdicts,
        {
            "id": verdict_id,
            "run_id": str(verdict.run),
            "verdict": verdict.verdict,
            "engine": verdict.engine,
            "isolated": verdict.isolated,
            "exit_code": verdict.exit_code,
            "started": verdict.started,
            "duration_ms": verdict.duration_ms,
            "host": _json(verdict.host),
        },
    )
    for position, output in enumerate(verdict.outputs):
        yield (
            schema.verdict_outputs,
            {
                "verdict_id": verdict_id,
                "position": position,
                "path": output.path,
                "verdict": output.verdict,
                "recorded": output.recorded,
                "reproduced": output.reproduced,
                "detail": output.detail,
            },
        )


def _data(entry: TrackedPath) -> Row:
    return {
        "path_number": Name(entry.name),
        "kind": entry.kind.word,
        "data_id": str(entry.id),
        "files": entry.files,
        "size_bytes": entry.size_bytes,
    }


def _text(object_id: ObjectId | None) -> str | None:
    return None if object_id is None else str(object_id)


def _json(value: Mapping[str, str] | Iterable[str]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _read(text: str) -> Row:
    """Returns what a JSON text says as `number` or `text`; neither for other values and what no float can hold."""
    read: Row = {"number": None, "text": None}
    try:
        value = json.loads(text)
        if isinstance(value, str):
            # Half of a surrogate pair has no UTF-8.
            read["text"] = plain(value.encode("utf-8", "replace").decode())
        elif isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value)
            read["number"] = number if math.isfinite(number) else None
    except (ValueError, OverflowError, RecursionError):
        pass
    return read
