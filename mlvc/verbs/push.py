"""`mlvc push`: sends what the remote lacks."""

from __future__ import annotations

from dataclasses import dataclass

from mlvc.repo import Repo
from mlvc.store.transfer import push as send
from mlvc.verbs.remote import open_remote
from mlvc.verbs.seen import remember_sent

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


def push(repo: Repo, name: str | None = None) -> PushResult:
    """Sends every pack of the store that the remote lacks: data, records, and what made them.

    Raises:
        NoRemoteError: There is no such remote.
        MlvcError: The remote cannot be used, or a pack here is damaged. Repeating goes on where it stopped.
    """
    remote = open_remote(repo, name)
    packs = repo.store.packs()  # Another process may add some meanwhile, which are not sent.
    sent = send(repo.store, remote, repo.reporter)
    remember_sent(repo, remote, packs)
    return PushResult(remote.url, sent.packs, sent.size_bytes)
