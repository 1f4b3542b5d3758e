"""How many things are told to a person. A module of its own, because hooks need no more."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["some_of"]

_NAMED = 5


def some_of(names: Sequence[str]) -> str:
    """Returns the first of some names, and how many more there are, for a person."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
