"""What `mlvc ci` answers, as JSON and as lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlvc.cli.render import as_json, json_value, plural, visible
from mlvc.cli.reproduced import error_json, reproduced_json
from mlvc.model.objects import VERDICTS
from mlvc.verbs.ci import CiResult
from mlvc.verbs.ci_changes import Changes

__all__ = ["ci_json", "ci_lines", "ci_status"]

_LONGEST = 1000
_MOST_PROBLEMS = 50
_COST_DIGITS = 6


def ci_status(result: CiResult) -> str:
    """Returns `failed` where an answer is no, `incomplete` where a run could not be executed, else `passed`."""
    if result.has_problems:
        return "failed"
    return "incomplete" if result.not_executed else "passed"


def ci_json(result: CiResult, accept: str) -> dict[str, Any]:
    """Returns the answer; its runs are those of `mlvc repro`, so that every report shows them.

    Args:
        result: What was found.
        accept: The worst verdict that was good enough.
    """
    verdicts = [proof.reproduced.verdict.verdict for proof in result.proofs]
    return {
        "ok": ci_status(result) == "passed",
        "status": ci_status(result),
        "head": result.head,
        "base": result.base,
        "checks": [
            {
                "name": check.name,
                "ok": not check.problems,
                "detail": check.detail,
                "problems": [
                    {"kind": item.kind, "message": item.message, "fix": item.fix} for item in check.problems
                ],
            }
            for check in result.checks
        ],
        "verdict": max(verdicts, key=VERDICTS.index, default=None),
        "accept": accept,
        "runs": [
            {
                **reproduced_json(proof.reproduced),
                "cached": proof.cached,
                "stale": list(proof.choice.stale),
                "why": list(proof.choice.why),
            }
            for proof in result.proofs
        ],
        "not_executed": [error_json(item) for item in result.not_executed],
        "untouched": result.untouched,
        "cost": round(result.cost, _COST_DIGITS),
        "changes": None if result.changes is None else _changes_json(result.changes),
    }


def _changes_json(changes: Changes) -> dict[str, Any]:
    return {
        "metrics": [
            {
                "path": item.path,
                "name": item.name,
                "before": None if item.before is None else json_value(item.before),
                "after": None if item.after is None else json_value(item.after),
            }
            for item in changes.metrics
        ],
        "data": [
            {
                "path": item.path,
                "files_added": item.added,
                "files_changed": item.changed,
                "files_removed": item.removed,
                "bytes_before": 0 if item.before is None else item.before.size_bytes,
                "bytes_after": 0 if item.after is None else item.after.size_bytes,
            }
            for item in changes.data
        ],
        "environment": None if changes.environment is None else as_json(changes.environment),
    }


def ci_lines(result: CiResult) -> Iterator[str]:
    """Yields a line for each check, each problem with its fix, and each run."""
    for check in result.checks:
        answer = plural(len(check.problems), "problem") if check.problems else "ok"
        yield f"{check.name + ':':<13}{answer}{f' ({check.detail})' if check.detail else ''}"
        for problem in check.problems[:_MOST_PROBLEMS]:
            yield f"  {problem.kind}: {visible(problem.message, _LONGEST)}"
            if problem.fix is not None:
                yield f"    fix: {visible(problem.fix, _LONGEST)}"
        if len(check.problems) > _MOST_PROBLEMS:
            yield f"  {len(check.problems) - _MOST_PROBLEMS:,} more: --json has them"
    for proof in result.proofs:
        run, verdict = proof.choice.run, proof.reproduced.verdict
        how = f"known since {verdict.started}" if proof.cached else f"executed, engine {verdict.engine}"
        stale = f", with {', '.join(proof.choice.stale)} as it is now" if proof.choice.stale else ""
        yield visible(f"run {run.name or run.id.short}: {verdict.verdict} ({how}{stale})", _LONGEST)
    for missed in result.not_executed:
        run = missed.run
        yield visible(f"run {run.name or run.id.short}: not executed: {missed.error.message}", _LONGEST)
    if result.cost:
        yield f"cost: {result.cost:.3g}, at ci.cpu_hour and ci.gpu_hour"
    if result.untouched:
        yield f"{plural(result.untouched, 'run')} not touched, or of another shard"
    yield ci_status(result)
