"""`mlvc pull`: brings what the lock needs, and makes the files match it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import Lock
from mlvc.repo import Repo
from mlvc.store.remote import Remote
from mlvc.store.remote_files import RemoteDamagedError
from mlvc.store.sparse import SparseStore
from mlvc.store.transfer import AT_ONCE, Transferred
from mlvc.verbs.checkout import checkout
from mlvc.verbs.closure import Closure, is_whole
from mlvc.verbs.locate import Located, get_entry
from mlvc.verbs.patterns import expand_patterns
from mlvc.verbs.remote import open_remote
from mlvc.verbs.seen import remember_look
from mlvc.verbs.source import Source, index_cache, places_of, warn_if_empty, with_source
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
    repo: Repo,
    paths: Sequence[str] = (),
    name: str | None = None,
    *,
    force: bool = False,
    jobs: int = AT_ONCE,
) -> PullResult:
    """Brings what `mlvc.lock` needs, then checks it out.

    Without paths, all records come, and what is needed to reproduce the runs of the lock: code, inputs and
    environments. With paths, or patterns of them, their data and nothing else, found by parts of the remote's indexes.
    What arrived before an error or the end of the process is not brought again.

    Raises:
        NoRemoteError: There is no such remote.
        PathMissingError: The lock tracks no such path.
        MissingObjectsError: The remote lacks some of it too.
        RemoteDamagedError: It names what is damaged there; nothing of that was stored.
        UnsavedFilesError: Data files would be lost, and `force` is off; no file was changed.
    """
    with repo.store.in_use():
        if paths:
            url, moved, paths = _pull_paths(repo, paths, open_remote(repo, name, jobs=jobs))
        else:
            url, moved = with_source(repo, name, lambda source: _pull_all(repo, source), jobs=jobs)
        files = checkout(repo, paths=paths, force=force).files
        return PullResult(url, moved.packs, moved.size_bytes, files)


def _pull_all(repo: Repo, source: Source) -> tuple[str, Transferred]:
    trouble = list(source.indexes.damaged)
    try:
        records = source.bring_packs(repo, with_data=False)
    except RemoteDamagedError as exc:
        trouble += exc.found
        records = Transferred(0, 0)
    lock = repo.read_lock()
    data = Transferred(0, 0) if is_whole(repo, [lock]) else _pull_lacking(repo, source, lock, trouble)
    for place, what in trouble:
        repo.reporter.warn(f"{place} is damaged: {what}; nothing of it is needed here")
    return source.remote.url, records + data


def _pull_lacking(repo: Repo, source: Source, lock: Lock, trouble: Sequence[tuple[str, str]]) -> Transferred:
    """Brings what a lock needs and the store lacks; `trouble` is damage that may be why it stays lacking."""
    closure = Closure(repo)
    closure.add_lock(lock)
    missing = repo.store.lacking(
        record for object_id in closure.needed for record in repo.store.records_of(object_id)
    )
    with _told_what_needs_it(repo, closure):
        data = source.bring(repo, missing)
    lost = repo.store.lacking(missing) if trouble else set()
    if lost:
        raise RemoteDamagedError(*trouble, records=lost, reaches=places_of(repo, closure, lost))
    return data


def _pull_paths(
    repo: Repo, arguments: Sequence[str], remote: Remote
) -> tuple[str, Transferred, Sequence[str]]:
    """Brings the data of some paths; returns what was moved, and the paths without patterns."""
    now_s = repo.clock.now().timestamp()
    store = SparseStore(repo.store, lambda: remote, index_cache(repo), repo.reporter)
    try:
        paths = _bring_paths(repo, arguments, store)
    finally:
        # Whatever is missing, this is why.
        if store.looked is not None:
            warn_if_empty(repo, remote, store.looked)
    if store.looked is not None:
        remember_look(repo, remote, store.looked, looked_at_s=now_s)
    return remote.url, store.moved, paths


def _bring_paths(repo: Repo, arguments: Sequence[str], store: SparseStore) -> Sequence[str]:
    paths = expand_patterns(repo, arguments, store)
    entries = [get_entry(repo, Located(None, repo.path_of(path)), store) for path in paths]
    below = [entry.id for entry in entries if isinstance(entry.id, TreeId)]
    blobs = {BlobId(entry.id.digest) for entry in entries if not isinstance(entry.id, TreeId)}
    while below:
        store.bring_trees(below)
        children = [child for tree in set(below) for child in store.read_tree(tree)]
        below = [child.id for child in children if isinstance(child.id, TreeId)]
        blobs.update(BlobId(child.id.digest) for child in children if not isinstance(child.id, TreeId))
    store.keep()
    closure = Closure(repo)
    closure.add_paths(entries)
    with _told_what_needs_it(repo, closure):
        store.bring_blobs(sorted(blobs))
    return paths


@contextlib.contextmanager
def _told_what_needs_it(repo: Repo, closure: Closure) -> Iterator[None]:
    """Adds to an error about damage what the damaged records are needed for."""
    try:
        yield
    except RemoteDamagedError as exc:
        places = places_of(repo, closure, exc.records)
        raise RemoteDamagedError(*exc.found, records=exc.records, reaches=places) from exc
