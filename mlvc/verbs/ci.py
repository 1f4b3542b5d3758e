"""`mlvc ci`: one command for a pipeline: is the revision whole, and do the runs that a change touches give it again?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlvc.errors import MlvcError
from mlvc.model.ids import RunId
from mlvc.model.objects import Run
from mlvc.ports import LogSink
from mlvc.repo import Repo
from mlvc.verbs.ci_budget import Budget
from mlvc.verbs.ci_changes import Changes, changes_between
from mlvc.verbs.ci_checks import Check, Problem, check_environments, check_lock, check_records
from mlvc.verbs.ci_choice import Base, choose, parse_shard
from mlvc.verbs.ci_proofs import Manner, Proof, is_accepted, prove
from mlvc.verbs.orders import Workers
from mlvc.verbs.spread import NotExecuted
from mlvc.verbs.target import runs_of_target
from mlvc.verbs.verify import verify

__all__ = ["CiOptions", "CiResult", "ProblemsError", "ci"]

_SAME = "identical"


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
        max_cost: No run is begun by which the job would cost more than this, at the prices of the settings.
        jobs: How many runs are executed at a time.
        fresh: Whether a run is executed also where a verdict already holds for a machine like this.
        engine: `auto`, `docker`, `bubblewrap` or `none`.
        accept: The worst verdict that is good enough.
    """

    targets: tuple[str, ...] = ()
    since: str | None = None
    shard: str | None = None
    budget: str | None = None
    max_cost: float | None = None
    jobs: int = 1
    fresh: bool = False
    engine: str = "auto"
    accept: str = _SAME


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
        cost: What this job's executions cost, at the prices of the settings.
    """

    head: str | None
    base: str | None
    checks: tuple[Check, ...]
    proofs: tuple[Proof, ...] = ()
    not_executed: tuple[NotExecuted, ...] = ()
    untouched: int = 0
    changes: Changes | None = None
    cost: float = 0.0

    @property
    def has_problems(self) -> bool:
        """Whether an answer is no."""
        return any(check.problems for check in self.checks)


def ci(repo: Repo, options: CiOptions, log: LogSink, workers: Workers | None = None) -> CiResult:
    """Checks the revision, then executes the runs that need it; brings only records, and what those runs need.

    A run is executed only if all checks before found nothing: hours of computing prove nothing about a revision that
    is not whole. A run whose code and data are those of its record is executed as recorded, and its verdict stored,
    so that it is not executed again on a machine of the same class; one that is stale is executed with the code, the
    data and the environment of this revision in their place.

    Args:
        repo: The repository; its work tree is the revision.
        options: What the user asked for.
        log: Receives the commands' output while they run; nothing where workers execute them.
        workers: Execute the runs, `options.jobs` at a time; None for one after the other, here.

    Raises:
        UsageError: An option makes no sense.
        RevisionMissingError: `since` is unknown, or has nothing in common with HEAD here.
        TargetMissingError: A target is unknown or no run made it.
        NoRemoteError: There is no remote.
        MlvcError: The remote cannot be used.
    """
    shard, budget = parse_shard(options.shard), Budget(repo, options.budget, options.max_cost)
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

    proofs: Sequence[Proof] = ()
    untouched = 0
    if any(check.problems for check in checks):
        # What the choice would be read from may be missing.
        error = ProblemsError("an earlier check found problems", hint="mend them first")
        missed: Sequence[NotExecuted] = [NotExecuted(run, error) for run in asked]
    else:
        choices = choose(repo, lock, asked, base, shard)
        untouched = len(asked) - len(choices)
        manner = Manner(options.fresh, options.engine, options.accept, log, options.jobs, workers)
        proofs, missed = prove(repo, lock, choices, manner, budget)
        checks.append(_check_runs(proofs, options.accept))
    return CiResult(
        head,
        None if base is None else base.sha,
        tuple(checks),
        tuple(proofs),
        tuple(missed),
        untouched,
        None if base is None else changes_between(repo, base.lock, lock),
        budget.spent,
    )


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


def _check_runs(proofs: Sequence[Proof], accept: str) -> Check:
    problems = []
    for proof in proofs:
        run, verdict = proof.choice.run, proof.reproduced.verdict
        if is_accepted(verdict.verdict, accept):
            continue
        bad = [item for item in verdict.outputs if not is_accepted(item.verdict, accept)]
        told = ", ".join(f"{item.path} is {item.verdict}" for item in bad) or verdict.verdict
        fix = f"mlvc repro {run.id.short} --diagnose full"
        if proof.choice.stale:
            told += f" with {', '.join(proof.choice.stale)} as it is now"
            fix = f"record it again, as `mlvc show {run.id.short}` has it: mlvc run"
        problems.append(Problem(verdict.verdict, f"run {run.name or run.id.short}: {told}", fix))
    known = sum(proof.cached for proof in proofs)
    return Check("runs", tuple(problems), f"{len(proofs) - known} executed, {known} known")
