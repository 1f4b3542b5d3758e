"""What `mlvc doctor` finds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["SEVERITIES", "Finding", "Severity", "facts_of"]

Severity = Literal["error", "warning", "hint"]
SEVERITIES: Sequence[Severity] = ("error", "warning", "hint")
"""The gravest first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that would make the next run hard to repeat.

    Attributes:
        severity: `error`: a secret would leak, or the run could not be repeated; `warning`: it might not be; `hint`:
            a guess from the sources.
        code: What kind it is; see docs/guides/runs.md.
        message: Names the thing.
        fix: A command, or what to change.
    """

    severity: Severity
    code: str
    message: str
    fix: str


def facts_of(text: str) -> Mapping[str, Any]:
    """Returns the JSON object that a record keeps as text; an empty one where it is none: it may be a stranger's."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
