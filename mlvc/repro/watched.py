"""What came of watching all programs of a command, whoever watched, and how that joins what its Pythons report."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from mlvc.env.probe import find_python
from mlvc.model.names import encode_name
from mlvc.repro.trace import Trace

__all__ = ["Watched", "is_python", "merged", "powerless"]

_SET_ID = stat.S_ISUID | stat.S_ISGID


@dataclass(frozen=True, slots=True)
class Watched:
    """What came of watching.

    Attributes:
        trace: What was seen.
        started: Whether the command itself was executed at all.
        disturbed: Why the command may not have worked because it was watched; None if nothing says so.
    """

    trace: Trace
    started: bool
    disturbed: str | None = None


def merged(trace: Trace, other: Trace) -> Trace:
    """Returns what was seen by one or the other; facts and processes are those of the first."""
    return replace(
        trace,
        reads=trace.reads | other.reads,
        writes=trace.writes | other.writes,
        connections=trace.connections | other.connections,
        absent=trace.absent | other.absent,
        listed=trace.listed | other.listed,
        executed=trace.executed | other.executed,
        libraries=trace.libraries | other.libraries,
        drawn=other.drawn,
        tracers=trace.tracers + other.tracers,
        alone=(other.reads | other.absent) - (trace.reads | trace.absent | trace.writes),
    )


def powerless(executed: Iterable[bytes], *, is_root: bool) -> str | None:
    """Returns which program could not do what it is there for, in a sentence; None where there is none.

    Args:
        executed: The paths of what was executed.
        is_root: Whether the command ran as root, whom a program with a set-user-ID bit gives nothing.
    """
    for program in () if is_root else sorted(executed):
        try:
            mode = os.stat(program).st_mode
        except OSError:
            continue
        if mode & _SET_ID:
            return f"{encode_name(program)} has a set-user-ID or set-group-ID bit, which has no effect then"
    return None


def is_python(program: bytes) -> bool:
    """Returns whether a program, or a script's first line, is a Python: the states of its generators tell more."""
    return find_python(os.fsdecode(program), path=os.defpath, directory=Path("/")) is not None
