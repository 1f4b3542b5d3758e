"""What a reproduction needs before anything runs: the closure, the CPUs, and the one execution that repeats the run.

Nothing here starts a process or writes a file.

    inside            on this machine            what
    run.project       SCRATCH/project            code and inputs, a throw-away copy; inputs are mounted again, read-only
    /env              the built environment      read-only; also at the recorded environment's own path
    /mlvc/runtime     the runtime directory      read-only, first on PYTHONPATH
    /mlvc/report      SCRATCH/report             what the command reports about itself
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlvc.errors import NotFoundError
from mlvc.model.ids import BlobId, TreeId
from mlvc.model.names import decode_name, encode_name
from mlvc.model.objects import Base, Environment, Run
from mlvc.model.tree import Kind
from mlvc.ports import Engine, Execution, Mount, ObjectReader

if TYPE_CHECKING:
    from mlvc.env.rebuild import BuiltEnvironment

__all__ = [
    "ENV",
    "ClosureIncompleteError",
    "Place",
    "check_closure",
    "choose_cpus",
    "inner_prefix",
    "place",
    "plan_execution",
]

ENV = "/env"
_RUNTIME = "/mlvc/runtime"
_REPORT = "/mlvc/report"
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
_MOST_NAMED = 20


class ClosureIncompleteError(NotFoundError):
    """Something that the run was made of is not in the store.

    Attributes:
        missing: What it is, in words.
    """

    code = "closure-incomplete"

    def __init__(self, missing: Sequence[str]) -> None:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        super().__init__(
            f"the run cannot be repeated, because the store lacks {', '.join(missing[:_MOST_NAMED])}{more}",
            hint="get them from a remote or from the machine that recorded the run",
        )
        self.missing = tuple(missing)


@dataclass(frozen=True, slots=True)
class Place:
    """Where things stand, on this machine and as the command sees them.

    Attributes:
        scratch: The directory of this reproduction.
        runtime: The runtime directory on this machine.
        project: The project as the command sees it.
        inner_runtime: The runtime directory as the command sees it.
        inner_report: The report directory as the command sees it.
    """

    scratch: Path
    runtime: Path
    project: str
    inner_runtime: str
    inner_report: str

    @property
    def outer_project(self) -> Path:
        """The project on this machine."""
        return self.scratch / "project"

    @property
    def outer_report(self) -> Path:
        """The report directory on this machine."""
        return self.scratch / "report"


def place(run: Run, engine: Engine, scratch: Path, runtime: Path) -> Place:
    """Returns the places of a reproduction; without isolation the command sees this machine's own."""
    if engine.isolated:
        return Place(scratch, runtime, os.fsdecode(decode_name(run.project)), _RUNTIME, _REPORT)
    return Place(scratch, runtime, str(scratch / "project"), str(runtime), str(scratch / "report"))


def check_closure(run: Run, reader: ObjectReader) -> None:
    """Checks that code and inputs are in the store, reading directories only.

    Raises:
        ClosureIncompleteError: They are not; everything that lacks is named.
    """
    missing = list(_iter_missing(b"", run.code.tree, reader, "the code file"))
    for entry in run.inputs:
        if isinstance(entry.id, TreeId):
            missing += _iter_missing(entry.path + b"/", entry.id, reader, "the input")
        elif not reader.has_blob(entry.id):
            missing.append(f"the input {entry.name}")
    if missing:
        raise ClosureIncompleteError(missing)


def _iter_missing(prefix: bytes, tree: TreeId, reader: ObjectReader, what: str) -> Iterator[str]:
    pending = [(prefix, tree)]
    while pending:
        path, tree_id = pending.pop()
        if not reader.has_tree(tree_id):
            yield f"{what} {encode_name(path) or '(its whole tree)'}"
            continue
        for entry in reader.read_tree(tree_id):
            if isinstance(entry.id, TreeId):
                pending.append((path + entry.name + b"/", entry.id))
            elif not reader.has_blob(BlobId(entry.id.digest)):
                yield f"{what} {encode_name(path + entry.name)}"


def choose_cpus(count: int, allowed: Collection[int]) -> tuple[int, ...] | None:
    """Returns `count` of the CPUs, and all where there are too few; None where none are counted or known.

    Libraries follow the set of CPUs, whatever they are told about threads, and other numbers of threads give other
    numbers.
    """
    return tuple(sorted(allowed)[:count]) if count and allowed else None


def inner_prefix(run: Run, environment: Environment) -> bytes | None:
    """Returns the path of the recorded virtual environment below the project, or None where it lies elsewhere."""
    prefix, project = (
        decode_name(environment.interpreter.prefix),
        decode_name(run.project).rstrip(b"/") + b"/",
    )
    return prefix[len(project) :] if prefix.startswith(project) else None


def plan_execution(
    run: Run,
    where: Place,
    *,
    engine: Engine,
    base: Base | None,
    environment: Environment | None,
    built: BuiltEnvironment | None,
) -> Execution:
    """Returns the execution that repeats the run; limits on CPUs and memory are the caller's to add."""
    moved = _moves(run, where, engine, environment, built)
    directory = os.path.join(where.project, os.fsdecode(decode_name(run.directory)))
    return Execution(
        argv=_argv(run, engine, environment, built, moved),
        directory=directory.rstrip("/") or "/",
        variables=_variables(run, where, built, moved, isolated=engine.isolated),
        mounts=_mounts(run, where, environment, built) if engine.isolated else (),
        base=base,
    )


def _argv(
    run: Run,
    engine: Engine,
    environment: Environment | None,
    built: BuiltEnvironment | None,
    moves: Mapping[bytes, bytes],
) -> tuple[bytes, ...]:
    """Returns the command; one of an interpreter without a virtual environment becomes the rebuilt one's."""
    argv = [_relocated(decode_name(argument), moves) for argument in run.argv]
    if environment is None or built is None or not argv:
        return tuple(argv)
    interpreter = environment.interpreter
    program, slash, name = run.argv[0].rpartition("/")
    is_own = (
        interpreter.prefix == interpreter.base_prefix and program == interpreter.executable.rpartition("/")[0]
    )
    file_name = decode_name(name)
    if slash and is_own and os.path.lexists(built.path / "bin" / os.fsdecode(file_name)):
        # It stands in the git directory, so below the recorded project; where it is now is known already.
        inner = ENV.encode() if engine.isolated else os.fsencode(built.path)
        argv[0] = inner + b"/bin/" + file_name
    return tuple(argv)


def _moves(
    run: Run, where: Place, engine: Engine, environment: Environment | None, built: BuiltEnvironment | None
) -> Mapping[bytes, bytes]:
    """Returns which recorded directories stand elsewhere; none where the engine puts them in their own places."""
    if engine.isolated:
        return {}
    moves = {decode_name(run.project): os.fsencode(where.project)}
    if environment is not None and built is not None:
        interpreter = environment.interpreter
        if interpreter.prefix != interpreter.base_prefix:
            moves[decode_name(interpreter.prefix)] = os.fsencode(built.path)
    return moves


def _relocated(text: bytes, moves: Mapping[bytes, bytes]) -> bytes:
    """Replaces a moved directory at the start of a path, also behind `=` and `:`; the longest counts."""
    if not moves:
        return text
    names = b"|".join(re.escape(name) for name in sorted(moves, key=len, reverse=True))
    return re.sub(b"(?:(?<=^)|(?<=[=:]))(" + names + b")(?=/|:|$)", lambda match: moves[match.group(1)], text)


def _variables(
    run: Run, where: Place, built: BuiltEnvironment | None, moves: Mapping[bytes, bytes], *, isolated: bool
) -> dict[str, str]:
    recorded = {
        name: os.fsdecode(_relocated(os.fsencode(value), moves)) for name, value in run.variables.items()
    }
    env = None if built is None else ENV if isolated else str(built.path)
    variables = {
        "PATH": _SYSTEM_PATH if env is None else f"{env}/bin:{_SYSTEM_PATH}",
        "HOME": "/tmp" if isolated else str(where.scratch / "home"),  # noqa: S108  # inside
        **recorded,
        **run.pins,
        "PYTHONUNBUFFERED": "1",
        "MLVC_LOG": f"{where.inner_report}/values",
        "MLVC_STEPS": f"{where.inner_report}/steps",
        "MLVC_TRACE": f"{where.inner_report}/trace",
    }
    if env is not None:
        variables["VIRTUAL_ENV"] = env
    inherited = variables.get("PYTHONPATH")
    variables["PYTHONPATH"] = where.inner_runtime + (os.pathsep + inherited if inherited else "")
    return variables


def _mounts(
    run: Run, where: Place, environment: Environment | None, built: BuiltEnvironment | None
) -> tuple[Mount, ...]:
    mounts = [Mount(where.outer_project, where.project, writable=True)]
    # What the command itself changed at the time, it has to be able to change again.
    changed = {entry.path for entry in run.changed_inputs}
    for entry in run.inputs:
        # A link cannot be mounted over; what it leads to is an input of its own or missing.
        if entry.kind is not Kind.SYMLINK and entry.path not in changed:
            path = os.fsdecode(entry.path)
            mounts.append(Mount(where.outer_project / path, os.path.join(where.project, path)))
    mounts.append(Mount(where.runtime, where.inner_runtime))
    mounts.append(Mount(where.outer_report, where.inner_report, writable=True))
    if environment is not None and built is not None:
        mounts += built.mounts
        interpreter = environment.interpreter
        if interpreter.prefix != interpreter.base_prefix and inner_prefix(run, environment) is None:
            mounts.append(Mount(built.path, os.fsdecode(decode_name(interpreter.prefix))))
    return tuple(mounts)
