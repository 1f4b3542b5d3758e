"""Sorts what a command was seen to do into what its record explains and what it does not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from mlvc.model.names import encode_name
from mlvc.model.objects import Observed
from mlvc.repro.trace import Trace

__all__ = ["Inside", "Known", "observed"]

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
_TEMPORARY = (b"/tmp/", b"/var/tmp/", b"/dev/shm/")
# What every program opens, and what is another file on every call.
_BORING = (b"/proc/self/", b"/dev/null", b"/dev/tty", b"/dev/urandom", b"/etc/ld.so.", b"/usr/lib/locale/")
_MOST_NAMES = 2000


@dataclass(frozen=True, slots=True)
class Known:
    """What a record explains.

    Attributes:
        project: The work tree's absolute path.
        homes: The user's home directory, by each name that it has; empty where there is none.
        declared: Inputs, outputs and tracked paths, relative to the project.
        code: The files of the code tree, relative to the project.
        environment: Absolute directories of the interpreter and its packages.
        own: Absolute directories that are mlvc's.
    """

    project: bytes
    homes: Collection[bytes]
    declared: Collection[bytes]
    code: Collection[bytes]
    environment: Collection[bytes]
    own: Collection[bytes] = ()

    def name(self, path: bytes) -> str:
        """Returns a path as a record has it: relative where it lies in the project."""
        inside = path.startswith(self.project + b"/")
        return encode_name(path[len(self.project) + 1 :] if inside else path)

    def is_personal(self, path: bytes) -> bool:
        """Whether it lies in the project or in the user's home."""
        return _is_below(path, [self.project, *self.homes])

    def is_environment(self, path: bytes) -> bool:
        """Whether it belongs to the interpreter, its packages or to mlvc."""
        return _is_below(path, self.environment) or _is_below(path, self.own) or path.endswith(b".pyc")

    def is_system(self, path: bytes) -> bool:
        """Whether it belongs to the system, and not to the user."""
        return path.startswith((*_SYSTEM, *_TEMPORARY)) and not self.is_personal(path)

    def is_explained(self, path: bytes) -> bool:
        """Whether it is code, declared, tracked, or git's own."""
        if not path.startswith(self.project + b"/"):
            return False
        relative = path[len(self.project) + 1 :]
        return relative in self.code or _is_below(relative, self.declared) or relative.startswith(b".git/")


def _is_below(path: bytes, tops: Iterable[bytes]) -> bool:
    return any(path == top or path.startswith(top.rstrip(b"/") + b"/") for top in tops)


def observed(trace: Trace, known: Known) -> Observed:
    """Returns what a record keeps of a trace.

    `reads` leaves out the system's, the environment's and temporary files; `undeclared` are the regular files of the
    project or the home directory that are neither code nor declared nor written by the command itself.
    """
    if not trace.tracers:
        return Observed()
    inside = Inside(known.project)
    trace = _settled(trace, inside)
    environment = [*known.environment, *trace.prefixes]
    known = replace(known, environment=[*environment, *map(inside, environment)])
    read = trace.reads - trace.writes
    own = [path for path in read if not known.is_environment(path)]
    theirs = [path for path in own if not known.is_system(path)]
    system = [
        path
        for path in own
        if known.is_system(path) and not path.startswith((*_TEMPORARY, *_BORING)) and b".so" not in path
    ]
    undeclared = [
        path
        for path in theirs
        if known.is_personal(path) and not known.is_explained(path) and os.path.isfile(path)
    ]
    absent = [
        path
        for path in trace.absent - trace.writes - trace.reads
        if not known.is_environment(path) and not known.is_system(path)
    ]
    listed = [path for path in trace.listed if not known.is_environment(path) and not known.is_system(path)]
    libraries = [
        path
        for path in trace.libraries
        if not known.is_environment(path) and not path.startswith(b"/etc/ld.so.")
    ]
    return Observed(
        tracer=", ".join(trace.tracers),
        reads=_names(theirs, known),
        undeclared=_names(undeclared, known),
        failed_opens=_names(absent, known),
        connections=tuple(sorted(trace.connections)[:_MOST_NAMES]),
        system_reads=_names(system, known),
        listed=_names(listed, known),
        executed=_names(trace.executed, known),
        libraries=_names({os.path.realpath(path) for path in libraries}, known),
        drawn=dict(sorted((known.name(path), count) for path, count in trace.drawn.items())[:_MOST_NAMES]),
        strace_alone=_names(trace.alone & {*theirs, *absent} if len(trace.tracers) > 1 else (), known),
    )


class Inside:
    """Finds the name below the project of a path that leads there by a link, as where the home directory is one."""

    def __init__(self, project: bytes) -> None:
        self._project = project
        self._folders: dict[bytes, bytes] = {}

    def __call__(self, path: bytes) -> bytes:
        """Returns that name, or the path as it is."""
        folder, name = os.path.split(path)
        real = self._folders.get(folder)
        if real is None:
            real = self._folders[folder] = os.path.realpath(folder)
        found = os.path.join(real, name)
        return found if _is_below(found, [self._project]) and not _is_below(path, [self._project]) else path


def _settled(trace: Trace, inside: Inside) -> Trace:
    """Returns what was seen, with one name for each path of the project."""
    drawn: Counter[bytes] = Counter()
    for path, count in trace.drawn.items():
        drawn[inside(path)] += count
    return replace(
        trace,
        reads=frozenset(map(inside, trace.reads)),
        writes=frozenset(map(inside, trace.writes)),
        absent=frozenset(map(inside, trace.absent)),
        listed=frozenset(map(inside, trace.listed)),
        executed=frozenset(map(inside, trace.executed)),
        alone=frozenset(map(inside, trace.alone)),
        drawn=drawn,
    )


def _names(paths: Iterable[bytes], known: Known) -> tuple[str, ...]:
    return tuple(known.name(path) for path in sorted(paths)[:_MOST_NAMES])
