"""What `mlvc/runtime/watcher.py` saw of a command: what stands before it to watch it, and the output, a trace."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from mlvc.repro.trace import read_trace
from mlvc.repro.watched import Watched, is_python, powerless

__all__ = ["prefix", "read_seccomp"]

_RUNTIME = Path(__file__).parent.parent / "runtime"
# Imported, because a script is compiled at each start; and nothing else shall be found in that directory.
_START = b"import sys; sys.path.insert(0, sys.argv.pop(1)); import watcher; del sys.path[0]; watcher.main()"


def prefix(output: Path) -> list[bytes]:
    """Returns what stands before a command that is watched."""
    options = (b"-I", b"-S", b"-W", b"ignore", b"-c", _START)
    return [os.fsencode(sys.executable), *options, os.fsencode(_RUNTIME), os.fsencode(output)]


def read_seccomp(path: Path, *, is_root: bool) -> Watched:
    """Returns what is in the output.

    Args:
        path: The output, which is not there where nothing could be watched.
        is_root: Whether the command ran as root.
    """
    trace = read_trace(path)
    # Not every program says that it opens a directory.
    directories = {name for name in trace.reads if os.path.isdir(name)}
    reads = trace.reads - directories
    return Watched(
        replace(
            trace,
            reads=reads,
            absent=trace.absent - reads - trace.writes,
            listed=trace.listed | directories,
            libraries=frozenset(name for name in reads if b".so" in os.path.basename(name)),
            drawn={program: count for program, count in trace.drawn.items() if not is_python(program)},
            tracers=("seccomp",),
        ),
        "started" in trace.marks,
        "it listens to system calls itself, as an engine for containers does"
        if "listens" in trace.marks
        else powerless(trace.executed, is_root=is_root),
    )
