"""Runs a command on this machine and watches it: from inside every Python, and from outside where that is wanted."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from mlvc import fsio
from mlvc.env.probe import find_python
from mlvc.model.canonical import encode_canonical
from mlvc.model.ids import BlobId
from mlvc.model.names import decode_name
from mlvc.model.objects import Run
from mlvc.ports import Engine, EngineResult, Execution, LogSink
from mlvc.repo import Repo
from mlvc.repro import seccomp, strace
from mlvc.repro.trace import Trace, read_trace
from mlvc.repro.watched import Watched, merged

__all__ = ["run_watched"]


class _Watcher(NamedTuple):
    """Somebody who watches a command from outside.

    Attributes:
        name: As the settings have it.
        prefix: What stands before the command.
        read: Returns what was seen, of an output.
    """

    name: str
    prefix: tuple[bytes, ...]
    read: Callable[[Path], Watched]


def run_watched(
    repo: Repo, run: Run, engine: Engine, execution: Execution, *, scratch: Path, log: LogSink
) -> tuple[EngineResult, Trace]:
    """Runs a command and returns how it ended and what was seen of it.

    Not everything can be watched: below strace a debugger does not work, and, for an ordinary user, below any watcher
    no program with a set-user-ID bit. A command that fails after one of these was seen is run again unwatched, and so
    it is from then on.

    Args:
        repo: Has the settings, and remembers what does not work while it is watched.
        run: What is run.
        engine: Runs it on this machine.
        execution: The command.
        scratch: Where the watchers write: `trace`, which the command's variables name already, and `calls`.
        log: Receives the command's output.
    """
    output = scratch / "calls"
    for watcher in _watchers(repo, run, engine, execution, output):
        # Held open: a command that deletes it has been started all the same, and shall not be once more.
        with output.open("wb") as held:
            result = engine.run(dataclasses.replace(execution, argv=(*watcher.prefix, *execution.argv)), log)
            watched = watcher.read(Path(f"/proc/self/fd/{held.fileno()}"))
        if watched.started and (result.exit_code == 0 or watched.disturbed is None):
            return result, merged(read_trace(scratch / "trace"), watched.trace)
        for name in ("trace", "values", "steps"):
            (scratch / name).unlink(missing_ok=True)
        if watched.started:
            repo.reporter.warn(
                f"the command failed below {watcher.name}: {watched.disturbed}; it is run again without, now and in "
                "future"
            )
            marker = _marker(repo, run)
            marker.parent.mkdir(exist_ok=True)
            fsio.atomic_write(marker, b"")
            break
    result = engine.run(execution, log)
    return result, read_trace(scratch / "trace")


def _watchers(repo: Repo, run: Run, engine: Engine, execution: Execution, output: Path) -> Iterator[_Watcher]:
    """Yields who may watch this command from outside, the best first; the next one where that did not start it."""
    path = repo.environment.get("PATH", os.defpath)
    wanted = repo.config.run_tracer or "auto"
    command = os.fsdecode(decode_name(run.argv[0]))
    if wanted == "audit-hook" or shutil.which(command, path=path) is None or _marker(repo, run).exists():
        return
    if wanted == "auto" and find_python(command, path=path, directory=repo.cwd) is not None:
        # What a Python opens, the audit hook sees without a process that looks on.
        return
    is_root = os.geteuid() == 0
    # Below a run, whoever watches that is told of this command too, and the kernel tells one alone.
    if wanted in {"auto", "seccomp"} and "MLVC_TRACE" not in repo.environment:
        yield _Watcher(
            "seccomp",
            tuple(seccomp.prefix(output)),
            lambda seen: seccomp.read_seccomp(seen, is_root=is_root),
        )
    program = _find_strace(path, engine, output.parent) if wanted in {"auto", "strace"} else None
    if program is not None:
        yield _Watcher(
            "strace",
            (program, *strace.options(output)),
            lambda seen: strace.read_strace(seen, directory=Path(execution.directory), is_root=is_root),
        )
    elif wanted != "auto":
        repo.reporter.warn(f"{wanted} does not work here, so programs that are no Python are not watched")


def _find_strace(path: str, engine: Engine, scratch: Path) -> bytes | None:
    """Returns the program, if it is installed and works here."""
    found = shutil.which("strace", path=path)
    if found is None:
        return None
    program = os.fsencode(found)
    output = scratch / "strace-works"
    trial = Execution((program, *strace.options(output), b"true"), str(scratch), {"PATH": os.defpath})
    engine.run(trial, _ignore)
    watched = strace.read_strace(output, directory=scratch, is_root=True)
    return program if watched.started else None


def _marker(repo: Repo, run: Run) -> Path:
    """Returns the file that is there once this command was seen not to work while it is watched."""
    key = BlobId.of(encode_canonical({"argv": list(run.argv), "directory": run.directory}))
    return repo.common_dir / "cache" / f"unwatched-{key.short}"


def _ignore(data: bytes, *, is_error: bool) -> None:
    """Takes no notice."""
