"""Brings whole packs from a remote to a store; each is verified before it counts there.

A large pack comes in pieces, several at once, past the page cache. Where that is interrupted, the file stays, under a
name that tells the pack, and the next time goes on behind the chunks in it that are intact.
"""

from __future__ import annotations

import contextlib
import mmap
from typing import TYPE_CHECKING

from blake3 import blake3

from mlvc.fsio import file_lock, translate_os_errors
from mlvc.store.layout import INDEX_SUFFIX, PACK_SUFFIX
from mlvc.store.temporaries import PARTIAL_SUFFIX, Temporary, remove_leftovers
from mlvc.store.transfer import in_order, in_parallel, is_large

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlvc.model.ids import PackId
    from mlvc.ports import ProgressTask
    from mlvc.store.layout import Layout
    from mlvc.store.local import LocalStore
    from mlvc.store.pack import Entry
    from mlvc.store.pack_index import PackIndex
    from mlvc.store.remote import Remote, RemotePack

__all__ = ["receive_packs"]

_PIECE_BYTES = 8 << 20
"""Of each that is on its way there are two copies in memory: 80 MiB with four at once."""


def receive_packs(
    store: LocalStore,
    remote: Remote,
    listed: Mapping[PackId, RemotePack],
    indexes: Mapping[PackId, PackIndex],
    task: ProgressTask,
) -> set[PackId]:
    """Brings the packs that `indexes` describe; returns those that hold other bytes than their name says.

    Raises:
        MlvcError: The remote or the store cannot be used; what had arrived stays.
    """
    damaged: set[PackId] = set()
    with translate_os_errors(f"write to the store {store.layout.directory}"):
        remove_leftovers(store.layout.temporaries)

    def receive(pack: PackId) -> None:
        with translate_os_errors(f"write to the store {store.layout.directory}"):
            if not _receive(store.layout, remote, pack, listed[pack], indexes[pack], task):
                damaged.add(pack)

    # Data first: metadata of the same transfer names it.
    for is_data in (True, False):
        chosen = [pack for pack in indexes if listed[pack].is_data is is_data]
        in_parallel(receive, [pack for pack in chosen if not is_large(listed[pack].size_bytes)], remote.jobs)
        for pack in chosen:
            if is_large(listed[pack].size_bytes):
                receive(pack)
    return damaged


def _receive(
    layout: Layout, remote: Remote, pack: PackId, listed: RemotePack, index: PackIndex, task: ProgressTask
) -> bool:
    """Brings a pack, and returns whether it was what its name says; it becomes visible only then."""
    if is_large(listed.size_bytes) and index.info.is_raw:
        file = Temporary.take_up(layout.temporaries, pack.hex + PARTIAL_SUFFIX)
        if file is not None:
            return _receive_large(layout, file, remote, pack, listed, index, task)
    file = Temporary.create(layout.temporaries, PACK_SUFFIX)
    try:
        hasher = blake3()
        for piece in remote.read_pack(pack, listed):
            hasher.update(piece)
            file.write(piece)
            task.advance(len(piece))
        if hasher.digest() != pack.digest:
            return False
        _publish(layout, pack, file, index)
        return True
    finally:
        file.discard()


def _receive_large(
    layout: Layout,
    file: Temporary,
    remote: Remote,
    pack: PackId,
    listed: RemotePack,
    index: PackIndex,
    task: ProgressTask,
) -> bool:
    """Brings what a file lacks of a pack; an interruption leaves the file."""
    free: list[memoryview] = []

    def bring(offset: int) -> bytes:
        data = remote.read_range(pack, listed, offset, min(_PIECE_BYTES, listed.size_bytes - offset))
        # Aligned, as going past the page cache demands.
        try:
            buffer = free.pop()
        except IndexError:
            buffer = memoryview(mmap.mmap(-1, _PIECE_BYTES))
        buffer[: len(data)] = data
        file.write_at(buffer[: len(data)], offset)
        free.append(buffer)
        return data

    try:
        arrived_bytes, hasher = _intact(file, sorted(index.entries_from(b""), key=lambda entry: entry.offset))
        task.advance(arrived_bytes)
        file.go_past_cache()
        left = range(arrived_bytes, listed.size_bytes, _PIECE_BYTES)
        with contextlib.closing(in_order(bring, left, remote.jobs)) as pieces:
            for piece in pieces:
                hasher.update(piece)
                task.advance(len(piece))
        if hasher.digest() != pack.digest:
            file.discard()
            return False
        _publish(layout, pack, file, index)
        return True
    finally:
        file.leave()


def _intact(file: Temporary, entries: Iterable[Entry]) -> tuple[int, blake3]:
    """Returns how many whole pieces at the start of a file are those of a raw pack, and the hash of them."""
    hasher, boundary = blake3(), _PIECE_BYTES
    intact_bytes, intact = 0, hasher.copy()
    for entry in entries:
        if entry.end > file.size_bytes:
            break
        chunk = file.read_at(entry.length, entry.offset)
        if blake3(chunk).digest() != entry.digest:
            break
        if entry.end >= boundary:
            # No chunk is as long as a piece.
            before = boundary - entry.offset
            hasher.update(chunk[:before])
            intact_bytes, intact = boundary, hasher.copy()
            boundary += _PIECE_BYTES
            chunk = chunk[before:]
        hasher.update(chunk)
    return intact_bytes, intact


def _publish(layout: Layout, pack: PackId, file: Temporary, index: PackIndex) -> None:
    """Makes a verified pack durable and visible, and then its index (promise 1)."""
    file.sync()
    index_file = Temporary.create(layout.temporaries, INDEX_SUFFIX)
    try:
        index_file.write(index.encoded())
        index_file.sync()
        with file_lock(layout.lock):
            file.publish(layout.pack(pack))
            index_file.publish(layout.index(pack))
    finally:
        index_file.discard()
