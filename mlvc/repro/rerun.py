"""Executes a run again and compares what it made with what was recorded: one reproduction, not yet explained."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlvc import fsio
from mlvc.errors import IntegrityError, MlvcError, NotFoundError
from mlvc.model.ids import BlobId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Base, OutputVerdict, Run
from mlvc.ports import Engine, EngineResult, LogSink
from mlvc.repro.compare.comparison import worst
from mlvc.repro.compare.outputs import compare
from mlvc.repro.execute import AS_RECORDED, Executed, Tweaks, Workshop, executed, scratch_directory
from mlvc.repro.host import gpu_facts, host_facts
from mlvc.repro.leftovers import extra_files
from mlvc.repro.progress import Step, read_steps
from mlvc.repro.trace import Trace

__all__ = ["FAILED", "Conditions", "LibraryMissingError", "Rerun", "compare_reruns", "rerun"]

FAILED = "failed"
_LOG_TAIL_BYTES = 64 << 10
_COMMAND_MISSING = 127
_LOADER = re.compile(rb"\A[^\n]*error while loading shared libraries: ([^\s:]+): [^\n]*\n?\Z")


class LibraryMissingError(MlvcError):
    """The command's own program needs a shared library that is not there, so it could not be started."""

    code = "system-library-missing"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a run is executed under.

    Attributes:
        engine: Isolates the command.
        base: The image that the engine runs on, if it has images.
        log: Receives the command's output while it runs.
        memory_mb: The command's memory limit.
    """

    engine: Engine
    base: Base | None
    log: LogSink
    memory_mb: int | None = None


@dataclass(frozen=True, slots=True)
class Rerun:
    """What is known about a reproduction once its command has ended.

    Attributes:
        result: How the command ended.
        verdict: The worst of its outputs', or `failed`.
        outputs: How each output compares.
        log: The end of what the command printed.
        trace: What its processes reported.
        host: Facts about this machine.
        cpus: How many CPUs it had.
        missing_libraries: What the base lacks of the libraries that the environment needs.
        captured: The outputs, by the recorded path; None where nothing that can be stored stands there.
        extra_files: What the command wrote besides, in text form.
        started: UTC, ISO 8601 with microseconds.
        log_id: The whole of what it printed.
        log_bytes: Its length.
        fingerprint: Digests of small numeric operations in the same place; empty where nobody asked.
        steps: Where the training stood at some of its steps, if it told.
    """

    result: EngineResult
    verdict: str
    outputs: tuple[OutputVerdict, ...]
    log: bytes
    trace: Trace
    host: Mapping[str, str]
    cpus: int
    missing_libraries: tuple[str, ...] = ()
    captured: Mapping[bytes, TrackedPath | None] = field(default_factory=dict)
    extra_files: tuple[str, ...] = ()
    started: str = ""
    log_id: BlobId | None = None
    log_bytes: int = 0
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()


def rerun(
    record: Run,
    shop: Workshop,
    conditions: Conditions,
    *,
    recipe: Run | None = None,
    tweaks: Tweaks = AS_RECORDED,
    is_probed: bool = False,
) -> Rerun:
    """Executes a run from nothing but its closure, stores what it made, and compares that with the record.

    A command that runs and does not end as it did when it was recorded is `failed`. What cannot even be started is
    no verdict but an error.

    Args:
        record: What the result is compared with.
        shop: The other rooms.
        conditions: What it is executed under.
        recipe: What is executed; None for the record itself.
        tweaks: What else is changed, in an experiment.
        is_probed: Whether to compute the numeric fingerprint too, where the outputs are not identical.

    Raises:
        LibraryMissingError: The base lacks a library that the program needs to start.
        MlvcError: As `executed` raises it.
    """
    recipe = record if recipe is None else recipe
    with executed(
        recipe,
        shop,
        engine=conditions.engine,
        base=conditions.base,
        log=conditions.log,
        memory_mb=conditions.memory_mb,
        tweaks=tweaks,
    ) as done:
        tail, trace = _tail(done.log), done.read_trace()
        _check_started(done, tail, trace, conditions)
        captured, refused = _capture(record, shop, done.where.outer_project)
        outputs = tuple(
            OutputVerdict(entry.name, "different", str(entry.id), None, refused[entry.path])
            if entry.path in refused
            else compare(
                entry, captured[entry.path], shop.reader, scratch=done.where.scratch, policy=shop.policy
            )
            for entry in record.outputs
        )
        has_failed = done.result.exit_code != record.exit_code
        verdict = FAILED if has_failed else worst(output.verdict for output in outputs)
        with done.log.open("rb") as file:
            log_id, log_bytes = shop.writer.add_stream(file)
        numbers: Mapping[str, str] = {}
        if is_probed and record.fingerprint and verdict not in {"identical", FAILED}:
            here = dataclasses.replace(recipe, engine=conditions.engine.name, base=conditions.base)
            numbers = shop.fingerprint(here, conditions.engine, done.execution)
        return Rerun(
            done.result,
            verdict,
            outputs,
            tail,
            trace,
            {**host_facts(), **gpu_facts(recipe, shop.gpus)},
            done.cpus,
            done.missing_libraries,
            captured,
            extra_files(done.before, done.where.outer_project, [entry.path for entry in record.outputs]),
            done.started,
            log_id,
            log_bytes,
            numbers,
            read_steps(done.steps),
        )


def compare_reruns(first: Rerun, second: Rerun, shop: Workshop) -> str:
    """Returns how what two executions made compares, as one verdict."""
    if first.result.exit_code != second.result.exit_code:
        return FAILED
    with scratch_directory(shop.work_dir) as scratch:
        return worst(
            _compare_pair(before, second.captured.get(path), shop, scratch)
            for path, before in first.captured.items()
        )


def _compare_pair(
    before: TrackedPath | None, after: TrackedPath | None, shop: Workshop, scratch: Path
) -> str:
    if before is None:
        return "identical" if after is None else "different"
    return compare(before, after, shop.reader, scratch=scratch, policy=shop.policy).verdict


def _check_started(done: Executed, tail: bytes, trace: Trace, conditions: Conditions) -> None:
    """Tells a program that could not be loaded from one that ran and failed: nothing else was ever printed."""
    told = _LOADER.match(tail)
    if done.result.exit_code == _COMMAND_MISSING and not trace.processes and told is not None:
        where = "this machine" if conditions.base is None else conditions.base.reference
        name = told.group(1).decode("ascii", "replace")
        raise LibraryMissingError(
            f"the command cannot be started: {where} has no {name}",
            hint="install it there, or name another image as `image.base` in mlvc.toml",
        )


def _capture(
    record: Run, shop: Workshop, project: Path
) -> tuple[dict[bytes, TrackedPath | None], dict[bytes, str]]:
    """Stores the outputs; returns their entries, and why what stands in the place of one is none."""
    captured: dict[bytes, TrackedPath | None] = {}
    refused: dict[bytes, str] = {}
    for entry in record.outputs:
        captured[entry.path] = None
        try:
            captured[entry.path] = shop.capture_output(project, entry.path, shop.writer)
        except NotFoundError:
            continue
        except (IntegrityError, fsio.DiskFullError):
            raise
        except MlvcError as exc:
            # A pipe, a device, a path through a link: something stands there, and it is never opened.
            refused[entry.path] = exc.message
    shop.writer.flush()
    return captured, refused


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
        return file.read()
