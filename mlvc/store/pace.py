"""How slowly an answer may arrive: one rule for every remote that speaks HTTP."""

from __future__ import annotations

import time

__all__ = ["WINDOW_S", "Pace", "SlowAnswerError"]

_LEAST_BYTES = 1 << 10
WINDOW_S = 60
"""Fewer than a KiB in a minute is silence: sixteen jobs at once on a modem have ten times as much each."""


class SlowAnswerError(TimeoutError):
    """A server sends next to nothing, and goes on with it."""

    def __init__(self) -> None:
        super().__init__(f"fewer than {_LEAST_BYTES:,} bytes arrived in {WINDOW_S:,} seconds")


class Pace:
    """Watches one answer from now on. Whoever reads it must give up by itself where nothing arrives at all."""

    def __init__(self) -> None:
        self._since_s = time.monotonic()
        self._arrived_bytes = 0

    def note(self, size_bytes: int) -> None:
        """Takes note that so much arrived.

        Raises:
            SlowAnswerError: It is too little.
        """
        now_s = time.monotonic()
        self._arrived_bytes += size_bytes
        if self._arrived_bytes >= _LEAST_BYTES:
            self._since_s, self._arrived_bytes = now_s, 0
        elif now_s - self._since_s > WINDOW_S:
            raise SlowAnswerError
