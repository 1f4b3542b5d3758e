"""Where records go that come from a remote: into the store, or first into memory while somebody reads them."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Protocol

import zstandard

from mlvc.fsio import DiskFullError, FileUnreadableError, file_lock, translate_os_errors
from mlvc.model.kinds import RecordKind
from mlvc.store.local import LocalStore, RecordKey
from mlvc.store.pack import decode_payload
from mlvc.store.pack_writer import PackWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from mlvc.store.pack import Entry

__all__ = ["Arrivals", "Stored", "Target", "key_of"]

_FLUSHED_BYTES = 16 << 20
"""So much is lost by a killed process, and no pack that this makes is smaller but the last."""


def key_of(entry: Entry) -> RecordKey:
    """Returns what a record is looked up by."""
    return RecordKey(entry.kind, entry.part, entry.digest)


class Target(Protocol):
    """Where records go.

    Attributes:
        packs: Where whole packs can go; None where only single records are taken.
    """

    packs: LocalStore | None

    def lacking(self, records: Iterable[RecordKey]) -> set[RecordKey]:
        """Returns those of the records that it does not have."""
        ...

    def read_base(self, digest: bytes, kind: int) -> bytes:
        """Returns the bytes of a chunk that a delta is based on."""
        ...

    def adding(self) -> AbstractContextManager[Callable[[Sequence[tuple[bytes, Entry]]], None]]:
        """Begins taking records that were checked; leaving the context keeps them."""
        ...


class Stored:
    """Records go into a store, durably."""

    def __init__(self, store: LocalStore) -> None:
        self.packs: LocalStore | None = store
        self._store = store

    def lacking(self, records: Iterable[RecordKey]) -> set[RecordKey]:
        """Returns those of the records that are not stored."""
        return self._store.lacking(records)

    def read_base(self, digest: bytes, kind: int) -> bytes:
        """Returns the bytes of a chunk that a delta is based on."""
        return self._store.read_base(digest, kind)

    @contextlib.contextmanager
    def adding(self) -> Iterator[Callable[[Sequence[tuple[bytes, Entry]]], None]]:
        """Begins storing records."""
        unflushed = 0

        def add(records: Sequence[tuple[bytes, Entry]]) -> None:
            nonlocal unflushed
            writer.add_encoded(records)
            unflushed += sum(len(record) for record, _ in records)
            if unflushed >= _FLUSHED_BYTES:
                writer.flush()
                unflushed = 0

        with self._store.writer() as writer:
            yield add


class Arrivals:
    """Records that somebody reads now, and that are not in the store yet; they go there many at a time.

    A record at a time would make a pack of each. Where the store cannot be written, the oldest are dropped instead.
    Safe for use from several threads.
    """

    packs: LocalStore | None = None

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._records: dict[RecordKey, tuple[bytes, Entry]] = {}
        self._size_bytes = 0
        self._lock = threading.RLock()

    def lacking(self, records: Iterable[RecordKey]) -> set[RecordKey]:
        """Returns those of the records that have not arrived and are not stored."""
        with self._lock:
            others = [record for record in records if record not in self._records]
        return self._store.lacking(others) if others else set()

    def read(self, record: RecordKey) -> bytes | None:
        """Returns the bytes of a record that arrived, which was checked then; None for any other."""
        with self._lock:
            found = self._records.get(record)
        if found is None:
            return None
        return decode_payload(
            *found, zstandard.ZstdDecompressor(), lambda base: self.read_base(base, record.kind)
        )

    def read_base(self, digest: bytes, kind: int) -> bytes:
        """Returns the bytes of a chunk that a delta is based on.

        Raises:
            ObjectMissingError: It has not arrived, and is not stored.
            IntegrityError: It is damaged.
        """
        data = self.read(RecordKey(kind, 0, digest))
        return self._store.read_base(digest, kind) if data is None else data

    @contextlib.contextmanager
    def adding(self) -> Iterator[Callable[[Sequence[tuple[bytes, Entry]]], None]]:
        """Begins taking records."""

        def add(records: Sequence[tuple[bytes, Entry]]) -> None:
            with self._lock:
                for record, entry in records:
                    self._records[key_of(entry)] = (record, entry)
                    self._size_bytes += len(record)

        yield add

    def settle(self) -> None:
        """Stores what arrived where that is much."""
        if self._size_bytes >= _FLUSHED_BYTES:
            self.store()

    def store(self) -> None:
        """Puts everything that arrived into the store, durably, as far as that can be written."""
        with self._lock:
            try:
                with self._store.in_use():
                    for is_data in (True, False):
                        self._write_pack(is_data=is_data)
            except (DiskFullError, FileUnreadableError):
                # What was asked for last is about to be read.
                while self._size_bytes > _FLUSHED_BYTES // 2 and len(self._records) > 1:
                    record, _ = self._records.pop(next(iter(self._records)))
                    self._size_bytes -= len(record)
            else:
                self._records.clear()
                self._size_bytes = 0

    def _write_pack(self, *, is_data: bool) -> None:
        # Not by a writer: that has threads, and a program that ends can start none any more.
        records = [
            (record, entry)
            for key, (record, entry) in self._records.items()
            if RecordKind(key.kind).is_data is is_data
        ]
        if not records:
            return
        layout = self._store.layout
        with translate_os_errors(f"write to the store {layout.directory}"):
            pack = PackWriter(layout, is_data=is_data)
            try:
                for record, entry in records:
                    pack.append(record, [entry._replace(offset=0)])
                pack.publish(file_lock(layout.lock))
            finally:
                pack.discard()
