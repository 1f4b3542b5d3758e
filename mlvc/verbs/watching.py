"""Runs a command on this machine and watches it: from inside every Python, and with strace where that is wanted."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

from mlvc import fsio
from mlvc.env.probe import find_python
from mlvc.model.canonical import encode_canonical
from mlvc.model.ids import BlobId
from mlvc.model.names import decode_name
from mlvc.model.objects import Run
from mlvc.ports import Engine, EngineResult, Execution, LogSink
from mlvc.repo import Repo
from mlvc.repro.strace import merged, options, read_strace
from mlvc.repro.trace import Trace, read_trace

__all__ = ["run_watched"]


def run_watched(
    repo: Repo, run: Run, engine: Engine, execution: Execution, *, scratch: Path, log: LogSink
) -> tuple[EngineResult, Trace]:
    """Runs a command and returns how it ended and what was seen of it.

    strace cannot watch everything: a debugger, and for an ordinary user a program with a set-user-ID bit, do not work
    below it. A command that fails after one of these was seen is run again without strace, and so it is from then on.

    Args:
        repo: Has the settings, and remembers what strace disturbs.
        run: What is run.
        engine: Runs it on this machine.
        execution: The command.
        scratch: Where the watchers write: `trace`, which the command's variables name already, and `strace`.
        log: Receives the command's output.
    """
    strace = _find_strace(repo, run, engine, scratch)
    if strace is not None:
        output = scratch / "strace"
        result = engine.run(
            dataclasses.replace(execution, argv=(strace, *options(output), *execution.argv)), log
        )
        watched = read_strace(output, directory=Path(execution.directory), is_root=os.geteuid() == 0)
        if watched.started and (result.exit_code == 0 or watched.disturbed is None):
            return result, merged(read_trace(scratch / "trace"), watched.trace)
        if watched.started:
            repo.reporter.warn(
                f"the command failed below strace: {watched.disturbed}; it is run again without, now and in future"
            )
            marker = _marker(repo, run)
            marker.parent.mkdir(exist_ok=True)
            fsio.atomic_write(marker, b"")
        for name in ("trace", "values", "steps"):
            (scratch / name).unlink(missing_ok=True)
    result = engine.run(execution, log)
    return result, read_trace(scratch / "trace")


def _find_strace(repo: Repo, run: Run, engine: Engine, scratch: Path) -> bytes | None:
    """Returns the program, if it is to watch this command, is installed, and works here."""
    path = repo.environment.get("PATH", os.defpath)
    wanted = repo.config.run_tracer or "auto"
    command = os.fsdecode(decode_name(run.argv[0]))
    if wanted == "audit-hook" or shutil.which(command, path=path) is None or _marker(repo, run).exists():
        return None
    if wanted == "auto" and find_python(command, path=path, directory=repo.cwd) is not None:
        # What a Python opens, the audit hook sees for a tenth of the cost.
        return None
    found = shutil.which("strace", path=path)
    if found is None:
        if wanted == "strace":
            repo.reporter.warn("strace is not installed, so programs that are no Python are not watched")
        return None
    program = os.fsencode(found)
    output = scratch / "strace-works"
    trial = Execution((program, *options(output), b"true"), str(scratch), {"PATH": os.defpath})
    engine.run(trial, _ignore)
    return program if read_strace(output, directory=scratch, is_root=True).started else None


def _marker(repo: Repo, run: Run) -> Path:
    """Returns the file that is there once strace was seen to disturb this command."""
    key = BlobId.of(encode_canonical({"argv": list(run.argv), "directory": run.directory}))
    return repo.common_dir / "cache" / f"unwatched-{key.short}"


def _ignore(data: bytes, *, is_error: bool) -> None:
    """Takes no notice."""
