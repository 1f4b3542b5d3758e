"""`mlvc repro`: rebuilds the closure of recorded runs in an empty place, executes them again, and compares."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from mlvc.errors import UsageError
from mlvc.model.ids import VerdictId
from mlvc.model.objects import VERDICTS, Base, Run, Verdict
from mlvc.ports import Engine, LogSink
from mlvc.repo import Repo
from mlvc.repro.execute import reproduce as execute_and_compare
from mlvc.verbs.target import runs_of_target
from mlvc.verbs.workshop import choose_engine, open_workshop

__all__ = ["ReproOptions", "ReproResult", "Reproduced", "reproduce"]


@dataclass(frozen=True, slots=True)
class ReproOptions:
    """What the user asked for.

    Attributes:
        targets: Runs, commits, revisions or tracked paths; empty for the runs that made what the lock tracks.
        engine: `auto`, `docker`, `bubblewrap` or `none`.
        times: How often each run is executed.
        diagnose: Whether to look for causes where a run is not identical.
    """

    targets: tuple[str, ...] = ()
    engine: str = "auto"
    times: int = 1
    diagnose: bool = True


@dataclass(frozen=True, slots=True)
class Reproduced:
    """One reproduction of one run."""

    run: Run
    verdict_id: VerdictId
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ReproResult:
    """All of them.

    Attributes:
        verdict: The worst.
        runs: One for each run and repetition, in the order of execution.
    """

    verdict: str
    runs: tuple[Reproduced, ...]


def reproduce(repo: Repo, options: ReproOptions, log: LogSink) -> ReproResult:
    """Executes each run again, stores a verdict for each, and returns them.

    Raises:
        TargetMissingError: A target is unknown or no run made it.
        EngineUnavailableError: Nothing here can isolate the command.
        MlvcError: A run cannot be started here: a missing object, no base image, too few CPUs, no wheel.
    """
    if options.times < 1:
        raise UsageError("--times must be at least 1")
    targets: tuple[str | None, ...] = options.targets or (None,)
    runs = {run.id: run for target in targets for run in runs_of_target(repo, target)}
    reproduced = []
    for run in runs.values():
        engine, base = choose_engine(repo, options.engine, run)
        reproduced += [
            _reproduce_once(repo, run, engine, base, log, diagnose=options.diagnose)
            for _ in range(options.times)
        ]
    worst = max((item.verdict.verdict for item in reproduced), key=VERDICTS.index)
    return ReproResult(worst, tuple(reproduced))


def _reproduce_once(
    repo: Repo, run: Run, engine: Engine, base: Base | None, log: LogSink, *, diagnose: bool
) -> Reproduced:
    with repo.store.writer() as writer:
        verdict = execute_and_compare(
            run,
            open_workshop(repo, writer),
            engine=engine,
            base=base,
            log=log,
            memory_mb=repo.config.repro_memory_mb,
        )
        if not diagnose:
            verdict = dataclasses.replace(verdict, diagnosis=())
        writer.add_object(verdict)
    return Reproduced(run, verdict.id, verdict)
