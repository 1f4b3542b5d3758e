"""`mlvc run`: executes a command and records everything that determined its result.

`prepare` does all that can fail before the command starts (its errors are exit 125), `execute` the rest.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlvc.engines.host import HostEngine
from mlvc.env.capture import capture
from mlvc.env.probe import find_python
from mlvc.errors import MlvcError, UsageError
from mlvc.model.ids import PlanId, RunId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.names import decode_name, encode_name
from mlvc.model.objects import Environment, Run
from mlvc.model.tree import Kind
from mlvc.ports import EngineResult, Execution, LogSink, ObjectReader, ObjectWriter
from mlvc.repo import Repo
from mlvc.repro.host import host_facts
from mlvc.repro.profile import pins, refuse_secrets, select_variables
from mlvc.repro.runtime_files import lay_runtime
from mlvc.repro.trace import observed, read_trace
from mlvc.repro.values import read_log, read_values
from mlvc.verbs.add import GitTracksError, tracked_parent
from mlvc.verbs.numerics import fingerprint
from mlvc.worktree.ignore import add_ignore

__all__ = ["Prepared", "RunOptions", "RunResult", "execute", "prepare"]

_INTERRUPTED = 130
"""128 + SIGINT, what a shell reports for a command that control-C ended."""


class InputMissingError(MlvcError):
    """A declared input does not exist."""

    code = "input-missing"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked for.

    Attributes:
        argv: The command.
        name: What to call the run.
        inputs: Paths as typed, relative to the caller's directory.
        outputs: Likewise.
        params_files: Files to read parameters from, before the command.
        metrics_files: Files to read metrics from, after the command.
        variables: Variables to set and record.
        secrets: Names of the caller's variables to pass on and never record.
        profile: `strict`, `portable` or `none`.
        threads: Number of threads to pin; None for the machine's cores.
        seed: What to seed the generators with; None seeds nothing.
        engine: `none`, `bubblewrap` or `docker`.
        cached: Whether a successful run of the same plan may stand in for this one.
    """

    argv: tuple[str, ...]
    name: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    params_files: tuple[str, ...] = ()
    metrics_files: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    profile: str = "strict"
    threads: int | None = None
    seed: int | None = None
    engine: str = "none"
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to start.

    Attributes:
        run: What is known before the start, with its plan.
        environment: The captured environment, where the command is a Python.
        output_paths: Repository-relative paths of the declared outputs.
        options: What was asked for.
        cached: A recorded run whose outputs stand in, if `--cached` found one.
    """

    run: Run
    environment: Environment | None
    output_paths: tuple[bytes, ...]
    options: RunOptions
    cached: Run | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of it.

    Attributes:
        run: The recorded run.
        exit_code: The command's.
        cached: Whether the outputs were restored instead of made.
    """

    run: Run
    exit_code: int
    cached: bool = False


def prepare(repo: Repo, options: RunOptions) -> Prepared:
    """Captures code, inputs and environment, and secures what the command is about to overwrite.

    Raises:
        MlvcError: The run cannot start: a missing input, an output that git tracks, an unreadable file, ...
    """
    if not options.argv:
        raise UsageError("no command was given", hint="mlvc run -i DATA -o MODEL -- python train.py")
    refuse_secrets(options.variables)
    lock = repo.read_lock()
    input_paths = _unique(repo.path_of(argument) for argument in options.inputs)
    output_paths = _unique(repo.path_of(argument) for argument in options.outputs)
    _check_paths(repo, input_paths, output_paths)
    directory = os.fsencode(os.path.realpath(repo.cwd))[
        len(os.fsencode(os.path.realpath(repo.root))) :
    ].lstrip(b"/")
    threads = _threads(options)
    with repo.editing(), repo.store.writer() as writer:
        inputs = tuple(repo.worktree.capture(path, writer) for path in input_paths)
        # Promise 5: what the command may overwrite must be in an object before it starts.
        repo.worktree.save_existing(output_paths, writer)
        code = repo.code.capture(
            writer,
            untracked=repo.config.code_untracked,
            exclude=[*lock.entries.keys(), *input_paths, *output_paths],
        )
        environment = _environment(repo, options.argv[0], writer)
    params = {}
    for name in options.params_files:
        params.update(read_values(repo.cwd / name))
    inputs = tuple(dataclasses.replace(entry, run=_made_by(entry, lock.entries)) for entry in inputs)
    pinned = pins(options.profile, threads=threads, seed=options.seed)
    run = Run(
        plan=PlanId(bytes(32)),
        argv=tuple(encode_name(os.fsencode(argument)) for argument in options.argv),
        directory=encode_name(directory),
        project=encode_name(os.fsencode(os.path.realpath(repo.root))),
        code=code,
        inputs=inputs,
        # Until the command ends, every declared output counts as missing: the plan needs their names only.
        missing_outputs=tuple(encode_name(path) for path in output_paths),
        environment=None if environment is None else environment.id,
        engine=options.engine,
        variables=select_variables(repo.environment, options.variables, pinned=pinned),
        secrets=options.secrets,
        profile=options.profile,
        pins=pinned,
        threads=threads if options.profile != "none" else 0,
        seed=options.seed,
        params=params,
        params_files=options.params_files,
        metrics_files=options.metrics_files,
        host=host_facts(),
        name=options.name,
        author=repo.code.author(),
    ).with_plan()
    cached = _cached(repo, run, output_paths) if options.cached else None
    return Prepared(run, environment, output_paths, options, cached)


def execute(repo: Repo, prepared: Prepared, log: LogSink) -> RunResult:
    """Runs the command, streams its output to `log`, and records how it went.

    A run that fails or is interrupted is recorded as such and leaves `mlvc.lock` as it was.
    The lock names the outputs of a run that finished, and the environment that made them.
    """
    if prepared.cached is not None:
        return _restore(repo, prepared, prepared.cached)
    for path in prepared.output_paths:
        # A reproduction makes them too: git keeps no empty directories.
        (repo.root / os.fsdecode(path)).parent.mkdir(parents=True, exist_ok=True)
    with _scratch(repo.common_dir / "tmp") as scratch:
        runtime = lay_runtime(repo.common_dir / "runtime")
        captured = _Log(scratch / "log", log)
        variables = _variables(repo, prepared, runtime, scratch)
        started = repo.clock.now()
        status = "finished"
        try:
            result = HostEngine().run(
                Execution(
                    argv=tuple(decode_name(argument) for argument in prepared.run.argv),
                    directory=os.fsdecode(os.path.realpath(repo.cwd)),
                    variables=variables,
                ),
                captured,
            )
        except KeyboardInterrupt:
            elapsed = repo.clock.now() - started
            result, status = EngineResult(_INTERRUPTED, round(elapsed.total_seconds() * 1000)), "interrupted"
        finally:
            captured.close()
        if status == "finished" and result.exit_code != 0:
            status = "failed"
        run = dataclasses.replace(
            prepared.run,
            started=started.isoformat(timespec="microseconds"),
            duration_ms=result.duration_ms,
            exit_code=result.exit_code,
            status=status,
        )
        run = _record(repo, prepared, run, scratch, captured.path)
    return RunResult(run, run.exit_code)


def _record(repo: Repo, prepared: Prepared, run: Run, scratch: Path, log: Path) -> Run:
    """Captures what the command left, stores the run, and, if it finished, writes the lock."""
    trace = read_trace(scratch / "trace")
    logged_params, logged_metrics = read_log(scratch / "values")
    metrics: dict[str, str] = {}
    for name in prepared.options.metrics_files:
        # A run that failed may have written none; its record says so by having none.
        if run.status == "finished" or (repo.cwd / name).exists():
            metrics.update(read_values(repo.cwd / name))
    with repo.editing():
        with repo.store.writer() as writer:
            after = [
                repo.worktree.capture(entry.path, writer)
                for entry in run.inputs
                if repo.worktree.exists(entry.path)
            ]
            before = {entry.path: entry.id for entry in run.inputs}
            outputs = tuple(
                repo.worktree.capture(path, writer)
                for path in prepared.output_paths
                if repo.worktree.exists(path)
            )
            with log.open("rb") as file:
                log_id, log_bytes = writer.add_stream(file)
            present = {entry.path for entry in outputs}
            run = dataclasses.replace(
                run,
                changed_inputs=tuple(entry for entry in after if entry.id != before[entry.path]),
                outputs=outputs,
                missing_outputs=tuple(
                    encode_name(path) for path in prepared.output_paths if path not in present
                ),
                params={**run.params, **logged_params},
                metrics={**metrics, **logged_metrics},
                effective=trace.effective,
                observed=observed(
                    trace,
                    project=os.fsencode(os.path.realpath(repo.root)),
                    home=_home(repo),
                    declared=[*before, *prepared.output_paths, *repo.read_lock().entries],
                    code=set(_code_files(repo.store, run)),
                    environment=_environment_directories(prepared.environment),
                ),
                fingerprint={}
                if prepared.environment is None
                else fingerprint(repo, prepared.environment, {**run.variables, **run.pins}),
                log=log_id,
                log_bytes=log_bytes,
            )
            writer.add_object(run)
        _warn(repo, run)
        if run.status == "finished":
            _track(repo, run)
    return run


def _track(repo: Repo, run: Run) -> None:
    lock = repo.read_lock()
    made_by = run.id
    outputs = [dataclasses.replace(entry, run=made_by) for entry in run.outputs]
    # An output below a tracked directory belongs to that directory's line; `mlvc add` brings it up to date.
    own = [entry for entry in outputs if not tracked_parent(entry.path, lock.entries)]
    below = [path for path in lock.entries if any(path.startswith(entry.path + b"/") for entry in own)]
    for entry in own:
        add_ignore(repo.root, entry.path)
    lock = lock.with_entries(own, removed=below)
    repo.write_lock(dataclasses.replace(lock, environment=run.environment or lock.environment))
    for entry in outputs:
        parent = tracked_parent(entry.path, lock.entries)
        if parent is not None:
            repo.reporter.note(
                f"{entry.name} lies in the tracked {encode_name(parent)}: `mlvc add {encode_name(parent)}`"
            )


def _warn(repo: Repo, run: Run) -> None:
    for entry in run.changed_inputs:
        repo.reporter.warn(f"the input {entry.name} changed while the command ran")
    for name in run.missing_outputs:
        repo.reporter.warn(f"the command did not write the output {name}")
    if run.observed.undeclared:
        listed = "\n".join(f"  -i {name}" for name in run.observed.undeclared[:10])
        repo.reporter.warn(f"read but not declared, so a reproduction will not have them:\n{listed}")
    if run.code.omitted:
        names = "\n".join(f"  {item.replace(chr(9), ': ')}" for item in run.code.omitted[:10])
        repo.reporter.note(f"untracked files left out of the recorded code:\n{names}")


def _restore(repo: Repo, prepared: Prepared, cached: Run) -> RunResult:
    lock = repo.read_lock()
    with repo.editing():
        with repo.store.writer() as writer:
            repo.worktree.materialise(
                {entry.path: entry for entry in cached.outputs},
                {path: lock.entries[path] for path in prepared.output_paths if path in lock.entries},
                force=True,
                writer=writer,
            )
        _track(repo, cached)
    return RunResult(cached, cached.exit_code, cached=True)


def _cached(repo: Repo, run: Run, output_paths: Sequence[bytes]) -> Run | None:
    repo.index.catch_up(repo.reporter)
    for candidate_id in repo.index.runs_by_plan(run.plan, status="finished"):
        candidate = repo.store.read_object(candidate_id)
        if isinstance(candidate, Run) and {entry.path for entry in candidate.outputs} == set(output_paths):
            return candidate
    return None


def _environment(repo: Repo, command: str, writer: ObjectWriter) -> Environment | None:
    python = find_python(command, path=repo.environment.get("PATH", os.defpath), directory=repo.cwd)
    if python is None:
        return None
    environment = capture(
        python,
        project=Path(os.path.realpath(repo.root)),
        reader=repo.store,
        writer=writer,
        cache_dir=repo.common_dir / "cache",
        reporter=repo.reporter,
    )
    writer.add_object(environment)
    return environment


def _variables(repo: Repo, prepared: Prepared, runtime: Path, scratch: Path) -> dict[str, str]:
    variables = {**repo.environment, **prepared.run.variables, **prepared.run.pins}
    inherited = variables.get("PYTHONPATH")
    variables |= {
        "PYTHONPATH": str(runtime) + (os.pathsep + inherited if inherited else ""),
        "PYTHONUNBUFFERED": "1",
        "MLVC_TRACE": str(scratch / "trace"),
        "MLVC_LOG": str(scratch / "values"),
    }
    return variables


def _threads(options: RunOptions) -> int:
    if options.profile == "none":
        return 0
    if options.threads is not None:
        return options.threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_paths(repo: Repo, inputs: Sequence[bytes], outputs: Sequence[bytes]) -> None:
    for path in inputs:
        if not repo.worktree.exists(path):
            raise InputMissingError(f"the input {encode_name(path)} does not exist")
    for path in outputs:
        if path in inputs:
            raise UsageError(f"{encode_name(path)} is named as input and as output")
        in_git = repo.code.tracked_below(path)
        if in_git:
            raise GitTracksError(path, in_git)


def _made_by(entry: TrackedPath, tracked: Mapping[bytes, TrackedPath]) -> RunId | None:
    known = tracked.get(entry.path)
    return known.run if known is not None and known.id == entry.id else None


def _code_files(reader: ObjectReader, run: Run) -> Iterator[bytes]:
    pending = [(b"", run.code.tree)]
    while pending:
        prefix, tree = pending.pop()
        for entry in reader.read_tree(tree):
            if entry.kind is Kind.DIRECTORY:
                pending.append((prefix + entry.name + b"/", TreeId(entry.id.digest)))
            else:
                yield prefix + entry.name


def _environment_directories(environment: Environment | None) -> tuple[bytes, ...]:
    if environment is None:
        return ()
    interpreter = environment.interpreter
    return (decode_name(interpreter.prefix), decode_name(interpreter.base_prefix))


def _home(repo: Repo) -> bytes | None:
    home = repo.environment.get("HOME")
    return os.fsencode(home) if home else None


def _unique(paths: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(paths))


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    parent.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class _Log:
    """Keeps a command's output in a file while it passes it on."""

    def __init__(self, path: Path, forward: LogSink) -> None:
        self.path = path
        self._file = path.open("wb")
        self._forward = forward

    def __call__(self, data: bytes, *, is_error: bool) -> None:
        self._file.write(data)
        self._forward(data, is_error=is_error)

    def close(self) -> None:
        self._file.close()
