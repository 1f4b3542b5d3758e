"""`mlvc repro`: rebuilds the closure of recorded runs in an empty place, executes them again, and compares."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlvc.errors import UsageError
from mlvc.model.ids import RunId, VerdictId
from mlvc.model.kinds import RecordKind
from mlvc.model.names import encode_name
from mlvc.model.objects import VERDICTS, Base, Run, Verdict
from mlvc.ports import Engine, LogSink
from mlvc.repo import Repo
from mlvc.repro.diagnose.factors import KINDS
from mlvc.repro.reproduce import Inquiry
from mlvc.repro.reproduce import reproduce as execute_and_compare
from mlvc.repro.rerun import Conditions
from mlvc.store.errors import ObjectMissingError
from mlvc.verbs.orders import Answer, Order, Workers
from mlvc.verbs.recipe import find_recipe
from mlvc.verbs.remote import list_remotes
from mlvc.verbs.source import bring_records, bring_run
from mlvc.verbs.spread import NotExecuted, by_workers, one_by_one
from mlvc.verbs.target import TargetMissingError, runs_of_target
from mlvc.verbs.upstream import Chain, Unproven, find_chain, unproven_inputs
from mlvc.verbs.workshop import choose_engine, find_system_engine, open_workshop

__all__ = ["ReproOptions", "ReproResult", "Reproduced", "order_of", "reproduce", "take_answer"]

_MOST_DIGITS = 9
"""Of a budget: thirty years of seconds."""


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
        accept: The worst verdict that is good enough, for variations too.
        against: What to execute in the place of each run: `work` for the work tree as it is, `lock` for its code
            with the data and environment of `mlvc.lock`, or another run.
        tolerance: The largest relative error that counts as rounding, in place of those of the settings.
        upstream: Whether to execute the runs that made the inputs too, all the way up.
    """

    targets: tuple[str, ...] = ()
    engine: str = "auto"
    times: int = 1
    diagnose: Literal["off", "cheap", "full"] = "cheap"
    budget: str = "20"
    vary: str = ""
    accept: str = "identical"
    against: str | None = None
    tolerance: float | None = None
    upstream: bool = False


@dataclass(frozen=True, slots=True)
class Reproduced:
    """One reproduction of one run.

    Attributes:
        run: What was reproduced.
        verdict_id: The id of the verdict, which is stored; None where something else was executed in the run's place.
        verdict: How it compares.
        unproven: Inputs that were not reproduced upstream; the run got the recorded ones.
    """

    run: Run
    verdict_id: VerdictId | None
    verdict: Verdict
    unproven: tuple[Unproven, ...] = ()


@dataclass(frozen=True, slots=True)
class ReproResult:
    """All of them.

    Attributes:
        verdict: The worst.
        runs: One for each run and repetition, upstream ones first.
        not_executed: Runs that could not be executed.
    """

    verdict: str
    runs: tuple[Reproduced, ...]
    not_executed: tuple[NotExecuted, ...] = ()


def reproduce(repo: Repo, options: ReproOptions, log: LogSink, workers: Workers | None = None) -> ReproResult:
    """Executes each run again, stores a verdict for each, and returns them.

    What a run needs and is not here is brought from the default remote.
    A run that cannot be executed does not keep the others from it. An interrupt keeps the verdicts that are there.

    Args:
        repo: Has the runs.
        options: What the user asked for.
        log: Receives the commands' output while they run; nothing where workers execute them.
        workers: Execute the runs, several at a time; None for one after the other, here.

    Raises:
        TargetMissingError: A target is unknown or no run made it.
        EngineUnavailableError: Nothing here can isolate the command.
        MlvcError: No run could be executed here: a missing object, no base image, too few CPUs, no wheel. It is the
            first run's error; those of the others were warned of.
    """
    inquiry = _inquiry(options)
    targets: tuple[str | None, ...] = options.targets or (None,)
    runs = _runs_of(repo, targets)
    chain = find_chain(repo, runs.values()) if options.upstream else Chain(list(runs.values()))

    if workers is None:
        done, failed = one_by_one(
            chain.runs, lambda run: _reproduce_run(repo, run, options, inquiry, log), repo.reporter
        )
    else:
        done, failed = by_workers(
            chain.runs,
            lambda run: order_of(repo, run, options).encode(),
            lambda run, answer: take_answer(repo, run, options, answer),
            workers,
            repo.reporter,
        )
    if not done:
        for other in failed[1:]:
            repo.reporter.warn(f"run {other.run.id.short} could not be executed: {other.error.message}")
        raise failed[0].error
    return _result(chain, done, failed)


def _result(
    chain: Chain, done: Mapping[RunId, Sequence[Reproduced]], failed: Sequence[NotExecuted]
) -> ReproResult:
    verdicts = {run_id: [item.verdict for item in items] for run_id, items in done.items()}
    reproduced = []
    for run in chain.runs:
        run_id = run.id
        unproven = unproven_inputs(chain.makers.get(run_id, ()), verdicts)
        reproduced += [dataclasses.replace(item, unproven=unproven) for item in done.get(run_id, ())]
    worst = max((item.verdict.verdict for item in reproduced), key=VERDICTS.index)
    return ReproResult(worst, tuple(reproduced), tuple(failed))


def order_of(repo: Repo, run: Run, options: ReproOptions) -> Order:
    """Returns what a worker is told that is to execute a run."""
    remotes = [entry for entry in list_remotes(repo) if entry.is_default]
    # Experiments and variations change the number of threads; they get all CPUs.
    is_bound = options.diagnose != "full" and not options.vary
    return Order(
        root=encode_name(os.fsencode(repo.root)),
        project_id=repo.config.project_id,
        remote_url=remotes[0].url if remotes else None,
        run=str(run.id),
        cpus=run.threads if is_bound else 0,
        options=dataclasses.asdict(dataclasses.replace(options, targets=(), upstream=False)),
        remote_options=dataclasses.asdict(remotes[0].options) if remotes else {},
    )


def take_answer(repo: Repo, run: Run, options: ReproOptions, data: bytes) -> Sequence[Reproduced]:
    """Stores what a worker answered to an order; where it worked on this very store, that is there already.

    Raises:
        MlvcError: It could not execute the run.
    """
    answer = Answer.decode(data)
    for warning in answer.warnings:
        repo.reporter.warn(f"run {run.name or run.id.short}: {warning}")
    if answer.error is not None:
        raise answer.error
    if options.against is not None:
        return [Reproduced(run, None, verdict) for verdict, _ in answer.verdicts]
    with repo.store.writer() as writer:
        for verdict, log in answer.verdicts:
            if log is not None:
                writer.add_blob(log)
            writer.add_object(verdict)
    return [Reproduced(run, verdict.id, verdict) for verdict, _ in answer.verdicts]


def _inquiry(options: ReproOptions) -> Inquiry:
    """Returns what is asked.

    Raises:
        UsageError: An option makes no sense.
    """
    if options.times < 1:
        raise UsageError("--times must be at least 1")
    if options.upstream and options.against is not None:
        raise UsageError(
            "--upstream and --against exclude each other",
            hint="--against says nothing about the run's own inputs",
        )
    if options.tolerance is not None and not 0 <= options.tolerance <= 1:
        raise UsageError(f"--tolerance {options.tolerance}: not between 0 and 1", hint="as in 1e-6")
    kinds = tuple(word.strip() for word in options.vary.split(",") if word.strip())
    unknown = [kind for kind in kinds if kind not in {*KINDS, "all"}]
    if unknown:
        raise UsageError(
            f"--vary {unknown[0]}: unknown kind of variation", hint=f"one of {', '.join(KINDS)}, or all"
        )
    amount, is_time = options.budget.removesuffix("s"), options.budget.endswith("s")
    if not (amount.isascii() and amount.isdigit() and len(amount) <= _MOST_DIGITS):
        raise UsageError(
            f"--budget {options.budget}: neither a number of runs nor of seconds", hint="as in 20, or 300s"
        )
    return Inquiry(
        options.times,
        options.diagnose,
        KINDS if "all" in kinds else kinds,
        options.accept,
        budget_runs=None if is_time else int(amount),
        budget_s=float(amount) if is_time else None,
    )


def _runs_of(repo: Repo, targets: Sequence[str | None]) -> dict[RunId, Run]:
    """Returns the runs that targets stand for; in a clone that has not fetched them, their records come first."""

    def find() -> dict[RunId, Run]:
        return {run.id: run for target in targets for run in runs_of_target(repo, target)}

    try:
        return find()
    except (ObjectMissingError, TargetMissingError) as exc:
        # A name that is unknown beside others is a slip of the hand more often than news.
        is_news = isinstance(exc, ObjectMissingError) or not any(repo.store.iter_object_ids(RecordKind.RUN))
        if not is_news or not bring_records(repo):
            raise
        return find()


def _reproduce_run(
    repo: Repo, run: Run, options: ReproOptions, inquiry: Inquiry, log: LogSink
) -> Sequence[Reproduced]:
    bring_run(repo, run.id)
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
