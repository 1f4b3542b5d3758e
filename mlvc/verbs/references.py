"""Which paths, commits and runs an object is needed by."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mlvc.errors import FormatError, IntegrityError, MlvcError, NotFoundError, VersionError
from mlvc.fsio import FileUnreadableError
from mlvc.model.ids import BlobId, ObjectId, TreeId
from mlvc.model.kinds import RecordKind
from mlvc.model.lock import TrackedPath
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind
from mlvc.repo import Repo
from mlvc.store.local import LocalStore
from mlvc.verbs.closure import contents_of
from mlvc.worktree.journal import read_saved
from mlvc.worktree.scan import MAX_DEPTH

__all__ = ["READ_ERRORS", "References"]

READ_ERRORS = (IntegrityError, NotFoundError, FormatError, FileUnreadableError)
_REACHED = 50
"""How many places are remembered for an object; a lost pack can reach millions."""


class References:
    """Follows references down to blobs; each tree is read once, however many commits hold it.

    Attributes:
        reached: Each object that is bad, or cannot be read here, with the first fifty places that need it.
    """

    def __init__(
        self, repo: Repo, is_bad: Callable[[ObjectId], bool], store: LocalStore | None = None
    ) -> None:
        """Follows nothing yet.

        Args:
            repo: The repository.
            is_bad: Whether a blob or tree is what is looked for.
            store: What to read instead of the repository's store.
        """
        self._repo = repo
        self._is_bad = is_bad
        self._store = repo.store if store is None else store
        self._below: dict[TreeId, tuple[tuple[bytes, ObjectId], ...]] = {}
        self.reached: dict[ObjectId, list[str]] = {}

    def follow_all(self) -> None:
        """Follows the lock, the journal of saved files, every commit, every run and every environment."""
        with self._repo.reporter.task("following references", unit="objects") as task:
            for place, entries in self._roots():
                for entry in entries:
                    for path, object_id in self._bad_in(entry.kind, entry.id):
                        self._note(f"{encode_name(entry.path + path)} in {place}", object_id)
                task.advance()

    def _roots(self) -> Iterator[tuple[str, list[TrackedPath]]]:
        """Yields every place that data is needed from, with the data; notes objects that cannot be read."""
        try:
            yield "mlvc.lock", list(self._repo.read_lock().entries.values())
        except MlvcError as exc:
            self._repo.reporter.warn(f"not followed: {exc.message}")
        try:
            yield "saved.log", list(read_saved(self._repo.state_dir / "saved.log"))
        except MlvcError as exc:
            self._repo.reporter.warn(f"not followed: {exc.message}")
        for kind in (RecordKind.COMMIT, RecordKind.RUN, RecordKind.ENVIRONMENT):
            for object_id in self._stored(kind):
                place = f"{object_id.noun} {object_id.short}"
                try:
                    value = self._store.read_object(object_id)
                except READ_ERRORS:
                    self._note(place, object_id)
                    continue
                if self._is_bad(object_id):
                    self._note(place, object_id)
                yield place, list(contents_of(value))

    def _stored(self, kind: RecordKind) -> list[ObjectId]:
        """Returns the ids of one kind; none where an index is damaged, which the check of the packs has named."""
        try:
            return list(self._store.iter_object_ids(kind))
        except (*READ_ERRORS, VersionError) as exc:
            self._repo.reporter.warn(f"not every {kind.name.lower()} could be followed: {exc.message}")
            return []

    def _note(self, place: str, object_id: ObjectId) -> None:
        places = self.reached.setdefault(object_id, [])
        if len(places) < _REACHED:
            places.append(place)

    def _bad_in(self, kind: Kind, object_id: ObjectId, depth: int = 0) -> tuple[tuple[bytes, ObjectId], ...]:
        if isinstance(object_id, BlobId):
            return ((b"", object_id),) if self._is_bad(object_id) else ()
        # No file can stand below more directories; a tree that nests so was made by an attacker.
        if kind is not Kind.DIRECTORY or not isinstance(object_id, TreeId) or depth > MAX_DEPTH:
            return ()
        known = self._below.get(object_id)
        if known is None:
            known = self._below[object_id] = tuple(self._bad_below(object_id, depth))
        return known

    def _bad_below(self, tree: TreeId, depth: int) -> Iterator[tuple[bytes, ObjectId]]:
        is_bad = self._is_bad(tree)
        try:
            entries = self._store.read_tree(tree)
        except READ_ERRORS:
            is_bad, entries = True, ()
        if is_bad:
            yield b"", tree
        for entry in entries:
            for path, object_id in self._bad_in(entry.kind, entry.id, depth + 1):
                yield b"/" + entry.name + path, object_id
