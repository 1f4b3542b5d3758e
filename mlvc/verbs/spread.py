"""Does something for each of many runs, here or by workers; a run for which it fails does not hide the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from typing import TypeVar

from mlvc.errors import MlvcError
from mlvc.model.ids import RunId
from mlvc.model.objects import Run
from mlvc.ports import Reporter
from mlvc.verbs.orders import Workers

__all__ = ["NotExecuted", "by_workers", "one_by_one"]

_Done = TypeVar("_Done")


@dataclass(frozen=True, slots=True)
class NotExecuted:
    """A run that could not be executed, and why."""

    run: Run
    error: MlvcError


def one_by_one(
    runs: Sequence[Run], execute: Callable[[Run], _Done], reporter: Reporter
) -> tuple[dict[RunId, _Done], list[NotExecuted]]:
    """Returns what `execute` returned for each run, and the runs for which it raised a MlvcError."""
    done: dict[RunId, _Done] = {}
    failed: list[NotExecuted] = []
    with reporter.task("reproducing", total=len(runs), unit="runs") as task:
        for run in runs:
            try:
                done[run.id] = execute(run)
            except MlvcError as exc:
                failed.append(NotExecuted(run, exc))
            task.advance()
    return done, failed


def by_workers(
    runs: Sequence[Run],
    order: Callable[[Run], bytes],
    take: Callable[[Run, bytes], _Done],
    workers: Workers,
    reporter: Reporter,
) -> tuple[dict[RunId, _Done], list[NotExecuted]]:
    """The same, where workers execute the runs; on any exception, KeyboardInterrupt included, they are stopped first.

    Args:
        runs: The runs; they are begun in this order.
        order: Tells a worker what to do.
        take: Called in this thread with each answer, as it comes.
        workers: Whoever executes.
        reporter: Told of each run that has ended.
    """
    done: dict[RunId, _Done] = {}
    failed: dict[RunId, NotExecuted] = {}
    try:
        futures: dict[Future[bytes], Run] = {workers.submit(order(run)): run for run in runs}
        with reporter.task("reproducing", total=len(runs), unit="runs") as task:
            for future in as_completed(futures):
                run = futures[future]
                try:
                    done[run.id] = take(run, future.result())
                    how = "executed"
                except MlvcError as exc:
                    failed[run.id] = NotExecuted(run, exc)
                    how = "could not be executed"
                task.advance()
                count = len(done) + len(failed)
                reporter.note(f"{count} of {len(runs)}: run {run.name or run.id.short} {how}")
    except BaseException:
        workers.stop()
        raise
    return done, [failed[run.id] for run in runs if run.id in failed]
