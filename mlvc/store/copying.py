"""Copies records from packs into new packs as they stand there, each checked on the way; bare chunks get a header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlvc.errors import FormatError
from mlvc.fsio import file_lock
from mlvc.store.errors import DamagedFileError
from mlvc.store.pack import Entry, check_record, frame
from mlvc.store.pack_writer import PackWriter
from mlvc.store.records import PackFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlvc.model.ids import PackId
    from mlvc.ports import ProgressTask
    from mlvc.store.local import LocalStore
    from mlvc.store.pack_index import PackIndex

__all__ = ["copy_records"]

_PACK_BYTES = 48 << 20
_BATCH_BYTES = 1 << 20


def copy_records(
    store: LocalStore,
    sources: Iterable[tuple[PackId, Sequence[Entry]]],
    task: ProgressTask,
    *,
    is_data: bool,
) -> list[PackIndex]:
    """Copies records, as they are and each checked, into as few new packs as they fit in; those are published.

    Args:
        store: The store.
        sources: Packs, with the entries to copy.
        task: Told how many bytes of packs are done.
        is_data: Which class of packs these are.

    Raises:
        DamagedFileError: A record is damaged; what was not yet published is dropped.
    """
    copier = _Copier(store, is_data=is_data)
    try:
        for pack, entries in sources:
            file = PackFile(store.layout.pack(pack))
            for entry in sorted(entries, key=lambda entry: entry.offset):
                copier.add(file, entry)
            task.advance(file.size_bytes)
        return copier.finish()
    finally:
        copier.close()


class _Copier:
    def __init__(self, store: LocalStore, *, is_data: bool) -> None:
        self._layout = store.layout
        self._is_data = is_data
        self._pack: PackWriter | None = None
        self._parts: list[bytes] = []
        self._entries: list[Entry] = []
        self._held_bytes = 0
        self._done: list[PackIndex] = []
        self._seen: set[tuple[int, int, bytes]] = set()

    def add(self, file: PackFile, entry: Entry) -> None:
        key = (entry.kind, entry.part, entry.digest)
        if key in self._seen:
            return
        record = file.read(entry.offset, entry.size_bytes)
        try:
            check_record(record, entry)
        except FormatError as exc:
            raise DamagedFileError(file.path, f"{exc.message}, at offset {entry.offset}") from exc
        self._seen.add(key)
        record, entry = frame(record, entry)
        self._parts.append(record)
        self._entries.append(entry._replace(offset=self._held_bytes))
        self._held_bytes += len(record)
        if self._held_bytes >= _BATCH_BYTES:
            self._append()

    def _append(self) -> None:
        if not self._parts:
            return
        if self._pack is None:
            self._pack = PackWriter(self._layout, is_data=self._is_data)
        self._pack.append(b"".join(self._parts), self._entries)
        self._parts, self._entries, self._held_bytes = [], [], 0
        if self._pack.size_bytes >= _PACK_BYTES:
            self._publish()

    def _publish(self) -> None:
        if self._pack is not None:
            self._done.append(self._pack.publish(file_lock(self._layout.lock)))
            self._pack = None

    def finish(self) -> list[PackIndex]:
        self._append()
        self._publish()
        return self._done

    def close(self) -> None:
        if self._pack is not None:
            self._pack.discard()
