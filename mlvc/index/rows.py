"""Which rows an object is: pure, so that an index built bit by bit and a rebuilt one cannot differ."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from mlvc.index import schema
from mlvc.model.objects import Commit, Environment, Run, StoredObject, Verdict

if TYPE_CHECKING:
    from sqlalchemy import Table

    from mlvc.model.ids import ObjectId
    from mlvc.model.lock import TrackedPath

__all__ = ["Row", "rows_of"]

Row = dict[str, str | int | float | None]
Rows = Iterable[tuple["Table", Row]]


def rows_of(object_id: ObjectId, value: StoredObject) -> Rows:
    """Yields the rows of one object, each with its table and without the project."""
    match value:
        case Commit():
            return _commit_rows(str(object_id), value)
        case Run():
            return _run_rows(str(object_id), value)
        case Environment():
            return _environment_rows(str(object_id), value)
        case Verdict():
            return _verdict_rows(str(object_id), value)
        case _:
            raise AssertionError(f"a {type(value).__name__} has no rows")


def _commit_rows(commit_id: str, commit: Commit) -> Rows:
    yield (
        schema.commits,
        {
            "id": commit_id,
            "code_sha": commit.code_sha,
            "code_tree": _text(commit.code_tree),
            "environment": _text(commit.environment),
            "author": commit.author,
            "time": commit.time,
            "message": commit.message,
        },
    )
    for position, parent in enumerate(commit.parents):
        yield schema.commit_parents, {"commit_id": commit_id, "position": position, "parent": str(parent)}
    for entry in commit.paths:
        yield schema.commit_paths, {"commit_id": commit_id, **_data(entry), "run": _text(entry.run)}


def _run_rows(run_id: str, run: Run) -> Rows:
    yield (
        schema.runs,
        {
            "id": run_id,
            "plan": str(run.plan),
            "name": run.name,
            "argv": _json(list(run.argv)),
            "directory": run.directory,
            "status": run.status,
            "exit_code": run.exit_code,
            "started": run.started,
            "duration_ms": run.duration_ms,
            "profile": run.profile,
            "threads": run.threads,
            "seed": run.seed,
            "engine": run.engine,
            "code_sha": run.code.sha,
            "code_tree": str(run.code.tree),
            "dirty": run.code.dirty,
            "environment": _text(run.environment),
            "host": _json(run.host),
            "author": run.author,
        },
    )
    for table, entries in ((schema.run_inputs, run.inputs), (schema.run_outputs, run.outputs)):
        for entry in entries:
            yield table, {"run_id": run_id, **_data(entry)}
    for table, values in ((schema.params, run.params), (schema.metrics, run.metrics)):
        for name, value in values.items():
            yield table, {"run_id": run_id, "name": name, "value": value, "number": _number(value)}


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
                "name": canonicalize_name(distribution.name),
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
    for output in verdict.outputs:
        yield (
            schema.verdict_outputs,
            {
                "verdict_id": verdict_id,
                "path": output.path,
                "verdict": output.verdict,
                "recorded": output.recorded,
                "reproduced": output.reproduced,
                "detail": output.detail,
            },
        )


def _data(entry: TrackedPath) -> Row:
    return {
        "path": entry.name,
        "kind": entry.kind.word,
        "data_id": str(entry.id),
        "files": entry.files,
        "size_bytes": entry.size_bytes,
    }


def _text(object_id: ObjectId | None) -> str | None:
    return None if object_id is None else str(object_id)


def _json(value: Mapping[str, str] | list[str]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _number(text: str) -> float | None:
    """Returns the number that a JSON text is; None for any other value and for what no float can hold."""
    try:
        value = json.loads(text)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        number = float(value)
    except (ValueError, OverflowError, RecursionError):
        return None
    return number if math.isfinite(number) else None
