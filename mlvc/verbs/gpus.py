"""Which GPUs this machine has, asked once for each boot and cached: `nvidia-smi` may take a second."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from mlvc import fsio
from mlvc.engines.host import HostEngine
from mlvc.model.canonical import encode_canonical
from mlvc.model.ids import BlobId
from mlvc.ports import Execution
from mlvc.repo import Repo

__all__ = ["Gpus", "decode_gpus", "find_gpus"]

_QUERY = (b"--query-gpu=name,driver_version,memory.total", b"--format=csv,noheader")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_TIMEOUT_S = 20.0
_FIELDS = 3
_MOST_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs of a machine.

    Attributes:
        names: Their models, in the driver's order.
        driver: The driver's version.
        memory: That of the first.
    """

    names: tuple[str, ...] = ()
    driver: str = ""
    memory: str = ""

    def facts(self) -> dict[str, str]:
        """Returns them as facts about a host; none where there is no GPU."""
        if not self.names:
            return {}
        return {"gpu": ", ".join(self.names), "gpu_driver": self.driver, "gpu_memory": self.memory}


def find_gpus(repo: Repo) -> Gpus:
    """Returns the GPUs that `nvidia-smi` names; none where it is not installed, or cannot reach the driver."""
    program = shutil.which("nvidia-smi", path=repo.environment.get("PATH", os.defpath))
    if program is None:
        return Gpus()
    stamp = Path(program).stat()
    boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
    key = BlobId.of(encode_canonical({"boot": boot, "mtime": stamp.st_mtime_ns, "program": program}))
    path = repo.common_dir / "cache" / f"gpus-{key.short}.json"
    try:
        return decode_gpus(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        pass
    printed = bytearray()

    def collect(data: bytes, *, is_error: bool) -> None:
        if not is_error and len(printed) < _MOST_BYTES:
            printed.extend(data)

    asking = Execution(
        (os.fsencode(program), *_QUERY), "/", {"PATH": os.defpath, "LC_ALL": "C"}, timeout_s=_TIMEOUT_S
    )
    if HostEngine().run(asking, collect).exit_code != 0:
        return Gpus()
    text = printed.decode(errors="replace")
    path.parent.mkdir(exist_ok=True)
    fsio.atomic_write(path, json.dumps(text).encode())
    return decode_gpus(text)


def decode_gpus(text: str) -> Gpus:
    """Returns the GPUs that the output of `nvidia-smi` names; a line of another form is left out."""
    rows = [[field.strip() for field in line.split(",")] for line in text.splitlines()]
    rows = [row for row in rows if len(row) == _FIELDS and all(row)]
    if not rows:
        return Gpus()
    return Gpus(tuple(name for name, _, _ in rows), rows[0][1], rows[0][2])
