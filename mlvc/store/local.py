"""The object store of one repository, or of several: a directory of packs."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple, Self

from blake3 import blake3

from mlvc.errors import FormatError, IntegrityError
from mlvc.fsio import translate_os_errors
from mlvc.model.ids import DIGEST_BYTES, BlobId, ChunkId, ObjectId, PackId, TreeId
from mlvc.model.kinds import RecordKind
from mlvc.model.tree import TreeEntry, decode_tree
from mlvc.store.catalog import Location
from mlvc.store.errors import BlobTooLargeError, ObjectDamagedError, ObjectMissingError
from mlvc.store.foundation import check_format, found
from mlvc.store.kinds import KIND_OF, OBJECT_ID_TYPES
from mlvc.store.layout import Layout
from mlvc.store.pack import HEADED, Base, Encoding, frame
from mlvc.store.pack_index import PackInfo
from mlvc.store.raw_files import RawFiles
from mlvc.store.recipe import Recipe
from mlvc.store.records import RecordReader
from mlvc.store.registry import is_registered, register
from mlvc.store.temporaries import remove_leftovers
from mlvc.store.use import Use

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence
    from pathlib import Path

    from mlvc.model.objects import StoredObject
    from mlvc.store.catalog import Catalog
    from mlvc.store.pack import Entry
    from mlvc.store.registry import Registration
    from mlvc.store.succession import Succession
    from mlvc.store.writer import LocalWriter

__all__ = ["LocalStore", "RecordKey"]


class RecordKey(NamedTuple):
    """What a record is looked up by; `part` is, of a recipe, the kind of its chunks, and zero otherwise."""

    kind: int
    part: int
    digest: bytes


class _Form(NamedTuple):
    """The kinds of record that an object is kept in: whole, or in pieces that a recipe names."""

    whole: RecordKind
    piece: RecordKind


_BLOB = _Form(RecordKind.CHUNK, RecordKind.CHUNK)
_TREE = _Form(RecordKind.TREE, RecordKind.TREE_CHUNK)


class LocalStore:
    """A `ports.Store` in a directory. Reading is safe from several threads, and writing from several processes.

    Readers take no lock: a published pack never changes, and what is missing is looked for once more among the
    packs that were published since.

    Attributes:
        layout: Where things stand in it.
        raw_files: The files of blobs that are kept raw.
    """

    def __init__(self, directory: Path, *, on_wait: Callable[[str], None] | None = None) -> None:
        """Opens an existing store.

        Args:
            directory: Where it is.
            on_wait: Told, possibly from another thread, when a writer has to wait for another process.

        Raises:
            NotAStoreError: There is none.
            UnknownFormatError: It was made by a newer mlvc.
            DamagedFileError: Its format file says something else.
        """
        self.layout = Layout(directory)
        self._on_wait = on_wait
        check_format(self.layout)
        self._records = RecordReader(self.layout)
        self.raw_files = RawFiles(self.layout, self._records.catalog)
        self._use = Use(self.layout, self._records.catalog.refresh, on_wait)

    @classmethod
    def create(
        cls, directory: Path, *, on_wait: Callable[[str], None] | None = None, shared: bool = False
    ) -> Self:
        """Makes a store and opens it; completes one that a killed process began, and opens one that is there.

        Args:
            directory: Where it is to be.
            on_wait: As for opening it.
            shared: Whether whoever is in the directory's group may write to a new store, under any umask.

        Raises:
            NotAStoreError: There are packs, and no format file.
            DiskFullError: There is no room for it.
            FileUnreadableError: The directory cannot be made.
        """
        found(Layout(directory), shared=shared)
        return cls(directory, on_wait=on_wait)

    @property
    def records(self) -> RecordReader:
        """Finds and reads single records."""
        return self._records

    # ---------------------------------------------------------------------------------------- living with gc

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keeps whatever is found here from being deleted, by any process, until the context is left.

        Whoever finds an object, does not store it again because of that, and writes a name for it, does all three in
        one such context. A writer is one by itself; contexts may nest. Begins with a look at what is there now, and
        waits while gc deletes, which takes moments. Gc itself never waits: it deletes another time.

        Raises:
            FileUnreadableError: The lock cannot be used.
            IntegrityError: The list of what a killed gc was deleting is damaged.
        """
        with self._use.held():
            yield

    def register(self, registration: Registration) -> bool:
        """Makes the store know a work tree that uses it, for gc; returns whether it does. Costs one small read.

        False where the store may only be read.
        """
        if is_registered(self.layout, registration):
            return True
        if not os.access(self.layout.temporaries, os.W_OK):
            return False
        register(self.layout, registration)
        return True

    # -------------------------------------------------------------------------------------------- writing

    @contextlib.contextmanager
    def writer(self) -> Iterator[LocalWriter]:
        """Begins adding objects; see `ports.Store.writer`."""
        from mlvc.store.writer import LocalWriter  # noqa: PLC0415  # threads and chunking, for writers alone

        with self.in_use():
            with translate_os_errors(f"write to the store {self.layout.directory}"):
                remove_leftovers(self.layout.temporaries)
            self._records.catalog.refresh()
            writer = LocalWriter(self, self._on_wait)
            try:
                yield writer
                writer.flush()
            finally:
                writer.close()

    @property
    def catalog(self) -> Catalog:
        """The indexes of the packs."""
        return self._records.catalog

    def succession(self, previous: BlobId) -> Succession | None:
        """Returns what new chunks can be based on where a blob is the next version of `previous`.

        None where that has no recipe here.

        Raises:
            IntegrityError: Its recipe is damaged.
        """
        from mlvc.store.succession import Succession  # noqa: PLC0415  # for writers alone

        recipe = self._locate(previous, _BLOB)
        return Succession(recipe, self._find_base) if isinstance(recipe, Recipe) else None

    def read_base(self, digest: bytes, kind: int) -> bytes:
        """Returns the bytes of the chunk that a delta is based on; `kind` is that of the delta.

        Raises:
            ObjectMissingError: It is not here.
            IntegrityError: It is damaged.
        """
        return self._records.read_base(digest, kind)

    def _find_base(self, digest: bytes) -> Base | None:
        location = self.catalog.find(digest, RecordKind.CHUNK)
        if location is not None and location.entry.base:
            # One level deep: what a delta is based on serves as well as the delta.
            digest = location.entry.base
            location = self.catalog.find(digest, RecordKind.CHUNK)
        if location is None or location.entry.base:
            return None
        try:
            return Base(digest, self._records.read_verified(location, ChunkId(digest)))
        except IntegrityError:
            # Nothing is handed out, and the new bytes must be kept whatever became of the old ones.
            return None

    # -------------------------------------------------------------------------------------- blobs, trees

    def _locate(self, object_id: ObjectId, form: _Form) -> Location | Recipe | None:
        """Returns where the one record of a blob or tree is, or its recipe, or None if it has neither."""
        location = self._records.catalog.find(object_id.digest, form.whole)
        if location is not None:
            return location
        recipe = self._records.find(object_id.digest, RecordKind.RECIPE, form.piece)
        if recipe is not None:
            return self._read_recipe(recipe, object_id)
        return self._records.find(object_id.digest, form.whole)

    def _read_recipe(self, location: Location, object_id: ObjectId) -> Recipe:
        try:
            return Recipe(self._records.read(location, object_id), location.entry.part)
        except FormatError as exc:
            raise ObjectDamagedError(object_id, exc.message) from exc

    def _has(self, object_id: ObjectId, form: _Form) -> bool:
        found = self._locate(object_id, form)
        if isinstance(found, Recipe):
            others = self.catalog.without_whole([digest for digest, _ in found.chunks()], form.piece)
            return all(self._records.has(digest, form.piece) for digest in others)
        return found is not None and (not found.entry.base or self._records.has(object_id.digest, form.whole))

    def _iter(self, object_id: ObjectId, form: _Form) -> Iterator[bytes]:
        found = self._locate(object_id, form)
        if found is None:
            raise ObjectMissingError(object_id)
        if isinstance(found, Location):
            yield self._records.read_verified(found, object_id)
            return
        hasher = blake3()
        for digest, length in found.chunks():
            chunk = ChunkId(digest)
            location = self._records.find(digest, form.piece)
            if location is None:
                raise ObjectMissingError(chunk)
            data = self._records.read_verified(location, chunk)
            if len(data) != length:
                raise ObjectDamagedError(object_id, "a chunk has another length than the recipe says")
            hasher.update(data)
            yield data
        if hasher.digest() != object_id.digest:
            raise ObjectDamagedError(object_id, "its chunks are intact, and make other bytes")

    def records_of(self, object_id: ObjectId) -> Iterator[RecordKey]:
        """Yields the records that an object is made of, as far as it can be told from here.

        A blob or tree without a recipe here is taken to be one record, whether or not that is here.

        Raises:
            IntegrityError: Its recipe is damaged.
        """
        form = {BlobId: _BLOB, TreeId: _TREE}.get(type(object_id))
        if form is None:
            yield RecordKey(KIND_OF[type(object_id)], 0, object_id.digest)
            return
        found = self._locate(object_id, form)
        if not isinstance(found, Recipe):
            yield RecordKey(form.whole, 0, object_id.digest)
            return
        yield RecordKey(RecordKind.RECIPE, form.piece, object_id.digest)
        for digest, _ in found.chunks():
            yield RecordKey(form.piece, 0, digest)

    def lacking(self, records: Iterable[RecordKey]) -> set[RecordKey]:
        """Returns those of the records that are not here, or as deltas whose base is not; looks once for new packs.

        Reads no data.

        Raises:
            IntegrityError: An index cannot be used, and it might be the one that names them.
        """
        catalog = self._records.catalog
        catalog.refresh()
        absent = {record for record in records if not catalog.has(record.digest, record.kind, record.part)}
        if absent:
            catalog.raise_failure()
        return absent

    def entries_of(self, pack: PackId) -> Sequence[Entry]:
        """Returns the entries of a published pack, in order of id."""
        catalog = self._records.catalog
        return [
            entry
            for index in catalog.packs()
            if index.info.id == pack
            for entry in catalog.iter_entries(index)
        ]

    def read_encoded(self, wanted: Entry) -> bytes | None:
        """Returns a record, header and payload, in exactly the encoding that an entry of any pack describes.

        The bytes were not checked. None where it is not here, or only in an encoding that it cannot be made from.

        Raises:
            IntegrityError: What it would be made from is damaged.
        """
        location = self._records.catalog.find(wanted.digest, wanted.kind, wanted.part)
        if location is None:
            return None
        if location.entry._replace(offset=wanted.offset) == wanted:
            return self._records.read_encoded(location)
        if wanted.kind != RecordKind.CHUNK or wanted.encoding != Encoding.RAW:
            return None
        data = self._records.read_verified(location, ChunkId(wanted.digest))
        return data if wanted.checksum != HEADED else frame(data, wanted._replace(checksum=0))[0]

    def holdings(self) -> frozenset[bytes]:
        """Returns the ids of the packs; see `ports.Store`.

        A pack never changes, and deltas and recipes count only while the packs of their bases and chunks do.
        """
        return frozenset(pack.digest for pack in self.catalog.usable())

    def has_blob(self, blob: BlobId) -> bool:
        """Returns whether the blob is here; see `ports.ObjectReader`."""
        return self.has_blobs([blob.digest])

    def has_blobs(self, digests: Iterable[bytes]) -> bool:
        """Returns whether every blob of those digests is here; see `ports.ObjectReader`."""
        others = self.catalog.without_whole(list(digests), RecordKind.CHUNK)
        return all(self._has_large(BlobId(digest)) for digest in others)

    def _has_large(self, blob: BlobId) -> bool:
        if self.catalog.is_raw(PackId(blob.digest)):
            # All chunks are in the one pack, and need not be looked for one by one.
            return self._records.find(blob.digest, RecordKind.RECIPE, RecordKind.CHUNK) is not None
        return self._has(blob, _BLOB)

    def blob_size(self, blob: BlobId) -> int:
        """Returns the length of the blob in bytes."""
        found = self._locate(blob, _BLOB)
        if found is None:
            raise ObjectMissingError(blob)
        return found.entry.length if isinstance(found, Location) else found.size_bytes

    def chunks_of(self, blob: BlobId) -> list[tuple[bytes, int]] | None:
        """Returns the ids and lengths of the chunks that make a blob, whether or not they are here; reads no data.

        None where neither its recipe nor the blob as one chunk is here.

        Raises:
            IntegrityError: Its recipe is damaged.
        """
        found = self._locate(blob, _BLOB)
        if isinstance(found, Recipe):
            return list(found.chunks())
        return None if found is None else [(blob.digest, found.entry.length)]

    def recipe_of(self, blob: BlobId) -> Recipe | None:
        """Returns what tells the chunks of a blob; None where none is here, or the blob is here as one chunk.

        Raises:
            IntegrityError: It is damaged.
        """
        found = self._locate(blob, _BLOB)
        return found if isinstance(found, Recipe) else None

    def read_chunk(self, chunk: ChunkId, kind: RecordKind = RecordKind.CHUNK) -> bytes:
        """Returns the bytes of a chunk of data, or of a tree, verified.

        Raises:
            ObjectMissingError: It is not here.
            IntegrityError: It is damaged.
        """
        location = self._records.find(chunk.digest, kind)
        if location is None:
            raise ObjectMissingError(chunk)
        return self._records.read_verified(location, chunk)

    def iter_blob(self, blob: BlobId) -> Iterator[bytes]:
        """Yields the blob's bytes in order, chunk by chunk; see `ports.ObjectReader`."""
        return self._iter(blob, _BLOB)

    def fill_file(self, blob: BlobId, fd: int, advance: Callable[[int], None]) -> bool:
        """Fills an empty file with a blob that is kept raw; see `ports.ObjectReader`."""
        return self.raw_files.fill(blob, fd, advance)

    def link_file(self, blob: BlobId, name: str, dir_fd: int) -> bool:
        """Makes a hard link to the file of a blob that is kept raw, if that can be done; see `RawFiles.link`."""
        return self.raw_files.link(blob, name, dir_fd)

    def read_small_blobs(self, digests: Iterable[bytes]) -> Iterator[tuple[int, bytes | memoryview]]:
        """Yields the number and the contents of those that are kept in one piece; see `ports.ObjectReader`."""
        return self._records.read_chunks(digests)

    def read_blob(self, blob: BlobId, *, limit_bytes: int | None = None) -> bytes:
        """Returns the whole blob, verified.

        Raises:
            ObjectMissingError: It is not here.
            IntegrityError: Stored bytes are damaged.
            BlobTooLargeError: It is larger than `limit_bytes`.
        """
        if limit_bytes is not None and (size_bytes := self.blob_size(blob)) > limit_bytes:
            raise BlobTooLargeError(blob, size_bytes, limit_bytes)
        return b"".join(self._iter(blob, _BLOB))

    def has_tree(self, tree: TreeId) -> bool:
        """Returns whether the tree itself is here; see `ports.ObjectReader`."""
        return self._has(tree, _TREE)

    def read_tree(self, tree: TreeId) -> Sequence[TreeEntry]:
        """Returns the entries of one directory, sorted by name, verified."""
        data = self.read_encoded_tree(tree)
        try:
            return decode_tree(data)
        except FormatError as exc:
            raise ObjectDamagedError(tree, exc.message) from exc

    def read_encoded_tree(self, tree: TreeId) -> bytes:
        """Returns the encoding of one directory, verified and not decoded."""
        return b"".join(self._iter(tree, _TREE))

    # -------------------------------------------------------------------------------------- small objects

    def has_object(self, object_id: ObjectId) -> bool:
        """Returns whether a commit, run, environment or verdict is here; the type of the id says which."""
        return self._records.find(object_id.digest, KIND_OF[type(object_id)]) is not None

    def read_object(self, object_id: ObjectId) -> StoredObject:
        """Returns a commit, run, environment or verdict, verified; the type of the id says which."""
        from mlvc.model.objects import decode_object  # noqa: PLC0415  # see mlvc.ports on what it costs

        kind = KIND_OF[type(object_id)]
        location = self._records.find(object_id.digest, kind)
        if location is None:
            raise ObjectMissingError(object_id)
        try:
            value = decode_object(self._records.read_verified(location, object_id))
        except FormatError as exc:
            raise ObjectDamagedError(object_id, exc.message) from exc
        if value.id_type is not type(object_id):
            raise ObjectDamagedError(object_id, f"it is a {value.type_name}")
        return value

    def iter_object_ids(self, kind: RecordKind) -> Iterator[ObjectId]:
        """Yields the id of every commit, run, environment or verdict here, each once."""
        id_type = OBJECT_ID_TYPES[kind]
        seen: set[bytes] = set()
        for index in self._records.catalog.packs():
            if index.info.is_data:
                continue
            for entry in self._records.catalog.iter_entries(index):
                if entry.kind == kind and entry.digest not in seen:
                    seen.add(entry.digest)
                    yield id_type(entry.digest)

    def find_by_prefix(self, kind: RecordKind, digits: str) -> Sequence[ObjectId]:
        """Returns the ids of that kind whose hexadecimal digits start with `digits`, sorted."""
        if digits.strip("0123456789abcdef") or len(digits) > 2 * DIGEST_BYTES:
            return ()
        start = bytes.fromhex(digits.ljust(2 * DIGEST_BYTES, "0"))
        found: set[bytes] = set()
        for index in self._records.catalog.packs():
            if index.info.is_data:
                continue
            for entry in self._records.catalog.iter_entries(index, start):
                if not entry.digest.hex().startswith(digits):
                    break
                if entry.kind == kind:
                    found.add(entry.digest)
        return [OBJECT_ID_TYPES[kind](digest) for digest in sorted(found)]

    # ---------------------------------------------------------------------------------------------- packs

    def packs(self) -> Sequence[PackInfo]:
        """Returns the packs that are published, sorted by id.

        Raises:
            IntegrityError: An index is damaged.
        """
        return sorted(index.info for index in self._records.catalog.packs())

    def iter_new_objects(self, known_packs: Container[PackId]) -> Iterator[tuple[PackId, list[ObjectId]]]:
        """Yields each metadata pack not in `known_packs`, with the commits, runs, environments and verdicts in it.

        A pack without any of them is yielded too, with an empty list, so that it can be remembered as known.

        Raises:
            IntegrityError: An index is damaged.
        """
        for index in self._records.catalog.packs():
            if index.info.is_data or index.info.id in known_packs:
                continue
            yield (
                index.info.id,
                [
                    id_type(entry.digest)
                    for entry in self._records.catalog.iter_entries(index)
                    if (id_type := _ID_TYPE_BY_CODE.get(entry.kind)) is not None
                ],
            )


_ID_TYPE_BY_CODE: dict[int, type[ObjectId]] = {
    int(kind): id_type for kind, id_type in OBJECT_ID_TYPES.items()
}
