"""What an environment computes on this host, asked once and cached: its fingerprint, and what NumPy chooses from."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

from mlvc import fsio
from mlvc.engines.errors import EngineError
from mlvc.engines.host import HostEngine
from mlvc.model.canonical import Json, encode_canonical
from mlvc.model.ids import BlobId
from mlvc.model.names import decode_name
from mlvc.model.objects import Environment, Run
from mlvc.ports import Engine, Execution
from mlvc.repo import Repo
from mlvc.repro.host import host_facts
from mlvc.repro.runtime_files import lay_runtime

__all__ = ["fingerprint", "numpy_dispatch"]

_TIMEOUT_S = 60.0
_MOST_BYTES = 1 << 20


def fingerprint(
    repo: Repo, environment: Environment, run: Run, engine: Engine, place: Execution | None = None
) -> dict[str, str]:
    """Returns digests of small numeric operations by name; empty where the interpreter cannot compute them.

    Costs one start of the interpreter (and NumPy and torch, if they are there) for each environment, set of variables,
    host, engine and base; after that, one small file.

    Args:
        repo: Keeps the answers.
        environment: The environment of the run.
        run: Its variables and its base count.
        engine: Where to ask.
        place: What was executed there, in whose place the question is asked; None for this machine as it is.
    """
    key: Mapping[str, Json] = {
        "base": None if run.base is None else run.base.image_id,
        "engine": run.engine,
        "host": dict(host_facts()),
        "pins": dict(run.pins),
        "variables": dict(run.variables),
    }
    if place is None:
        directory = lay_runtime(repo.common_dir / "runtime")
        execution = _question(repo, environment, directory, {**run.variables, **run.pins})
    else:
        kept = {name: value for name, value in place.variables.items() if not name.startswith("MLVC_")}
        python = f"{place.variables.get('VIRTUAL_ENV', '')}/bin/python"
        runtime = place.variables["PYTHONPATH"].partition(os.pathsep)[0]
        argv = (os.fsencode(python), os.fsencode(f"{runtime}/_mlvc/fingerprint.py"))
        execution = dataclasses.replace(place, argv=argv, variables=kept, timeout_s=_TIMEOUT_S)
    answer = _ask(repo, environment, "fingerprint", key, engine, execution)
    return {str(name): str(value) for name, value in answer.items()} if isinstance(answer, dict) else {}


def numpy_dispatch(repo: Repo, environment: Environment) -> tuple[str, ...]:
    """Returns the instruction sets that an environment's NumPy chooses from; none where it has no NumPy.

    Costs one start of the interpreter and NumPy for each environment; after that, one small file.
    """
    execution = _question(repo, environment, lay_runtime(repo.common_dir / "runtime"), {})
    answer = _ask(repo, environment, "dispatch", {}, HostEngine(), execution)
    return tuple(str(name) for name in answer) if isinstance(answer, list) else ()


def _question(repo: Repo, environment: Environment, runtime: Path, variables: Mapping[str, str]) -> Execution:
    return Execution(
        argv=(
            decode_name(environment.interpreter.executable),
            os.fsencode(runtime / "_mlvc" / "fingerprint.py"),
        ),
        directory=str(runtime),
        variables={"PATH": repo.environment.get("PATH", os.defpath), **variables},
        timeout_s=_TIMEOUT_S,
    )


def _ask(
    repo: Repo,
    environment: Environment,
    question: str,
    key: Mapping[str, Json],
    engine: Engine,
    execution: Execution,
) -> object:
    """Returns the answer of `runtime/fingerprint.py`, from the cache where it was given before; None for no answer."""
    runtime = lay_runtime(repo.common_dir / "runtime")
    digest = BlobId.of(encode_canonical({"environment": str(environment.id), "runtime": runtime.name, **key}))
    path = repo.common_dir / "cache" / f"{question}-{digest.short}.json"
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        pass
    printed = bytearray()

    def collect(data: bytes, *, is_error: bool) -> None:
        if not is_error and len(printed) < _MOST_BYTES:
            printed.extend(data)

    asking = dataclasses.replace(execution, argv=(*execution.argv, question.encode()))
    try:
        result = engine.run(asking, collect)
    except EngineError:
        # The command itself has run by now, and has to be recorded.
        return None
    try:
        answer: object = json.loads(printed)
    except (ValueError, RecursionError):
        return None
    if result.exit_code != 0:
        return None
    path.parent.mkdir(exist_ok=True)
    fsio.atomic_write(path, json.dumps(answer).encode())
    return answer
