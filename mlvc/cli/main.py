"""`mlvc`: turns arguments into a call, and whatever comes back into an exit status.

The one place where an exception becomes a message. Exit statuses: docs/reference/errors.md
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Sequence

import typer

from mlvc.cli.framework import LazyGroup
from mlvc.cli.session import Session
from mlvc.cli.table import COMMANDS
from mlvc.errors import MlvcError

__all__ = ["SUMMARY", "run_command_line"]

SUMMARY = "Git for data and models: records what made each model, and proves that it can be made again."

DONE, INTERRUPTED = 0, 128 + signal.SIGINT
READER_GONE = 128 + signal.SIGPIPE


def run_command_line(arguments: Sequence[str], session: Session) -> int:
    """Runs one command and returns the exit status; every error has been told when it returns."""
    try:
        status = _run(arguments, session)
        session.stdout.flush()
        return status
    except KeyboardInterrupt:
        session.stderr.write("interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output is gone (`mlvc log | head`); Python must not complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), session.stdout.fileno())
        return READER_GONE


def _run(arguments: Sequence[str], session: Session) -> int:
    group = LazyGroup("mlvc", SUMMARY, COMMANDS)
    try:
        with group.make_context("mlvc", list(arguments) or ["--help"], obj=session) as context:
            group.invoke(context)
        return DONE
    except typer.Exit as exc:
        return exc.exit_code
    except BrokenPipeError:
        raise
    except Exception as exc:  # noqa: BLE001  # the last resort: a traceback is for those who asked for it
        if not session.is_parsed:
            # The parser stopped before it came to `--json`.
            own = arguments[: arguments.index("--")] if "--" in arguments else arguments
            session.json = session.json or "--json" in own
        if isinstance(exc, typer.TyperException):
            session.fail(*_misuse(exc))
        else:
            session.fail_with(exc, hint="repeat with -v for the traceback, and report it")
            if session.verbose and not isinstance(exc, MlvcError):
                traceback.print_exc(file=session.stderr)
        return session.failure_status


def _misuse(error: typer.TyperException) -> tuple[str, str, str | None]:
    """Returns the code, the message and the hint of an error in the arguments."""
    context = getattr(error, "ctx", None)
    hint = f"see `{'mlvc' if context is None else context.command_path} --help`"
    message = error.format_message()
    if near := getattr(error, "possibilities", None):
        message, hint = error.message, f"did you mean `{near[0]}`?"
    return "usage", message[:1].lower() + message[1:].rstrip("."), hint
