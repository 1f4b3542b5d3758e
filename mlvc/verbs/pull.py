"""`mlvc pull`: brings what the lock needs, and makes the files match it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlvc.model.ids import PackId
from mlvc.repo import Repo
from mlvc.store.local import RecordKey
from mlvc.store.remote_files import RemoteDamagedError
from mlvc.store.transfer import RemoteIndexes
from mlvc.store.transfer import fetch as bring
from mlvc.verbs.checkout import checkout
from mlvc.verbs.closure import Closure
from mlvc.verbs.locate import Located, get_entry
from mlvc.verbs.remote import open_remote
from mlvc.worktree.worktree import MaterialiseResult

__all__ = ["PullResult", "index_cache", "pull"]


@dataclass(frozen=True, slots=True)
class PullResult:
    """What was brought.

    Attributes:
        url: Where from.
        packs: How many packs; none where all that is needed was here.
        size_bytes: Their length.
        files: What happened to the data files.
    """

    url: str
    packs: int
    size_bytes: int
    files: MaterialiseResult


def pull(
    repo: Repo, paths: Sequence[str] = (), name: str | None = None, *, force: bool = False
) -> PullResult:
    """Brings all records and the data that `mlvc.lock` needs, then checks it out.

    Without paths, what is needed to reproduce the runs of the lock comes too: code, inputs and environments. With
    paths, only their data. A pack is brought as a whole, so more may come than is needed.

    Raises:
        NoRemoteError: There is no such remote.
        PathMissingError: The lock tracks no such path.
        MissingObjectsError: The remote lacks some of it too.
        RemoteDamagedError: It names what is damaged there; nothing of that was stored.
        UnsavedFilesError: Data files would be lost, and `force` is off; no file was changed.
    """
    remote = open_remote(repo, name)
    listed = remote.list_packs()
    metadata = [pack for pack, found in sorted(listed.items()) if not found.is_data]
    records = bring(repo.store, remote, listed, metadata, repo.reporter)
    closure = Closure(repo)
    if paths:
        closure.add_paths([get_entry(repo, Located(None, repo.path_of(argument))) for argument in paths])
    else:
        closure.add_lock(repo.read_lock())
    missing = {
        record
        for object_id in closure.needed
        for record in repo.store.records_of(object_id)
        if not repo.store.has_record(record)
    }
    wanted: list[PackId] = []
    if missing:
        indexes = RemoteIndexes(repo.store, remote, listed, index_cache(repo))
        held = indexes.locate(missing)
        wanted = _choose(held)
        if indexes.damaged and missing - {
            record for records_there in held.values() for record in records_there
        }:
            raise RemoteDamagedError(*indexes.damaged)
    data = bring(repo.store, remote, listed, wanted, repo.reporter)
    files = checkout(repo, paths=paths, force=force).files
    return PullResult(remote.url, records.packs + data.packs, records.size_bytes + data.size_bytes, files)


def index_cache(repo: Repo) -> Path:
    """Returns the directory of indexes of packs that are on some remote and not here."""
    return repo.common_dir / "cache" / "remote-indexes"


def _choose(held: Mapping[PackId, set[RecordKey]]) -> list[PackId]:
    """Returns packs that together hold all the records, those with most of them first."""
    chosen: list[PackId] = []
    covered: set[RecordKey] = set()
    for pack, records in sorted(held.items(), key=lambda item: (-len(item[1]), item[0])):
        if not records <= covered:
            chosen.append(pack)
            covered |= records
    return chosen
