"""What does not count, and what counts as rounding, when two versions of a file are compared."""

from __future__ import annotations

from mlvc.model.config import TOLERATED, Config
from mlvc.repro.compare.comparison import shown
from mlvc.repro.compare.policy import RULES, TOLERANCES, Policy, Rule

__all__ = ["policy_of"]


def policy_of(config: Config, tolerance: float | None = None) -> Policy:
    """Returns the shipped rules and bounds with those of the settings.

    Args:
        config: The settings.
        tolerance: A bound for every element type, in place of all others.
    """
    bounds = {**TOLERANCES, **config.compare_tolerance}
    if tolerance is not None:
        bounds = dict.fromkeys(TOLERATED, tolerance)
    own = (
        Rule(f"mlvc.toml: {shown(item.reason)}", item.reason, where=item.where, path=item.path)
        for item in config.compare_ignore
    )
    return Policy(bounds, (*RULES, *own))
