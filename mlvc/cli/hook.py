"""`mlvc hook NAME`: what git itself calls, never a person; an entrance of its own, because typer is not needed.

Also `python -P -m mlvc.cli.hook NAME`, which git's settings hold, because an editor's git has another PATH. The
`pre-commit` framework calls the same, and tells in the environment what git tells in arguments and on standard input.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import NoReturn

from mlvc.cli.process import begin, leave
from mlvc.cli.session import Session
from mlvc.code.repository import BareRepositoryError, NotAGitRepositoryError
from mlvc.errors import UsageError
from mlvc.repo import HOOK_TOKEN, NotInitialisedError

__all__ = ["main", "run_hook"]

_NO, _FAILED, _INTERRUPTED = 1, 2, 128 + signal.SIGINT
_ANSWERS = ("commit-unfit", "data-not-pushed")
"""The errors that say no; any other says that there is no answer. By their codes, because to import them costs time."""
_FOR_FILES = ("merge-lock", "show-lock")
"""What git asks about files alone, also below a command of mlvc."""


def main() -> NoReturn:
    """Runs the hook that this process was started for, and ends it with the exit status that git is to see."""
    begin()
    leave(run_hook(sys.argv[1:], Session()))


def run_hook(arguments: Sequence[str], session: Session) -> int:
    """Runs one hook and returns the exit status that git is to see; errors have been told."""
    name, *rest = arguments or [""]
    status = _run(name, rest, session)
    # Git has done its work already after a `post-` hook, and must not seem to have failed.
    return 0 if name.startswith("post-") else status


def _run(name: str, arguments: Sequence[str], session: Session) -> int:
    try:
        if name not in _FOR_FILES and HOOK_TOKEN.keys() <= session.environment.keys():
            return 0
        return _load(name)(session, arguments)
    except (NotInitialisedError, NotAGitRepositoryError, BareRepositoryError):
        return 0  # An older revision, or another repository that shares its hooks.
    except KeyboardInterrupt:
        session.stderr.write("interrupted\n")
        return _INTERRUPTED
    except Exception as exc:  # noqa: BLE001  # the last resort: git's user asked for no traceback
        session.fail_with(exc, hint="report it; git's own --no-verify skips the checks")
        return _NO if getattr(exc, "code", None) in _ANSWERS else _FAILED


def _load(name: str) -> Callable[[Session, Sequence[str]], int]:
    """Returns what a hook does, and imports nothing else.

    Raises:
        UsageError: There is no such hook.
    """
    module = _HOOKS.get(name)
    if module is None:
        raise UsageError("git has no such hook for mlvc", hint=f"one of {', '.join(_HOOKS)}")
    found: Callable[[Session, Sequence[str]], int] = getattr(
        import_module(f"mlvc.cli.hooks.{module}"), name.replace("-", "_")
    )
    return found


_HOOKS: Mapping[str, str] = {
    "merge-lock": "lock_file",
    "pre-commit": "before_commit",
    "pre-push": "before_push",
    "post-applypatch": "afterwards",
    "post-commit": "afterwards",
    "post-checkout": "after_checkout",
    "post-merge": "afterwards",
    "post-rewrite": "afterwards",
    "show-lock": "lock_file",
}


if __name__ == "__main__":
    main()
