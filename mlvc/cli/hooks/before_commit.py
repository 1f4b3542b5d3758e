"""The hook that git calls before a commit."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mlvc.cli.repository import open_repository
from mlvc.cli.session import Session
from mlvc.verbs.hook_commit import check_commit

__all__ = ["pre_commit"]


def pre_commit(session: Session, _: Sequence[str]) -> int:
    """Refuses a commit that would not describe the data, or would hold data."""
    index = session.environment.get("GIT_INDEX_FILE")
    repo = open_repository(session, may_lack_settings=True)
    # Git calls its hooks at the top, wherever the person is.
    repo.cwd = repo.root / session.environment.get("GIT_PREFIX", "")
    # It may be relative to the directory that git calls its hooks in.
    committed = {} if index is None else {"GIT_INDEX_FILE": os.path.abspath(index)}
    if not repo.has_settings:
        from mlvc.verbs.left_behind import check_bare_branch  # noqa: PLC0415  # few branches have no mlvc.toml

        check_bare_branch(repo, committed)
        return 0
    added = check_commit(repo, committed)
    if added:
        session.tell(f"mlvc: added {', '.join(added)}, and staged mlvc.lock (hooks.add)")
    return 0
