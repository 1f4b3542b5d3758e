"""Executes what a run describes in an empty place, from nothing but its closure: the heart of `mlvc repro`."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlvc import fsio
from mlvc.errors import MlvcError, NotFoundError
from mlvc.model.ids import TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.names import decode_name
from mlvc.model.objects import Base, Environment, Run
from mlvc.ports import Clock, Engine, EngineResult, Execution, LogSink, ObjectReader, ObjectWriter, Reporter
from mlvc.repro.compare.policy import Policy
from mlvc.repro.leftovers import Stamp, is_readable, remove_tree, snapshot
from mlvc.repro.plan import ENV, Place, check_closure, choose_cpus, inner_prefix, place, plan_execution
from mlvc.repro.trace import Trace, read_trace

if TYPE_CHECKING:
    from mlvc.env.rebuild import BuiltEnvironment

__all__ = [
    "AS_RECORDED",
    "Executed",
    "TooFewCpusError",
    "Tweaks",
    "Workshop",
    "executed",
    "scratch_directory",
    "usable_cpus",
]


class TooFewCpusError(MlvcError):
    """This machine has fewer CPUs than the run had threads."""

    code = "too-few-cpus"


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a reproduction uses of the other rooms.

    Attributes:
        reader: Has the run's closure.
        writer: Where outputs and log go. The verdict is the caller's to add.
        export: Writes a tree, or an entry at its path, into a directory.
        capture_output: Stores what stands at a path below a directory, following no link, and returns its entry;
            raises NotFoundError where nothing is.
        build_environment: Returns the environment rebuilt for an engine and a base, for a project that stands at a
            path inside.
        missing_libraries: Returns what the engine's base lacks of the environment's system libraries.
        capture_present: Stores what stands at a path of the user's own work tree, and returns its entry; None where
            nothing does.
        work_dir: Where the throw-away copy is made: on a disk, below the git directory.
        runtime: The directory that watches the command from the inside.
        clock: Tells when it started.
        reporter: Told of progress, and warned of what cannot match.
        policy: What does not count when outputs are compared, and what counts as rounding.
        gpus: The models of this machine's GPUs.
        fingerprint: Returns digests of small numeric operations of a run's environment, computed by an engine in the
            place of what was executed; none where they cannot be computed.
        digest_present: Returns the ids of files of the user's own, by name, as far as they are there and can be read.
    """

    reader: ObjectReader
    writer: ObjectWriter
    export: Callable[[TreeId | TrackedPath, Path], None]
    capture_output: Callable[[Path, bytes, ObjectWriter], TrackedPath]
    build_environment: Callable[[Environment, Engine, Base | None, str], BuiltEnvironment]
    missing_libraries: Callable[[Environment, Engine, Base | None], Sequence[str]]
    work_dir: Path
    runtime: Path
    clock: Clock
    reporter: Reporter
    gpus: tuple[str, ...] = ()
    capture_present: Callable[[bytes, ObjectWriter], TrackedPath | None] = lambda path, writer: None  # noqa: ARG005
    build_trial: Callable[[Path, Environment, Engine, Base | None, str], BuiltEnvironment] | None = None
    fingerprint: Callable[[Run, Engine, Execution], Mapping[str, str]] = lambda run, engine, place: {}  # noqa: ARG005
    digest_present: Callable[[Iterable[str]], Mapping[str, str]] = lambda names: {}  # noqa: ARG005
    policy: Policy = Policy()  # noqa: RUF009  # it is frozen


@dataclass(frozen=True, slots=True)
class Tweaks:
    """What an execution changes about its surroundings that no run describes.

    Attributes:
        cpus: How many CPUs the command may use; None for as many as it was pinned to.
        wrapper: A command that executes the one that follows it, and stands before it.
    """

    cpus: int | None = None
    wrapper: tuple[bytes, ...] = ()


AS_RECORDED = Tweaks()


@dataclass(frozen=True, slots=True)
class Executed:
    """A command that was executed in its own place, which lasts as long as the context.

    Attributes:
        where: Where things stand.
        result: How the command ended.
        interrupted: Whether the person interrupted it.
        started: UTC, ISO 8601 with microseconds.
        cpus: How many CPUs it could use.
        missing_libraries: System libraries that the engine's base lacks.
        before: The project's files before the command.
        execution: What was executed; another command may be, in the same place.
    """

    where: Place
    result: EngineResult
    interrupted: bool
    started: str
    cpus: int
    missing_libraries: tuple[str, ...]
    before: Mapping[bytes, Stamp]
    execution: Execution

    @property
    def log(self) -> Path:
        """The command's output."""
        return self.where.scratch / "log"

    @property
    def values(self) -> Path:
        """What the command logged; where it put something else there, a name at which nothing is."""
        path = self.where.outer_report / "values"
        return path if is_readable(path) else self.where.scratch / "no-values"

    @property
    def steps(self) -> Path:
        """The steps that the command noted, likewise."""
        path = self.where.outer_report / "steps"
        return path if is_readable(path) else self.where.scratch / "no-steps"

    def read_trace(self) -> Trace:
        """Returns what the command reported about itself; a report that it made unreadable counts as none."""
        path = self.where.outer_report / "trace"
        return read_trace(path) if is_readable(path) else Trace()


@contextmanager
def executed(
    run: Run,
    shop: Workshop,
    *,
    engine: Engine,
    base: Base | None,
    log: LogSink,
    memory_mb: int | None = None,
    interrupted_exit: int | None = None,
    tweaks: Tweaks = AS_RECORDED,
) -> Iterator[Executed]:
    """Executes a run's command from nothing but its closure; what it left stands until the context is left.

    Args:
        run: What to execute; only what determines it has to be filled in.
        shop: The other rooms.
        engine: Isolates the command.
        base: The image that the engine runs on, if it has images.
        log: Receives the command's output while it runs.
        memory_mb: The command's memory limit.
        interrupted_exit: The exit status that an interrupted command gets; None lets the interrupt through.
        tweaks: What else is changed, in an experiment.

    Raises:
        ClosureIncompleteError: The store lacks code or inputs.
        ObjectMissingError: The store lacks the environment.
        TooFewCpusError: The run had more threads than this machine has CPUs.
        EngineError: The engine could not start the command.
        MlvcError: The environment cannot be rebuilt: no wheel, another interpreter.
    """
    check_closure(run, shop.reader)
    environment = _environment(run, shop.reader)
    with scratch_directory(shop.work_dir) as scratch:
        where = place(run, engine, scratch, shop.runtime)
        missing = _preflight(run, shop, engine, base, environment)
        built = (
            None if environment is None else shop.build_environment(environment, engine, base, where.project)
        )
        _lay_project(run, shop, where)
        if environment is not None and built is not None:
            _link_environment(run, where, environment, ENV if engine.isolated else str(built.path))
        cpus = choose_cpus(tweaks.cpus or run.threads, _allowed_cpus())
        execution = plan_execution(run, where, engine=engine, base=base, environment=environment, built=built)
        execution = dataclasses.replace(
            execution,
            argv=(*tweaks.wrapper, *execution.argv),
            cpus=cpus,
            memory_mb=memory_mb,
            gpus=bool(run.gpus and shop.gpus),
        )
        before = snapshot(where.outer_project)
        began = shop.clock.now()
        interrupted = False
        with shop.reporter.task("executing the command", unit="steps"):
            try:
                result = _execute(engine, execution, scratch / "log", log)
            except KeyboardInterrupt:
                if interrupted_exit is None:
                    raise
                elapsed = shop.clock.now() - began
                result = EngineResult(interrupted_exit, round(elapsed.total_seconds() * 1000))
                interrupted = True
        started = began.isoformat(timespec="microseconds")
        count = len(cpus) if cpus is not None else os.cpu_count() or 1
        yield Executed(where, result, interrupted, started, count, missing, before, execution)


def _allowed_cpus() -> Collection[int]:
    """Returns the CPUs that this process may use; none where the system does not tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()


def usable_cpus() -> int:
    """Returns how many CPUs a command may use here."""
    return len(_allowed_cpus()) or os.cpu_count() or 1


def _environment(run: Run, reader: ObjectReader) -> Environment | None:
    if run.environment is None:
        return None
    value = reader.read_object(run.environment)
    if not isinstance(value, Environment):
        raise NotFoundError(f"{run.environment} is no environment")
    return value


def _preflight(
    run: Run, shop: Workshop, engine: Engine, base: Base | None, environment: Environment | None
) -> tuple[str, ...]:
    """Names what cannot match here, before anything runs; returns the system libraries that lack.

    Raises:
        TooFewCpusError: The run had more threads than this machine has CPUs.
    """
    usable = usable_cpus()
    if run.threads > usable:
        raise TooFewCpusError(
            f"the run was recorded with {run.threads} threads, and only {usable} CPUs are here: numerical libraries"
            " would use fewer threads and give other numbers",
            hint=f"use a machine with {run.threads} CPUs, or record the run with --threads {usable}",
        )
    if run.gpus and run.gpus != shop.gpus:
        here = ", ".join(shop.gpus) or "no GPU"
        shop.reporter.warn(f"the run used {', '.join(run.gpus)}, and this machine has {here}")
    if environment is None:
        return ()
    missing = tuple(shop.missing_libraries(environment, engine, base))
    if missing:
        where = "this machine" if base is None else base.reference
        shop.reporter.warn(f"{where} lacks what the environment needs of its system: {', '.join(missing)}")
    return missing


@contextmanager
def scratch_directory(work_dir: Path) -> Iterator[Path]:
    """Makes a directory for one execution or comparison, and removes it with all that is in it."""
    with fsio.translate_os_errors(f"make a directory in {work_dir}"):
        work_dir.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="repro-", dir=work_dir))
    try:
        for name in ("project", "report", "home"):
            (scratch / name).mkdir()
        yield scratch
    finally:
        remove_tree(scratch)


def _lay_project(run: Run, shop: Workshop, where: Place) -> None:
    """Writes code and inputs, and makes the directories that the outputs and the command need."""
    shop.export(run.code.tree, where.outer_project)
    for entry in run.inputs:
        shop.export(entry, where.outer_project)
    for path in _output_paths(run):
        _make_directory(where.outer_project, path.rpartition(b"/")[0])
    _make_directory(where.outer_project, decode_name(run.directory))


def _link_environment(run: Run, where: Place, environment: Environment, target: str) -> None:
    """Lets the recorded environment's own path, if it lies in the project, lead to the rebuilt one."""
    inner = inner_prefix(run, environment)
    if inner is None:
        return
    _make_directory(where.outer_project, inner.rpartition(b"/")[0])
    link = where.outer_project / os.fsdecode(inner)
    if not os.path.lexists(link):
        link.symlink_to(target)


def _make_directory(project: Path, path: bytes) -> None:
    """Makes a directory and its parents below the project; a link in the code leads nowhere outside."""
    with fsio.translate_os_errors(f"make {os.fsdecode(path)} in the project's copy"):
        root = os.open(project, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.close(fsio.open_beneath(root, [part for part in path.split(b"/") if part], create=True))
        finally:
            os.close(root)


def _output_paths(run: Run) -> list[bytes]:
    return [*(entry.path for entry in run.outputs), *(decode_name(name) for name in run.missing_outputs)]


def _execute(engine: Engine, execution: Execution, path: Path, log: LogSink) -> EngineResult:
    """Runs the command with its output going to a file and to `log`."""
    with path.open("wb") as file:

        def keep(data: bytes, *, is_error: bool) -> None:
            file.write(data)
            log(data, is_error=is_error)

        return engine.run(execution, keep)
