"""Text files: which line differs first."""

from __future__ import annotations

from itertools import zip_longest

from mlvc.model.objects import Difference
from mlvc.repro.compare.comparison import shown
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.windows import Window

__all__ = ["MOST_BYTES", "compare_text"]

MOST_BYTES = 16 << 20


def compare_text(left: Window, right: Window, job: Job) -> bool:
    """Names the first line that differs and how many do; False, and nothing, if either is no UTF-8 text."""
    if max(left.size, right.size) > MOST_BYTES:
        return False
    recorded, reproduced = left.read(0, left.size), right.read(0, right.size)
    if b"\0" in recorded or b"\0" in reproduced:
        return False
    try:
        before, after = recorded.decode().split("\n"), reproduced.decode().split("\n")
    except UnicodeDecodeError:
        return False
    first, differing = 0, 0
    for number, (one, other) in enumerate(zip_longest(before, after), 1):
        if one != other:
            first = first or number
            differing += 1
    job.findings.add(
        Difference(
            job.place(f"line {first}"),
            "value",
            _text(before, first),
            _text(after, first),
            differing=differing,
            total=max(len(before), len(after)),
        )
    )
    return True


def _text(lines: list[str], number: int) -> str:
    return repr(shown(lines[number - 1])) if number <= len(lines) else ""
