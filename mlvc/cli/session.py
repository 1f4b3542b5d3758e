"""One call of the command line: its common options, its two streams, and the place of errors.

Results go to stdout, everything else to stderr. Knows neither repositories nor commands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, cast

from mlvc.cli.progress import TerminalReporter
from mlvc.errors import MlvcError

if TYPE_CHECKING:
    from typer._click import Context

__all__ = ["Session", "session_of"]

_BOLD_RED, _BOLD_YELLOW, _CYAN, _PLAIN = "\x1b[1;31m", "\x1b[1;33m", "\x1b[36m", "\x1b[0m"


class Session:
    """What the options before and after a command's name decided.

    Attributes:
        environment: The process environment.
        quiet: Whether notes and progress are left out.
        verbose: Whether to tell more, such as the traceback of a bug.
        json: Whether the result is one JSON object.
        failure_status: The exit status of an error.
        is_parsed: Whether every option has been seen.
        stdin: What a hook is told by git.
        stdout: Takes results.
        stderr: Takes everything else.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        quiet: bool = False,
        stdin: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.environment: Mapping[str, str] = os.environ if environment is None else environment
        self.quiet = quiet
        self.verbose = False
        self.json = False
        self.failure_status = 2
        self.is_parsed = False
        self.stdin = sys.stdin if stdin is None else stdin
        self.stdout = sys.stdout
        self.stderr = sys.stderr if stderr is None else stderr

    @property
    def stdin_fd(self) -> int:
        """The descriptor of standard input; -1 where the caller closed it."""
        stdin = cast("TextIO | None", self.stdin)
        return -1 if stdin is None else stdin.fileno()

    @property
    def bytes_out(self) -> BinaryIO:
        """Standard output for bytes that are a result; nothing else may be written beside them."""
        self.stdout.flush()
        return self.stdout.buffer

    def stream(self, *, to_stderr: bool) -> Callable[..., None]:
        """Returns a `mlvc.ports.LogSink` that passes a command's output on at once, bytes as they are.

        Args:
            to_stderr: Whether its standard output goes to stderr as well, because stdout takes a result.
        """
        out, error = self.stdout.buffer, self.stderr.buffer

        def pass_on(data: bytes, *, is_error: bool) -> None:
            target = error if is_error or to_stderr else out
            target.write(data)
            target.flush()

        return pass_on

    def reporter(self) -> TerminalReporter:
        """Returns the sink for the progress and the notes of verbs."""
        return TerminalReporter(self.stderr, self.paint, quiet=self.quiet)

    def answer(self, as_json: Callable[[], Mapping[str, Any]], lines: Iterable[str]) -> None:
        """Writes the result: one JSON object with `--json`, else lines of text.

        Args:
            as_json: Called only for `--json`.
            lines: Consumed only without it, one at a time; no final newlines.
        """
        if self.json:
            self.write_json(as_json())
            return
        for line in lines:
            self.stdout.write(line + "\n")

    def write_json(self, value: Mapping[str, Any]) -> None:
        """Writes one JSON object to stdout, indented, its keys in the order given."""
        import json  # noqa: PLC0415  # hooks answer in no JSON

        json.dump(value, self.stdout, ensure_ascii=False, indent=2)
        self.stdout.write("\n")

    def tell(self, message: str) -> None:
        """Writes something that is neither result nor error to stderr, unless `-q` was given."""
        if not self.quiet:
            self.stderr.write(message + "\n")

    def fail(self, code: str, message: str, hint: str | None) -> None:
        """Writes an error: to stdout as JSON with `--json`, else to stderr with its hint."""
        if self.json:
            self.write_json({"error": {"code": code, "message": message, "hint": hint}})
            return
        self.stderr.write(f"{self.paint('error:')} {message}\n")
        if hint is not None:
            self.stderr.write(f"{self.paint('hint:')} {hint}\n")

    def fail_with(self, error: Exception, *, hint: str) -> None:
        """Writes any exception as an error: one of mlvc's own as it says, another as a bug.

        Args:
            error: What was raised.
            hint: The next step for a bug.
        """
        if isinstance(error, MlvcError):
            self.fail(error.code, error.message, error.hint)
        else:
            self.fail("bug", f"this is a bug in mlvc: {type(error).__name__}: {error}", hint)

    def paint(self, word: str) -> str:
        """Returns `error:`, `warning:` or `hint:`, in its colour where stderr is a terminal that shows colours.

        `NO_COLOR` (https://no-color.org) turns colours off.
        """
        if (
            self.environment.get("NO_COLOR")
            or self.environment.get("TERM") == "dumb"
            or not self.stderr.isatty()
        ):
            return word
        colours = {"error:": _BOLD_RED, "warning:": _BOLD_YELLOW}
        return f"{colours.get(word, _CYAN)}{word}{_PLAIN}"


def session_of(context: Context) -> Session:
    """Returns the session that `mlvc.cli.main` gave to this call."""
    session = context.obj
    assert isinstance(session, Session)  # noqa: S101  # main() hands it to every context
    return session
