"""What the git hooks record after git: every commit has its data commit.

Apart from `guard`, because a checkout records nothing, and this loads half of what a commit does.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlvc.model.lock import decode_lock
from mlvc.repo import LOCK_NAME, Repo
from mlvc.verbs.commit import record_commit

__all__ = ["record_head", "record_rewritten"]


def record_head(repo: Repo) -> None:
    """Records the data commit of HEAD, unless it has one or holds no lock."""
    record_rewritten(repo, ["HEAD"])


def record_rewritten(repo: Repo, revs: Iterable[str]) -> None:
    """Records the data commits of git commits, parents first, unless they have one or hold no lock."""
    head, *found = repo.code.commits_at(LOCK_NAME, "HEAD", *revs)
    commits = [(info, decode_lock(lock)) for info, lock in filter(None, found) if lock is not None]
    if head is None or not commits:
        return
    asked = {sha for info, _ in commits for sha in (info.sha, *info.parents)}
    recorded = dict(repo.recorded_commits(asked))
    for info, lock in commits:
        if info.sha not in recorded:
            record = record_commit(repo, info, lock, recorded, is_head=info.sha == head[0].sha)
            recorded[info.sha] = record.id
