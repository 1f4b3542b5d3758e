"""The engine `none`: the command runs on this machine as it is, in nothing."""

from __future__ import annotations

import errno

from mlvc.engines.child import not_started, run_child
from mlvc.engines.errors import EngineError
from mlvc.model.objects import Base
from mlvc.ports import EngineResult, Execution, LogSink

__all__ = ["HostEngine"]

_NOT_FOUND = 127
_NOT_EXECUTABLE = 126


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
            if exc.errno in {errno.ENOENT, errno.ENOTDIR} and exc.filename != execution.directory:
                log(not_started(execution.argv, exc), is_error=True)
                return EngineResult(_NOT_FOUND, 0)
            if exc.errno in {errno.EACCES, errno.ENOEXEC} and exc.filename != execution.directory:
                log(not_started(execution.argv, exc), is_error=True)
                return EngineResult(_NOT_EXECUTABLE, 0)
            raise EngineError(
                f"the command cannot be started in {execution.directory}: {exc.strerror}"
            ) from exc
