"""The hook that git calls before a push."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlvc.cli.hooks.told import input_lines, told_by_framework
from mlvc.cli.render import size
from mlvc.cli.repository import open_repository
from mlvc.cli.session import Session
from mlvc.code.outgoing import OutgoingRef
from mlvc.code.repository import BareRepositoryError
from mlvc.errors import UsageError
from mlvc.repo import NotInitialisedError
from mlvc.verbs.outgoing import check_blind_push, guard_push

__all__ = ["pre_push"]


def pre_push(session: Session, arguments: Sequence[str]) -> int:
    """Refuses a push of commits whose data is on no remote, or sends that first."""
    if len(arguments) == 2:
        git_remote = arguments[0]
        # The name of what is pushed may hold blanks: `HEAD^{/fix this}`.
        fields = [line.rsplit(" ", 3) for line in input_lines(session)]
        refs = [OutgoingRef(local, remote) for _, local, _, remote in fields]
    else:
        told = told_by_framework(session, "LOCAL_BRANCH", "REMOTE_NAME")
        if len(told) != 2:
            raise UsageError("pre-push takes the two arguments that git gives it")
        git_remote = told[1]
        # The framework leaves the SHAs out where the other side has no commit of this branch.
        tip = session.environment.get("PRE_COMMIT_TO_REF", told[0])
        refs = [OutgoingRef(tip, session.environment.get("PRE_COMMIT_FROM_REF", ""))]
    try:
        repo = open_repository(session)
    except (NotInitialisedError, BareRepositoryError) as exc:
        has_work_tree = isinstance(exc, NotInitialisedError)
        check_blind_push(Path.cwd(), refs, git_remote, has_work_tree=has_work_tree)
    else:
        sent = guard_push(repo, refs, git_remote)
        if sent is not None:
            session.tell(f"mlvc: pushed {size(sent.size_bytes)} to {sent.url} (hooks.push)")
    return 0
