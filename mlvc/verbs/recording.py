"""`mlvc run`, the second half: executes a prepared command and records how it went.

On this machine as it is, or inside an engine exactly as a reproduction would; the record has the same form.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlvc import fsio
from mlvc.errors import IntegrityError, MlvcError, NotFoundError
from mlvc.model.ids import BlobId
from mlvc.model.lock import TrackedPath
from mlvc.model.names import decode_name, encode_name
from mlvc.model.objects import Run
from mlvc.model.series import encode_series
from mlvc.model.tree import Kind
from mlvc.ports import EngineResult, Execution, LogSink, ObjectWriter
from mlvc.repo import Repo
from mlvc.repro.observed import observed
from mlvc.repro.plan import choose_cpus
from mlvc.repro.profile import unset
from mlvc.repro.progress import UNREADABLE, Step, encode_steps, read_steps
from mlvc.repro.runtime_files import lay_runtime
from mlvc.repro.trace import Trace, read_trace
from mlvc.repro.values import (
    MOST_BYTES,
    Metrics,
    ValuesUnreadableError,
    decode_metrics,
    read_log,
    read_metrics,
)
from mlvc.verbs.add import tracked_parent
from mlvc.verbs.findings import effective, refusals, refuse, uses_gpu, warn, what_is_known
from mlvc.verbs.numerics import fingerprint
from mlvc.verbs.owners import find_owners
from mlvc.verbs.run import Prepared
from mlvc.verbs.undeclared import digest_undeclared
from mlvc.verbs.watching import run_watched
from mlvc.worktree.ignore import add_ignore, remove_ignore

__all__ = ["RunResult", "execute"]

_INTERRUPTED = 130
"""128 + SIGINT, what a shell reports for a command that control-C ended."""


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


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a command left behind; its files last as long as the context that made it.

    Attributes:
        result: How it ended.
        interrupted: Whether the user ended it.
        started: UTC, ISO 8601 with microseconds.
        log: Its output.
        trace: What it reported of itself.
        values: Where it logged parameters and metrics.
        steps: Where it noted the steps of a training.
        metrics: What the metrics files say.
        place: What an engine executed, in whose place more can be; None for this machine.
        outputs: Where an engine left the outputs that exist; None where they are in the work tree already.
        refused: Why what stands in the place of an output cannot be stored, such as a pipe; None where all can.
    """

    result: EngineResult
    interrupted: bool
    started: str
    log: Path
    trace: Trace
    values: Path
    steps: Path
    metrics: Metrics
    outputs: tuple[TrackedPath, ...] | None = None
    refused: MlvcError | None = None
    place: Execution | None = None


def execute(repo: Repo, prepared: Prepared, log: LogSink) -> RunResult:
    """Runs the command, streams its output to `log`, and records how it went.

    A run that fails or is interrupted is recorded as such and leaves `mlvc.lock` as it was.
    The lock names the outputs of a run that finished, and the environment that made them.

    Raises:
        PinIgnoredError: A library ignored a pin; the run is recorded as failed.
        UndeclaredInputsError: It read undeclared files, and that was not to be; likewise.
        UnstorableError: Something that cannot be stored stands in the place of an output; likewise.
    """
    if prepared.cached is not None:
        return _restore(repo, prepared, prepared.cached)
    where = _in_engine if prepared.engine.isolated else _on_host
    with where(repo, prepared, log) as outcome:
        outputs, refused = _capture(repo, prepared, outcome)
        unstable = None
        if prepared.options.verify and outcome.result.exit_code == 0 and refused is None:
            unstable = _unstable(repo, prepared, outputs, log)
        run = _record(repo, prepared, dataclasses.replace(outcome, refused=refused), outputs, unstable)
    if refused is not None:
        repo.reporter.warn(
            f"run {run.id.short} is recorded as failed, because not all of its outputs can be stored"
        )
        raise refused
    if run.exit_code == 0:
        refuse(run, strict_inputs=prepared.options.strict_inputs)
    return RunResult(run, run.exit_code)


@contextmanager
def _on_host(repo: Repo, prepared: Prepared, log: LogSink) -> Iterator[_Outcome]:
    with _scratch(repo.common_dir / "tmp") as scratch:
        started = repo.clock.now()
        interrupted = False
        with (scratch / "log").open("wb") as file:

            def keep(data: bytes, *, is_error: bool) -> None:
                file.write(data)
                log(data, is_error=is_error)

            try:
                result, trace = run_watched(
                    repo,
                    prepared.run,
                    prepared.engine,
                    _execution(repo, prepared, scratch),
                    scratch=scratch,
                    log=keep,
                )
            except KeyboardInterrupt:
                trace = read_trace(scratch / "trace")
                elapsed = repo.clock.now() - started
                result = EngineResult(_INTERRUPTED, round(elapsed.total_seconds() * 1000))
                interrupted = True
        yield _Outcome(
            result,
            interrupted,
            started.isoformat(timespec="microseconds"),
            scratch / "log",
            trace,
            scratch / "values",
            scratch / "steps",
            _metrics(repo, prepared, lambda name: read_metrics(repo.cwd / name), result.exit_code),
        )


@contextmanager
def _in_engine(repo: Repo, prepared: Prepared, log: LogSink) -> Iterator[_Outcome]:
    from mlvc.repro.execute import executed  # noqa: PLC0415  # 20 ms that a run on this machine need not pay
    from mlvc.verbs.workshop import open_workshop  # noqa: PLC0415  # likewise

    run = prepared.run
    with repo.store.writer() as writer:
        shop = open_workshop(repo, writer)
        with executed(
            run,
            shop,
            engine=prepared.engine,
            base=run.base,
            log=log,
            memory_mb=repo.config.repro_memory_mb,
            interrupted_exit=_INTERRUPTED,
        ) as done:

            def capture(path: bytes) -> TrackedPath:
                # What the command wrote is not trusted: no link is followed, nothing special is opened.
                return shop.capture_output(done.where.outer_project, path, writer)

            def metrics_of(name: str) -> Metrics:
                path = repo.path_of(name)
                try:
                    entry = capture(path)
                except NotFoundError as exc:
                    raise ValuesUnreadableError(exc.message) from exc
                writer.flush()
                if entry.kind not in {Kind.FILE, Kind.EXECUTABLE}:
                    raise ValuesUnreadableError(f"{entry.name} is a {entry.kind.word}")
                return decode_metrics(
                    repo.store.read_blob(BlobId(entry.id.digest), limit_bytes=MOST_BYTES), path
                )

            outputs, refused = _storable(prepared.output_paths, capture)
            writer.flush()
            yield _Outcome(
                done.result,
                interrupted=done.interrupted,
                started=done.started,
                log=done.log,
                trace=done.read_trace(),
                values=done.values,
                steps=done.steps,
                metrics=_metrics(repo, prepared, metrics_of, done.result.exit_code),
                outputs=outputs,
                refused=refused,
                place=done.execution,
            )


def _record(
    repo: Repo,
    prepared: Prepared,
    outcome: _Outcome,
    outputs: Sequence[TrackedPath],
    unstable: tuple[str, ...] | None,
) -> Run:
    """Stores the run and, if it finished, writes the lock; `unstable` is None where it was not executed again."""
    logged_params, logged_metrics = read_log(outcome.values)
    metrics = outcome.metrics | logged_metrics
    run = prepared.run
    seen = observed(outcome.trace, what_is_known(repo, prepared))
    seen = dataclasses.replace(seen, digests=digest_undeclared(seen.undeclared, repo.root))
    packages = {} if run.base is not None else find_owners(repo, map(decode_name, seen.libraries))
    numbers = (
        {}
        if prepared.environment is None or outcome.interrupted
        else fingerprint(repo, prepared.environment, run, prepared.engine, outcome.place)
    )
    with repo.editing():
        with repo.store.writer() as writer:
            if outcome.outputs is not None:
                repo.worktree.materialise({entry.path: entry for entry in outputs}, {}, force=True)
            changed = _changed_inputs(repo, run, writer) if outcome.outputs is None else ()
            with outcome.log.open("rb") as file:
                log_id, log_bytes = writer.add_stream(file)
            steps = read_steps(outcome.steps)
            _warn_of_unreadable(repo, steps)
            present = {entry.path for entry in outputs}
            run = dataclasses.replace(
                run,
                status="interrupted" if outcome.interrupted else "failed",
                started=outcome.started,
                duration_ms=outcome.result.duration_ms,
                exit_code=outcome.result.exit_code,
                changed_inputs=changed,
                outputs=tuple(outputs),
                missing_outputs=tuple(
                    encode_name(path) for path in prepared.output_paths if path not in present
                ),
                params={**run.params, **logged_params},
                metrics=metrics.values,
                series=writer.add_blob(encode_series(metrics.series)) if metrics.series else None,
                effective=effective(outcome.trace, run),
                observed=dataclasses.replace(seen, packages=packages),
                fingerprint=numbers,
                gpus=run.gpus if uses_gpu(outcome.trace) else (),
                log=log_id,
                log_bytes=log_bytes,
                steps=writer.add_blob(encode_steps(steps)) if steps else None,
                repeats=0 if unstable is None else 1,
                unstable_outputs=unstable or (),
            )
            refused = outcome.refused is not None or refusals(
                run, strict_inputs=prepared.options.strict_inputs
            )
            if run.exit_code == 0 and not refused:
                run = dataclasses.replace(run, status="finished")
            writer.add_object(run)
        warn(repo, run)
        if run.status == "finished":
            _track(repo, run)
        else:
            for path in prepared.ignored:
                remove_ignore(repo.root, path)
    return run


def _warn_of_unreadable(repo: Repo, steps: Sequence[Step]) -> None:
    names = {"batch": [step.batch for step in steps], "loss": [step.loss for step in steps]}
    names["model"] = [step.model for step in steps]
    for name, noted in names.items():
        if UNREADABLE in noted:
            step = steps[noted.index(UNREADABLE)]
            repo.reporter.warn(
                f"mlvc.step could not read the {name} of step {step.number}, so it is not compared"
            )


def _capture(
    repo: Repo, prepared: Prepared, outcome: _Outcome
) -> tuple[tuple[TrackedPath, ...], MlvcError | None]:
    """Returns the outputs, which are stored then, and why one that is there cannot be, if so."""
    if outcome.outputs is not None:
        return outcome.outputs, outcome.refused
    tracked = repo.read_lock().entries
    there = [path for path in prepared.output_paths if repo.worktree.exists(path)]
    with repo.editing(), repo.store.writer() as writer:
        return _storable(there, lambda path: repo.worktree.capture(path, writer, tracked.get(path)))


def _storable(
    paths: Sequence[bytes], capture: Callable[[bytes], TrackedPath]
) -> tuple[tuple[TrackedPath, ...], MlvcError | None]:
    """Stores what exists, and goes on after what cannot be: a long training must not be lost for a socket."""
    entries = []
    refused: MlvcError | None = None
    for path in paths:
        try:
            entries.append(capture(path))
        except NotFoundError:
            continue
        except (IntegrityError, fsio.DiskFullError):
            raise
        except MlvcError as exc:
            refused = refused or exc
    return tuple(entries), refused


def _unstable(
    repo: Repo, prepared: Prepared, outputs: Sequence[TrackedPath], log: LogSink
) -> tuple[str, ...]:
    """Executes the command again and returns which outputs have other bytes then.

    One after the other, because two at once would share the CPUs that one of them was pinned to. In an engine the
    place is a new one; on this machine the outputs are first put back to what they were before the run, and in the
    end to what the first execution made.
    """
    isolated = prepared.engine.isolated
    first = {entry.path: entry for entry in outputs}
    if not isolated:
        _put(repo, prepared.before, first)
    where = _in_engine if isolated else _on_host
    with where(repo, prepared, log) as again:
        entries, refused = _capture(repo, prepared, again)
        second = {entry.path: entry for entry in entries}
        failed = again.result.exit_code != 0 or refused is not None
    if not isolated:
        _put(repo, first, second)
    return tuple(
        entry.name
        for path, entry in sorted({**second, **first}.items())
        if failed or path not in first or path not in second or first[path].id != second[path].id
    )


def _put(repo: Repo, wanted: Mapping[bytes, TrackedPath], there: Mapping[bytes, TrackedPath]) -> None:
    with repo.editing():
        repo.worktree.materialise(wanted, there, force=True)


def _changed_inputs(repo: Repo, run: Run, writer: ObjectWriter) -> tuple[TrackedPath, ...]:
    before = {entry.path: entry.id for entry in run.inputs}
    after = [repo.worktree.capture(path, writer) for path in before if repo.worktree.exists(path)]
    return tuple(entry for entry in after if entry.id != before[entry.path])


def _metrics(repo: Repo, prepared: Prepared, read: Callable[[str], Metrics], exit_code: int) -> Metrics:
    metrics = Metrics()
    for name in prepared.options.metrics_files:
        try:
            metrics |= read(name)
        except ValuesUnreadableError as exc:
            # What the command did has to be recorded all the same; a run that failed may have written none.
            if exit_code == 0:
                repo.reporter.warn(f"no metrics: {exc.message}")
    return metrics


def _track(repo: Repo, run: Run) -> None:
    lock = repo.read_lock()
    made_by = run.id
    outputs = [entry._replace(run=made_by) for entry in run.outputs]
    # An output below a tracked directory belongs to that directory's line; `mlvc add` brings it up to date.
    own = [entry for entry in outputs if not tracked_parent(entry.path, lock.entries)]
    below = [path for path in lock.entries if any(path.startswith(entry.path + b"/") for entry in own)]
    for entry in own:
        add_ignore(repo.root, entry.path)
    lock = lock.with_entries(own, removed=below)
    repo.write_lock(lock._replace(environment=run.environment or lock.environment))
    repo.note_brought(own, removed=below)
    for entry in outputs:
        parent = tracked_parent(entry.path, lock.entries)
        if parent is not None:
            repo.reporter.note(
                f"{entry.name} lies in the tracked {encode_name(parent)}: `mlvc add {encode_name(parent)}`"
            )


def _restore(repo: Repo, prepared: Prepared, cached: Run) -> RunResult:
    lock = repo.read_lock()
    with repo.editing():
        repo.worktree.materialise(
            {entry.path: entry for entry in cached.outputs},
            {path: lock.entries[path] for path in prepared.output_paths if path in lock.entries},
            force=True,
        )
        _track(repo, cached)
    return RunResult(cached, cached.exit_code, cached=True)


def _execution(repo: Repo, prepared: Prepared, scratch: Path) -> Execution:
    run = prepared.run
    return Execution(
        argv=tuple(decode_name(argument) for argument in run.argv),
        directory=os.path.realpath(repo.cwd),
        variables=_variables(repo, prepared, scratch),
        # As many as a reproduction will have: some libraries count them, whatever they are told.
        cpus=choose_cpus(run.threads, os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
    )


def _variables(repo: Repo, prepared: Prepared, scratch: Path) -> dict[str, str]:
    runtime = lay_runtime(repo.common_dir / "runtime")
    run = prepared.run
    inherited = {name: value for name, value in repo.environment.items() if name not in unset(run.profile)}
    variables = {**inherited, **run.variables, **run.pins}
    path = variables.get("PYTHONPATH")
    variables |= {
        "PYTHONPATH": str(runtime) + (os.pathsep + path if path else ""),
        "PYTHONUNBUFFERED": "1",
        "MLVC_TRACE": str(scratch / "trace"),
        "MLVC_LOG": str(scratch / "values"),
        "MLVC_STEPS": str(scratch / "steps"),
    }
    return variables


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    parent.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
