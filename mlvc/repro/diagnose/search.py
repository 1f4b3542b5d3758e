"""Finds the few factors among many that make the difference, in about as many experiments as there are halvings. Pure.

Delta debugging (ddmin) of Zeller and Hildebrandt, https://doi.org/10.1109/32.988498, as a generator: what it needs to
know it asks through `test`, itself a generator of experiments.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from mlvc.repro.diagnose.factors import Experiment, Factor, Outcome

__all__ = ["Steps", "Test", "minimise"]

_T = TypeVar("_T")

Steps = Generator[Experiment, Outcome, _T]
"""A procedure that asks for experiments, is sent their outcomes, and returns what it concluded."""

Test = Callable[[tuple[Factor, ...]], Steps[bool]]
"""Tells whether some factors are enough."""


def minimise(factors: Sequence[Factor], test: Test) -> Steps[tuple[Factor, ...]]:
    """Returns a smallest part of `factors` that is enough: without any one of them it is not.

    All of them together have to be enough, and that is taken for known. Parts that stand earlier are tried first.
    """
    kept, parts = list(factors), 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        pieces = [kept[start : start + size] for start in range(0, len(kept), size)]
        # Of two pieces each is what the other leaves.
        rests = [[item for item in kept if item not in piece] for piece in pieces] if len(pieces) > 2 else []
        for number, candidate in enumerate([*pieces, *rests]):
            if (yield from test(tuple(candidate))):
                kept = candidate
                parts = 2 if number < len(pieces) else max(parts - 1, 2)
                break
        else:
            if parts >= len(kept):
                break
            parts = min(parts * 2, len(kept))
    return tuple(kept)
