"""`mlvc push`: sends what the remote lacks."""

from __future__ import annotations

from dataclasses import dataclass

from mlvc.repo import Repo
from mlvc.store.push import push as send
from mlvc.store.push import repair as mend
from mlvc.store.transfer import AT_ONCE
from mlvc.verbs.remote import open_remote
from mlvc.verbs.seen import remember_sent
from mlvc.verbs.source import index_cache

__all__ = ["PushResult", "push"]


@dataclass(frozen=True, slots=True)
class PushResult:
    """What was sent.

    Attributes:
        url: Where to.
        packs: How many packs; none where the remote had them all.
        size_bytes: Their length.
    """

    url: str
    packs: int
    size_bytes: int


def push(repo: Repo, name: str | None = None, *, repair: bool = False, jobs: int = AT_ONCE) -> PushResult:
    """Sends every pack of the store with something that the remote lacks: data, records, and what made them.

    Args:
        repo: The repository.
        name: The remote; None for the default one.
        repair: Read all of the remote as well, and replace what is damaged there.
        jobs: How many requests to make at once.

    Raises:
        NoRemoteError: There is no such remote.
        RemoteDamagedError: It names what the store here cannot mend; all else was mended.
        MlvcError: The remote cannot be used, or a pack here is damaged. Repeating goes on where it stopped.
    """
    remote = open_remote(repo, name, jobs=jobs)
    began_s = repo.clock.now().timestamp()
    with repo.store.in_use():
        packs = repo.store.packs()  # Another process may add some meanwhile, which are not sent.
        sent = (mend if repair else send)(repo.store, remote, index_cache(repo), repo.reporter)
        remember_sent(repo, remote, packs, looked_at_s=began_s)
    return PushResult(remote.url, sent.packs, sent.size_bytes)
