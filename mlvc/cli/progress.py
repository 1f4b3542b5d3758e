"""Where the progress and the notes of verbs become visible: stderr.

A bar appears only on a terminal, and only for an operation that has lasted a second; only then is rich imported.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from mlvc.cli.bars import Bars

__all__ = ["TerminalReporter"]

_PATIENCE_S = 1.0


class _Task:
    """One operation; counts from its first unit, although its bar may come later or never."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self.done = 0
        self._lock = threading.Lock()

    def advance(self, amount: int = 1) -> None:
        with self._lock:
            self.done += amount

    def set_total(self, total: int) -> None:
        self.total = total


class TerminalReporter:
    """The `mlvc.ports.Reporter` of the command line; see there for what the methods promise."""

    def __init__(self, stream: TextIO, paint: Callable[[str], str], *, quiet: bool) -> None:
        self._stream = stream
        self._paint = paint
        self._quiet = quiet
        self._shows_bars = stream.isatty() and not quiet
        self._lock = threading.Lock()
        self._tasks: list[_Task] = []
        self._bars: Bars | None = None

    @contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "files") -> Iterator[_Task]:
        """Begins an operation whose bar appears after a second."""
        task = _Task(label, total, unit)
        if not self._shows_bars:
            yield task
            return
        with self._lock:
            self._tasks.append(task)
        timer = threading.Timer(_PATIENCE_S, self._appear)
        timer.daemon = True
        timer.start()
        try:
            yield task
        finally:
            timer.cancel()
            with self._lock:
                self._tasks.remove(task)
                if not self._tasks and self._bars is not None:
                    self._bars.close()
                    self._bars = None

    def note(self, message: str) -> None:
        """Writes to stderr, above the bars."""
        if not self._quiet:
            self._write(message)

    def warn(self, message: str) -> None:
        """Writes to stderr, above the bars, also where notes are not wanted."""
        self._write(f"{self._paint('warning:')} {message}")

    def _write(self, text: str) -> None:
        with self._lock:
            if self._bars is None:
                self._stream.write(text + "\n")
                self._stream.flush()
            else:
                self._bars.write(text)

    def _appear(self) -> None:
        """Shows the bars of all present operations; runs in the timer's thread."""
        from mlvc.cli.bars import Bars  # noqa: PLC0415  # rich takes 40 ms, which a short operation must not pay

        with self._lock:
            if self._tasks and self._bars is None:
                self._bars = Bars(self._stream, self._tasks)
