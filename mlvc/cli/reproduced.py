"""What a reproduction is in JSON, and the short texts of it that all reports share. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlvc.cli.remedy import find_remedy
from mlvc.cli.render import as_json, plural
from mlvc.model.objects import VERDICTS, Run
from mlvc.verbs.repro import Reproduced, ReproResult
from mlvc.verbs.spread import NotExecuted

__all__ = [
    "by_gravity",
    "cause_text",
    "error_json",
    "headline",
    "is_accepted",
    "measured",
    "reproduced_json",
    "result_json",
    "short_id",
    "title_of",
    "tone_of",
    "unproven_text",
]

_ID_DIGITS = 12
_STATUS_TONES = {"passed": "good", "incomplete": "fair", "failed": "bad"}
_TONES = {"identical": "good", "equivalent": "fair", "close": "fair"}


def result_json(result: ReproResult, accept: str) -> dict[str, Any]:
    """Returns the answer of `mlvc repro`, of which a verdict as good as `accept` was asked."""
    return {
        "verdict": result.verdict,
        "accept": accept,
        "runs": [reproduced_json(item) for item in result.runs],
        "not_executed": [error_json(item) for item in result.not_executed],
    }


def error_json(item: NotExecuted) -> dict[str, Any]:
    """Returns a run that could not be executed, and why."""
    error = {"code": item.error.code, "message": item.error.message, "hint": item.error.hint}
    return {"id": str(item.run.id), "name": item.run.name, "error": error}


def reproduced_json(item: Reproduced) -> dict[str, Any]:
    """Returns the verdict of one run, with what the run was made of and the line that mends each finding."""
    verdict = as_json(item.verdict)
    return {
        "id": str(item.run.id),
        "name": item.run.name,
        "verdict_id": None if item.verdict_id is None else str(item.verdict_id),
        **{key: value for key, value in verdict.items() if key not in {"run", "outputs", "diagnosis"}},
        "record": _record(item.run),
        "unproven": as_json(item.unproven),
        "outputs": verdict["outputs"],
        "diagnosis": [
            {**as_json(cause), "fix": cause.fix or find_remedy(item.run, cause)}
            for cause in item.verdict.diagnosis
        ],
    }


def _record(run: Run) -> dict[str, Any]:
    names = (
        "argv",
        "code",
        "inputs",
        "environment",
        "engine",
        "profile",
        "threads",
        "seed",
        "started",
        "host",
    )
    return {name: as_json(getattr(run, name)) for name in names}


def by_gravity(outputs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns outputs, or runs, the worst first: what is wrong must not be what is cut off."""
    return sorted(outputs, key=lambda item: -VERDICTS.index(item["verdict"]))


def is_accepted(answer: Mapping[str, Any], verdict: str) -> bool:
    """Returns whether a verdict is as good as was asked for, so that it fails no job."""
    return VERDICTS.index(verdict) <= VERDICTS.index(answer["accept"])


def tone_of(verdict: str) -> str:
    """Returns `good`, `fair` or `bad`."""
    return _TONES.get(verdict, "bad")


def headline(answer: Mapping[str, Any]) -> tuple[str, str, str]:
    """Returns whose answer it is, what it says in a word, and the tone of that."""
    if "checks" in answer:
        return "mlvc ci", answer["status"], _STATUS_TONES[answer["status"]]
    return "mlvc repro", answer["verdict"], tone_of(answer["verdict"])


def short_id(object_id: str | None) -> str:
    """Returns the first digits of an id; nothing for none."""
    return "" if object_id is None else object_id.removeprefix("b3:")[:_ID_DIGITS]


def title_of(run: Mapping[str, Any]) -> str:
    """Returns a run's name, or the start of its id."""
    return run["name"] or short_id(run["id"])


def unproven_text(verdict: str | None) -> str:
    """Returns how an input compares that was not reproduced."""
    return "its run could not be executed" if verdict is None else verdict


def cause_text(finding: Mapping[str, Any]) -> str:
    """Returns the cause of a finding, with how sure it is where it is not just likely."""
    status = finding["status"]
    return finding["cause"] if status == "likely" else f"{finding['cause']} ({status})"


def measured(difference: Mapping[str, Any]) -> str:
    """Returns what was measured of a difference, in one line; nothing where nothing was."""
    return ", ".join(_measures(difference))


def _measures(difference: Mapping[str, Any]) -> Iterator[str]:
    if difference["total"]:
        yield f"{difference['differing']:,} of {plural(difference['total'], 'element')}"
    elif difference["differing"]:
        yield plural(difference["differing"], "element")
    if difference["norm"]:
        yield f"norm-wise {difference['norm']}"
    if difference["largest"]:
        yield f"largest {difference['largest']}"
    if difference["ulps"]:
        yield f"{difference['ulps']:,} ulp"
