"""`mlvc hook NAME`: what git itself calls, never a person; an entrance of its own, because typer is not needed.

Also `python -P -m mlvc.cli.hook NAME`, which git's settings hold, because an editor's git has another PATH.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlvc.cli.repository import open_repository
from mlvc.cli.session import Session
from mlvc.errors import MlvcError, UsageError
from mlvc.verbs.merge import merge_lock

__all__ = ["run_hook"]

_NO, _FAILED = 1, 2


def run_hook(arguments: Sequence[str], session: Session) -> int:
    """Runs one hook and returns the exit status that git is to see; errors have been told."""
    try:
        name, *rest = arguments or [""]
        hook = _HOOKS.get(name)
        if hook is None:
            raise UsageError(f"git has no hook {name!r} for mlvc", hint=f"one of {', '.join(_HOOKS)}")
        return hook(session, rest)
    except MlvcError as exc:
        session.fail(exc.code, exc.message, exc.hint)
        return _FAILED


def _merge_lock(session: Session, arguments: Sequence[str]) -> int:
    if len(arguments) != 4:
        raise UsageError("merge-lock takes the four arguments %O %A %B %P of a merge driver")
    base, ours, theirs = (Path(argument) for argument in arguments[:3])
    result = merge_lock(open_repository(session), base, ours, theirs)
    for reason in result.reasons:
        session.tell(f"mlvc.lock: {reason}")
    return _NO if result.reasons else 0


_HOOKS: Mapping[str, Callable[[Session, Sequence[str]], int]] = {"merge-lock": _merge_lock}


if __name__ == "__main__":
    sys.exit(run_hook(sys.argv[1:], Session()))
