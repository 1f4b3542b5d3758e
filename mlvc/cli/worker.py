"""`python -m mlvc.cli.worker [CPU,CPU…]`: takes one order on standard input, and answers it on standard output.

The order is one line. The end of the input after it means that nobody waits for the answer any more.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from mlvc.verbs.worker import carry_out

__all__ = ["main"]


def main() -> None:
    """Carries out the order that stands on standard input; ends with 130 if the input ends before it is done."""
    cpus = [int(number) for number in sys.argv[1].split(",") if number]
    if cpus:
        os.sched_setaffinity(0, cpus)
    order = sys.stdin.buffer.readline()
    threading.Thread(target=_watch, daemon=True).start()
    # What a library prints must not get into the answer.
    answers = os.dup(1)
    os.dup2(2, 1)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME", "/tmp"), ".cache")  # noqa: S108  # as a last resort
    try:
        answer = carry_out(order, os.environ, cache=Path(cache) / "mlvc" / "workers")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    with open(answers, "wb") as stream:
        stream.write(answer)


def _watch() -> None:
    """Interrupts the main thread at the end of the input, also while it waits for a child."""
    while os.read(0, 1):
        pass
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


if __name__ == "__main__":
    main()
