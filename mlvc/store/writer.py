"""Adds objects to a local store: hashing in the caller's thread, compression in several, file writes in one.

Records go through in batches of about a MiB, so that what Python spends on handing over is spread over many records.
The number of batches on their way is bounded, and with it the memory.

Forked processes add data through writers of their own, which share a set of claims. They hand the metadata, which
names data of any of them, back to the first writer: it is published after all data is durable.
"""

from __future__ import annotations

import collections
import contextlib
import os
import struct
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from blake3 import blake3

from mlvc.errors import MlvcError
from mlvc.fsio import LockTimeoutError, file_lock, translate_os_errors
from mlvc.model.ids import BlobId, ObjectId, TreeId
from mlvc.model.kinds import RecordKind
from mlvc.model.tree import encode_tree
from mlvc.store.chunking import WHOLE_BYTES, cut, cut_stream
from mlvc.store.claims import Claims
from mlvc.store.errors import BlobTooLargeError
from mlvc.store.kinds import KIND_OF, OBJECT_ID_TYPES
from mlvc.store.pack import MAX_TREE_BYTES, Entry, NewRecord, encode_records, most_bytes
from mlvc.store.pack_writer import PackWriter
from mlvc.store.raw import RAW_FROM_BYTES, RawPackWriter, is_worth_it
from mlvc.store.recipe import MAX_RECIPE_CHUNKS, RecipeBuilder
from mlvc.store.verified import FileState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mlvc.model.objects import StoredObject
    from mlvc.model.tree import TreeEntry
    from mlvc.ports import ByteSource, FileSource
    from mlvc.store.local import LocalStore
    from mlvc.store.pack import Base
    from mlvc.store.succession import Succession

__all__ = ["LocalWriter", "Sharing"]

_PACK_BYTES = 48 << 20
_PACK_RECORDS = 1 << 15
"""What is known of each record of a pack is held, some 500 bytes, until the pack is published."""
_BATCH_BYTES = 1 << 20
_BATCH_RECORDS = 1 << 11
_MAX_COMPRESSORS = 8
_ENCODED_ON_THEIR_WAY = 2
"""What others encoded comes in larger pieces than a batch."""
_LOCK_POLL_S = 1.0
_HASHED_ASIDE_BYTES = 1 << 20
"""Handing over to another thread costs as much as hashing some ten KiB."""

_STORED = struct.Struct("<Q")
_HELD = struct.Struct("<BB32sI")

_Encoded = tuple[bytes, list[Entry]]
_Key = tuple[int, int, bytes]


class _HashedSource:
    """Hands on what a source yields, and finds the BLAKE3 of all of it; large pieces are hashed in another thread."""

    def __init__(self, source: ByteSource, hashers: ThreadPoolExecutor | None) -> None:
        self._source = source
        self._hashers = hashers
        self._whole = blake3()
        self._pending: Future[object] | None = None

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        if self._pending is not None:
            # The pieces are hashed in order, and at most one of them is held for it.
            self._pending.result()
            self._pending = None
        if self._hashers is not None and len(data) >= _HASHED_ASIDE_BYTES:
            self._pending = self._hashers.submit(self._whole.update, data)
        else:
            self._whole.update(data)
        return data

    def digest(self) -> bytes:
        if self._pending is not None:
            self._pending.result()
        return self._whole.digest()


def _encode_now(batch: list[NewRecord]) -> Future[_Encoded]:
    encoded: Future[_Encoded] = Future()
    encoded.set_result(encode_records(batch))
    return encoded


class LocalWriter:
    """An `ObjectWriter`; not safe for use from several threads. Obtained from `LocalStore.writer()`."""

    def __init__(
        self,
        store: LocalStore,
        on_wait: Callable[[str], None] | None,
        claims: Claims | None = None,
    ) -> None:
        """Begins to write.

        Args:
            store: Where.
            on_wait: Told when another process has to be waited for.
            claims: Makes this the writer of a forked process, which writes what it can claim and no metadata.
        """
        self._store = store
        self._layout = store.layout
        self._catalog = store.catalog
        self._on_wait = on_wait
        self._claims = claims
        self._metadata: list[NewRecord] = []
        self._failure: MlvcError | None = None
        self._stopped = threading.Event()
        compressors = min(_MAX_COMPRESSORS, os.cpu_count() or 1)
        self._compressors = ThreadPoolExecutor(compressors, thread_name_prefix="mlvc-compress")
        self._hashers = ThreadPoolExecutor(1, thread_name_prefix="mlvc-hash")
        self._io = ThreadPoolExecutor(1, thread_name_prefix="mlvc-write")
        self._max_on_their_way = 2 * compressors + 2
        self._on_their_way: collections.deque[Future[None]] = collections.deque()
        self._batches: dict[bool, list[NewRecord]] = {True: [], False: []}
        self._batch_bytes = {True: 0, False: 0}
        # Records added here that no index names yet; the thread that publishes takes them out again.
        self._unpublished: set[_Key] = set()
        # The rest belongs to the thread that writes.
        self._packs: dict[bool, PackWriter | None] = {True: None, False: None}
        self._keys: dict[bool, list[_Key]] = {True: [], False: []}
        self._stored_bytes = 0
        self._stored_by_others = 0
        self._raw_bytes = 0
        self._reported_bytes = 0

    # ------------------------------------------------------------------------------------ what callers do

    def add_blob(self, data: bytes) -> BlobId:
        """Adds a small blob that is in memory."""
        digest = blake3(data).digest()
        if len(data) <= WHOLE_BYTES:
            self._add(RecordKind.CHUNK, 0, digest, data)
        else:
            self._add_pieces(RecordKind.CHUNK, digest, cut(data))
        return BlobId(digest)

    def add_stream(self, source: ByteSource, previous: BlobId | None = None) -> tuple[BlobId, int]:
        """Adds the bytes that `source` yields until its end; holds a few MiB of them at a time.

        Args:
            source: The bytes.
            previous: A blob that they may resemble: chunks are stored as deltas of those whose place they take.

        Raises:
            OSError: As `source.read` raises it.
            BlobTooLargeError: It has more chunks than a recipe can name, about a terabyte.
        """
        hashed = _HashedSource(source, self._hashers if self._claims is None else None)
        recipe = RecipeBuilder()
        digest = b""
        succession = None if previous is None else self._store.succession(previous)
        for chunk in cut_stream(hashed):
            digest = self._add_chunk(RecordKind.CHUNK, recipe, chunk, succession)
        blob = BlobId(hashed.digest())
        self._add_recipe(RecordKind.CHUNK, recipe, blob.digest, only_chunk=digest)
        return blob, recipe.size_bytes

    def add_file(self, source: FileSource, previous: BlobId | None = None) -> tuple[BlobId, int]:
        """Adds an open file: as one raw pack if that is worth it, else as `add_stream` does.

        A raw pack is durable and visible when this returns; the recipe is not yet.

        Raises:
            DiskFullError: There is no room.
            FileUnreadableError: The file cannot be read, or the store not be written.
        """
        succession = None
        if previous is not None and source.size_bytes >= RAW_FROM_BYTES:
            succession = self._store.succession(previous)
        if source.size_bytes < RAW_FROM_BYTES or not is_worth_it(source, self._is_stored, succession):
            return self.add_stream(source, previous)
        with translate_os_errors(f"write to the store {self._layout.directory}"):
            pack = RawPackWriter(
                self._layout, whole=self._hashers, chunks=self._compressors, writing=self._io
            )
            try:
                blob = pack.take(source)
                if not pack.is_publishable:
                    with pack.path.open("rb") as file:
                        return self.add_stream(file)
                index = pack.publish(blob, self._locked())
            finally:
                pack.discard()
        if self._claims is None:
            self._catalog.add(index)
        with contextlib.suppress(OSError):
            self._store.raw_files.note_intact(
                index.info.id, FileState.of(self._layout.pack(index.info.id).stat())
            )
        self._raw_bytes += pack.recipe.size_bytes
        self._add_recipe(RecordKind.CHUNK, pack.recipe, blob.digest, only_chunk=b"")
        return blob, pack.recipe.size_bytes

    def _is_stored(self, digest: bytes) -> bool:
        key = (RecordKind.CHUNK, 0, digest)
        return key in self._unpublished or self._catalog.has(digest, RecordKind.CHUNK)

    def add_tree(self, entries: Iterable[TreeEntry]) -> TreeId:
        """Adds one directory; what its entries name must have been added before or be stored."""
        return self.add_encoded_tree(encode_tree(entries))

    def add_encoded_tree(self, data: bytes) -> TreeId:
        """Adds one directory as `encode_tree` makes it."""
        tree = TreeId.of(data)
        if len(data) > MAX_TREE_BYTES:
            raise BlobTooLargeError(tree, len(data), MAX_TREE_BYTES)
        if len(data) <= WHOLE_BYTES:
            self._add(RecordKind.TREE, 0, tree.digest, data)
        else:
            self._add_pieces(RecordKind.TREE_CHUNK, tree.digest, cut(data))
        return tree

    def add_object(self, value: StoredObject) -> ObjectId:
        """Adds a commit, run, environment or verdict."""
        data = value.encode()
        object_id = value.id_type.of(data)
        self._add(KIND_OF[value.id_type], 0, object_id.digest, data)
        return object_id

    def add_encoded(self, records: Iterable[tuple[bytes, Entry]]) -> None:
        """Adds records as another store encoded them; the caller has checked every byte of each.

        They are handed on at once, so at most a few calls' worth of them is in memory.
        """
        parts: dict[bool, list[bytes]] = {True: [], False: []}
        entries: dict[bool, list[Entry]] = {True: [], False: []}
        offsets = {True: 0, False: 0}
        for record, entry in records:
            kind = RecordKind(entry.kind)
            key = (kind, entry.part, entry.digest)
            if key in self._unpublished or self._catalog.has(entry.digest, kind, entry.part):
                continue
            self._unpublished.add(key)
            parts[kind.is_data].append(record)
            entries[kind.is_data].append(entry._replace(offset=offsets[kind.is_data]))
            offsets[kind.is_data] += len(record)
        for is_data in (True, False):
            if entries[is_data]:
                encoded: Future[_Encoded] = Future()
                encoded.set_result((b"".join(parts[is_data]), entries[is_data]))
                keys: list[_Key] = [(entry.kind, entry.part, entry.digest) for entry in entries[is_data]]
                self._hand_on(encoded, keys, is_data=is_data)
        self._drain(_ENCODED_ON_THEIR_WAY)

    def flush(self) -> None:
        """Returns after everything added so far is durable and visible to readers.

        Raises:
            DiskFullError: There is no room; nothing that was stored before is lost.
            FileUnreadableError: The store cannot be written.
        """
        for is_data in (True, False):
            self._submit(is_data=is_data)
        self._on_their_way.append(self._io.submit(self._guarded, self._publish_all))
        self._drain(0)

    @contextlib.contextmanager
    def shared(self, records: int) -> Iterator[Sharing]:
        """Begins adding in forked processes; see `ports.ObjectWriter`."""
        for is_data in (True, False):
            self._submit(is_data=is_data)
        # While no thread of this writer is at work, none holds a lock that the forked processes would never get.
        self._drain(0)
        sharing = Sharing(self._store, records)
        yield sharing
        self._catalog.refresh()
        self._stored_by_others += sharing.stored_bytes
        for record in sharing.metadata:
            self._add(*record)

    @property
    def stored_bytes(self) -> int:
        """How many bytes this writer has written to packs so far; waits for what is on its way."""
        for is_data in (True, False):
            self._submit(is_data=is_data)
        self._drain(0)
        return self._stored_by_others + self._raw_bytes + self._stored_bytes

    def report(self) -> bytes:
        """Returns what a forked process has to hand to `Sharing.adopt`; see `ports.ForkedWriter`."""
        # Not `stored_bytes`, which would wait for what is on its way.
        stored_bytes = self._raw_bytes + self._stored_bytes - self._reported_bytes
        metadata = self._metadata
        self._reported_bytes += stored_bytes
        self._metadata = []
        return b"".join(
            [
                _STORED.pack(stored_bytes),
                *(
                    _HELD.pack(record.kind, record.part, record.digest, len(record.data)) + record.data
                    for record in metadata
                ),
            ]
        )

    def close(self) -> None:
        """Drops what was not flushed and ends the threads."""
        self._stopped.set()
        self._io.shutdown(cancel_futures=True)
        self._hashers.shutdown(cancel_futures=True)
        self._compressors.shutdown(cancel_futures=True)
        for pack in self._packs.values():
            if pack is not None:
                pack.discard()

    # --------------------------------------------------------------------------------- the caller's thread

    def _add(
        self, kind: RecordKind, part: int, digest: bytes, data: bytes | memoryview, base: Base | None = None
    ) -> None:
        if self._catalog.has(digest, kind, part):
            return
        if len(data) > most_bytes(kind):
            # Nobody would read it again.
            id_type = OBJECT_ID_TYPES.get(kind, ObjectId)
            raise BlobTooLargeError(id_type(digest), len(data), most_bytes(kind))
        is_data = kind is RecordKind.CHUNK
        if self._claims is None:
            key = (kind, part, digest)
            if key in self._unpublished:
                return
            self._unpublished.add(key)
        elif not is_data:
            self._metadata.append(NewRecord(kind, part, digest, data))
            return
        elif not self._claims.take(digest):
            return
        self._batches[is_data].append(NewRecord(kind, part, digest, data, base))
        self._batch_bytes[is_data] += len(data)
        if self._batch_bytes[is_data] >= _BATCH_BYTES or len(self._batches[is_data]) >= _BATCH_RECORDS:
            self._submit(is_data=is_data)

    def _add_chunk(
        self,
        kind: RecordKind,
        recipe: RecipeBuilder,
        chunk: bytes | memoryview,
        succession: Succession | None = None,
    ) -> bytes:
        digest = blake3(chunk).digest()
        base = None if succession is None else succession.follow(digest, len(chunk))
        self._add(kind, 0, digest, chunk, base)
        recipe.append(digest, len(chunk))
        return digest

    def _add_pieces(self, kind: RecordKind, whole: bytes, chunks: Iterable[bytes | memoryview]) -> None:
        recipe = RecipeBuilder()
        digest = b""
        for chunk in chunks:
            digest = self._add_chunk(kind, recipe, chunk)
        self._add_recipe(kind, recipe, whole, only_chunk=digest)

    def _add_recipe(
        self, kind: RecordKind, recipe: RecipeBuilder, whole: bytes, *, only_chunk: bytes
    ) -> None:
        """Adds what is needed besides the chunks; a blob that is its own only chunk needs nothing more."""
        if kind is RecordKind.CHUNK:
            if not recipe.size_bytes:
                self._add(RecordKind.CHUNK, 0, whole, b"")
                return
            if only_chunk == whole:
                return
        if len(recipe) > MAX_RECIPE_CHUNKS:
            raise BlobTooLargeError(ObjectId(whole), recipe.size_bytes, MAX_RECIPE_CHUNKS)
        self._add(RecordKind.RECIPE, kind, whole, recipe.encode())

    def _submit(self, *, is_data: bool) -> None:
        """Sends the present batch on its way."""
        batch = self._batches[is_data]
        if not batch:
            return
        self._batches[is_data], self._batch_bytes[is_data] = [], 0
        keys: list[_Key] = [(record.kind, record.part, record.digest) for record in batch]
        # A forked process has one processor to itself: more threads would only take the GIL from each other.
        encoded = (
            self._compressors.submit(encode_records, batch) if self._claims is None else _encode_now(batch)
        )
        self._hand_on(encoded, keys, is_data=is_data)
        self._drain(self._max_on_their_way)

    def _hand_on(self, encoded: Future[_Encoded], keys: list[_Key], *, is_data: bool) -> None:
        self._on_their_way.append(self._io.submit(self._guarded, self._append, is_data, keys, encoded))

    def _drain(self, allowed: int) -> None:
        """Waits until at most `allowed` batches are on their way; raises what went wrong with one, for ever after."""
        while len(self._on_their_way) > allowed:
            self._on_their_way.popleft().result()
        if self._failure is not None:
            raise self._failure

    # ------------------------------------------------------------------------------ the thread that writes

    def _guarded(self, step: Callable[..., None], *args: object) -> None:
        """Runs one step, unless an earlier one failed: a pack with a gap must not be published."""
        if self._failure is not None:
            return
        try:
            with translate_os_errors(f"write to the store {self._layout.directory}"):
                step(*args)
        except MlvcError as exc:
            self._failure = exc

    def _append(self, is_data: bool, keys: list[_Key], encoded: Future[_Encoded]) -> None:  # noqa: FBT001  # run by an executor
        records, entries = encoded.result()
        pack = self._packs[is_data]
        if pack is not None and (
            pack.size_bytes + len(records) > _PACK_BYTES or pack.records + len(entries) > _PACK_RECORDS
        ):
            self._publish(is_data=is_data)
            pack = None
        if pack is None:
            pack = self._packs[is_data] = PackWriter(self._layout, is_data=is_data)
        pack.append(records, entries)
        self._keys[is_data] += keys
        self._stored_bytes += len(records)

    def _publish(self, *, is_data: bool) -> None:
        if not is_data:
            # Metadata names data: it never becomes visible first.
            self._publish(is_data=True)
        pack = self._packs[is_data]
        if pack is None:
            return
        index = pack.publish(self._locked())
        if self._claims is None:
            self._catalog.add(index)
        self._packs[is_data] = None
        self._unpublished.difference_update(self._keys[is_data])
        self._keys[is_data] = []

    def _publish_all(self) -> None:
        self._publish(is_data=False)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the store's lock, waiting for it until the writer is closed."""
        on_wait: Callable[[], None] | None = self._say_waiting
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(file_lock(self._layout.lock, on_wait=on_wait, timeout_s=_LOCK_POLL_S))
                    break
                except LockTimeoutError:
                    if self._stopped.is_set():
                        raise
                    on_wait = None
            yield

    def _say_waiting(self) -> None:
        if self._on_wait is not None:
            self._on_wait("waiting for another mlvc that is writing to the store")


class Sharing:
    """What the writers of forked processes have in common; see `ports.Sharing`.

    Attributes:
        metadata: What they handed over, to be written after all their data.
        stored_bytes: What they wrote.
    """

    def __init__(self, store: LocalStore, records: int) -> None:
        self._store = store
        self._claims = Claims(records)
        self.metadata: list[NewRecord] = []
        self.stored_bytes = 0

    @contextlib.contextmanager
    def writer(self) -> Iterator[LocalWriter]:
        """Begins adding in this process, which was forked for it."""
        # It waits without a word: the display belongs to the first process.
        writer = LocalWriter(self._store, None, self._claims)
        try:
            yield writer
        finally:
            writer.close()

    def adopt(self, report: bytes) -> None:
        """Takes over what a writer reported."""
        self.stored_bytes += _STORED.unpack_from(report)[0]
        offset = _STORED.size
        while offset < len(report):
            kind, part, digest, length = _HELD.unpack_from(report, offset)
            offset += _HELD.size
            self.metadata.append(NewRecord(RecordKind(kind), part, digest, report[offset : offset + length]))
            offset += length
