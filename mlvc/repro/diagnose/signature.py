"""What the places that differ look like, and what usually makes such a difference. Pure; costs no execution.

Measurements behind the rules: docs/guides/reproducibility.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlvc.model.objects import Cause, Difference, OutputVerdict
from mlvc.repro.compare.policy import RULES

__all__ = ["harmless_causes", "is_explained", "likely_causes", "ranked"]

_ROUNDING = 1e-6
"""Norm-wise; sums in another order were measured to stay below it, once, and other data or seeds never."""
_DRIFT = 1e-2
"""Norm-wise; through a training rounding was measured to grow to 8e-5, and an element of 16 bits rounds to 8e-3."""
_FEW = 3
_MOST_NAMED = 3

_REASONS = {rule.name: rule.reason for rule in RULES}
# What they ignore may come from the clock, or from another version of a library.
_VAGUE = {"zip.headers", "zip.order", "python.set-order", "compression"}
_BY_SHAPE = {
    "order": ("hash-seed", "directory-order", "threads"),
    "rounding": (
        "threads",
        "numeric-libraries",
        "nondeterministic-operation",
        "base",
        "package",
        "interpreter",
    ),
    "operation": ("nondeterministic-operation", "threads", "numeric-libraries"),
    "content": (
        "undeclared-input",
        "unseeded-random",
        "input",
        "code",
        "command",
        "variable",
        "hash-seed",
        "package",
    ),
}


def _places(outputs: Sequence[OutputVerdict]) -> list[Difference]:
    return [place for output in outputs for place in output.differences]


def _shape(places: Sequence[Difference]) -> str:
    """Returns which of `_BY_SHAPE` the differences that count look like; `content` where nothing tells."""
    counted = [place for place in places if not place.rule and place.nature != "container"]
    natures = {place.nature for place in counted}
    if not counted or natures & {"structure", "value"}:
        return "content"
    if "order" in natures:
        return "order"
    norms = [float(place.norm or "inf") for place in counted]
    if any(not norm <= _DRIFT for norm in norms):
        return "content"
    if any(norm > _ROUNDING for norm in norms):
        # Where rounding drifts through a training, everything drifts; one operation touches what it is used on.
        return "operation" if len(counted) <= _FEW else "rounding"
    return "rounding"


def ranked(outputs: Sequence[OutputVerdict]) -> tuple[str, ...]:
    """Returns the causes that such differences speak for, the likeliest first."""
    return _BY_SHAPE[_shape(_places(outputs))]


def is_explained(outputs: Sequence[OutputVerdict]) -> bool:
    """Returns whether a rule covers every place that differs, and says by its name alone where that comes from."""
    return all(
        output.verdict in {"identical", "equivalent"}
        and (output.differences or output.verdict == "identical")
        for output in outputs
    ) and all(place.rule and place.rule not in _VAGUE for place in _places(outputs))


def harmless_causes(outputs: Sequence[OutputVerdict]) -> Iterator[Cause]:
    """Yields one finding for each rule that let differences be ignored, and one for what only wraps the content."""
    places = _places(outputs)
    rules = dict.fromkeys(place.rule for place in places if place.rule)
    for rule in rules:
        yield _harmless(
            f"{_REASONS.get(rule, 'what a rule of this project ignores')} (rule {rule})",
            [item for item in places if item.rule == rule],
        )
    wrapped = [item for item in places if item.nature == "container" and not item.rule]
    if wrapped:
        yield _harmless("it only wraps the content", wrapped)


def _harmless(why: str, places: Sequence[Difference]) -> Cause:
    named = ", ".join(_told(place) for place in places[:_MOST_NAMED])
    more = f" and {len(places) - _MOST_NAMED} more" if len(places) > _MOST_NAMED else ""
    return Cause("container-format", f"{named}{more}: {why}")


def _told(place: Difference) -> str:
    change = f" {place.recorded} → {place.reproduced}" if place.recorded and place.reproduced else ""
    return f"{place.where or 'the file'}{change}"


def likely_causes(outputs: Sequence[OutputVerdict]) -> Iterator[Cause]:
    """Yields what such differences usually come from, where the content differs."""
    places = _places(outputs)
    if not places:
        return
    match _shape(places):
        case "order":
            yield Cause(
                "hash-seed",
                "the same elements stand in another order, as when a set is gone through, or a directory as it is"
                " listed",
            )
        case "rounding":
            largest = max((float(place.norm) for place in places if place.norm), default=0.0)
            yield Cause(
                "rounding",
                f"every number that differs does so by little (at most {largest:.1e} of the whole), as when sums are"
                " made in another order: another number of threads, other CPU kernels, other libraries",
            )
        case "operation":
            yield Cause(
                "nondeterministic-operation",
                f"only {', '.join(_told(place) for place in places[:_FEW])} differ, as when one operation adds up in"
                " whatever order its threads come",
            )
        case _:
            pass
