"""The numeric fingerprint of an environment on this host, computed once and cached."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from mlvc import fsio
from mlvc.engines.host import HostEngine
from mlvc.model.canonical import encode_canonical
from mlvc.model.ids import BlobId
from mlvc.model.names import decode_name
from mlvc.model.objects import Environment
from mlvc.ports import Execution
from mlvc.repo import Repo
from mlvc.repro.host import host_facts
from mlvc.repro.runtime_files import lay_runtime

__all__ = ["fingerprint"]

_TIMEOUT_S = 30.0


def fingerprint(repo: Repo, environment: Environment, variables: Mapping[str, str]) -> dict[str, str]:
    """Returns digests of small numeric operations by name; empty where the interpreter cannot compute them.

    Costs one start of the interpreter (and NumPy, if it is there) for each environment, set of variables and host;
    after that, one small file.
    """
    runtime = lay_runtime(repo.common_dir / "runtime")
    key = BlobId.of(
        encode_canonical(
            {
                "environment": str(environment.id),
                "host": dict(host_facts()),
                "runtime": runtime.name,
                "variables": dict(variables),
            }
        )
    )
    path = repo.common_dir / "cache" / f"fingerprint-{key.short}.json"
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        pass
    printed = bytearray()

    def collect(data: bytes, *, is_error: bool) -> None:
        if not is_error:
            printed.extend(data)

    result = HostEngine().run(
        Execution(
            argv=(decode_name(environment.interpreter.executable), os.fsencode(runtime / "fingerprint.py")),
            directory=str(runtime),
            variables={"PATH": os.defpath, **variables},
            timeout_s=_TIMEOUT_S,
        ),
        collect,
    )
    if result.exit_code != 0:
        return {}
    digests = {str(name): str(value) for name, value in json.loads(printed).items()}
    path.parent.mkdir(exist_ok=True)
    fsio.atomic_write(path, json.dumps(digests).encode())
    return digests
