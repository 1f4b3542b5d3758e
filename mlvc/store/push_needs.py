"""What a push is about to name, lacks here, and must save from a gc of the remote first.

A clone that fetched records and no data can commit a directory that a colleague only added. Its push cannot send that
data again, as others do who find it on a list of a gc; so it brings the data before it names it, and has it then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlvc.model.kinds import RecordKind
from mlvc.store.fetch import fetch_records
from mlvc.store.local import RecordKey
from mlvc.store.marks import NEEDED, Followed
from mlvc.store.remote_indexes import RemoteIndexes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mlvc.model.ids import PackId, TreeId
    from mlvc.ports import Reporter
    from mlvc.store.local import LocalStore
    from mlvc.store.remote import Listing, Remote, RemotePack

__all__ = ["bring_condemned"]

_ROOTS = frozenset({RecordKind.COMMIT, RecordKind.RUN, RecordKind.VERDICT})


def bring_condemned(
    store: LocalStore,
    remote: Remote,
    looked: Listing,
    standing: Mapping[PackId, RemotePack],
    packs: Iterable[PackId],
    cache: Path,
    reporter: Reporter,
) -> bool:
    """Brings what commits, runs and verdicts need that is not here, and on the remote only in packs that go.

    Data that only directories name which nothing needs is left to go.

    Args:
        store: Where to.
        remote: Where from.
        looked: What is there.
        standing: Those of its packs that no list of a gc names.
        packs: Of the store; they hold the commits, runs and verdicts.
        cache: As of `RemoteIndexes`.
        reporter: Told the progress.

    Returns:
        Whether anything was brought. It may name more, which is to be asked for again.

    Raises:
        RemoteMissingError: It was deleted just now.
        RemoteDamagedError: It is damaged there.
        MlvcError: The remote or the store cannot be used.
    """
    lacking = store.lacking(_needed(store, packs))
    if not lacking:
        return False
    lacking -= RemoteIndexes(store, remote, standing, cache).holding(lacking)
    indexes = RemoteIndexes(store, remote, looked.packs, cache)
    wanted = indexes.holding(lacking)
    if not wanted:
        return False
    fetch_records(store, remote, looked.packs, indexes, wanted, reporter)
    return True


def _needed(store: LocalStore, packs: Iterable[PackId]) -> set[RecordKey]:
    """Returns all that the commits, runs and verdicts in some packs lead to, as far as the metadata here tells.

    An id that stands in a text is returned as every kind that it may be of.
    """
    followed = _Named(store, lambda _: None)
    for pack in packs:
        for entry in store.entries_of(pack):
            if entry.kind in _ROOTS:
                followed.reach_record(entry.kind, entry.part, entry.digest, NEEDED)
    return {RecordKey(*record) for record in followed.records}


class _Named(Followed):
    """All records that are named; what is not here is not followed."""

    def _is_here(self, key: tuple[int, int, bytes]) -> bool:
        self.records.add(key)
        return super()._is_here(key)

    def _needs_of_tree(self, tree: TreeId) -> list[tuple[int, int, bytes]]:
        return super()._needs_of_tree(tree) if self._store.has_tree(tree) else []
