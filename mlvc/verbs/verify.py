"""`mlvc verify`: does everything that a revision needs exist, here or on the remote?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlvc.errors import IntegrityError
from mlvc.model.ids import ObjectId
from mlvc.repo import Repo
from mlvc.store.remote_files import RemoteDamagedError
from mlvc.store.transfer import RemoteIndexes
from mlvc.store.transfer import fetch as bring
from mlvc.verbs.closure import Closure
from mlvc.verbs.locate import lock_of
from mlvc.verbs.pull import index_cache
from mlvc.verbs.remote import open_remote

__all__ = ["VerifyProblem", "VerifyResult", "verify"]


@dataclass(frozen=True, slots=True)
class VerifyProblem:
    """Something that is needed and not there, or a file of the remote that is damaged.

    Attributes:
        kind: `missing-object`, `damaged-object` or `remote-damaged`.
        message: A sentence for a person.
        object_id: What is missing, where that is known.
    """

    kind: str
    message: str
    object_id: ObjectId | None = None


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What was found.

    Attributes:
        objects: How many objects the revision needs.
        problems: Nothing if all is well.
    """

    objects: int
    problems: tuple[VerifyProblem, ...]


def verify(repo: Repo, rev: str | None = None, *, remote: bool = False) -> VerifyResult:
    """Tells whether a revision's data, and all that made it, exists; reads indexes and records, and no data.

    Args:
        repo: The repository.
        rev: A git revision; None for the present `mlvc.lock`.
        remote: Ask the default remote instead of the store here; its records are fetched first.

    Raises:
        RevisionMissingError: Git knows no such revision.
        NoRemoteError: There is no remote.
        MlvcError: The remote cannot be used.
    """
    problems: list[VerifyProblem] = []
    indexes = _look_at_remote(repo, problems) if remote else None
    closure = Closure(repo)
    closure.add_lock(lock_of(repo, rev))
    where = "here" if indexes is None else "on the remote"
    for object_id in _lacking(repo, closure, indexes, problems):
        message = f"the {object_id.noun} {object_id} of {closure.needed[object_id]} is not {where}"
        problems.append(VerifyProblem("missing-object", message, object_id))
    return VerifyResult(len(closure.needed), tuple(problems))


def _look_at_remote(repo: Repo, problems: list[VerifyProblem]) -> RemoteIndexes:
    remote = open_remote(repo)
    listed = remote.list_packs()
    metadata = [pack for pack, found in sorted(listed.items()) if not found.is_data]
    damaged: set[tuple[str, str]] = set()
    try:
        bring(repo.store, remote, listed, metadata, repo.reporter)
    except RemoteDamagedError as exc:
        damaged.update(exc.found)
    indexes = RemoteIndexes(repo.store, remote, listed, index_cache(repo))
    damaged.update(indexes.damaged)
    problems += [
        VerifyProblem("remote-damaged", f"{name} is damaged: {what}") for name, what in sorted(damaged)
    ]
    return indexes


def _lacking(
    repo: Repo, closure: Closure, indexes: RemoteIndexes | None, problems: list[VerifyProblem]
) -> Iterator[ObjectId]:
    """Yields each object of which a record is not there."""
    records = {}
    for object_id in closure.needed:
        try:
            records[object_id] = tuple(repo.store.records_of(object_id))
        except IntegrityError as exc:
            problems.append(VerifyProblem("damaged-object", exc.message, object_id))
    needed = {record for parts in records.values() for record in parts}
    if indexes is None:
        held = {record for record in needed if repo.store.has_record(record)}
    else:
        held = {record for there in indexes.locate(needed).values() for record in there}
    for object_id, parts in records.items():
        if not held.issuperset(parts):
            yield object_id
