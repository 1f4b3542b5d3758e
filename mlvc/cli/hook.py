"""`mlvc hook NAME`: what git itself calls, never a person; an entrance of its own, because typer is not needed.

Also `python -P -m mlvc.cli.hook NAME`, which git's settings hold, because an editor's git has another PATH.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlvc.cli.repository import open_repository
from mlvc.cli.session import Session
from mlvc.errors import MlvcError, UsageError
from mlvc.repo import HOOK_TOKEN, NotInitialisedError
from mlvc.verbs.guard import check_commit, follow, follow_commit, lock_before, record_head
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
        if name != "merge-lock" and HOOK_TOKEN.keys() <= session.environment.keys():
            return 0
        return hook(session, rest)
    except NotInitialisedError:
        return 0  # An older revision, or another repository that shares its hooks.
    except MlvcError as exc:
        session.fail(exc.code, exc.message, exc.hint)
        # Git has done its work already after a `post-` hook, and must not seem to have failed.
        return 0 if arguments and arguments[0].startswith("post-") else _FAILED


def _merge_lock(session: Session, arguments: Sequence[str]) -> int:
    if len(arguments) != 4:
        raise UsageError("merge-lock takes the four arguments %O %A %B %P of a merge driver")
    base, ours, theirs = (Path(argument) for argument in arguments[:3])
    result = merge_lock(open_repository(session), base, ours, theirs)
    for reason in result.reasons:
        session.tell(f"mlvc.lock: {reason}")
    return _NO if result.reasons else 0


def _pre_commit(session: Session, _: Sequence[str]) -> int:
    index = session.environment.get("GIT_INDEX_FILE")
    # It may be relative to the directory that git calls its hooks in.
    check_commit(
        open_repository(session), {} if index is None else {"GIT_INDEX_FILE": os.path.abspath(index)}
    )
    return 0


def _post_commit(session: Session, _: Sequence[str]) -> int:
    repo = open_repository(session)
    record_head(repo)
    follow_commit(repo)
    return 0


def _post_checkout(session: Session, arguments: Sequence[str]) -> int:
    if len(arguments) != 3:
        raise UsageError("post-checkout takes the three arguments that git gives it")
    before, _, is_branch = arguments
    if is_branch == "1":
        repo = open_repository(session)
        follow(repo, lock_before(repo, before))
    return 0


def _post_merge(session: Session, arguments: Sequence[str]) -> int:
    repo = open_repository(session)
    is_squash = list(arguments) == ["1"]
    follow(repo, lock_before(repo, "HEAD" if is_squash else "ORIG_HEAD"))
    if not is_squash:
        record_head(repo)
    return 0


_HOOKS: Mapping[str, Callable[[Session, Sequence[str]], int]] = {
    "merge-lock": _merge_lock,
    "pre-commit": _pre_commit,
    "post-commit": _post_commit,
    "post-checkout": _post_checkout,
    "post-merge": _post_merge,
}


if __name__ == "__main__":
    sys.exit(run_hook(sys.argv[1:], Session()))
