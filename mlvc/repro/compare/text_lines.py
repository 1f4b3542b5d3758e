"""Text files: which line differs first."""

from __future__ import annotations

from itertools import zip_longest

from mlvc.repro.compare.comparison import Comparison, shown

__all__ = ["MOST_BYTES", "compare_text"]

MOST_BYTES = 4 << 20


def compare_text(recorded: bytes, reproduced: bytes) -> Comparison | None:
    """Names the first line that differs and how many do; None if either is no UTF-8 text."""
    if b"\0" in recorded or b"\0" in reproduced:
        return None
    try:
        before, after = recorded.decode().split("\n"), reproduced.decode().split("\n")
    except UnicodeDecodeError:
        return None
    pairs = [
        (number, left, right)
        for number, (left, right) in enumerate(zip_longest(before, after), 1)
        if left != right
    ]
    number, left, right = pairs[0]
    count = f", and {len(pairs) - 1} more lines" if len(pairs) > 1 else ""
    return Comparison("different", f"line {number}: {_text(left)} → {_text(right)}{count}")


def _text(line: str | None) -> str:
    return "nothing" if line is None else repr(shown(line))
