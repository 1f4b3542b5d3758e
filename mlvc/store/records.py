"""Reads single records from published packs, checked; knows nothing of blobs and trees."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from typing import TYPE_CHECKING

import zstandard
from blake3 import blake3

from mlvc.errors import FormatError, VersionError
from mlvc.fsio import FileUnreadableError, translate_os_errors
from mlvc.model.ids import ChunkId
from mlvc.model.kinds import RecordKind
from mlvc.store.bulk import read_chunks
from mlvc.store.catalog import MAX_DELTAS, Catalog, Location
from mlvc.store.errors import DamagedFileError, ObjectDamagedError, ObjectMissingError, UnknownFormatError
from mlvc.store.pack import HEADED, PACK_HEADER_BYTES, decode_pack_header, decode_payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlvc.model.ids import ObjectId, PackId
    from mlvc.store.layout import Layout

__all__ = ["PackFile", "RecordReader"]

_MAX_OPEN_PACKS = 64


class PackFile:
    """An open pack. It is closed when nobody uses it any more, so that a cache may drop one that a thread reads.

    Attributes:
        path: Where it is.
        size_bytes: Its length.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reading = f"read {path}"
        with translate_os_errors(self._reading):
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.size_bytes = os.fstat(self._fd).st_size

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            os.close(self._fd)

    def read(self, offset: int, size: int) -> bytes:
        """Returns `size` bytes from `offset`.

        Raises:
            DamagedFileError: The file ends before.
            FileUnreadableError: It cannot be read.
        """
        if offset + size > self.size_bytes:
            raise DamagedFileError(
                self.path, f"it ends at {self.size_bytes}, a record in it at {offset + size}"
            )
        with translate_os_errors(self._reading):
            data = os.pread(self._fd, size, offset)
            # A file system may give less than was asked for, as a network's does when it is interrupted.
            while len(data) < size and (more := os.pread(self._fd, size - len(data), offset + len(data))):
                data += more
            return data


class RecordReader:
    """Finds records through the catalog and reads them. Safe for use from several threads.

    Attributes:
        catalog: The indexes of the packs.
    """

    def __init__(self, layout: Layout) -> None:
        self.catalog = Catalog(layout)
        self._layout = layout
        self._per_thread = threading.local()
        self._open = functools.lru_cache(_MAX_OPEN_PACKS)(self._open_pack)

    def _open_pack(self, pack: PackId, is_headed: bool) -> PackFile:  # noqa: FBT001  # a cache's key
        """Opens a pack whose header, if it has one, says a version that can be read."""
        file = PackFile(self._layout.pack(pack))
        if not is_headed:
            return file
        try:
            decode_pack_header(file.read(0, min(PACK_HEADER_BYTES, file.size_bytes)))
        except FormatError as exc:
            raise DamagedFileError(file.path, exc.message) from exc
        except VersionError as exc:
            raise UnknownFormatError(file.path, exc.message) from exc
        return file

    def _open_at(self, location: Location) -> PackFile:
        return self._open(location.pack, location.entry.checksum == HEADED)

    @property
    def _decompressor(self) -> zstandard.ZstdDecompressor:
        try:
            decompressor: zstandard.ZstdDecompressor = self._per_thread.decompressor
        except AttributeError:
            decompressor = self._per_thread.decompressor = zstandard.ZstdDecompressor()
        return decompressor

    def find(self, digest: bytes, kind: RecordKind, part: int = 0) -> Location | None:
        """Returns where a record is, also in packs that appeared since the last look; None if it is nowhere.

        Raises:
            MlvcError: It is in no index that can be used, and there is one that cannot be used.
        """
        location = self.catalog.find(digest, kind, part)
        if location is None and self.catalog.refresh():
            location = self.catalog.find(digest, kind, part)
        if location is None:
            self.catalog.raise_failure()
        return location

    def has(self, digest: bytes, kind: RecordKind, part: int = 0) -> bool:
        """Returns whether a record can be read, as far as the indexes tell; as `Catalog.has`, with new packs.

        Raises:
            MlvcError: It cannot, and there is an index that cannot be used.
        """
        if self.catalog.has(digest, kind, part) or (
            self.catalog.refresh() and self.catalog.has(digest, kind, part)
        ):
            return True
        self.catalog.raise_failure()
        return False

    def read(self, location: Location, object_id: ObjectId, *, deltas: int = 0) -> bytes:
        """Returns the bytes of a record, checked by its checksum; of a recipe, that is all that can be checked.

        Args:
            location: Where it is.
            object_id: What to name in an error.
            deltas: How many deltas are waiting for these bytes.

        Raises:
            ObjectMissingError: Its pack is gone, and no other has it.
            IntegrityError: It is damaged.
        """
        try:
            file = self._open_at(location)
        except FileUnreadableError:
            if self._layout.pack(location.pack).exists():
                raise
            # The pack was replaced since its index was read.
            self.catalog.refresh()
            entry = location.entry
            again = self.catalog.find(entry.digest, entry.kind, entry.part)
            if again is None or again.pack == location.pack:
                raise ObjectMissingError(object_id) from None
            location, file = again, self._open_at(again)
        entry = location.entry
        record = file.read(entry.offset, entry.size_bytes)
        try:
            return decode_payload(
                record,
                entry,
                self._decompressor,
                lambda base: self.read_base(base, entry.kind, deltas=deltas + 1),
            )
        except FormatError as exc:
            raise DamagedFileError(file.path, f"{exc.message}, at offset {entry.offset}") from exc
        except VersionError as exc:
            raise UnknownFormatError(file.path, exc.message) from exc

    def read_chunks(self, digests: Iterable[bytes]) -> Iterator[tuple[int, bytes | memoryview]]:
        """Yields the number and the verified bytes of each chunk that is kept whole, in no certain order.

        What is missing, a delta or damaged is left out; `find` and `read_verified` tell of it.
        """
        return read_chunks(self, digests, self._decompressor)

    def read_from(self, location: Location, size_bytes: int) -> bytes:
        """Returns so many bytes of a pack from the beginning of a record on, unchecked.

        Raises:
            DamagedFileError: The pack ends before.
            FileUnreadableError: It cannot be read.
        """
        return self._open_at(location).read(location.entry.offset, size_bytes)

    def read_encoded(self, location: Location) -> bytes:
        """Returns a record as it stands in its pack, header and payload, unchecked.

        Raises:
            DamagedFileError: The pack ends before.
            FileUnreadableError: It cannot be read.
        """
        entry = location.entry
        return self._open_at(location).read(entry.offset, entry.size_bytes)

    def read_base(self, digest: bytes, kind: int, *, deltas: int = 1) -> bytes:
        """Returns the bytes of the chunk that a delta is based on.

        Args:
            digest: Its id.
            kind: The kind of record that the delta is.
            deltas: How many deltas are waiting for these bytes.

        Raises:
            ObjectMissingError: It is not here.
            IntegrityError: It is damaged, or is a delta of a delta, and so on without end.
        """
        chunk = ChunkId(digest)
        if deltas > MAX_DELTAS:
            raise ObjectDamagedError(chunk, f"it is kept as a delta of more than {MAX_DELTAS} deltas")
        location = self.find(digest, RecordKind(kind))
        if location is None:
            raise ObjectMissingError(chunk)
        return self.read(location, chunk, deltas=deltas)

    def read_verified(self, location: Location, object_id: ObjectId) -> bytes:
        """Returns the bytes of a record whose id is the BLAKE3 of them, checked by that too.

        Raises:
            ObjectMissingError: Its pack is gone, and no other has it.
            IntegrityError: It is damaged.
        """
        data = self.read(location, object_id)
        if blake3(data).digest() != object_id.digest:
            raise ObjectDamagedError(
                object_id, f"its record in {self._layout.pack(location.pack)} holds other bytes"
            )
        return data
