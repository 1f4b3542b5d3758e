"""The hooks that git calls when it has made commits."""

from __future__ import annotations

from collections.abc import Sequence

from mlvc.cli.hooks.told import input_lines, told_by_framework
from mlvc.cli.repository import open_repository
from mlvc.cli.session import Session
from mlvc.verbs.guard import follow, follow_commit, lock_before, lock_before_rebase
from mlvc.verbs.hook_record import record_head, record_rewritten
from mlvc.verbs.rewriting import is_rewriting

__all__ = ["post_applypatch", "post_commit", "post_merge", "post_rewrite"]


def post_commit(session: Session, _: Sequence[str]) -> int:
    """Records the commit, and brings the data of one that git made by itself."""
    repo = open_repository(session)
    record_head(repo)
    if not is_rewriting(repo):
        follow_commit(repo)
    return 0


def post_applypatch(session: Session, _: Sequence[str]) -> int:
    """Does for a commit of `git am` what `post_commit` does; of a rebase, which applies patches too, nothing."""
    repo = open_repository(session)
    if not is_rewriting(repo):
        record_head(repo)
        follow_commit(repo)
    return 0


def post_merge(session: Session, arguments: Sequence[str]) -> int:
    """Records the merge, and brings its data."""
    repo = open_repository(session)
    is_squash = list(arguments or told_by_framework(session, "IS_SQUASH_MERGE")) == ["1"]
    if not is_squash:
        # First: a colleague's data may not be here yet, and the merge has its record all the same.
        record_head(repo)
    follow(repo, lock_before(repo, "HEAD" if is_squash else "ORIG_HEAD"))
    return 0


def post_rewrite(session: Session, arguments: Sequence[str]) -> int:
    """Records the commits of a rebase, and brings the data that it ends with."""
    # After `commit --amend` post-commit has done all there is.
    if list(arguments or told_by_framework(session, "REWRITE_COMMAND")) == ["rebase"]:
        repo = open_repository(session)
        # The framework tells no commits; post-commit recorded them, but for `rebase --apply`.
        lines = input_lines(session) if arguments else []
        record_rewritten(repo, dict.fromkeys(line.split()[1] for line in lines))
        follow(repo, lock_before_rebase(repo))
    return 0
