"""A store in memory, for tests of rooms that need some store; it passes the same conformance suite."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from blake3 import blake3

from mlvc.model.ids import BlobId, CommitId, EnvironmentId, ObjectId, RunId, TreeId, VerdictId
from mlvc.model.objects import StoredObject, decode_object
from mlvc.model.tree import TreeEntry, decode_tree, encode_tree
from mlvc.ports import ByteSource, ObjectWriter, RecordKind
from mlvc.store.errors import BlobTooLargeError, ObjectMissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["MemoryStore"]

_PIECE_BYTES = 1 << 20
_ID_TYPES: dict[RecordKind, type[ObjectId]] = {
    RecordKind.COMMIT: CommitId,
    RecordKind.RUN: RunId,
    RecordKind.ENVIRONMENT: EnvironmentId,
    RecordKind.VERDICT: VerdictId,
}


class MemoryStore:
    """A `ports.Store` in a dictionary: what was added becomes visible when the writer flushes, as on disk."""

    def __init__(self) -> None:
        self.objects: dict[ObjectId, bytes] = {}

    def _get(self, object_id: ObjectId) -> bytes:
        try:
            return self.objects[object_id]
        except KeyError:
            raise ObjectMissingError(object_id) from None

    def holdings(self) -> frozenset[bytes]:
        return frozenset(object_id.digest for object_id in self.objects)

    def has_blob(self, blob: BlobId) -> bool:
        return blob in self.objects

    def has_blobs(self, digests: Iterable[bytes]) -> bool:
        return all(self.has_blob(BlobId(digest)) for digest in digests)

    def has_tree(self, tree: TreeId) -> bool:
        return tree in self.objects

    def has_object(self, object_id: ObjectId) -> bool:
        return object_id in self.objects

    def blob_size(self, blob: BlobId) -> int:
        return len(self._get(blob))

    def iter_blob(self, blob: BlobId) -> Iterator[bytes]:
        data = self._get(blob)
        for start in range(0, len(data), _PIECE_BYTES):
            yield data[start : start + _PIECE_BYTES]

    def fill_file(self, blob: BlobId, fd: int, advance: Callable[[int], None]) -> bool:
        """Nothing is quicker than `iter_blob`."""
        return False

    def read_small_blobs(self, digests: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        for number, digest in enumerate(digests):
            data = self.objects.get(BlobId(digest))
            if data is not None and len(data) < _PIECE_BYTES:
                yield number, data

    def read_blob(self, blob: BlobId, *, limit_bytes: int | None = None) -> bytes:
        data = self._get(blob)
        if limit_bytes is not None and len(data) > limit_bytes:
            raise BlobTooLargeError(blob, len(data), limit_bytes)
        return data

    def read_tree(self, tree: TreeId) -> Sequence[TreeEntry]:
        return decode_tree(self._get(tree))

    def read_encoded_tree(self, tree: TreeId) -> bytes:
        return self._get(tree)

    def read_object(self, object_id: ObjectId) -> StoredObject:
        return decode_object(self._get(object_id))

    def iter_object_ids(self, kind: RecordKind) -> Iterator[ObjectId]:
        id_type = _ID_TYPES[kind]
        return (object_id for object_id in tuple(self.objects) if type(object_id) is id_type)

    def find_by_prefix(self, kind: RecordKind, digits: str) -> Sequence[ObjectId]:
        return sorted(
            object_id for object_id in self.iter_object_ids(kind) if object_id.hex.startswith(digits)
        )

    @contextlib.contextmanager
    def writer(self) -> Iterator[ObjectWriter]:
        writer = _MemoryWriter(self.objects)
        yield writer
        writer.flush()


class _MemoryWriter:
    def __init__(self, objects: dict[ObjectId, bytes]) -> None:
        self._objects = objects
        self._pending: dict[ObjectId, bytes] = {}
        self.stored_bytes = 0

    def _add(self, object_id: ObjectId, data: bytes) -> None:
        if object_id not in self._objects and object_id not in self._pending:
            self._pending[object_id] = data
            self.stored_bytes += len(data)

    def add_blob(self, data: bytes) -> BlobId:
        blob = BlobId.of(data)
        self._add(blob, bytes(data))
        return blob

    def add_stream(self, source: ByteSource, previous: BlobId | None = None) -> tuple[BlobId, int]:
        data = b"".join(iter(lambda: source.read(_PIECE_BYTES), b""))
        return self.add_blob(data), len(data)

    def add_file(self, source: ByteSource, previous: BlobId | None = None) -> tuple[BlobId, int]:
        return self.add_stream(source, previous)

    def add_tree(self, entries: Iterable[TreeEntry]) -> TreeId:
        return self.add_encoded_tree(encode_tree(entries))

    def add_encoded_tree(self, data: bytes) -> TreeId:
        tree = TreeId.of(data)
        self._add(tree, data)
        return tree

    def add_object(self, value: StoredObject) -> ObjectId:
        data = value.encode()
        object_id = value.id_type(blake3(data).digest())
        self._add(object_id, data)
        return object_id

    def shared(self, records: int) -> None:
        """Other processes have another memory."""

    def flush(self) -> None:
        self._objects.update(self._pending)
        self._pending.clear()
