"""A remote as the verbs that bring or check something see it: what it lists, and what is where in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mlvc.errors import MlvcError
from mlvc.model.ids import ObjectId, PackId, RunId
from mlvc.repo import Repo
from mlvc.store.fetch import fetch_records
from mlvc.store.local import RecordKey
from mlvc.store.remote import Listing, Remote, RemotePack
from mlvc.store.remote_files import RemoteMissingError
from mlvc.store.remote_indexes import RemoteIndexes
from mlvc.store.seen import REMOTE_INDEXES
from mlvc.store.transfer import AT_ONCE, Transferred
from mlvc.verbs.closure import Closure, are_whole
from mlvc.verbs.remote import list_remotes, open_remote
from mlvc.verbs.seen import remember_look

__all__ = [
    "Source",
    "bring_records",
    "bring_run",
    "index_cache",
    "open_source",
    "places_of",
    "warn_if_empty",
    "with_source",
]

_Result = TypeVar("_Result")
_LOOKS = 3


def index_cache(repo: Repo) -> Path:
    """Returns the directory of indexes of packs that are on some remote and not here."""
    return repo.common_dir / "cache" / REMOTE_INDEXES


@dataclass(frozen=True, slots=True)
class Source:
    """A remote that was looked at.

    Attributes:
        remote: It.
        listed: Its packs.
        indexes: What is in them.
    """

    remote: Remote
    listed: Mapping[PackId, RemotePack]
    indexes: RemoteIndexes

    def bring(self, repo: Repo, records: Iterable[RecordKey]) -> Transferred:
        """Brings those of some records that are there and not here; see `fetch_records`."""
        return fetch_records(repo.store, self.remote, self.listed, self.indexes, records, repo.reporter)

    def bring_packs(self, repo: Repo, *, with_data: bool) -> Transferred:
        """Brings everything that is in packs of metadata, or in any pack; see `fetch_records`."""
        return self.bring(repo, self.records(repo, with_data=with_data))

    def records(self, repo: Repo, *, with_data: bool) -> set[RecordKey]:
        """Returns what is in packs of metadata, or in any pack, but for packs that are here."""
        here = {info.id for info in repo.store.packs()}
        packs = [
            pack
            for pack, found in self.listed.items()
            if pack not in here and (with_data or not found.is_data)
        ]
        return self.indexes.records(packs)


def open_source(repo: Repo, name: str | None, *, jobs: int = AT_ONCE) -> Source:
    """Looks at a remote: one listing, and the indexes that were not seen before.

    Raises:
        NoRemoteError: There is no such remote.
        MlvcError: It cannot be used.
    """
    remote = open_remote(repo, name, jobs=jobs)
    now_s = repo.clock.now().timestamp()
    looked = remote.look()
    remember_look(repo, remote, looked, looked_at_s=now_s)
    warn_if_empty(repo, remote, looked)
    listed = looked.packs
    return Source(remote, listed, RemoteIndexes(repo.store, remote, listed, index_cache(repo)))


def warn_if_empty(repo: Repo, remote: Remote, looked: Listing) -> None:
    """Warns of a remote without any data: one that nobody pushed to, or another place than was meant.

    It is no error, as an empty repository is none for git; whatever needs data that is not there says so itself.
    """
    if not looked.packs:
        repo.reporter.warn(
            f"{remote.url} holds no mlvc data: nobody has pushed there yet, or `mlvc remote list` shows a wrong path"
        )


def with_source(
    repo: Repo, name: str | None, work: Callable[[Source], _Result], *, jobs: int = AT_ONCE
) -> _Result:
    """Does something with a remote, and once more where a gc of the remote has deleted meanwhile what was there.

    What is needed is then in another pack; what arrived before is not brought again.

    Raises:
        NoRemoteError: There is no such remote.
        MlvcError: It cannot be used; or as `work` raises it.
    """
    for _ in range(_LOOKS):
        source = open_source(repo, name, jobs=jobs)
        try:
            return work(source)
        except RemoteMissingError:
            if not source.listed.keys() - source.remote.list_packs().keys():
                raise
    return work(open_source(repo, name, jobs=jobs))


def bring_run(repo: Repo, run: RunId) -> None:
    """Brings what a run was made of, and made, as far as it is not here, from the default remote, if there is one.

    What cannot be brought is warned of; who needs it says what is missing.
    """
    if are_whole(repo, [run]) or not any(entry.is_default for entry in list_remotes(repo)):
        return

    def bring(source: Source) -> None:
        closure = Closure(repo)
        closure.add_object(run, "the run")
        records = (record for item in closure.needed for record in repo.store.records_of(item))
        source.bring(repo, repo.store.lacking(records))

    try:
        with repo.store.in_use():
            with_source(repo, None, bring)
    except MlvcError as exc:
        repo.reporter.warn(f"not everything that run {run.short} needs could be brought: {exc.message}")


def bring_records(repo: Repo) -> bool:
    """Brings the records of the default remote, if there is one; returns whether any came.

    What cannot be brought is warned of; who needs it says what is missing.
    """
    if not any(entry.is_default for entry in list_remotes(repo)):
        return False
    try:
        with repo.store.in_use():
            moved = with_source(repo, None, lambda source: source.bring_packs(repo, with_data=False))
    except MlvcError as exc:
        repo.reporter.warn(f"the records of the remote could not be brought: {exc.message}")
        return False
    return moved.packs > 0


def places_of(repo: Repo, closure: Closure, records: Iterable[RecordKey]) -> list[str]:
    """Returns where objects are needed that some of the records are part of."""
    wanted = set(records)

    def is_made_of_them(object_id: ObjectId) -> bool:
        return not wanted.isdisjoint(repo.store.records_of(object_id))

    return [place for object_id, place in closure.needed.items() if is_made_of_them(object_id)]
