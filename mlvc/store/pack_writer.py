"""Writes packs: a temporary file, synced, then renamed into place, and its index after it (promise 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from mlvc.model.ids import PackId
from mlvc.store.catalog import load_index
from mlvc.store.errors import DamagedFileError
from mlvc.store.layout import INDEX_SUFFIX, PACK_SUFFIX, Layout
from mlvc.store.pack import Entry, encode_pack_header
from mlvc.store.pack_index import PackIndex, PackInfo, encode_index
from mlvc.store.temporaries import Temporary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager


__all__ = ["PackWriter", "publish_pack"]


class PackWriter:
    """One pack that is being written. Not safe for use from several threads; raises OSError as the system does."""

    def __init__(self, layout: Layout, *, is_data: bool) -> None:
        self._layout = layout
        self._is_data = is_data
        self._entries: list[Entry] = []
        self._hasher = blake3()
        self._file = Temporary.create(layout.temporaries, PACK_SUFFIX)
        try:
            self._write(encode_pack_header(is_data=is_data))
        except OSError:
            self._file.discard()
            raise

    @property
    def size_bytes(self) -> int:
        """How long the pack is by now."""
        return self._file.size_bytes

    @property
    def records(self) -> int:
        """How many records it holds by now."""
        return len(self._entries)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hasher.update(data)

    def append(self, records: bytes, entries: Sequence[Entry]) -> None:
        """Appends encoded records.

        Args:
            records: As `encode_records` made them.
            entries: Theirs, with offsets counted from the first of them.
        """
        start = self._file.size_bytes
        self._write(records)
        # What `_replace` does, in a third of the time.
        self._entries += [Entry(entry[0], start + entry[1], *entry[2:]) for entry in entries]

    def publish(self, lock: AbstractContextManager[None]) -> PackIndex:
        """Makes the pack, and then its index, durable and visible; see `publish_pack`."""
        info = PackInfo(
            PackId(self._hasher.digest()), self._is_data, self._file.size_bytes, len(self._entries)
        )
        return publish_pack(self._layout, self._file, info, encode_index(info, self._entries), lock)

    def discard(self) -> None:
        """Removes what was written, unless it was published; may be called more than once."""
        self._file.discard()


def publish_pack(
    layout: Layout, file: Temporary, info: PackInfo, encoded: bytes, lock: AbstractContextManager[None]
) -> PackIndex:
    """Makes a pack, and then its index, durable and visible (promise 1).

    Args:
        layout: Of the store.
        file: The whole pack.
        info: What it is.
        encoded: Its index.
        lock: Held while names appear.

    Returns:
        The index, as read back from its file.

    Raises:
        OSError: As the system does.
        DamagedFileError: What was written reads back as something else.
    """
    file.sync()
    index_file = Temporary.create(layout.temporaries, INDEX_SUFFIX)
    try:
        index_file.write(encoded)
        index_file.sync()
        with lock:
            file.publish(layout.pack(info.id))
            index_file.publish(layout.index(info.id))
    finally:
        index_file.discard()
    # No switch turns this off: an index that says something else than was meant makes every later read fail.
    path = layout.index(info.id)
    if path.read_bytes() != encoded:
        raise DamagedFileError(path, "it was written just now, and reads back as something else")
    size_bytes = layout.pack(info.id).stat().st_size
    if size_bytes != info.size_bytes:
        raise DamagedFileError(layout.pack(info.id), f"it was written just now, and has {size_bytes} bytes")
    return load_index(path)
