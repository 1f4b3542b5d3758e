"""`mlvc fsck`: reads everything that is stored, and tells which paths, commits and runs each damage reaches.

What is behind an index that is of no use is followed through one that was made again in memory; that it cannot be
found is told of the index.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlvc.errors import MlvcError
from mlvc.model.ids import BlobId, ObjectId, PackId
from mlvc.repo import Repo
from mlvc.store.fsck import Damage, Examined, examine
from mlvc.store.local import LocalStore, RecordKey
from mlvc.store.pack_index import PackIndex
from mlvc.store.remote_indexes import cached_indexes, locate
from mlvc.verbs.references import READ_ERRORS, References
from mlvc.verbs.source import index_cache
from mlvc.worktree.journal import read_saved
from mlvc.worktree.undo import UndoJournal, read_undo

__all__ = ["Found", "FsckResult", "Problem", "find_problems", "fsck", "missing_objects"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: As `mlvc.store.fsck.Damage`; `missing-object` for what is referred to and not stored; `unreadable-lock`
            and `damaged-journal`, whose needs are not known then.
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


@dataclass(frozen=True, slots=True)
class Found:
    """What is wrong, as a repair needs to know it.

    Attributes:
        result: Everything that is wrong.
        examined: The same, pack by pack.
    """

    result: FsckResult
    examined: Examined


def fsck(repo: Repo) -> FsckResult:
    """Reads every stored byte, then follows every reference from the lock, the journals, the commits and the runs.

    Never writes, repairs or deletes, and asks no remote: what one has is known from the indexes that a fetch kept.
    A gc that runs meanwhile deletes another time.

    Raises:
        FileUnreadableError: The store cannot be listed.
        DamagedFileError: Which packs count is not known.
    """
    with repo.store.in_use():
        return find_problems(repo).result


def find_problems(repo: Repo) -> Found:
    """Does what `fsck` does; the caller holds the store in use."""
    sizes = _sizes(repo)
    examined = examine(repo.store, repo.reporter, lambda records: set(sizes(records)))
    reader = LocalStore(repo.store.layout.directory)
    reader.records.catalog.stand_in(examined.indexes)
    followed = _follow(repo, reader, sizes, examined.damages, examined.indexes)
    problems = (*followed.problems, *_unreadable(repo))
    return Found(FsckResult(problems, followed.absent_objects, followed.absent_bytes), examined)


def missing_objects(repo: Repo) -> set[ObjectId]:
    """Returns what something needs and neither the store nor, as far as is known, a remote has; reads no data."""
    found = _follow(repo, repo.store, _sizes(repo), (), ())
    return {problem.object_id for problem in found.problems if problem.object_id is not None}


_Sizes = Callable[[set[RecordKey]], Mapping[RecordKey, int]]


def _sizes(repo: Repo) -> _Sizes:
    """Returns what tells the sizes of those of some records that remotes are known to have."""
    remotes = cached_indexes(index_cache(repo))

    def sizes(records: set[RecordKey]) -> Mapping[RecordKey, int]:
        held = locate(remotes, records)
        return {key: entry.end - entry.offset for there in held.values() for key, entry in there.items()}

    return sizes


def _follow(
    repo: Repo,
    reader: LocalStore,
    sizes: _Sizes,
    damages: Sequence[Damage],
    indexes: Sequence[PackIndex],
) -> FsckResult:
    bad = {damage.object_id.digest for damage in damages if damage.object_id is not None}
    hidden = _hidden(reader, indexes)
    references = References(
        repo,
        lambda object_id: _is_bad(reader, object_id, bad) or bool(_hiding(reader, object_id, hidden)),
        reader,
    )
    references.follow_all()
    places: dict[bytes, list[str]] = {}
    lacking: dict[ObjectId, set[RecordKey]] = {}
    for object_id, reached in references.reached.items():
        packs = _hiding(reader, object_id, hidden)
        for digest in {object_id.digest, *(pack.digest for pack in packs)}:
            places.setdefault(digest, []).extend(reached)
        if object_id.digest not in bad and not (packs and _is_whole(reader, object_id)):
            lacking[object_id] = _lacking(reader, object_id)
    problems = [
        Problem(damage.kind, damage.message, damage.object_id, tuple(_places(damage, places)))
        for damage in damages
    ]
    there = sizes(set().union(*lacking.values()))
    absent: set[RecordKey] = set()
    absent_objects = 0
    for object_id, records in lacking.items():
        if records and records <= there.keys():
            absent |= records
            absent_objects += 1
        else:
            message = f"the {object_id.noun} {object_id} is needed and not stored"
            reached = references.reached[object_id]
            problems.append(Problem("missing-object", message, object_id, tuple(reached)))
    return FsckResult(tuple(problems), absent_objects, sum(there[record] for record in absent))


def _places(damage: Damage, places: Mapping[bytes, list[str]]) -> Iterable[str]:
    item = damage.object_id or damage.pack
    return () if item is None else dict.fromkeys(places.get(item.digest, ()))


def _unreadable(repo: Repo) -> Iterator[Problem]:
    """Yields what could not be followed at all."""
    reads: tuple[tuple[str, Callable[[], object]], ...] = (
        ("unreadable-lock", repo.read_lock),
        ("damaged-journal", lambda: read_saved(repo.state_dir / "saved.log")),
        *(
            ("damaged-journal", functools.partial(read_undo, path))
            for path in UndoJournal(repo.state_dir).files()
        ),
    )
    for kind, read in reads:
        try:
            read()
        except MlvcError as exc:
            yield Problem(kind, exc.message, None, ())


def _hidden(reader: LocalStore, indexes: Sequence[PackIndex]) -> Mapping[bytes, PackId]:
    """Returns the ids that only a pack without a usable index has."""
    behind = {index.info.id for index in indexes}
    hidden: dict[bytes, PackId] = {}
    for index in indexes:
        for entry in index.entries_from(b""):
            copies = reader.records.catalog.find_all(entry.digest, entry.kind, entry.part)
            if all(copy.info.id in behind for copy, _, _ in copies):
                hidden[entry.digest] = index.info.id
    return hidden


def _hiding(reader: LocalStore, object_id: ObjectId, hidden: Mapping[bytes, PackId]) -> set[PackId]:
    """Returns the packs without a usable index that an object is in."""
    if not hidden:
        return set()
    try:
        return {hidden[record.digest] for record in reader.records_of(object_id) if record.digest in hidden}
    except READ_ERRORS:
        return set()


def _is_bad(reader: LocalStore, object_id: ObjectId, bad: set[bytes]) -> bool:
    """Returns whether a blob is damaged or not whole here; a tree that is not is found when it is read."""
    return isinstance(object_id, BlobId) and (object_id.digest in bad or not _is_whole(reader, object_id))


def _is_whole(reader: LocalStore, object_id: ObjectId) -> bool:
    try:
        return not reader.lacking(reader.records_of(object_id))
    except READ_ERRORS:
        return False


def _lacking(reader: LocalStore, object_id: ObjectId) -> set[RecordKey]:
    """Returns what of a blob is not here; nothing of what a plain fetch brings."""
    if not isinstance(object_id, BlobId):
        return set()
    try:
        return reader.lacking(reader.records_of(object_id))
    except READ_ERRORS:
        return set()
