"""`mlvc fetch`: brings the records of a remote."""

from __future__ import annotations

from dataclasses import dataclass

from mlvc.repo import Repo
from mlvc.store.remote_files import RemoteDamagedError
from mlvc.store.transfer import AT_ONCE
from mlvc.verbs.source import Source, with_source

__all__ = ["FetchResult", "fetch"]


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What was brought.

    Attributes:
        url: Where from.
        packs: From how many packs; none where all was here.
        size_bytes: How much was moved.
    """

    url: str
    packs: int
    size_bytes: int


def fetch(
    repo: Repo, name: str | None = None, *, with_data: bool = False, jobs: int = AT_ONCE
) -> FetchResult:
    """Brings the trees, commits, runs, environments and verdicts of a remote; with `with_data`, everything.

    Raises:
        NoRemoteError: There is no such remote.
        RemoteDamagedError: It names what is damaged there; nothing of that was stored.
        MlvcError: The remote cannot be used. Repeating goes on where it stopped.
    """

    def bring(source: Source) -> FetchResult:
        brought = source.bring_packs(repo, with_data=with_data)
        if source.indexes.damaged:
            raise RemoteDamagedError(*source.indexes.damaged)
        return FetchResult(source.remote.url, brought.packs, brought.size_bytes)

    with repo.store.in_use():
        return with_source(repo, name, bring, jobs=jobs)
