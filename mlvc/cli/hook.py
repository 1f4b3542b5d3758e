"""`mlvc hook NAME`: what git itself calls, never a person; an entrance of its own, because typer is not needed.

Also `python -P -m mlvc.cli.hook NAME`, which git's settings hold, because an editor's git has another PATH. The
`pre-commit` framework calls the same, and tells in the environment what git tells in arguments and on standard input.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from mlvc.cli.repository import open_repository
from mlvc.cli.session import Session
from mlvc.code.outgoing import OutgoingRef
from mlvc.code.repository import BareRepositoryError, NotAGitRepositoryError
from mlvc.errors import UsageError
from mlvc.repo import HOOK_TOKEN, NotInitialisedError
from mlvc.verbs.guard import (
    CommitUnfitError,
    check_commit,
    follow,
    follow_commit,
    is_rewriting,
    lock_before,
    lock_before_rebase,
    record_head,
    record_rewritten,
)
from mlvc.verbs.merge import merge_lock
from mlvc.verbs.outgoing import DataNotPushedError, check_blind_push, check_push

__all__ = ["main", "run_hook"]

_NO, _FAILED, _INTERRUPTED = 1, 2, 128 + signal.SIGINT


def main() -> NoReturn:
    """Runs the hook that this process was started for, and ends it with the exit status that git is to see."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(run_hook(sys.argv[1:], Session()))


def run_hook(arguments: Sequence[str], session: Session) -> int:
    """Runs one hook and returns the exit status that git is to see; errors have been told."""
    name, *rest = arguments or [""]
    status = _run(name, rest, session)
    # Git has done its work already after a `post-` hook, and must not seem to have failed.
    return 0 if name.startswith("post-") else status


def _run(name: str, arguments: Sequence[str], session: Session) -> int:
    try:
        if name != "merge-lock" and HOOK_TOKEN.keys() <= session.environment.keys():
            return 0
        return _HOOKS.get(name, _unknown)(session, arguments)
    except (NotInitialisedError, NotAGitRepositoryError, BareRepositoryError):
        return 0  # An older revision, or another repository that shares its hooks.
    except KeyboardInterrupt:
        session.stderr.write("interrupted\n")
        return _INTERRUPTED
    except Exception as exc:  # noqa: BLE001  # the last resort: git's user asked for no traceback
        session.fail_with(exc, hint="report it; git's own --no-verify skips the checks")
        return _NO if isinstance(exc, CommitUnfitError | DataNotPushedError) else _FAILED


def _unknown(_: Session, __: Sequence[str]) -> int:
    raise UsageError("git has no such hook for mlvc", hint=f"one of {', '.join(_HOOKS)}")


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
    if not is_rewriting(repo):
        follow_commit(repo)
    return 0


def _post_checkout(session: Session, arguments: Sequence[str]) -> int:
    told = arguments or _told(session, "FROM_REF", "TO_REF", "CHECKOUT_TYPE")
    if len(told) != 3:
        raise UsageError("post-checkout takes the three arguments that git gives it")
    before, _, is_branch = told
    if is_branch == "1":
        repo = open_repository(session)
        if not is_rewriting(repo):
            follow(repo, lock_before(repo, before))
    return 0


def _post_merge(session: Session, arguments: Sequence[str]) -> int:
    repo = open_repository(session)
    is_squash = list(arguments or _told(session, "IS_SQUASH_MERGE")) == ["1"]
    if not is_squash:
        # First: a colleague's data may not be here yet, and the merge has its record all the same.
        record_head(repo)
    follow(repo, lock_before(repo, "HEAD" if is_squash else "ORIG_HEAD"))
    return 0


def _post_rewrite(session: Session, arguments: Sequence[str]) -> int:
    # After `commit --amend` post-commit has done all there is.
    if list(arguments or _told(session, "REWRITE_COMMAND")) == ["rebase"]:
        repo = open_repository(session)
        # The framework tells no commits; post-commit recorded them, but for `rebase --apply`.
        lines = _lines(session) if arguments else []
        record_rewritten(repo, dict.fromkeys(line.split()[1] for line in lines))
        follow(repo, lock_before_rebase(repo))
    return 0


def _pre_push(session: Session, arguments: Sequence[str]) -> int:
    if len(arguments) == 2:
        git_remote = arguments[0]
        # The name of what is pushed may hold blanks: `HEAD^{/fix this}`.
        fields = [line.rsplit(" ", 3) for line in _lines(session)]
        refs = [OutgoingRef(local, remote) for _, local, _, remote in fields]
    else:
        told = _told(session, "LOCAL_BRANCH", "REMOTE_NAME")
        if len(told) != 2:
            raise UsageError("pre-push takes the two arguments that git gives it")
        git_remote = told[1]
        # The framework leaves the SHAs out where the other side has no commit of this branch.
        tip = session.environment.get("PRE_COMMIT_TO_REF", told[0])
        refs = [OutgoingRef(tip, session.environment.get("PRE_COMMIT_FROM_REF", ""))]
    try:
        repo = open_repository(session)
    except NotInitialisedError:
        check_blind_push(Path.cwd(), refs, git_remote)
    else:
        check_push(repo, refs, git_remote)
    return 0


def _lines(session: Session) -> Sequence[str]:
    return session.stdin.buffer.read().decode("utf-8", "surrogateescape").splitlines()


def _told(session: Session, *names: str) -> Sequence[str]:
    """Returns what the `pre-commit` framework tells, as far as it does."""
    found = (session.environment.get(f"PRE_COMMIT_{name}") for name in names)
    return [value for value in found if value is not None]


_HOOKS: Mapping[str, Callable[[Session, Sequence[str]], int]] = {
    "merge-lock": _merge_lock,
    "pre-commit": _pre_commit,
    "pre-push": _pre_push,
    "post-commit": _post_commit,
    "post-checkout": _post_checkout,
    "post-merge": _post_merge,
    "post-rewrite": _post_rewrite,
}


if __name__ == "__main__":
    main()
