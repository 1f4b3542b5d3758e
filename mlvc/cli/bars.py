"""Progress bars on a terminal, drawn by rich; imported only when the first bar appears."""

from __future__ import annotations

import datetime
import math
import threading
from collections.abc import Sequence
from typing import Protocol, TextIO

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.text import Text

__all__ = ["Bars", "Operation"]

_REFRESH_S = 0.1


class Operation(Protocol):
    """What a bar shows; read from the drawing thread while the operation advances it."""

    label: str
    total: int | None
    unit: str
    done: int


class _Amount(ProgressColumn):
    """`12 of 40 files`, or sizes."""

    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        done, total = int(task.completed), None if task.total is None else int(task.total)
        if unit == "bytes":
            shown = decimal(done) if total is None else f"{decimal(done)} of {decimal(total)}"
        else:
            shown = f"{done:,} {unit}" if total is None else f"{done:,} of {total:,} {unit}"
        return Text(shown)


class _Pace(ProgressColumn):
    """`12.5 MB/s, 0:01:20 left`, for what is counted in bytes."""

    def render(self, task: Task) -> Text:
        if task.fields["unit"] != "bytes" or not task.speed:
            return Text("")
        rate = f"{decimal(int(task.speed))}/s"
        if task.time_remaining is None:
            return Text(rate)
        return Text(f"{rate}, {datetime.timedelta(seconds=math.ceil(task.time_remaining))} left")


class Bars:
    """The bars of the operations in a list that the owner keeps up to date; drawn until `close`."""

    def __init__(self, stream: TextIO, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self._ids: dict[int, TaskID] = {}
        self._console = Console(file=stream)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            _Amount(),
            _Pace(),
            console=self._console,
            transient=True,
            auto_refresh=False,
        )
        self._stop = threading.Event()
        self._progress.start()
        self._thread = threading.Thread(target=self._draw, daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Writes lines above the bars."""
        self._console.print(Text(text))

    def close(self) -> None:
        """Removes the bars; returns when nothing more is drawn."""
        self._stop.set()
        self._thread.join()
        self._progress.stop()

    def _draw(self) -> None:
        while not self._stop.wait(_REFRESH_S):
            present = tuple(self._operations)
            alive = {id(operation) for operation in present}
            for key in [key for key in self._ids if key not in alive]:
                self._progress.remove_task(self._ids.pop(key))
            for operation in present:
                if id(operation) not in self._ids:
                    self._ids[id(operation)] = self._progress.add_task(
                        # What was done before the bar appeared is not of the rate.
                        operation.label,
                        total=operation.total,
                        completed=operation.done,
                        unit=operation.unit,
                    )
                self._progress.update(
                    self._ids[id(operation)], completed=operation.done, total=operation.total, refresh=False
                )
            self._progress.refresh()
