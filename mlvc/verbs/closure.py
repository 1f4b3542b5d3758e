"""What stored objects refer to, and everything that a lock needs: data, and what made it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mlvc.errors import FormatError, IntegrityError, NotFoundError
from mlvc.model.ids import BlobId, EnvironmentId, ObjectId, TreeId
from mlvc.model.lock import Lock, TrackedPath
from mlvc.model.names import encode_name
from mlvc.model.objects import Commit, Environment, Run, StoredObject
from mlvc.model.tree import Kind, ids_below
from mlvc.repo import Repo

__all__ = ["Closure", "are_whole", "contents_of", "is_whole"]


def contents_of(value: StoredObject) -> Iterator[TrackedPath]:
    """Yields the blobs and trees that an object refers to, each under a name for a person."""
    match value:
        case Commit():
            yield from value.paths
            yield from _tree("code", value.code_tree)
        case Run():
            yield from value.inputs
            yield from value.outputs
            yield from _tree("code", value.code.tree)
            yield from _blob("log", value.log)
            yield from _blob("steps", value.steps)
            yield from _blob("metrics over steps", value.series)
        case Environment():
            yield from _tree("interpreter", value.interpreter.tree)
            yield from _tree("unowned files", value.unowned)
            for item in value.distributions:
                yield from _blob(item.wheel_name, item.wheel)
                yield from _tree(item.name, item.editable_tree)


def _tree(name: str, tree: TreeId | None) -> Iterator[TrackedPath]:
    if tree is not None:
        yield TrackedPath(name.encode(), Kind.DIRECTORY, tree, 0, 0)


def _blob(name: str, blob: BlobId | None) -> Iterator[TrackedPath]:
    if blob is not None:
        yield TrackedPath(name.encode(), Kind.FILE, blob, 1, 0)


def is_whole(repo: Repo, locks: Iterable[Lock]) -> bool:
    """Returns whether all is here that `Closure.add_lock` collects for some locks; a fraction of its cost.

    What cannot be read counts as not here: who collects it finds out more.
    """
    pending: list[ObjectId] = []
    for lock in locks:
        pending += [entry.run for entry in lock.entries.values() if entry.run is not None]
        pending += [entry.id for entry in lock.entries.values()]
        if lock.environment is not None:
            pending.append(lock.environment)
    return are_whole(repo, pending)


def are_whole(repo: Repo, objects: Iterable[ObjectId]) -> bool:
    """Returns whether objects are here with all that they refer to, and the environments of runs; as `is_whole`."""
    pending = list(objects)
    seen: set[ObjectId] = set()
    try:
        while pending:
            item = pending.pop()
            if item in seen:
                continue
            seen.add(item)
            if isinstance(item, TreeId):
                directories, files = ids_below(repo.store.read_encoded_tree(item))
                if not repo.store.has_blobs(files):
                    return False
                pending += map(TreeId, directories)
            elif isinstance(item, BlobId):
                if not repo.store.has_blob(item):
                    return False
            else:
                value = repo.store.read_object(item)
                pending += [entry.id for entry in contents_of(value)]
                if isinstance(value, Run) and value.environment is not None:
                    pending.append(value.environment)
    except (NotFoundError, IntegrityError, FormatError):
        return False
    return True


class Closure:
    """Collects objects with everything below them; what is not in the store is noted and not gone into.

    Attributes:
        needed: Each object with the first place that needs it.
    """

    def __init__(self, repo: Repo) -> None:
        self._store = repo.store
        self.needed: dict[ObjectId, str] = {}

    def add_lock(self, lock: Lock) -> None:
        """Adds the tracked data, the runs that made it with all they were made of, and the environment."""
        self.add_paths(lock.entries.values())
        for entry in lock.entries.values():
            if entry.run is not None:
                self.add_object(entry.run, entry.name)
        self._add_environment(lock.environment, "mlvc.lock")

    def add_paths(self, entries: Iterable[TrackedPath], where: str = "") -> None:
        """Adds data, and nothing of how it was made."""
        for entry in entries:
            self._add_content(entry.id, entry.name + where)

    def add_object(self, object_id: ObjectId, place: str) -> None:
        """Adds a commit, run, environment or verdict with all that it refers to, and the environment of a run."""
        if object_id in self.needed:
            return
        self.needed[object_id] = place
        try:
            value = self._store.read_object(object_id)
        except (NotFoundError, IntegrityError):
            return
        self.add_paths(contents_of(value), f" of the {object_id.noun} {object_id.short}")
        if isinstance(value, Run):
            self._add_environment(value.environment, f"the run {object_id.short}")

    def _add_environment(self, environment: EnvironmentId | None, place: str) -> None:
        if environment is not None:
            self.add_object(environment, place)

    def _add_content(self, object_id: ObjectId, place: str) -> None:
        # A tree that an attacker made may nest more deeply than functions can.
        pending = [(object_id, place)]
        while pending:
            item, where = pending.pop()
            if item in self.needed:
                continue
            self.needed[item] = where
            if not isinstance(item, TreeId):
                continue
            try:
                entries = self._store.read_tree(item)
            except (NotFoundError, IntegrityError):
                continue
            pending += [(entry.id, f"{where}/{encode_name(entry.name)}") for entry in reversed(entries)]
