"""`mlvc pull`: brings what the lock needs, and makes the files match it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlvc.repo import Repo
from mlvc.store.remote_files import RemoteDamagedError
from mlvc.store.transfer import Transferred
from mlvc.verbs.checkout import checkout
from mlvc.verbs.closure import Closure
from mlvc.verbs.locate import Located, get_entry
from mlvc.verbs.source import open_source, places_of
from mlvc.worktree.worktree import MaterialiseResult

__all__ = ["PullResult", "pull"]


@dataclass(frozen=True, slots=True)
class PullResult:
    """What was brought.

    Attributes:
        url: Where from.
        packs: From how many packs; none where all that is needed was here.
        size_bytes: How much was moved.
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
    paths, only their data. What arrived before an error or the end of the process is not brought again.

    Raises:
        NoRemoteError: There is no such remote.
        PathMissingError: The lock tracks no such path.
        MissingObjectsError: The remote lacks some of it too.
        RemoteDamagedError: It names what is damaged there; nothing of that was stored.
        UnsavedFilesError: Data files would be lost, and `force` is off; no file was changed.
    """
    with repo.store.in_use():
        return _pull(repo, paths, name, force=force)


def _pull(repo: Repo, paths: Sequence[str], name: str | None, *, force: bool) -> PullResult:
    source = open_source(repo, name)
    trouble = list(source.indexes.damaged)
    try:
        records = source.bring_packs(repo, with_data=False)
    except RemoteDamagedError as exc:
        trouble += exc.found
        records = Transferred(0, 0)
    closure = Closure(repo)
    if paths:
        closure.add_paths([get_entry(repo, Located(None, repo.path_of(argument))) for argument in paths])
    else:
        closure.add_lock(repo.read_lock())
    missing = repo.store.lacking(
        record for object_id in closure.needed for record in repo.store.records_of(object_id)
    )
    try:
        data = source.bring(repo, missing)
    except RemoteDamagedError as exc:
        places = places_of(repo, closure, exc.records)
        raise RemoteDamagedError(*exc.found, records=exc.records, reaches=places) from exc
    if trouble:
        lost = repo.store.lacking(missing)
        if lost:
            raise RemoteDamagedError(*trouble, records=lost, reaches=places_of(repo, closure, lost))
        for place, what in trouble:
            repo.reporter.warn(f"{place} is damaged: {what}; nothing of it is needed here")
    files = checkout(repo, paths=paths, force=force).files
    size_bytes = records.size_bytes + data.size_bytes
    return PullResult(source.remote.url, records.packs + data.packs, size_bytes, files)
