"""A store that need not have everything: what it lacks comes from a remote at the moment it is read."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from mlvc.errors import FormatError
from mlvc.model.ids import ChunkId, TreeId
from mlvc.model.kinds import RecordKind
from mlvc.model.tree import decode_tree
from mlvc.store.arrivals import Arrivals
from mlvc.store.errors import ObjectDamagedError, ObjectMissingError
from mlvc.store.fetch import fetch_into_memory, fetch_records
from mlvc.store.local import RecordKey
from mlvc.store.recipe import Recipe
from mlvc.store.remote_lookup import RemoteLookup
from mlvc.store.transfer import Transferred

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mlvc.model.ids import BlobId, PackId
    from mlvc.model.tree import TreeEntry
    from mlvc.ports import Reporter
    from mlvc.store.local import LocalStore
    from mlvc.store.remote import Listing, Remote, RemotePack

__all__ = ["SparseStore"]

_STALE_S = 1.0
"""A reader that asks for many missing things does not list the remote for each."""


class SparseStore:
    """Reads blobs and trees of a store and of a remote as if they were one; safe for use from several threads.

    Nothing is asked of the remote before something is missing. What was read from it is kept in the store, so that it
    is brought once; the last few MiB only after `keep`.

    Attributes:
        moved: What came from the remote so far.
        looked: What it had at the last look; None where it was not asked.
    """

    def __init__(
        self, store: LocalStore, connect: Callable[[], Remote] | None, cache: Path, reporter: Reporter
    ) -> None:
        """Asks nothing.

        Args:
            store: What is here.
            connect: Opens the remote; None where there is none.
            cache: As of `RemoteIndexes`.
            reporter: Told the progress, and warned of damage.
        """
        self._store = store
        self._connect = connect
        self._cache = cache
        self._reporter = reporter
        self._arrivals = Arrivals(store)
        self._lock = threading.RLock()
        self._listed_at = 0.0
        self._pid = os.getpid()
        self._remote: tuple[Remote, Mapping[PackId, RemotePack], RemoteLookup] | None = None
        self.moved = Transferred(0, 0)
        self.looked: Listing | None = None

    def _opened(self) -> tuple[Remote, Mapping[PackId, RemotePack], RemoteLookup] | None:
        if self._pid != os.getpid():
            # The connections of a process do not serve those that it forked, such as a data loader's workers.
            self._remote, self._pid = None, os.getpid()
        if self._remote is None and self._connect is not None:
            remote = self._connect()
            self.looked = remote.look()
            listed = self.looked.packs
            self._listed_at = time.monotonic()
            self._remote = remote, listed, RemoteLookup(self._store, remote, listed, self._cache)
        return self._remote

    def _listed_anew(
        self, before: Mapping[PackId, RemotePack]
    ) -> tuple[Remote, Mapping[PackId, RemotePack], RemoteLookup] | None:
        """Returns the remote as it is now; None where it has nothing that it did not have before."""
        if time.monotonic() - self._listed_at < _STALE_S:
            return None
        self._remote = None
        now = self._opened()
        return now if now is not None and now[1].keys() - before.keys() else None

    def lacking(self, records: Iterable[RecordKey]) -> set[RecordKey]:
        """Returns those of the records that are not here."""
        return self._arrivals.lacking(records)

    def bring(self, records: Collection[RecordKey]) -> None:
        """Makes records arrive, those that the remote has; the others stay missing.

        Raises:
            RemoteDamagedError: It names what is damaged there.
            MlvcError: The remote cannot be used.
        """
        self._arrivals.settle()
        self._bring(records)

    def _bring(self, records: Collection[RecordKey]) -> None:
        with self._lock:
            missing = self.lacking(records)
            source = self._opened() if missing else None
            while source is not None and missing:
                self.moved += fetch_into_memory(self._arrivals, *source, missing, self._reporter)
                missing = self.lacking(missing)
                # Somebody may have pushed since the remote was listed.
                source = self._listed_anew(source[1]) if missing else None

    def bring_blobs(self, blobs: Iterable[BlobId]) -> Transferred:
        """Brings many blobs, straight into the store; see `fetch_records`. What cannot be had stays missing.

        Raises:
            RemoteDamagedError: It names what is damaged there; nothing of that was stored, and everything else was.
            MlvcError: The remote or the store cannot be used; what had arrived stays.
        """
        with self._lock:
            missing = [blob for blob in blobs if not self._store.has_blob(blob)]
            source = self._opened() if missing else None
            if source is None:
                return Transferred(0, 0)
            self._bring([RecordKey(RecordKind.RECIPE, RecordKind.CHUNK, blob.digest) for blob in missing])
            self.keep()
            records = [record for blob in missing for record in self._store.records_of(blob)]
            moved = fetch_records(self._store, *source, records, self._reporter)
            self.moved += moved
            return moved

    def keep(self) -> None:
        """Puts what arrived into the store."""
        self._arrivals.store()

    # ------------------------------------------------------------------------------------------------ reading

    def read(self, record: RecordKey) -> bytes:
        """Returns the bytes of a chunk of data or of a tree, verified; brings nothing.

        Raises:
            ObjectMissingError: It is not here.
            IntegrityError: It is damaged.
        """
        data = self._arrivals.read(record)
        return (
            self._store.read_chunk(ChunkId(record.digest), RecordKind(record.kind)) if data is None else data
        )

    def chunks_of(self, blob: BlobId) -> Sequence[tuple[bytes, int]]:
        """Returns the ids and lengths of the chunks that make a blob; brings its recipe, and no more than that.

        A small blob has no recipe, and is brought.

        Raises:
            ObjectMissingError: The blob cannot be had.
            IntegrityError: Its recipe is damaged.
        """
        chunks = self._store.chunks_of(blob)
        if chunks is not None:
            return chunks
        in_pieces = RecordKey(RecordKind.RECIPE, RecordKind.CHUNK, blob.digest)
        self._bring([in_pieces])
        recipe = self._arrivals.read(in_pieces)
        if recipe is not None:
            try:
                return list(Recipe(recipe, RecordKind.CHUNK).chunks())
            except FormatError as exc:
                raise ObjectDamagedError(blob, exc.message) from exc
        as_one = RecordKey(RecordKind.CHUNK, 0, blob.digest)
        self._bring([as_one])
        data = self._arrivals.read(as_one)
        if data is None:
            raise ObjectMissingError(blob)
        return [(blob.digest, len(data))]

    def bring_trees(self, trees: Collection[TreeId]) -> None:
        """Brings directories, all in a few requests; what cannot be had stays missing."""
        with self._lock:
            self._arrivals.settle()
            missing = [tree for tree in trees if not self._store.has_tree(tree)]
            self._bring([record for tree in missing for record in _heads(tree)])
            recipes = (self._arrivals.read(_heads(tree)[1]) for tree in missing)
            self._bring(
                [
                    RecordKey(RecordKind.TREE_CHUNK, 0, digest)
                    for recipe in recipes
                    if recipe is not None
                    for digest, _ in Recipe(recipe, RecordKind.TREE_CHUNK).chunks()
                ]
            )

    def read_tree(self, tree: TreeId) -> Sequence[TreeEntry]:
        """Returns the entries of a directory, verified; brings them where they are not here.

        Raises:
            ObjectMissingError: It cannot be had.
            IntegrityError: It is damaged.
        """
        if self._store.has_tree(tree):
            return self._store.read_tree(tree)
        self.bring_trees([tree])
        as_one, in_pieces = _heads(tree)
        data = self._arrivals.read(as_one)
        if data is None:
            recipe = self._arrivals.read(in_pieces)
            if recipe is None:
                raise ObjectMissingError(tree)
            data = b"".join(self._pieces_of(tree, recipe))
        if TreeId.of(data) != tree:
            raise ObjectDamagedError(tree, "its chunks are intact, and make other bytes")
        try:
            return decode_tree(data)
        except FormatError as exc:
            raise ObjectDamagedError(tree, exc.message) from exc

    def _pieces_of(self, tree: TreeId, recipe: bytes) -> Iterator[bytes]:
        """Yields the pieces that a recipe names; one that is longer than it says could come any number of times."""
        for digest, length in Recipe(recipe, RecordKind.TREE_CHUNK).chunks():
            piece = self.read(RecordKey(RecordKind.TREE_CHUNK, 0, digest))
            if len(piece) != length:
                raise ObjectDamagedError(tree, "a chunk has another length than the recipe says")
            yield piece


def _heads(tree: TreeId) -> tuple[RecordKey, RecordKey]:
    """Returns the records one of which a tree has: itself, and the recipe of one in pieces."""
    return (
        RecordKey(RecordKind.TREE, 0, tree.digest),
        RecordKey(RecordKind.RECIPE, RecordKind.TREE_CHUNK, tree.digest),
    )
