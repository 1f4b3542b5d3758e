"""What a push, fetch or pull would move; nothing is changed, here or there, but the cache of what a remote holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlvc.model.ids import TreeId
from mlvc.repo import Repo
from mlvc.store.fetch import plan_records
from mlvc.store.push import lacked
from mlvc.store.sparse import SparseStore
from mlvc.store.transfer import AT_ONCE
from mlvc.verbs.closure import Closure
from mlvc.verbs.locate import Located, get_entry
from mlvc.verbs.patterns import expand_patterns
from mlvc.verbs.remote import open_remote
from mlvc.verbs.source import index_cache, open_source

__all__ = ["Plan", "plan_fetch", "plan_pull", "plan_push"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be moved.

    Attributes:
        url: Of the remote.
        packs: To or from how many packs.
        records: How many records: chunks, directories, commits and the like.
        size_bytes: How much.
        unknown_directories: How many directories are not here, so that nobody can tell what in them is needed.
    """

    url: str
    packs: int
    records: int
    size_bytes: int
    unknown_directories: int = 0


def plan_push(repo: Repo, name: str | None = None, *, jobs: int = AT_ONCE) -> Plan:
    """Returns what `push` would send.

    Raises:
        NoRemoteError: There is no such remote.
        MlvcError: The remote cannot be used.
    """
    remote = open_remote(repo, name, jobs=jobs)
    with repo.store.in_use():
        packs = lacked(repo.store, remote, index_cache(repo))
    records = sum(info.records for info in packs)
    return Plan(remote.url, len(packs), records, sum(info.size_bytes for info in packs))


def plan_fetch(repo: Repo, name: str | None = None, *, with_data: bool = False, jobs: int = AT_ONCE) -> Plan:
    """Returns what `fetch` would bring; raises as `plan_push` does."""
    source = open_source(repo, name, jobs=jobs)
    with repo.store.in_use():
        records = source.records(repo, with_data=with_data)
        planned = plan_records(repo.store, source.listed, source.indexes, records)
    return Plan(source.remote.url, *planned)


def plan_pull(repo: Repo, paths: Sequence[str] = (), name: str | None = None, *, jobs: int = AT_ONCE) -> Plan:
    """Returns what `pull` would bring, as far as it can be told from the directories that are here.

    Raises:
        NoRemoteError: There is no such remote.
        PathMissingError: The lock tracks no such path.
        MlvcError: The remote cannot be used.
    """
    source = open_source(repo, name, jobs=jobs)
    with repo.store.in_use():
        closure = Closure(repo)
        if paths:
            paths = expand_patterns(
                repo, paths, SparseStore(repo.store, None, index_cache(repo), repo.reporter)
            )
            closure.add_paths(get_entry(repo, Located(None, repo.path_of(path))) for path in paths)
            wanted = set()
        else:
            closure.add_lock(repo.read_lock())
            wanted = source.records(repo, with_data=False)
        for object_id in closure.needed:
            wanted.update(repo.store.records_of(object_id))
        unknown = [
            item for item in closure.needed if isinstance(item, TreeId) and not repo.store.has_tree(item)
        ]
        planned = plan_records(repo.store, source.listed, source.indexes, wanted)
    return Plan(source.remote.url, *planned, unknown_directories=len(unknown))
