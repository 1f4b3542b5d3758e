"""Which records of a store are reached from something that is needed; one byte of memory for each record.

Follows tree → blob → recipe → chunk → delta base. Of commits, runs, environments and verdicts it knows only that their
text holds the ids of what they need: whatever looks like an id is followed, in whatever field it stands.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlvc.errors import FormatError
from mlvc.model.ids import BlobId, ObjectId, TreeId
from mlvc.model.kinds import RecordKind
from mlvc.store.errors import ObjectDamagedError
from mlvc.store.kinds import OBJECT_ID_TYPES
from mlvc.store.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlvc.model.ids import PackId
    from mlvc.store.catalog import Location
    from mlvc.store.local import LocalStore
    from mlvc.store.pack_index import PackIndex

__all__ = ["DUPLICATE", "KEPT", "NEEDED", "Followed", "Marks", "ids_in"]

NEEDED, KEPT, DUPLICATE = 1, 2, 3
"""Reached from a root; reached only from what the keep period still protects; either, and here in another pack too."""

_ID = re.compile(rb"b3:([0-9a-f]{64})")
_BLOB_RECORDS = ((RecordKind.CHUNK, 0), (RecordKind.RECIPE, RecordKind.CHUNK))
_TREE_RECORDS = ((RecordKind.TREE, 0), (RecordKind.RECIPE, RecordKind.TREE_CHUNK))
_ANY_RECORDS = (*_BLOB_RECORDS, *_TREE_RECORDS, *((kind, 0) for kind in OBJECT_ID_TYPES))
_CHUNKS = frozenset({RecordKind.CHUNK, RecordKind.TREE_CHUNK})

_Key = tuple[int, int, bytes]


def ids_in(text: bytes) -> set[bytes]:
    """Returns the digests of all ids that stand in a text, such as a lock's or a journal's, readable or not."""
    return {bytes.fromhex(digits.decode()) for digits in _ID.findall(text)}


class Marks:
    """The records that were reached so far. Not safe for use from several threads.

    A copy of a record in another pack is marked as well: a copy may be damaged.
    """

    def __init__(self, store: LocalStore, advance: Callable[[int], None]) -> None:
        """Begins with nothing reached.

        Args:
            store: The store.
            advance: Told how many records were reached.
        """
        self._store = store
        self._records = store.records
        self._advance = advance
        self._of_pack: dict[PackId, bytearray] = {}
        self._pending: list[_Key] = []

    def of(self, index: PackIndex) -> bytearray:
        """Returns the marks of a pack's records, in the order of its index: 0, or one of the above."""
        marks = self._of_pack.get(index.info.id)
        if marks is None:
            marks = self._of_pack[index.info.id] = bytearray(index.info.records)
        return marks

    def is_reached(self, kind: RecordKind, digest: bytes) -> bool:
        """Returns whether a record was reached."""
        found = self._records.catalog.find_all(digest, kind)
        return any(self.of(index)[number] for index, number, _ in found)

    def reach(self, digests: Iterable[bytes], mark: int = NEEDED) -> None:
        """Marks whatever has one of these ids, and everything that it needs; what is not stored is passed over.

        Raises:
            IntegrityError: What has to be followed is damaged, so that nobody knows what it needs.
            VersionError: It is of a version that this mlvc does not read.
        """
        for digest in digests:
            self._pending += ((kind, part, digest) for kind, part in _ANY_RECORDS)
            self._follow(mark)

    def reach_record(self, kind: int, part: int, digest: bytes, mark: int) -> None:
        """Marks one record, and everything that it needs; as `reach` does."""
        self._pending.append((kind, part, digest))
        self._follow(mark)

    def follow_record(self, kind: int, part: int, digest: bytes, mark: int) -> None:
        """Marks everything that a record needs, and not itself; as `reach` does."""
        for _, _, entry in self._records.catalog.find_all(digest, kind, part):
            if entry.base:
                self._pending.append((entry.kind, 0, entry.base))
        if kind not in _CHUNKS:
            self._pending += self._needs(kind, part, digest)
        self._follow(mark)

    def _follow(self, mark: int) -> None:
        while self._pending:
            kind, part, digest = self._pending.pop()
            is_new = False
            for index, number, entry in self._records.catalog.find_all(digest, kind, part):
                marks = self.of(index)
                if not marks[number]:
                    marks[number] = mark
                    is_new = True
                    if entry.base:
                        self._pending.append((entry.kind, 0, entry.base))
            if is_new:
                self._advance(1)
                if kind not in _CHUNKS:
                    self._pending += self._needs(kind, part, digest)

    def _needs(self, kind: int, part: int, digest: bytes) -> list[_Key]:
        if kind == RecordKind.RECIPE:
            return self._needs_of_recipe(part, digest)
        if kind == RecordKind.TREE:
            return self._needs_of_tree(TreeId(digest))
        object_type = OBJECT_ID_TYPES.get(RecordKind(kind)) if kind in _KNOWN else None
        if object_type is None:
            return []
        text = self._records.read_verified(self._locate(kind, part, digest), object_type(digest))
        return [(each, of, found) for found in ids_in(text) for each, of in _ANY_RECORDS]

    def _needs_of_recipe(self, part: int, digest: bytes) -> list[_Key]:
        whole = (TreeId if part == RecordKind.TREE_CHUNK else BlobId)(digest)
        try:
            recipe = Recipe(self._records.read(self._locate(RecordKind.RECIPE, part, digest), whole), part)
        except FormatError as exc:
            raise ObjectDamagedError(whole, exc.message) from exc
        needs: list[_Key] = [(part, 0, chunk) for chunk, _ in recipe.chunks()]
        return needs + self._needs_of_tree(whole) if isinstance(whole, TreeId) else needs

    def _needs_of_tree(self, tree: TreeId) -> list[_Key]:
        return [
            (kind, part, entry.id.digest)
            for entry in self._store.read_tree(tree)
            for kind, part in (_TREE_RECORDS if isinstance(entry.id, TreeId) else _BLOB_RECORDS)
        ]

    def _locate(self, kind: int, part: int, digest: bytes) -> Location:
        location = self._records.find(digest, RecordKind(kind), part)
        assert location is not None, ObjectId(digest)  # noqa: S101  # it was found a moment ago, and gc alone deletes
        return location


class Followed(Marks):
    """The records that were reached, whether the store has their data or not: its metadata alone is read.

    Attributes:
        records: Kind, part and digest of each; of ids that stand in a text, also as kinds that they are not of.
        trees: The directories that others name.
    """

    def __init__(self, store: LocalStore, advance: Callable[[int], None]) -> None:
        """Begins with nothing reached; see `Marks`."""
        super().__init__(store, advance)
        self.records: set[_Key] = set()
        self.trees: set[TreeId] = set()

    def _follow(self, _mark: int) -> None:
        while self._pending:
            key = self._pending.pop()
            if key in self.records:
                continue
            if self._is_here(key):
                self._pending += self._needs(*key)

    def _is_here(self, key: _Key) -> bool:
        """Returns whether a record can be followed; notes it if it counts as reached."""
        kind, part, digest = key
        is_here = kind not in _CHUNKS and self._records.catalog.find(digest, kind, part) is not None
        if is_here or kind in _CHUNKS:
            self.records.add(key)
            self._advance(1)
        return is_here

    def _needs_of_tree(self, tree: TreeId) -> list[_Key]:
        self.trees.update(entry.id for entry in self._store.read_tree(tree) if isinstance(entry.id, TreeId))
        return super()._needs_of_tree(tree)


_KNOWN = frozenset(map(int, RecordKind))
