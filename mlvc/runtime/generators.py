"""Watches the random generators that a process shares: whether they were seeded before they were drawn from.

Loaded by `sitecustomize.py` from beside it. It draws nothing and changes no state. `random.seed` and
`numpy.random.seed` are replaced by functions that look at the state first, under the same name, so that they pickle
as before; torch needs none, because it remembers its seed.
A generator of the program's own (`numpy.random.default_rng()`) cannot be seen.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["Generators"]

_DIGITS = 16


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]


def _state_of_random() -> str:
    # `getstate` ends with what `gauss` keeps for its next call.
    return _digest(repr(sys.modules["random"].getstate()).encode())


def _state_of_numpy() -> str:
    name, keys, position, has_gauss, gauss = sys.modules["numpy.random"].get_state()
    return _digest(b"%s %d %d %r " % (name.encode(), position, has_gauss, gauss) + keys.tobytes())


def _state_of_torch() -> str:
    return _digest(bytes(sys.modules["torch"].get_rng_state().tolist()))


_STATES: dict[str, Callable[[], str]] = {
    "random": _state_of_random,
    "numpy": _state_of_numpy,
    "torch": _state_of_torch,
}


class Generators:
    """What is known of each generator.

    The facts of one are `start` and `end`, digests of its state right after the import and now; `seeded`, whether
    the program seeded it; and `drawn_unseeded`, whether it was drawn from before that.
    """

    def __init__(self) -> None:
        self._facts: dict[str, dict[str, Any]] = {}
        self._torch_seed: int | None = None

    def imported(self, name: str, module: ModuleType) -> None:
        """Notes the state after an import, and follows the seeding from now on."""
        self._facts[name] = {"start": _STATES[name](), "seeded": False}
        if name == "torch":
            self._torch_seed = module.initial_seed()
            return
        seed = module.seed

        def watched(*args: Any, **kwargs: Any) -> Any:
            self._seeds(name)
            return seed(*args, **kwargs)

        watched.__name__ = watched.__qualname__ = "seed"
        watched.__module__ = module.__name__
        watched.__doc__ = seed.__doc__
        module.seed = watched  # type: ignore[attr-defined]

    def _seeds(self, name: str) -> None:
        facts = self._facts[name]
        if not facts["seeded"]:
            facts["drawn_unseeded"] = _STATES[name]() != facts["start"]
            facts["seeded"] = True

    def states(self) -> dict[str, str]:
        """Returns digests of the states as they are now, by generator.

        One that chance seeded and nobody has drawn from is left out: it has no part in anything.
        """
        found = {name: _STATES[name]() for name in self._facts}
        found = {
            name: state
            for name, state in found.items()
            if name == "torch" or self._facts[name]["seeded"] or state != self._facts[name]["start"]
        }
        if "torch" in found and sys.modules["torch"].cuda.is_initialized():
            states = sys.modules["torch"].cuda.get_rng_state_all()
            found["cuda"] = _digest(b"".join(bytes(state.tolist()) for state in states))
        return found

    def facts(self) -> dict[str, dict[str, Any]]:
        """Returns the facts by generator, for those that the program loaded."""
        found = {}
        for name, facts in self._facts.items():
            end = _STATES[name]()
            if name == "torch" and sys.modules["torch"].initial_seed() != self._torch_seed:
                # When it was seeded cannot be told, so neither what was drawn before.
                found[name] = {**facts, "seeded": True, "end": end}
            else:
                found[name] = {"drawn_unseeded": end != facts["start"], **facts, "end": end}
        return found
