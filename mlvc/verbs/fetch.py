"""`mlvc fetch`: brings the records of a remote."""

from __future__ import annotations

from dataclasses import dataclass

from mlvc.repo import Repo
from mlvc.store.transfer import fetch as bring
from mlvc.verbs.remote import open_remote

__all__ = ["FetchResult", "fetch"]


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What was brought.

    Attributes:
        url: Where from.
        packs: How many packs; none where all were here.
        size_bytes: Their length.
    """

    url: str
    packs: int
    size_bytes: int


def fetch(repo: Repo, name: str | None = None, *, with_data: bool = False) -> FetchResult:
    """Brings the trees, commits, runs, environments and verdicts of a remote; with `with_data`, everything.

    Raises:
        NoRemoteError: There is no such remote.
        RemoteDamagedError: It names what is damaged there; nothing of that was stored.
        MlvcError: The remote cannot be used. Repeating goes on where it stopped.
    """
    remote = open_remote(repo, name)
    listed = remote.list_packs()
    wanted = [pack for pack, found in sorted(listed.items()) if with_data or not found.is_data]
    brought = bring(repo.store, remote, listed, wanted, repo.reporter)
    return FetchResult(remote.url, brought.packs, brought.size_bytes)
