"""A reporter that keeps what it is told, for tests of what verbs and rooms say."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlvc.ports import ProgressTask

__all__ = ["RecordedTask", "RecordingReporter"]


@dataclass
class RecordedTask:
    """What was reported of one operation."""

    label: str
    unit: str
    total: int | None
    done: int = 0
    ended: bool = False

    def advance(self, amount: int = 1) -> None:
        self.done += amount

    def set_total(self, total: int) -> None:
        self.total = total


@dataclass
class RecordingReporter:
    """A `ports.Reporter` that shows nothing."""

    tasks: list[RecordedTask] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "files") -> Iterator[ProgressTask]:
        task = RecordedTask(label, unit, total)
        self.tasks.append(task)
        try:
            yield task
        finally:
            task.ended = True

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)
