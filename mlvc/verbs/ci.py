"""`mlvc ci`: one command for a pipeline: is the revision whole, and do the runs that a change touches give it again?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mlvc.errors import MlvcError, UsageError
from mlvc.model.ids import RunId
from mlvc.model.lock import Lock
from mlvc.model.objects import VERDICTS, Run, Verdict
from mlvc.ports import LogSink
from mlvc.repo import Repo
from mlvc.repro.host import host_class, host_facts
from mlvc.verbs.ci_changes import Changes, changes_between
from mlvc.verbs.ci_checks import Check, Problem, check_environments, check_lock, check_records
from mlvc.verbs.ci_choice import Base, Choice, choose, parse_shard
from mlvc.verbs.closure import Closure
from mlvc.verbs.comparing import policy_of
from mlvc.verbs.locate import find_entry
from mlvc.verbs.recipe import LOCK, locked_environment
from mlvc.verbs.repro import Reproduced, ReproOptions, reproduce
from mlvc.verbs.source import Source, open_source
from mlvc.verbs.spread import NotExecuted
from mlvc.verbs.target import runs_of_target
from mlvc.verbs.verify import verify
from mlvc.verbs.workshop import base_reference

__all__ = ["BudgetSpentError", "CiOptions", "CiResult", "ProblemsError", "Proof", "ci"]

_SAME = "identical"
_TIME = re.compile(r"([0-9]{1,9})(s|m|h)")
_UNITS_S = {"s": 1, "m": 60, "h": 3600}


class BudgetSpentError(MlvcError):
    """A run was not begun, because it would have gone beyond the time that the job was given."""

    code = "budget-spent"


class ProblemsError(MlvcError):
    """A run was not begun, because an earlier check of the same revision found problems."""

    code = "checks-failed"


@dataclass(frozen=True, slots=True)
class CiOptions:
    """What the user asked for.

    Attributes:
        targets: As of `mlvc repro`; empty for the runs that made what the lock tracks.
        since: Leaves out what is as at the merge base with this revision; None for all.
        shard: `I/N`: the I-th of N jobs that share the runs; None for one job.
        budget: No run is begun that would end after this time, by what its record took: `90s`, `20m`, `2h`.
        fresh: Whether a run is executed also where a verdict already holds for a machine like this.
        engine: `auto`, `docker`, `bubblewrap` or `none`.
        accept: The worst verdict that is good enough.
    """

    targets: tuple[str, ...] = ()
    since: str | None = None
    shard: str | None = None
    budget: str | None = None
    fresh: bool = False
    engine: str = "auto"
    accept: str = _SAME


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


@dataclass(frozen=True, slots=True)
class CiResult:
    """All answers.

    Attributes:
        head: The commit that was checked; None where there is none.
        base: The merge base that the choice was measured against; None where all was asked for.
        checks: In the order in which they were made; the last is about the runs.
        proofs: One for each run that was executed or is known.
        not_executed: Runs that were chosen and not executed, and why.
        untouched: How many runs were left out because nothing touched them, or because they are another job's.
        changes: What is another one than at the merge base; None without one.
    """

    head: str | None
    base: str | None
    checks: tuple[Check, ...]
    proofs: tuple[Proof, ...] = ()
    not_executed: tuple[NotExecuted, ...] = ()
    untouched: int = 0
    changes: Changes | None = None

    @property
    def has_problems(self) -> bool:
        """Whether an answer is no."""
        return any(check.problems for check in self.checks)


def ci(repo: Repo, options: CiOptions, log: LogSink) -> CiResult:
    """Checks the revision, then executes the runs that need it; brings only records, and what those runs need.

    A run is executed only if all checks before found nothing: hours of computing prove nothing about a revision that
    is not whole. A run whose code and data are those of its record is executed as recorded, and its verdict stored,
    so that it is not executed again on a machine of the same class; one that is stale is executed with the code and
    the data of this revision in their place.

    Args:
        repo: The repository; its work tree is the revision.
        options: What the user asked for.
        log: Receives the commands' output while they run.

    Raises:
        UsageError: An option makes no sense.
        RevisionMissingError: `since` is unknown, or has nothing in common with HEAD here.
        TargetMissingError: A target is unknown or no run made it.
        NoRemoteError: There is no remote.
        MlvcError: The remote cannot be used.
    """
    shard, budget_s = parse_shard(options.shard), _parse_time(options.budget)
    began = repo.clock.now()
    head = repo.code.head_sha()
    first, lock = check_lock(repo)
    if lock is None:
        return CiResult(head, None, (first,))
    base = None if options.since is None else Base.of(repo, options.since)
    checks = [first, _check_remote(repo)]
    records, recorded = check_records(repo, lock)
    asked = _asked(repo, options.targets, recorded)
    environments = [*(run.environment for run in asked), lock.environment]
    checks += [records, check_environments(repo, [item for item in environments if item is not None])]

    def remaining_s() -> float | None:
        return None if budget_s is None else budget_s - (repo.clock.now() - began).total_seconds()

    proofs: Sequence[Proof] = ()
    untouched = 0
    if any(check.problems for check in checks):
        # What the choice would be read from may be missing.
        error = ProblemsError("an earlier check found problems", hint="mend them first")
        missed: Sequence[NotExecuted] = [NotExecuted(run, error) for run in asked]
    else:
        choices = choose(repo, lock, asked, base, shard)
        untouched = len(asked) - len(choices)
        proofs, missed = _prove(repo, lock, choices, options, log, remaining_s)
        checks.append(_check_runs(proofs, options.accept))
    return CiResult(
        head,
        None if base is None else base.sha,
        tuple(checks),
        tuple(proofs),
        tuple(missed),
        untouched,
        None if base is None else changes_between(repo, base.lock, lock),
    )


def _parse_time(text: str | None) -> float | None:
    """Returns seconds.

    Raises:
        UsageError: It has another form.
    """
    if text is None:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise UsageError(f"--budget {text}: no time", hint="as in 90s, 20m or 2h")
    return float(int(match[1]) * _UNITS_S[match[2]])


def _asked(repo: Repo, targets: Sequence[str], recorded: Mapping[RunId, Run]) -> Sequence[Run]:
    if not targets:
        return list(recorded.values())
    return list({run.id: run for target in targets for run in runs_of_target(repo, target)}.values())


def _check_remote(repo: Repo) -> Check:
    result = verify(repo, remote=True)
    fixes = {"remote-damaged": "mlvc push --repair, in a clone that has the data"}
    problems = [
        Problem(found.kind, found.message, fixes.get(found.kind, "mlvc push, in the clone that has it"))
        for found in result.problems
    ]
    return Check("remote", tuple(problems), f"{result.objects} objects")


# ----------------------------------------------------------------------------------------------- the runs


def _prove(
    repo: Repo,
    lock: Lock,
    choices: Sequence[Choice],
    options: CiOptions,
    log: LogSink,
    remaining_s: Callable[[], float | None],
) -> tuple[Sequence[Proof], Sequence[NotExecuted]]:
    """Returns what each run gave, in the order of the choices, and those that were not executed.

    The shortest goes first, so that a budget proves as many as it can.
    """
    proofs: dict[RunId, Proof] = {}
    missed: dict[RunId, NotExecuted] = {}
    source: Source | None = None
    repo.index.catch_up(repo.reporter)
    for choice in sorted(choices, key=lambda choice: choice.run.duration_ms):
        run = choice.run
        known = None if options.fresh or choice.stale else _find_verdict(repo, run, options)
        if known is not None:
            proofs[run.id] = Proof(choice, known, cached=True)
            continue
        left_s = remaining_s()
        if left_s is not None and run.duration_ms / 1000 > left_s:
            error = BudgetSpentError(
                f"it took {run.duration_ms / 1000:.0f} s, and of the budget {max(left_s, 0):.0f} s are left",
                hint="a later job does not repeat what this one proved",
            )
            missed[run.id] = NotExecuted(run, error)
            continue
        try:
            source = source or open_source(repo, None)
            with repo.store.in_use():
                _bring(repo, lock, choice, source)
                against = LOCK if choice.stale else None
                wanted = ReproOptions((str(run.id),), engine=options.engine, against=against)
                proofs[run.id] = Proof(choice, reproduce(repo, wanted, log).runs[0])
        except MlvcError as exc:
            missed[run.id] = NotExecuted(run, exc)
    ids = [choice.run.id for choice in choices]
    return [proofs[item] for item in ids if item in proofs], [missed[item] for item in ids if item in missed]


def _find_verdict(repo: Repo, run: Run, options: CiOptions) -> Reproduced | None:
    """Returns the latest verdict on a machine of this class, if that one is good enough."""
    facts = host_facts()
    for row in repo.index.verdicts_of(run.id):
        if not repo.store.has_object(row.id):
            continue
        verdict = repo.store.read_object(row.id)
        if isinstance(verdict, Verdict) and _is_of_here(repo, run, verdict, options, facts):
            return Reproduced(run, row.id, verdict) if _is_good(repo, verdict, options.accept) else None
    return None


def _is_of_here(repo: Repo, run: Run, verdict: Verdict, options: CiOptions, facts: Mapping[str, str]) -> bool:
    if options.engine not in {"auto", verdict.engine} or not (verdict.isolated or options.engine == "none"):
        return False
    on_image = verdict.base is not None
    if verdict.base is not None and verdict.base.reference != base_reference(repo, run):
        return False
    return host_class(verdict.host, with_system=not on_image) == host_class(facts, with_system=not on_image)


def _is_good(repo: Repo, verdict: Verdict, accept: str) -> bool:
    if verdict.verdict == _SAME:
        return True
    # What is as good as the same depends on the rules of the day.
    return _is_accepted(verdict.verdict, accept) and verdict.policy == policy_of(repo.config).summary


def _is_accepted(verdict: str, accept: str) -> bool:
    return VERDICTS.index(verdict) <= VERDICTS.index(accept)


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


def _check_runs(proofs: Sequence[Proof], accept: str) -> Check:
    problems = []
    for proof in proofs:
        run, verdict = proof.choice.run, proof.reproduced.verdict
        if _is_accepted(verdict.verdict, accept):
            continue
        bad = [item for item in verdict.outputs if not _is_accepted(item.verdict, accept)]
        told = ", ".join(f"{item.path} is {item.verdict}" for item in bad) or verdict.verdict
        fix = f"mlvc repro {run.id.short} --diagnose full"
        if proof.choice.stale:
            told += f" with {', '.join(proof.choice.stale)} as it is now"
            fix = f"record it again, as `mlvc show {run.id.short}` has it: mlvc run"
        problems.append(Problem(verdict.verdict, f"run {run.name or run.id.short}: {told}", fix))
    known = sum(proof.cached for proof in proofs)
    return Check("runs", tuple(problems), f"{len(proofs) - known} executed, {known} known")
