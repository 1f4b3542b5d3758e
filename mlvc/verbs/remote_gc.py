"""`mlvc gc --remote`: deletes from a remote what nothing there needs."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from mlvc.repo import Repo
from mlvc.store.remote_gc import RemoteCollected, collect_remote
from mlvc.verbs.remote import open_remote
from mlvc.verbs.roots import read_roots
from mlvc.verbs.source import index_cache
from mlvc.verbs.undo import keep_days_of

__all__ = ["RemoteGcResult", "gc_remote"]


@dataclass(frozen=True, slots=True)
class RemoteGcResult:
    """What was, or would be, done.

    Attributes:
        url: Of the remote.
        collected: As the store counts it.
        keep_days: The keep period.
        is_dry_run: Whether nothing was changed on the remote.
    """

    url: str
    collected: RemoteCollected
    keep_days: int
    is_dry_run: bool


def gc_remote(repo: Repo, name: str | None = None, *, dry_run: bool = False) -> RemoteGcResult:
    """Condemns what nothing on a remote needs, or deletes what was condemned a week ago.

    Needed is what its commits, runs and verdicts lead to, and what the repositories here need. Its metadata is fetched.

    Args:
        repo: The repository.
        name: The remote; None for the default one.
        dry_run: Change nothing there; ages are then told by the clock here.

    Raises:
        NoRemoteError: There is no such remote.
        RepositoryUnreadableError: A repository that uses the store here cannot be read.
        MlvcError: As `collect_remote` raises it.
    """
    remote = open_remote(repo, name)
    keep_days = keep_days_of(repo)
    keep, now = datetime.timedelta(days=keep_days), repo.clock.now()
    with repo.store.in_use():
        roots = read_roots(repo.store.layout, now=now, keep=keep)
        collected = collect_remote(
            repo.store,
            remote,
            roots.digests,
            index_cache(repo),
            repo.reporter,
            keep_s=keep.total_seconds(),
            now_s=now.timestamp() if dry_run else None,
        )
    return RemoteGcResult(remote.url, collected, keep_days, dry_run)
