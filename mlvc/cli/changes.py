"""Differences of files and environments, as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlvc.env.drift import Drift
    from mlvc.worktree.trees import PathChange

__all__ = ["change_json", "change_line", "drift_json", "drift_lines"]


def change_json(change: PathChange) -> dict[str, Any]:
    """Returns a difference of a file as JSON."""
    return {
        "path": change.name,
        "change": change.change,
        "before": None if change.before is None else str(change.before.id),
        "after": None if change.after is None else str(change.after.id),
    }


def change_line(change: PathChange) -> str:
    """Returns a difference of a file as text."""
    return f"{change.change:<9} {change.name}"


def drift_json(drift: Drift) -> dict[str, Any]:
    """Returns the drift of an environment as JSON."""
    return {
        "added": list(drift.added),
        "removed": list(drift.removed),
        "changed": [{"name": c.name, "before": c.before, "after": c.after} for c in drift.changed],
        "interpreter": None
        if drift.interpreter is None
        else {"before": drift.interpreter.before, "after": drift.interpreter.after},
    }


def drift_lines(drift: Drift) -> Iterator[str]:
    """Yields the drift of an environment as text."""
    if drift.interpreter is not None:
        yield f"python    {drift.interpreter.before} -> {drift.interpreter.after}"
    for change in drift.changed:
        yield f"changed   {change.name} {change.before} -> {change.after}"
    for requirement in drift.added:
        yield f"added     {requirement}"
    for requirement in drift.removed:
        yield f"removed   {requirement}"
