"""`mlvc repro`: rebuilds the closure of recorded runs in an empty place, executes them again, and compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlvc.errors import UsageError
from mlvc.model.ids import VerdictId
from mlvc.model.objects import VERDICTS, Base, Run, Verdict
from mlvc.ports import Engine, LogSink
from mlvc.repo import Repo
from mlvc.repro.diagnose.factors import KINDS
from mlvc.repro.reproduce import Inquiry
from mlvc.repro.reproduce import reproduce as execute_and_compare
from mlvc.repro.rerun import Conditions
from mlvc.verbs.recipe import find_recipe
from mlvc.verbs.target import runs_of_target
from mlvc.verbs.workshop import choose_engine, find_system_engine, open_workshop

__all__ = ["ReproOptions", "ReproResult", "Reproduced", "reproduce"]


@dataclass(frozen=True, slots=True)
class ReproOptions:
    """What the user asked for.

    Attributes:
        targets: Runs, commits, revisions or tracked paths; empty for the runs that made what the lock tracks.
        engine: `auto`, `docker`, `bubblewrap` or `none`.
        times: How often each run is executed.
        diagnose: Whether to look for causes where a run is not identical, and with `full` by experiments.
        budget: How much experiments may cost for each run: a number of executions, or of seconds as in `300s`.
        vary: Kinds of variation to try, separated by commas; `all` for every one, empty for none.
        against: What to execute in the place of each run: `work` for the work tree as it is, or another run.
        tolerance: The largest relative error that counts as rounding, in place of those of the settings.
    """

    targets: tuple[str, ...] = ()
    engine: str = "auto"
    times: int = 1
    diagnose: Literal["off", "cheap", "full"] = "cheap"
    budget: str = "20"
    vary: str = ""
    against: str | None = None
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Reproduced:
    """One reproduction of one run; its verdict is stored unless something else was executed in the run's place."""

    run: Run
    verdict_id: VerdictId | None
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
    inquiry = _inquiry(options)
    targets: tuple[str | None, ...] = options.targets or (None,)
    runs = {run.id: run for target in targets for run in runs_of_target(repo, target)}
    reproduced: list[Reproduced] = []
    for run in runs.values():
        reproduced += _reproduce_run(repo, run, options, inquiry, log)
    worst = max((item.verdict.verdict for item in reproduced), key=VERDICTS.index)
    return ReproResult(worst, tuple(reproduced))


def _inquiry(options: ReproOptions) -> Inquiry:
    """Returns what is asked.

    Raises:
        UsageError: An option makes no sense.
    """
    if options.times < 1:
        raise UsageError("--times must be at least 1")
    kinds = tuple(word.strip() for word in options.vary.split(",") if word.strip())
    unknown = [kind for kind in kinds if kind not in {*KINDS, "all"}]
    if unknown:
        raise UsageError(
            f"--vary {unknown[0]}: unknown kind of variation", hint=f"one of {', '.join(KINDS)}, or all"
        )
    amount, is_time = options.budget.removesuffix("s"), options.budget.endswith("s")
    if not (amount.isascii() and amount.isdigit()):
        raise UsageError(
            f"--budget {options.budget}: neither a number of runs nor of seconds", hint="as in 20, or 300s"
        )
    return Inquiry(
        options.times,
        options.diagnose,
        KINDS if "all" in kinds else kinds,
        budget_runs=None if is_time else int(amount),
        budget_s=float(amount) if is_time else None,
    )


def _reproduce_run(
    repo: Repo, run: Run, options: ReproOptions, inquiry: Inquiry, log: LogSink
) -> list[Reproduced]:
    recipe = None if options.against is None else find_recipe(repo, run, options.against)
    engine, base = choose_engine(repo, options.engine, recipe or run)

    def conditions(engine: Engine, base: Base | None) -> Conditions:
        return Conditions(engine, base, log, repo.config.repro_memory_mb)

    system = find_system_engine() if base is not None and inquiry.diagnose == "full" else None
    with repo.store.writer() as writer:
        verdicts = execute_and_compare(
            run,
            open_workshop(repo, writer, tolerance=options.tolerance),
            conditions(engine, base),
            inquiry,
            recipe=recipe,
            system=None if system is None else conditions(system, None),
        )
        # What was executed in the run's place proves nothing about the run.
        if recipe is None:
            for verdict in verdicts:
                writer.add_object(verdict)
    return [Reproduced(run, verdict.id if recipe is None else None, verdict) for verdict in verdicts]
