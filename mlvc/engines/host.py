"""The engine `none`: the command runs on this machine as it is, in nothing."""

from __future__ import annotations

import errno
import os

from mlvc.engines.child import run_child
from mlvc.engines.errors import EngineError
from mlvc.model.names import encode_name
from mlvc.model.objects import Base
from mlvc.ports import EngineResult, Execution, LogSink

__all__ = ["HostEngine"]

_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_STATUSES = {
    errno.ENOENT: _NOT_FOUND,
    errno.ENOTDIR: _NOT_FOUND,
    errno.EACCES: _NOT_EXECUTABLE,
    errno.ENOEXEC: _NOT_EXECUTABLE,
}


class HostEngine:
    """Runs a command directly: its whole environment is what the execution names, and nothing is hidden from it.

    Nothing can be mounted here, so an execution names the directories of this machine, and its `mounts`, `hide` and
    `base` are ignored. `memory_mb` is not enforced.
    A program that does not exist is exit 127, one that cannot be executed 126, as a shell has it.
    """

    name = "none"
    isolated = False

    def check(self) -> str | None:
        """Returns None: this always works."""
        return None

    def resolve_base(self, reference: str) -> Base | None:  # noqa: ARG002  # the contract's name
        """Returns None: there are no images."""
        return None

    def run(self, execution: Execution, log: LogSink) -> EngineResult:
        """Runs the command to its end; see `ports.Engine`."""
        try:
            return run_child(
                execution.argv,
                log,
                variables=execution.variables,
                directory=execution.directory,
                cpus=execution.cpus,
                timeout_s=execution.timeout_s,
            )
        except OSError as exc:
            if exc.errno in _STATUSES and exc.filename != execution.directory:
                log(_not_started(execution, exc), is_error=True)
                return EngineResult(_STATUSES[exc.errno], 0)
            raise EngineError(
                f"the command cannot be started in {execution.directory}: {exc.strerror}"
            ) from exc


def _not_started(execution: Execution, reason: OSError) -> bytes:
    """Returns the lines that tell why a program was not executed, and what to write instead."""
    program = os.fsdecode(execution.argv[0])
    is_path, is_there = "/" in program, os.path.exists(os.path.join(execution.directory, program))
    shown = encode_name(execution.argv[0])
    if _STATUSES.get(reason.errno or 0) == _NOT_EXECUTABLE:
        hint = f"`chmod +x` it, or name what runs it, as in `python {shown}`"
    elif is_path:
        hint = (
            "its first line names an interpreter that is not here" if is_there else "look for a typing error"
        )
    elif is_there:
        hint = f"it lies here and is not on the PATH: write ./{shown}, or name what runs it, as in `python {shown}`"
    else:
        hint = "it is not on the PATH"
    return f"mlvc: cannot execute {shown}: {reason.strerror}\nhint: {hint}\n".encode()
