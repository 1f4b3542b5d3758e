"""Whether a run reproduces elsewhere: one thing changed at a time, as a procedure that asks for experiments. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from mlvc.model.objects import VERDICTS, Variation
from mlvc.repro.diagnose.factors import Experiment, Factor, Outcome
from mlvc.repro.diagnose.procedure import BudgetSpentError
from mlvc.repro.diagnose.search import Steps, minimise

__all__ = ["REPEAT", "vary"]

REPEAT = "repeat"
"""What stands in the place of a kind where the command was executed again and nothing was varied."""

_UNSTEADY = "re-runs differ from each other already where nothing is varied"


def vary(
    kinds: Mapping[str, tuple[Factor, ...] | str], *, is_repeatable: bool | None, accept: str = "identical"
) -> Steps[tuple[Variation, ...]]:
    """Tries each kind once, all the factors of a kind together; only where they break something, one by one.

    Args:
        kinds: By name, the factors, or why there are none.
        is_repeatable: Whether re-runs in which nothing is varied agree; None where nobody knows, which costs one more.
        accept: The worst verdict that is no harm: re-runs that agree so well repeat, and what a variation changes no
            more is not looked into.
    """
    found: list[Variation] = []
    good = VERDICTS[: VERDICTS.index(accept) + 1]
    try:
        if is_repeatable is None:
            outcome = yield Experiment()
            is_repeatable = outcome.agreement in good
            if not is_repeatable and accept != "identical":
                # The reproduction itself may have been as good as that, by luck.
                found.append(Variation(REPEAT, outcome.agreement, "executed again as it was"))
        if not is_repeatable:
            return (*found, *(Variation(kind, "", _UNSTEADY) for kind in kinds))
        for kind, factors in kinds.items():
            if isinstance(factors, str):
                found.append(Variation(kind, "", factors))
            else:
                found.append((yield from _vary_one(kind, factors, good)))
    except BudgetSpentError:
        done = {item.factor for item in found}
        found += [Variation(kind, "", "not tried: the budget is spent") for kind in kinds if kind not in done]
    return tuple(found)


def _vary_one(kind: str, factors: tuple[Factor, ...], good: Collection[str]) -> Steps[Variation]:
    last: dict[tuple[Factor, ...], Outcome] = {}

    def breaks(chosen: tuple[Factor, ...]) -> Steps[bool]:
        last[chosen] = yield Experiment(chosen)
        return last[chosen].unchanged not in {*good, ""}

    if (yield from breaks(factors)):
        factors = yield from minimise(factors, breaks)
    outcome = last[factors]
    return Variation(kind, outcome.unchanged, "; ".join(_told(factors, outcome)))


def _told(factors: tuple[Factor, ...], outcome: Outcome) -> Iterator[str]:
    yield ", ".join(factor.what for factor in factors)
    if outcome.refused or outcome.detail:
        yield outcome.refused or outcome.detail
