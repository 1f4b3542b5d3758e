"""The process of one command: its entrance, and what the interpreter is spared at both ends.

A room of its own, because it comes before the imports, which are most of what a short command costs.
"""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["begin", "leave", "main"]

_INTERRUPTED = 128 + signal.SIGINT
_FEW_COLLECTIONS = 1_000_000
"""So many more objects call for one; the 700 that Python itself allows are made for a hundred files."""


def main() -> NoReturn:
    """Runs the command line of this process, which may be a hook's, and ends it with the exit status."""
    begin()
    try:
        status = _run(sys.argv[1:])
    except KeyboardInterrupt:
        # It came while modules were loaded; a command that runs tells it itself.
        sys.stderr.write("interrupted\n")
        status = _INTERRUPTED
    leave(status)


def begin() -> None:
    """Settles what holds for every command; called before anything is made."""
    # A command makes objects for every file and hardly ever a cycle: looking for those takes a sixth of its time.
    gc.enable()
    gc.set_threshold(_FEW_COLLECTIONS)
    for stream in (sys.stdout, sys.stderr):
        # Names are printed as UTF-8 whatever the locale says; DESIGN: one text form.
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]


def leave(status: int) -> NoReturn:
    """Ends the process with the exit status."""
    # The system takes the memory back in one piece; without this the interpreter looks through it for cycles first.
    gc.freeze()
    sys.exit(status)


def _run(arguments: Sequence[str]) -> int:
    from mlvc.cli.session import Session  # noqa: PLC0415  # the reason is the module's docstring

    if arguments[:1] == ["hook"]:
        from mlvc.cli.hook import run_hook  # noqa: PLC0415  # git waits for it, and it needs no typer

        return run_hook(arguments[1:], Session())
    from mlvc.cli.main import run_command_line  # noqa: PLC0415  # which a hook does without

    return run_command_line(arguments, Session())
