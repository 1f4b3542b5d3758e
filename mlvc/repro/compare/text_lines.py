"""Text files: which line differs first. In a log, what is another one each time does not count."""

from __future__ import annotations

import re
from itertools import zip_longest

from mlvc.model.objects import Difference
from mlvc.repro.compare.comparison import shown
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.windows import Window

__all__ = ["MOST_BYTES", "compare_text"]

MOST_BYTES = 16 << 20
_LOG = ".log"
# A log tells a person how it went. In any other text a date may be what was asked for.
_VOLATILE = {
    "log.time": re.compile(
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?|\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b"
    ),
    "log.temporary-path": re.compile(r"""(?:/var/tmp|/tmp|/dev/shm)/[^\s'":,;)]+"""),
    "log.duration": re.compile(
        r"\b\d+(?:\.\d+)?(?:e-?\d+)? ?(?:ns|[µu]s|ms|s|secs?|seconds?|min|minutes?|h|hours?|it/s|s/it)\b"
    ),
}


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
    lines: dict[str, list[int]] = {}
    for number, (one, other) in enumerate(zip_longest(before, after), 1):
        if one != other:
            for rule in _rules(one, other) if job.name.endswith(_LOG) else [""]:
                lines.setdefault(rule, []).append(number)
    for rule, numbers in lines.items():
        first = numbers[0]
        job.findings.add(
            Difference(
                job.place(f"line {first}"),
                "value",
                _text(before, first),
                _text(after, first),
                differing=len(numbers),
                total=max(len(before), len(after)),
                rule=rule,
            )
        )
    return True


def _rules(one: str | None, other: str | None) -> list[str]:
    """Returns the rules that cover two lines of a log; an empty one where they differ in anything else."""
    if one is None or other is None:
        return [""]
    found = []
    for rule, pattern in _VOLATILE.items():
        if pattern.findall(one) != pattern.findall(other):
            found.append(rule)
        # A character that no line holds.
        one, other = pattern.sub("\0", one), pattern.sub("\0", other)
    return found if one == other else [""]


def _text(lines: list[str], number: int) -> str:
    return repr(shown(lines[number - 1])) if number <= len(lines) else ""
