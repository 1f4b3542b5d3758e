"""The runs that made what other runs read, all the way up, and what their verdicts mean for those that stand on them.

A reproduction always gets the recorded inputs, also where the run that made one of them did not give it again: then
each step is judged alone, a fault is seen in the step that has it and not in all that follow, and no step waits for
another. That a run stands on an input that was not reproduced is said beside its verdict. Where every step is
identical, the whole chain is, because each then got what the one before it gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlvc.model.ids import PlanId, RunId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import VERDICTS, Run, Verdict
from mlvc.repo import Repo

__all__ = ["Chain", "Unproven", "find_chain", "unproven_inputs"]

_SAME = "identical"


@dataclass(frozen=True, slots=True)
class Unproven:
    """An input that was not reproduced.

    Attributes:
        path: In text form.
        run: The run that made it.
        verdict: How that run's output compares; None where the run could not be executed.
    """

    path: str
    run: RunId
    verdict: str | None


@dataclass(slots=True)
class Chain:
    """Runs with those that made their inputs.

    Attributes:
        runs: Each before all that read what it made; one for each plan and outcome.
        makers: For each of them, the inputs that a run made, and that run.
    """

    runs: list[Run] = field(default_factory=list)
    makers: dict[RunId, list[tuple[TrackedPath, RunId]]] = field(default_factory=dict)


def find_chain(repo: Repo, targets: Iterable[Run]) -> Chain:
    """Returns the runs and all that are upstream of them, in an order in which they could have been made.

    A run that was recorded several times with the same plan and outputs is one run. What made an input is what the
    record says, else the first finished run that is known to have made these bytes. A run that is named and not here
    is warned of.
    """
    repo.index.catch_up(repo.reporter)
    chain = Chain()
    same: dict[tuple[PlanId, tuple[tuple[str, str], ...]], RunId] = {}
    known: dict[RunId, RunId] = {}
    pending = [(run, False) for run in reversed(list(targets))]
    while pending:
        run, is_open = pending.pop()
        run_id = run.id
        if is_open:
            chain.makers[run_id] = [(entry, known.get(maker, maker)) for entry, maker in chain.makers[run_id]]
            chain.runs.append(run)
            continue
        if run_id in known:
            continue
        outcome = (run.plan, tuple((entry.name, str(entry.id)) for entry in run.outputs))
        known[run_id] = same.setdefault(outcome, run_id)
        if known[run_id] != run_id:
            continue
        made = [(entry, maker) for entry in run.inputs if (maker := _maker(repo, entry, run)) is not None]
        chain.makers[run_id] = [(entry, maker.id) for entry, maker in made]
        pending.append((run, True))
        pending += [(maker, False) for _, maker in reversed(made)]
    return chain


def _maker(repo: Repo, entry: TrackedPath, reader: Run) -> Run | None:
    if entry.run is not None:
        candidates: Sequence[RunId] = [entry.run]
        if not repo.store.has_object(entry.run):
            repo.reporter.warn(
                f"the run {entry.run.short} that made {entry.name} is not here, so it is not executed: `mlvc fetch`"
            )
            return None
    else:
        candidates = [
            run_id for run_id in reversed(repo.index.runs_by_output(entry.id)) if run_id != reader.id
        ]
    for run_id in candidates:
        run = repo.store.read_object(run_id)
        if isinstance(run, Run) and (entry.run is not None or run.status == "finished"):
            return run
    return None


def unproven_inputs(
    makers: Sequence[tuple[TrackedPath, RunId]], verdicts: Mapping[RunId, Sequence[Verdict]]
) -> tuple[Unproven, ...]:
    """Returns those of a run's inputs that the runs that made them did not give again, each time they were executed."""
    found = []
    for entry, run_id in makers:
        told = [_verdict_on(entry, verdict) for verdict in verdicts.get(run_id, ())]
        worst = max(told, key=VERDICTS.index, default=None)
        if worst != _SAME:
            found.append(Unproven(entry.name, run_id, worst))
    return tuple(found)


def _verdict_on(entry: TrackedPath, verdict: Verdict) -> str:
    """Returns the verdict on the output that the input is; on the run where the input is only a part of one."""
    recorded = str(entry.id)
    return next((item.verdict for item in verdict.outputs if item.recorded == recorded), verdict.verdict)
