"""What two records tell of their numbers without a re-run: random streams, and small operations. Pure.

A generator that was left in another state was seeded otherwise, or drawn from more or less often. An operation that
gives other bits names the layer that computes differently, before anything is trained again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mlvc.model.objects import Cause

__all__ = ["GENERATORS", "drawn_unseeded", "number_causes", "stream_causes"]

# torch starts from the same seed each time, so that drawing from it at once does no harm.
_SEEDED_BY_CHANCE = {"random": "Python's global generator", "numpy": "NumPy's global generator"}
GENERATORS = {
    **_SEEDED_BY_CHANCE,
    "torch": "torch's global generator",
    "cuda": "torch's generators of the GPUs",
}
"""What the generators are called that programs share."""

# In the order in which one stands on the other: the first that differs may be why the later ones do.
_LAYERS = (
    ("the C library's functions", ("math.",)),
    (
        "random streams",
        ("random.", "numpy.legacy_normal", "numpy.pcg64_normal", "torch.normal", "torch.uniform"),
    ),
    ("NumPy's BLAS and LAPACK", ("numpy.dgemm", "numpy.sgemm", "numpy.dot", "numpy.svd", "numpy.solve")),
    ("NumPy's own loops", ("numpy.",)),
    ("torch's BLAS", ("torch.dgemm", "torch.sgemm")),
    ("torch's convolutions", ("torch.conv2d",)),
    ("torch's own kernels", ("torch.",)),
    ("others", ("",)),
)
_MOST_NAMED = 4


def drawn_unseeded(*effective: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the generators that chance had seeded when one of the executions first drew from them, in words."""
    found = [_generators(facts) for facts in effective]
    return tuple(
        told
        for name, told in _SEEDED_BY_CHANCE.items()
        if any(facts.get(name, {}).get("drawn_unseeded") is True for facts in found)
    )


def stream_causes(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Cause]:
    """Yields what the states of the random generators tell, from what was in force in two executions."""
    unseeded = drawn_unseeded(then, now)
    if unseeded:
        yield Cause("unseeded-random", f"{' and '.join(unseeded)} was drawn from before anything seeded it")
    before, after = _generators(then), _generators(now)
    for name, told in GENERATORS.items():
        old, new = before.get(name, {}).get("end"), after.get(name, {}).get("end")
        if told not in unseeded and isinstance(old, str) and isinstance(new, str) and old != new:
            yield Cause(
                "random-stream",
                f"{told} ended in another state: it was seeded otherwise, or drawn from more or less often",
            )


def number_causes(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Cause]:
    """Yields the layer of which small operations give other bits than they gave then, the lowest first.

    Args:
        then: Digests by operation, of the record.
        now: Of the reproduction; what either lacks is not compared.
    """
    changed = sorted(name for name in then.keys() & now.keys() if then[name] != now[name])
    if not changed:
        return
    layers: dict[str, list[str]] = {}
    for name in changed:
        layer = next(told for told, starts in _LAYERS if name.startswith(starts))
        layers.setdefault(layer, []).append(name)
    told = "; ".join(
        f"{layer} ({', '.join(layers[layer][:_MOST_NAMED])}"
        + (f" and {len(layers[layer]) - _MOST_NAMED} more)" if len(layers[layer]) > _MOST_NAMED else ")")
        for layer, _ in _LAYERS
        if layer in layers
    )
    yield Cause(
        "numeric-layer",
        f"{len(changed)} of {len(then.keys() & now.keys())} small operations give other bits here: {told}",
    )


def _generators(effective: Mapping[str, str]) -> Mapping[str, Mapping[str, Any]]:
    """Returns the facts by generator; the command may have made them up, so anything that does not fit is none."""
    try:
        facts = json.loads(effective.get("random", "{}"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(facts, dict):
        return {}
    return {name: value for name, value in facts.items() if isinstance(value, dict)}
