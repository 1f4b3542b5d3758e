"""`mlvc doctor`."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural, visible
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.doctor import DoctorResult, doctor

__all__ = ["command"]

_INDENT = " " * 9
_LONGEST = 1000


@make_command("doctor", "mlvc doctor", "mlvc doctor --json")
def command(context: typer.Context) -> None:
    """Names what would make the next run hard to repeat.

    Looks at the code, the data, the locked environment and the record of the last run, and executes none of it. Each
    finding has its fix. Exit 1 if one of them is an error.
    """
    session = session_of(context)
    result = doctor(open_repository(session))
    session.answer(
        lambda: {
            "ok": result.is_ok,
            "run": None if result.run is None else str(result.run),
            "findings": [
                {"severity": item.severity, "code": item.code, "message": item.message, "fix": item.fix}
                for item in result.findings
            ],
        },
        _lines(result),
    )
    if not result.is_ok:
        raise typer.Exit(1)


def _lines(result: DoctorResult) -> Iterator[str]:
    counts: dict[str, int] = {}
    for item in result.findings:
        counts[item.severity] = counts.get(item.severity, 0) + 1
        # A record, and so a name in it, may be a stranger's.
        yield f"{item.severity:<8} {item.code}: {visible(item.message, _LONGEST)}"
        yield f"{_INDENT}fix: {visible(item.fix, _LONGEST)}"
    yield ", ".join(plural(count, severity) for severity, count in counts.items()) or "nothing found"
