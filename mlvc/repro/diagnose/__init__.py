"""Why a reproduction is not identical: hints that cost nothing, and a procedure of experiments that confirms one.

    crash       a command that failed: what its log says
    preflight   what is not as it was when the run was recorded
    streams     what random states and small operations say about the numbers
    signature   what the differences look like
    factors     what an experiment may change, as values
    search      delta debugging over factors
    procedure   the order of the experiments, and when a cause counts as confirmed
    variation   one thing changed on purpose at a time
    report      all of it as a list of causes

Nothing here executes anything: `mlvc/repro/laboratory.py` does.
Causes: docs/guides/reproducibility.md
"""

from __future__ import annotations

__all__: list[str] = []
