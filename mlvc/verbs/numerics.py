"""What an environment computes on this host, asked once and cached: its fingerprint, and what NumPy chooses from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from mlvc import fsio
from mlvc.engines.host import HostEngine
from mlvc.model.canonical import Json, encode_canonical
from mlvc.model.ids import BlobId
from mlvc.model.names import decode_name
from mlvc.model.objects import Environment
from mlvc.ports import Execution
from mlvc.repo import Repo
from mlvc.repro.host import host_facts
from mlvc.repro.runtime_files import lay_runtime

__all__ = ["fingerprint", "numpy_dispatch"]

_TIMEOUT_S = 30.0


def fingerprint(repo: Repo, environment: Environment, variables: Mapping[str, str]) -> dict[str, str]:
    """Returns digests of small numeric operations by name; empty where the interpreter cannot compute them.

    Costs one start of the interpreter (and NumPy and torch, if they are there) for each environment, set of variables
    and host; after that, one small file.
    """
    key: Mapping[str, Json] = {"host": dict(host_facts()), "variables": dict(variables)}
    answer = _ask(repo, environment, "fingerprint", key, variables)
    return {str(name): str(value) for name, value in answer.items()} if isinstance(answer, dict) else {}


def numpy_dispatch(repo: Repo, environment: Environment) -> tuple[str, ...]:
    """Returns the instruction sets that an environment's NumPy chooses from; none where it has no NumPy.

    Costs one start of the interpreter and NumPy for each environment; after that, one small file.
    """
    answer = _ask(repo, environment, "dispatch", {}, {})
    return tuple(str(name) for name in answer) if isinstance(answer, list) else ()


def _ask(
    repo: Repo,
    environment: Environment,
    question: str,
    key: Mapping[str, Json],
    variables: Mapping[str, str],
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
        if not is_error:
            printed.extend(data)

    script = os.fsencode(runtime / "_mlvc" / "fingerprint.py")
    result = HostEngine().run(
        Execution(
            argv=(decode_name(environment.interpreter.executable), script, question.encode()),
            directory=str(runtime),
            variables={"PATH": os.defpath, **variables},
            timeout_s=_TIMEOUT_S,
        ),
        collect,
    )
    try:
        answer: object = json.loads(printed)
    except ValueError:
        return None
    if result.exit_code != 0:
        return None
    path.parent.mkdir(exist_ok=True)
    fsio.atomic_write(path, json.dumps(answer).encode())
    return answer
