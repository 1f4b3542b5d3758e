"""`mlvc fsck`: reads everything that is stored, and tells which paths, commits and runs each damage reaches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlvc.errors import FormatError, IntegrityError, MlvcError, NotFoundError, VersionError
from mlvc.fsio import FileUnreadableError
from mlvc.model.ids import BlobId, ObjectId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind
from mlvc.ports import RecordKind
from mlvc.repo import Repo
from mlvc.store.fsck import check
from mlvc.verbs.closure import contents_of

__all__ = ["FsckResult", "Problem", "fsck"]

_READ_ERRORS = (IntegrityError, NotFoundError, FormatError, FileUnreadableError)
_REACHED = 50
"""How many places a problem names; a lost pack can reach millions."""


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
    """Everything that is wrong; nothing if all is well."""

    problems: tuple[Problem, ...]


def fsck(repo: Repo) -> FsckResult:
    """Reads every stored byte, then follows every reference from the lock, the commits and the runs.

    Never writes, repairs or deletes.

    Raises:
        FileUnreadableError: The store cannot be listed.
    """
    damages = check(repo.store, repo.reporter)
    bad = {damage.object_id.digest for damage in damages if damage.object_id is not None}
    with repo.reporter.task("following references", unit="objects") as task:
        walk = _References(repo, bad)
        for place, entries in _roots(repo, walk):
            for entry in entries:
                walk.follow(place, entry)
            task.advance()
    problems = [
        Problem(
            damage.kind,
            damage.message,
            damage.object_id,
            () if damage.object_id is None else tuple(walk.reached.pop(damage.object_id.digest, ())),
        )
        for damage in damages
    ]
    for digest, places in walk.reached.items():
        if digest not in bad:
            missing = walk.ids[digest]
            message = f"the {missing.noun} {missing} is needed and not stored"
            problems.append(Problem("missing-object", message, missing, tuple(places)))
    return FsckResult(tuple(problems))


class _References:
    """Follows references down to blobs; each tree is read once, however many commits hold it."""

    def __init__(self, repo: Repo, bad: set[bytes]) -> None:
        self._store = repo.store
        self._bad = bad
        self._below: dict[TreeId, tuple[tuple[bytes, ObjectId], ...]] = {}
        self.reached: dict[bytes, list[str]] = {}
        self.ids: dict[bytes, ObjectId] = {}

    def follow(self, place: str, entry: TrackedPath) -> None:
        """Notes what is bad or missing in a tracked path, as reached from `place`."""
        for path, object_id in self._bad_in(entry.kind, entry.id):
            self.note(f"{encode_name(entry.path + path)} in {place}", object_id)

    def note(self, place: str, object_id: ObjectId) -> None:
        """Notes that `place` needs an object that cannot be read."""
        self.ids[object_id.digest] = object_id
        places = self.reached.setdefault(object_id.digest, [])
        if len(places) < _REACHED:
            places.append(place)

    def _bad_in(self, kind: Kind, object_id: ObjectId) -> tuple[tuple[bytes, ObjectId], ...]:
        if isinstance(object_id, BlobId):
            is_bad = object_id.digest in self._bad or not self._has_blob(object_id)
            return ((b"", object_id),) if is_bad else ()
        if kind is not Kind.DIRECTORY or not isinstance(object_id, TreeId):
            return ()
        known = self._below.get(object_id)
        if known is None:
            known = self._below[object_id] = tuple(self._bad_below(object_id))
        return known

    def _has_blob(self, blob: BlobId) -> bool:
        try:
            return self._store.has_blob(blob)
        except _READ_ERRORS:
            return False

    def _bad_below(self, tree: TreeId) -> Iterator[tuple[bytes, ObjectId]]:
        try:
            entries = self._store.read_tree(tree)
        except _READ_ERRORS:
            yield b"", tree
            return
        for entry in entries:
            for path, object_id in self._bad_in(entry.kind, entry.id):
                yield b"/" + entry.name + path, object_id


def _roots(repo: Repo, walk: _References) -> Iterator[tuple[str, list[TrackedPath]]]:
    """Yields every place that data is needed from, with the data; notes objects that cannot be read."""
    try:
        yield "mlvc.lock", list(repo.read_lock().entries.values())
    except MlvcError as exc:
        repo.reporter.warn(f"not followed: {exc.message}")
    for kind in (RecordKind.COMMIT, RecordKind.RUN, RecordKind.ENVIRONMENT):
        for object_id in _stored(repo, kind):
            place = f"{object_id.noun} {object_id.short}"
            try:
                value = repo.store.read_object(object_id)
            except _READ_ERRORS:
                walk.note(place, object_id)
                continue
            yield place, list(contents_of(value))


def _stored(repo: Repo, kind: RecordKind) -> list[ObjectId]:
    """Returns the ids of one kind; none where an index is damaged, which the check of the packs has named."""
    try:
        return list(repo.store.iter_object_ids(kind))
    except (*_READ_ERRORS, VersionError) as exc:
        repo.reporter.warn(f"not every {kind.name.lower()} could be followed: {exc.message}")
        return []
