"""The order in which causes are looked for, as a procedure that asks for one experiment after another. Pure.

A cause is confirmed only if putting that one factor back gives the recorded outputs again, or if re-runs that differ
agree once it alone is held. Two re-runs that agree prove no determinism: what rarely differs is found by luck.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from mlvc.model.objects import VERDICTS, Cause
from mlvc.repro.diagnose.factors import Experiment, Factor, Outcome
from mlvc.repro.diagnose.search import Steps, minimise

__all__ = ["BudgetSpentError", "Case", "Conclusion", "investigate"]

_SURE = 3
"""How many re-runs have to agree before a clamp is called the cause: two may agree by chance."""


class BudgetSpentError(Exception):
    """Thrown into a procedure that asked for an experiment which nobody will make."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be explained.

    Attributes:
        verdict: How the reproduction compares with the record.
        groups: What can be put back, in the order of trying; the factors of a group are tried together first.
        clamps: What can be held, the easiest to mend first.
        order: Causes that the differences speak for, the likeliest first.
        agreement: How earlier re-runs compare with each other, if there were several.
        is_explained: Whether named rules explain every difference.
    """

    verdict: str
    groups: tuple[tuple[Factor, ...], ...]
    clamps: tuple[Factor, ...]
    order: tuple[str, ...]
    agreement: str | None = None
    is_explained: bool = False


@dataclass(slots=True)
class Conclusion:
    """What came out, also where the budget ended the search.

    Attributes:
        confirmed: Causes that an experiment showed.
        refuted: Factors that were put back and made no difference.
        is_repeatable: Whether re-runs agree with each other; None where that was not found out.
        notes: What else was found out.
        is_complete: False where the budget was spent.
        refused: Why experiments could not be made.
    """

    confirmed: list[Cause] = dataclasses.field(default_factory=list)
    refuted: list[Factor] = dataclasses.field(default_factory=list)
    is_repeatable: bool | None = None
    notes: list[Cause] = dataclasses.field(default_factory=list)
    is_complete: bool = True
    refused: dict[str, None] = dataclasses.field(default_factory=dict)


def _is_at_least(verdict: str, wanted: str) -> bool:
    """Returns whether a comparison is as good as wanted; none at all is not."""
    return verdict != "" and VERDICTS.index(verdict) <= VERDICTS.index(wanted)


def investigate(case: Case) -> Steps[Conclusion]:
    """Asks for experiments until the cause is confirmed, or nothing is left to try, or the budget is spent."""
    done = Conclusion()
    try:
        if case.verdict == "failed":
            yield from _put_back(case, done, "identical")
            return done
        if case.is_explained and not any(factor.is_seen for group in case.groups for factor in group):
            # Nothing is known to be another, and the differences are known not to matter.
            return done
        agreement = case.agreement
        if agreement is None:
            outcome = yield Experiment()
            agreement = outcome.agreement
        if not agreement:
            return done
        done.is_repeatable = _is_at_least(agreement, "equivalent")
        if agreement == "identical":
            yield from _put_back(case, done, "identical")
        elif not done.is_repeatable or case.verdict == "equivalent":
            if not case.is_explained:
                yield from _hold(case, done, agreement)
        else:
            yield from _put_back(case, done, "equivalent")
    except BudgetSpentError:
        done.is_complete = False
    return done


def _sorted(factors: Sequence[Factor], order: Sequence[str]) -> list[Factor]:
    """Returns the factors with those of likely causes first, and otherwise as they stand."""
    rank = {cause: number for number, cause in enumerate(order)}
    return sorted(factors, key=lambda item: rank.get(item.cause, len(rank)))


def _put_back(case: Case, done: Conclusion, wanted: str) -> Steps[None]:
    """Puts one group after another back to what was recorded, then all of them together."""

    def restores(factors: tuple[Factor, ...]) -> Steps[bool]:
        outcome = yield Experiment(factors)
        last[factors] = outcome
        if outcome.refused:
            done.refused[f"with {Experiment(factors).label}: {outcome.refused}"] = None
        return _is_at_least(outcome.verdict, wanted)

    last: dict[tuple[Factor, ...], Outcome] = {}
    rank = {cause: number for number, cause in enumerate(case.order)}
    groups = sorted(case.groups, key=lambda group: min(rank.get(factor.cause, len(rank)) for factor in group))
    for group in groups:
        if (yield from restores(group)):
            found = yield from minimise(group, restores)
            done.confirmed += _restored(found, last[found], wanted)
            return
        if not last[group].refused:
            done.refuted += group
    together = tuple(factor for group in groups for factor in group if factor.is_seen)
    if len(together) > 1 and together not in groups and (yield from restores(together)):
        found = yield from minimise(together, restores)
        done.refuted = [factor for factor in done.refuted if factor not in found]
        done.confirmed += _restored(found, last[found], wanted)


def _restored(found: Sequence[Factor], outcome: Outcome, wanted: str) -> list[Cause]:
    what = "the recorded bytes" if wanted == "identical" else "the recorded content"
    text = f"re-run {outcome.number}, with {Experiment(tuple(found)).label}, gave {what}"
    if len(found) > 1:
        text += "; none of them alone does"
    return [
        Cause(factor.cause, factor.detail, "confirmed", outcome.number, text, factor.fix) for factor in found
    ]


def _hold(case: Case, done: Conclusion, free: str) -> Steps[None]:
    """Holds everything still that can be, and lets go of one thing after another: what is needed is the cause.

    Args:
        case: What is to be explained.
        done: Where it is written down.
        free: How re-runs compare in which nothing is held.
    """
    wanted = "identical" if _is_at_least(free, "equivalent") else "equivalent"

    def agree(factors: tuple[Factor, ...]) -> Steps[bool]:
        if factors not in known:
            outcome = yield Experiment(factors, times=2)
            last[factors] = outcome
            known[factors] = _is_at_least(outcome.agreement, wanted)
        return known[factors]

    known: dict[tuple[Factor, ...], bool] = {}
    last: dict[tuple[Factor, ...], Outcome] = {}
    clamps = _sorted(case.clamps, case.order)
    # The likeliest alone first: it saves letting go of all the others.
    found = tuple(clamps[:1])
    if not (yield from agree(found)):
        found = tuple(clamps)
        if not (yield from agree(found)):
            held = "; ".join(factor.what for factor in clamps)
            done.notes.append(
                Cause(
                    "nondeterminism",
                    f"re-runs of the same closure differ, and still do with all of this held: {held}."
                    " What is left is another program's randomness, a GPU, hardware, or chance",
                )
            )
            return
        found = yield from minimise(found, agree)
    outcome = yield Experiment(found, times=_SURE - 2)
    if not _is_at_least(outcome.agreement, wanted):
        done.notes.append(
            Cause(
                "nondeterminism",
                f"re-runs differ; two agreed with {Experiment(found).label}, and a third did not",
            )
        )
        return
    text = (
        f"{_SURE} re-runs with {Experiment(found).label} agree, the last of them number {outcome.number};"
        " without, re-runs of the same closure differ"
    )
    done.confirmed += [
        Cause(factor.cause, factor.detail, "confirmed", outcome.number, text, factor.fix) for factor in found
    ]
