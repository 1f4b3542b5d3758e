"""How `mlvc ci` proves the runs that it chose: by a verdict that holds here, or by executing them within a budget."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlvc.errors import MlvcError
from mlvc.model.ids import RunId
from mlvc.model.lock import Lock
from mlvc.model.objects import VERDICTS, Run, Verdict
from mlvc.ports import LogSink
from mlvc.repo import Repo
from mlvc.repro.host import gpu_facts, host_class, host_facts
from mlvc.verbs.ci_budget import Budget, BudgetSpentError
from mlvc.verbs.ci_choice import Choice
from mlvc.verbs.closure import Closure
from mlvc.verbs.comparing import policy_of
from mlvc.verbs.gpus import find_gpus
from mlvc.verbs.locate import find_entry
from mlvc.verbs.orders import Workers
from mlvc.verbs.recipe import LOCK, locked_environment
from mlvc.verbs.repro import Reproduced, ReproOptions, order_of, reproduce, take_answer
from mlvc.verbs.source import Source, open_source
from mlvc.verbs.spread import NotExecuted
from mlvc.verbs.workshop import base_reference

if TYPE_CHECKING:
    from mlvc.index.database import MetadataIndex

__all__ = ["Manner", "Proof", "is_accepted", "prove"]

_SAME = "identical"


@dataclass(frozen=True, slots=True)
class Manner:
    """How runs are executed.

    Attributes:
        fresh: Whether also where a verdict already holds for a machine like this.
        engine: `auto`, `docker`, `bubblewrap` or `none`.
        accept: The worst verdict that is good enough.
        log: Receives the commands' output while they run; nothing where workers execute them.
        jobs: How many at a time.
        workers: Execute them; None for one after the other, here.
    """

    fresh: bool
    engine: str
    accept: str
    log: LogSink
    jobs: int = 1
    workers: Workers | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """One run, and what shows whether it gives its outputs again.

    Attributes:
        choice: The run, and why it is asked about.
        reproduced: The reproduction.
        cached: Whether that was done before, on a machine like this.
    """

    choice: Choice
    reproduced: Reproduced
    cached: bool = False


def prove(
    repo: Repo, lock: Lock, choices: Sequence[Choice], manner: Manner, budget: Budget
) -> tuple[Sequence[Proof], Sequence[NotExecuted]]:
    """Returns what each run gave, in the order of the choices, and those that were not executed.

    The shortest goes first, so that a budget proves as many as it can. On any exception, KeyboardInterrupt included,
    what workers have begun is stopped first.

    Raises:
        MlvcError: What is known of earlier verdicts cannot be read.
    """
    proofs = {
        choice.run.id: Proof(choice, known, cached=True)
        for choice, known in repo.mending_index(lambda: _known(repo, choices, manner))
    }
    to_execute = [choice for choice in choices if choice.run.id not in proofs]
    to_execute.sort(key=lambda choice: choice.run.duration_ms)
    try:
        missed = _execute(repo, lock, to_execute, manner, budget, proofs)
    except BaseException:
        if manner.workers is not None:
            manner.workers.stop()
        raise
    ids = [choice.run.id for choice in choices]
    return [proofs[item] for item in ids if item in proofs], [missed[item] for item in ids if item in missed]


def _execute(
    repo: Repo,
    lock: Lock,
    choices: Sequence[Choice],
    manner: Manner,
    budget: Budget,
    proofs: dict[RunId, Proof],
) -> Mapping[RunId, NotExecuted]:
    """Executes what the budget allows, adds the proofs, and returns the rest.

    A run is begun only when there is room for it, because only then is it known what is left of the budget.
    """
    missed: dict[RunId, NotExecuted] = {}
    waiting, running = deque(choices), dict[Future[Reproduced | bytes], Choice]()
    source: Source | None = None
    # Until the last has ended, no gc deletes what was brought for it.
    with repo.store.in_use():
        while waiting or running:
            while waiting and len(running) < manner.jobs:
                choice = waiting.popleft()
                try:
                    budget.begin(choice.run)
                except BudgetSpentError as exc:
                    missed[choice.run.id] = NotExecuted(choice.run, exc)
                    continue
                try:
                    source = source or open_source(repo, None)
                    _bring(repo, lock, choice, source)
                    running[_begin(repo, choice, manner)] = choice
                except MlvcError as exc:
                    budget.end(choice.run, 0)
                    missed[choice.run.id] = NotExecuted(choice.run, exc)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                choice = running.pop(future)
                try:
                    done = _taken(repo, choice, manner, future.result())
                except MlvcError as exc:
                    budget.end(choice.run, None)
                    missed[choice.run.id] = NotExecuted(choice.run, exc)
                    continue
                budget.end(choice.run, done.verdict.duration_ms)
                proofs[choice.run.id] = Proof(choice, done)
    return missed


def _options(choice: Choice, manner: Manner) -> ReproOptions:
    return ReproOptions((str(choice.run.id),), engine=manner.engine, against=LOCK if choice.stale else None)


def _begin(repo: Repo, choice: Choice, manner: Manner) -> Future[Reproduced | bytes]:
    """Has a worker begin, or executes it here before it returns.

    Raises:
        MlvcError: It could not be executed here.
    """
    options = _options(choice, manner)
    if manner.workers is not None:
        return manner.workers.submit(order_of(repo, choice.run, options).encode())  # type: ignore[return-value]
    future: Future[Reproduced | bytes] = Future()
    future.set_result(reproduce(repo, options, manner.log).runs[0])
    return future


def _taken(repo: Repo, choice: Choice, manner: Manner, answer: Reproduced | bytes) -> Reproduced:
    if isinstance(answer, Reproduced):
        return answer
    return take_answer(repo, choice.run, _options(choice, manner), answer)[0]


def _bring(repo: Repo, lock: Lock, choice: Choice, source: Source) -> None:
    """Brings what one execution reads, and the outputs that it is compared with; no other data."""
    closure = Closure(repo)
    closure.add_object(choice.run.id, "this job")
    if choice.stale:
        inputs = (find_entry(repo.store, lock, entry.path) for entry in choice.run.inputs)
        closure.add_paths(entry for entry in inputs if entry is not None)
        environment = locked_environment(repo, lock, choice.run)
        if environment is not None:
            closure.add_object(environment, "mlvc.lock")
    records = (record for item in closure.needed for record in repo.store.records_of(item))
    source.bring(repo, repo.store.lacking(records))


# ----------------------------------------------------------------------------------- what is known already


def _known(repo: Repo, choices: Sequence[Choice], manner: Manner) -> Sequence[tuple[Choice, Reproduced]]:
    """Returns the runs that need not be executed, each with what shows it."""
    # A verdict whose object is not here counts for nothing, so a team's index that is down withholds nothing.
    index = repo.index_for_work()
    asked = [choice for choice in choices if not (manner.fresh or choice.stale)]
    found = [(choice, _find_verdict(repo, index, choice.run, manner)) for choice in asked]
    return [(choice, verdict) for choice, verdict in found if verdict is not None]


def _find_verdict(repo: Repo, index: MetadataIndex, run: Run, manner: Manner) -> Reproduced | None:
    """Returns the latest verdict on a machine of this class, if that one is good enough."""
    facts = {**host_facts(), **(gpu_facts(run, find_gpus(repo).names) if run.gpus else {})}
    for row in index.verdicts_of(run.id):
        if not repo.store.has_object(row.id):
            continue
        verdict = repo.store.read_object(row.id)
        if isinstance(verdict, Verdict) and _is_of_here(repo, run, verdict, manner, facts):
            return Reproduced(run, row.id, verdict) if _is_good(repo, run, verdict, manner.accept) else None
    return None


def _is_of_here(repo: Repo, run: Run, verdict: Verdict, manner: Manner, facts: Mapping[str, str]) -> bool:
    if manner.engine not in {"auto", verdict.engine} or not (verdict.isolated or manner.engine == "none"):
        return False
    on_image = verdict.base is not None
    if verdict.base is not None and verdict.base.reference != base_reference(repo, run):
        return False
    return host_class(verdict.host, with_system=not on_image) == host_class(facts, with_system=not on_image)


def _is_good(repo: Repo, run: Run, verdict: Verdict, accept: str) -> bool:
    """Returns whether it is good enough as a whole and for each output; one of a newer mlvc or a forger may not be."""
    if {item.path for item in verdict.outputs} != {entry.name for entry in run.outputs}:
        return False
    told = {verdict.verdict, *(item.verdict for item in verdict.outputs)}
    if told == {_SAME}:
        return True
    # What is as good as the same depends on the rules of the day.
    return (
        all(is_accepted(item, accept) for item in told) and verdict.policy == policy_of(repo.config).summary
    )


def is_accepted(verdict: str, accept: str) -> bool:
    """Returns whether a verdict is at least as good as another; one that is not known is not."""
    return verdict in VERDICTS[: VERDICTS.index(accept) + 1]
