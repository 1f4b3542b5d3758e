"""The hook that git calls after a checkout; most of them move no data."""

from __future__ import annotations

from collections.abc import Sequence

from mlvc.cli.hooks.told import told_by_framework
from mlvc.cli.repository import open_repository
from mlvc.cli.session import Session
from mlvc.errors import UsageError
from mlvc.verbs.guard import follow, lock_before
from mlvc.verbs.rewriting import is_rewriting

__all__ = ["post_checkout"]


def post_checkout(session: Session, arguments: Sequence[str]) -> int:
    """Brings the data of the branch that was checked out."""
    told = arguments or told_by_framework(session, "FROM_REF", "TO_REF", "CHECKOUT_TYPE")
    if len(told) != 3:
        raise UsageError("post-checkout takes the three arguments that git gives it")
    before, _, is_branch = told
    if is_branch == "1":
        repo = open_repository(session, may_lack_settings=True)
        if is_rewriting(repo):
            return 0
        if repo.has_settings:
            follow(repo, lock_before(repo, before))
        else:
            from mlvc.verbs.left_behind import tell_left_behind  # noqa: PLC0415  # few branches have no mlvc.toml

            repo.cwd = repo.root / session.environment.get("GIT_PREFIX", "")
            tell_left_behind(repo)
    return 0
