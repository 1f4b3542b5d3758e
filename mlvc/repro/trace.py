"""What the processes of a command reported about themselves, or a watcher about them.

See `mlvc/runtime/sitecustomize.py` and `mlvc/runtime/watcher.py`.

The command can write anything into its trace, so nothing in it is believed to be well-formed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlvc.model.names import encode_name

__all__ = ["Process", "Trace", "read_trace"]

_MOST_BYTES = 256 << 20
_MOST_PROCESSES = 10_000
_MOST_TEXT = 1 << 16


@dataclass(slots=True)
class Process:
    """One Python process that was watched.

    Attributes:
        pid: Its number, as it saw it itself.
        parent: Its parent's.
        locale: The locale that it started with.
        prefixes: Directories of its interpreter and its packages.
        loaded: What was in force after each import of a numerical library, in order.
        exit: What was in force at its end; None where it was killed or ended by `os._exit`.
        ended: In which line of the trace it ended.
    """

    pid: int
    parent: int = 0
    locale: str = ""
    loaded: list[Mapping[str, Any]] = field(default_factory=list)
    exit: Mapping[str, Any] | None = None
    ended: int = 0
    prefixes: tuple[bytes, ...] = ()

    @property
    def is_numerical(self) -> bool:
        """Whether it had loaded a numerical library."""
        return bool(self.loaded) or "libraries" in (self.exit or ())


@dataclass(frozen=True, slots=True)
class Trace:
    """The union of what all traced processes reported.

    Attributes:
        reads: Absolute paths opened for reading only.
        writes: Absolute paths opened for writing, and new names of files that were renamed or linked.
        connections: `host:port`.
        effective: What was in force at the end of the main process, as JSON text by name.
        processes: How many processes reported.
        absent: Absolute paths that could not be opened because nothing was there.
        listed: Directories whose entries were asked for.
        executed: Programs that were started.
        libraries: Shared libraries that were mapped at the end of a process.
        drawn: How often programs that are no Python asked the system for randomness, by program; the
            audit hook does not see it.
        reports: Each process.
        prefixes: Directories of the interpreters and packages of the processes.
        tracers: Who watched.
        alone: Paths that only the last one of them saw.
        marks: What a watcher says of the command as a whole: that it was `started`, and that it `listens` itself.
    """

    reads: frozenset[bytes] = frozenset()
    writes: frozenset[bytes] = frozenset()
    connections: frozenset[str] = frozenset()
    effective: Mapping[str, str] = field(default_factory=dict)
    processes: int = 0
    absent: frozenset[bytes] = frozenset()
    listed: frozenset[bytes] = frozenset()
    executed: frozenset[bytes] = frozenset()
    libraries: frozenset[bytes] = frozenset()
    drawn: Mapping[bytes, int] = field(default_factory=dict)
    reports: tuple[Process, ...] = ()
    prefixes: frozenset[bytes] = frozenset()
    tracers: tuple[str, ...] = ()
    alone: frozenset[bytes] = frozenset()
    marks: frozenset[str] = frozenset()


def read_trace(path: Path) -> Trace:
    """Returns what is in a trace file; a line that is no report is left out: its process was killed, or lied."""
    try:
        with path.open("rb") as file:
            lines = file.read(_MOST_BYTES).splitlines()
    except FileNotFoundError:
        lines = []
    paths: dict[str, set[bytes]] = {name: set() for name in ("read", "write", "absent", "list", "execute")}
    connections: set[str] = set()
    libraries: set[bytes] = set()
    processes: dict[int, Process] = {}
    drawn: dict[bytes, int] = {}
    marks: set[str] = set()
    for number, line in enumerate(lines):
        try:
            match json.loads(line):
                case {"event": "connect", "to": str(to)}:
                    connections.add(encode_name(to.encode("utf-8", "surrogatepass")))
                case {"event": str(event), "path": str(name)} if event in paths:
                    paths[event].add(bytes.fromhex(name))
                case {"event": "draw", "path": str(name), "count": int(count)}:
                    drawn[bytes.fromhex(name)] = count
                case {"event": "started" | "listens" as mark}:
                    marks.add(mark)
                case {"event": "start" | "loaded" | "exit", "pid": int(pid)} as report:
                    process = processes.setdefault(pid, Process(pid))
                    libraries.update(_take_report(process, report, number))
                case _:
                    continue
        except (ValueError, RecursionError):
            continue
        if len(processes) > _MOST_PROCESSES:
            break
    reports = tuple(processes.values())
    return Trace(
        reads=frozenset(paths["read"]),
        writes=frozenset(paths["write"]),
        connections=frozenset(connections),
        effective=_effective(reports),
        processes=len(reports),
        absent=frozenset(paths["absent"]),
        listed=frozenset(paths["list"]),
        executed=frozenset(paths["execute"]),
        libraries=frozenset(libraries),
        drawn=drawn,
        reports=reports,
        prefixes=frozenset(path for process in reports for path in process.prefixes),
        tracers=("audit-hook",) if reports else (),
        marks=frozenset(marks),
    )


def _take_report(process: Process, report: Mapping[str, Any], number: int) -> list[bytes]:
    """Adds what a process told of itself; returns the libraries that it had mapped."""
    facts = report.get("facts")
    match report["event"]:
        case "start":
            parent, locale = report.get("parent"), report.get("locale")
            process.parent = parent if isinstance(parent, int) else 0
            process.locale = locale if isinstance(locale, str) else process.locale
            process.prefixes += tuple(_encoded(report.get("prefixes")))
        case "loaded" if isinstance(facts, dict):
            process.loaded.append(facts)
        case "exit" if isinstance(facts, dict):
            mapped = facts.pop("mapped", ())
            process.exit = facts
            process.ended = number
            return _encoded(mapped)
    return []


def _encoded(names: object) -> list[bytes]:
    found = names if isinstance(names, list) else ()
    return [name.encode("utf-8", "surrogateescape") for name in found if isinstance(name, str)]


def _effective(reports: tuple[Process, ...]) -> dict[str, str]:
    """Returns the facts of the main process, as JSON text by name.

    The main process is the last one to end among those that no other watched process started, one with numerical
    libraries before one without: that of `python train.py`, and the last training of a shell script.
    """
    watched = {process.pid for process in reports}
    ended = [process for process in reports if process.exit is not None]
    if not ended:
        return {}
    main = max(ended, key=lambda one: (one.parent not in watched, one.is_numerical, one.ended))
    texts = {name: json.dumps(value, sort_keys=True) for name, value in (main.exit or {}).items()}
    return {
        name: text
        for name, text in texts.items()
        if name.isidentifier() and name.isascii() and len(text) <= _MOST_TEXT
    }
