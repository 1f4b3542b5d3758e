"""`mlvc fsck`: reads everything that is stored, and tells which paths, commits and runs each damage reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlvc.model.ids import BlobId, ObjectId
from mlvc.repo import Repo
from mlvc.store.fsck import check
from mlvc.store.local import RecordKey
from mlvc.store.remote_indexes import cached_indexes, locate
from mlvc.verbs.references import READ_ERRORS, References
from mlvc.verbs.source import index_cache

__all__ = ["FsckResult", "Problem", "fsck"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: As `mlvc.store.fsck.Damage`, or `missing-object` for what is referred to and not stored.
        message: A sentence for a person.
        object_id: The object, where it is known.
        reaches: Where it is needed, such as `data/x.csv in mlvc.lock`; the first fifty places.
    """

    kind: str
    message: str
    object_id: ObjectId | None
    reaches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FsckResult:
    """What is wrong, and what is only not here.

    Attributes:
        problems: Nothing if all is well.
        absent_objects: How many files' contents are not here, and were on a remote when it was last looked at.
        absent_bytes: How much a fetch of them would move.
    """

    problems: tuple[Problem, ...]
    absent_objects: int
    absent_bytes: int


def fsck(repo: Repo) -> FsckResult:
    """Reads every stored byte, then follows every reference from the lock, the commits and the runs.

    Never writes, repairs or deletes, and asks no remote: what one has is known from the indexes that a fetch kept.

    Raises:
        FileUnreadableError: The store cannot be listed.
    """
    remotes = cached_indexes(index_cache(repo))

    def sizes(records: set[RecordKey]) -> Mapping[RecordKey, int]:
        held = locate(remotes, records)
        return {key: entry.end - entry.offset for there in held.values() for key, entry in there.items()}

    damages = check(repo.store, repo.reporter, lambda records: set(sizes(records)))
    bad = {damage.object_id.digest for damage in damages if damage.object_id is not None}
    references = References(repo, lambda object_id: _is_bad(repo, object_id, bad))
    references.follow_all()
    places = {object_id.digest: places for object_id, places in references.reached.items()}
    problems = [
        Problem(
            damage.kind,
            damage.message,
            damage.object_id,
            () if damage.object_id is None else tuple(places.pop(damage.object_id.digest, ())),
        )
        for damage in damages
    ]
    lacking = {
        object_id: _lacking(repo, object_id)
        for object_id in references.reached
        if object_id.digest not in bad
    }
    there = sizes(set().union(*lacking.values()))
    absent: set[RecordKey] = set()
    absent_objects = 0
    for object_id, records in lacking.items():
        if records and records <= there.keys():
            absent |= records
            absent_objects += 1
        else:
            message = f"the {object_id.noun} {object_id} is needed and not stored"
            problems.append(
                Problem("missing-object", message, object_id, tuple(references.reached[object_id]))
            )
    return FsckResult(tuple(problems), absent_objects, sum(there[record] for record in absent))


def _is_bad(repo: Repo, object_id: ObjectId, bad: set[bytes]) -> bool:
    """Returns whether a blob is damaged or not whole here; a tree that is not is found when it is read."""
    if not isinstance(object_id, BlobId):
        return False
    try:
        return object_id.digest in bad or not repo.store.has_blob(object_id)
    except READ_ERRORS:
        return True


def _lacking(repo: Repo, object_id: ObjectId) -> set[RecordKey]:
    """Returns what of a blob is not here; nothing of what a plain fetch brings."""
    if not isinstance(object_id, BlobId):
        return set()
    try:
        return repo.store.lacking(repo.store.records_of(object_id))
    except READ_ERRORS:
        return set()
