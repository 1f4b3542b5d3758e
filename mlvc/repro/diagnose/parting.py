"""What the noted steps of two trainings tell: at which they parted, and what was another first. Pure.

Random states go before the batch, because they decide which rows a shuffled batch has; and both go before the
parameters, which follow from them. Of the steps between two noted ones nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlvc.model.objects import Cause
from mlvc.repro.diagnose.streams import GENERATORS
from mlvc.repro.progress import UNREADABLE, Step, find_parting

__all__ = ["parting_cause", "spoken_for"]

_SPEAKS_FOR = {
    "data-order": ("hash-seed", "directory-order", "input", "unseeded-random"),
    "initial-values": ("unseeded-random", "input", "undeclared-input", "code"),
    "numerics": (
        "threads",
        "numeric-libraries",
        "nondeterministic-operation",
        "base",
        "package",
        "interpreter",
    ),
    "random-stream": ("unseeded-random", "hash-seed", "directory-order"),
}


def spoken_for(cause: Cause | None) -> tuple[str, ...]:
    """Returns the causes that such a parting speaks for, the likeliest first."""
    return () if cause is None else _SPEAKS_FOR.get(cause.cause, ())


def parting_cause(then: Sequence[Step], now: Sequence[Step]) -> Cause | None:
    """Returns where a training parted from the recorded one; None where one of them noted nothing.

    Args:
        then: The steps of the record.
        now: Those of the reproduction.
    """
    if not then or not now:
        return None
    place = find_parting(then, now)
    if place is None:
        last = _named(then[-1])
        return Cause(
            "after-steps",
            f"every noted step is the same, the last of them {last}: what differs was made after it, or in saving",
        )
    if place == min(len(then), len(now)):
        more, fewer = ("record", "re-run") if len(then) > len(now) else ("re-run", "record")
        longer = max(then, now, key=len)
        return Cause(
            "step-count",
            f"the noted steps of both are the same as far as they go, and only the {more} has {_named(longer[place])};"
            f" the {fewer} ended before it",
        )
    return _cause(then[place], now[place], _since(then[place - 1] if place else None, then[place]))


def _named(step: Step) -> str:
    return f"step {step.number}" + (f" of process {step.process}" if step.process else "")


def _since(before: Step | None, step: Step) -> str:
    if before is None or before.process != step.process:
        return "the first that was noted"
    told = f"{_named(before)} is the same"
    gap = step.number - before.number - 1
    return told if gap < 1 else f"{told}, and of the {gap} between nothing was noted"


def _cause(then: Step, now: Step, since: str) -> Cause:
    where = f"the training parted from the record at {_named(then)} ({since})"
    if (then.number, then.process) != (now.number, now.process):
        return Cause("step-count", f"{where}: there the re-run has {_named(now)}")
    names = then.random.keys() | now.random.keys()
    drawn = [told for name, told in GENERATORS.items() if name in names and _differ(then, now, name)]
    if drawn:
        return Cause(
            "random-stream",
            f"{where}: {' and '.join(drawn)} {'was' if len(drawn) == 1 else 'were'} in another state: seeded otherwise,"
            " or drawn from more or less often",
        )
    if _changed(then.batch, now.batch):
        return Cause(
            "data-order",
            f"{where}: the batch was another one, and the shared generators were in the same state: the data came in"
            " another order, or are other data",
        )
    if then.number == 0 and _changed(then.model, now.model):
        return Cause(
            "initial-values",
            f"{where}: the parameters were others before the training began, and the shared generators in the same"
            " state: a generator of the program's own made them, or they were read from a file",
        )
    what = "the parameters were others" if _changed(then.model, now.model) else "the loss was another"
    with_ = "the same batch and " if then.batch and then.batch != UNREADABLE else ""
    return Cause(
        "numerics",
        f"{where}: {what}, with {with_}the shared generators in the same state: the same was computed with other"
        " numbers",
    )


def _differ(then: Step, now: Step, name: str) -> bool:
    return then.random.get(name) != now.random.get(name)


def _changed(then: str, now: str) -> bool:
    return then != now and UNREADABLE not in {then, now}
