"""What the processes of a command reported about themselves at their exit (see `mlvc/runtime/sitecustomize.py`)."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mlvc.model.names import encode_name
from mlvc.model.objects import Observed

__all__ = ["Trace", "observed", "read_trace"]

_SYSTEM = (
    b"/usr/",
    b"/lib",
    b"/bin/",
    b"/sbin/",
    b"/etc/",
    b"/proc/",
    b"/sys/",
    b"/dev/",
    b"/run/",
    b"/opt/",
    b"/var/",
)
_TEMPORARY = (b"/tmp/", b"/var/tmp/")
_MOST_NAMES = 2000


@dataclass(frozen=True, slots=True)
class Trace:
    """The union of what all traced processes reported.

    Attributes:
        reads: Absolute paths opened for reading only.
        writes: Absolute paths opened for writing.
        connections: `host:port`.
        effective: What was in force in the first process that ended last, as JSON text by name.
        processes: How many processes reported.
    """

    reads: frozenset[bytes] = frozenset()
    writes: frozenset[bytes] = frozenset()
    connections: frozenset[str] = frozenset()
    effective: dict[str, str] = field(default_factory=dict)
    processes: int = 0


def read_trace(path: Path) -> Trace:
    """Returns what is in a trace file; a line that is no report is left out: its process was killed, or lied."""
    reads: set[bytes] = set()
    writes: set[bytes] = set()
    connections: set[str] = set()
    effective: dict[str, str] = {}
    processes = 0
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        try:
            report = json.loads(line)
            reads.update(bytes.fromhex(name) for name in report["reads"])
            writes.update(bytes.fromhex(name) for name in report["writes"])
            connections.update(str(name) for name in report["connections"])
            facts = report["effective"].items()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        # The main process ends last, so its facts are the ones that stay.
        effective.update({str(name): json.dumps(value, sort_keys=True) for name, value in facts})
        processes += 1
    return Trace(frozenset(reads), frozenset(writes), frozenset(connections), effective, processes)


def _is_below(path: bytes, tops: Iterable[bytes]) -> bool:
    return any(path == top or path.startswith(top.rstrip(b"/") + b"/") for top in tops)


def observed(
    trace: Trace,
    *,
    project: bytes,
    home: bytes | None,
    declared: Collection[bytes],
    code: Collection[bytes],
    environment: Collection[bytes],
) -> Observed:
    """Sorts what was read into what the record explains and what it does not.

    Args:
        trace: What was seen.
        project: The work tree's absolute path.
        home: The user's home directory.
        declared: Inputs and outputs, relative to the project.
        code: The files of the code tree, relative to the project.
        environment: Absolute directories of the interpreter and its packages.

    Returns:
        `reads` leaves out the system's, the environment's and temporary files; `undeclared` are the regular files of
        the project or the home directory that are neither code nor declared nor written by the command itself.
    """
    if not trace.processes:
        return Observed()
    code_files = frozenset(code)
    reads: list[str] = []
    undeclared: list[str] = []
    for path in sorted(trace.reads - trace.writes):
        inside = _is_below(path, [project])
        relative = path[len(project) :].lstrip(b"/") if inside else path
        personal = inside or (home is not None and _is_below(path, [home]))
        if _is_below(path, environment) or path.endswith(b".pyc"):
            continue
        if not personal and path.startswith((*_SYSTEM, *_TEMPORARY)):
            continue
        reads.append(encode_name(relative))
        explained = inside and (
            relative in code_files or _is_below(relative, declared) or relative.startswith(b".git/")
        )
        if personal and not explained and os.path.isfile(path):
            undeclared.append(encode_name(relative))
    return Observed(
        tracer="audit-hook",
        reads=tuple(reads[:_MOST_NAMES]),
        undeclared=tuple(undeclared[:_MOST_NAMES]),
        connections=tuple(sorted(trace.connections)[:_MOST_NAMES]),
    )
