"""Raw packs: one large blob as it is, in a file of its own, with its chunks in the index of that file.

Other versions of the blob share its chunks as they do those of any pack, and a file system that can do so shares the
whole file with the work tree, without copying a byte.

A blob is kept so if it is large, if a sample says that compressing it, deltas of its previous version, and chunks that
are stored already would together save little, and if its bytes do not look like a pack with a header.
"""

from __future__ import annotations

import collections
import contextlib
import mmap
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from blake3 import blake3
from xxhash import xxh3_64_intdigest

from mlvc.model.ids import BlobId, PackId
from mlvc.model.kinds import RecordKind
from mlvc.page_cache import OnceReader
from mlvc.store.chunking import cut, cut_stream
from mlvc.store.layout import PACK_SUFFIX
from mlvc.store.pack import Encoding, Entry, NewRecord, encode_records, is_headed
from mlvc.store.pack_index import PackInfo, RawIndexBuilder
from mlvc.store.pack_writer import publish_pack
from mlvc.store.recipe import RecipeBuilder
from mlvc.store.temporaries import Temporary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mlvc.ports import FileSource
    from mlvc.store.layout import Layout
    from mlvc.store.pack_index import PackIndex
    from mlvc.store.records import PackFile
    from mlvc.store.succession import Succession

__all__ = ["RAW_FROM_BYTES", "RawPackWriter", "cut_again", "is_worth_it", "read_all"]

RAW_FROM_BYTES = 16 << 20
"""A pack has about as much; smaller files of their own would only be more files."""
_RAW_TO_BYTES = 32 << 30
"""Sorting its index then takes some 100 MB of memory; what is larger goes into ordinary packs."""
_BUFFERS = 6
_READ_AHEAD = 2
_HEAD_BYTES = 16
_BUFFER_BYTES = 4 << 20
"""Exactly as much as cutting asks for at once."""

_WINDOWS = 8
_WINDOW_BYTES = 1 << 20
_UNALIGNED_CHUNKS = 2
"""So many chunks after it began somewhere, cutting has found the cuts that all of the file has."""
_LEAST_SHARE = 7 / 8
"""How much of its length a sample has to take in ordinary packs, if the file is to be kept raw."""


def is_worth_it(
    source: FileSource, is_stored: Callable[[bytes], bool], succession: Succession | None
) -> bool:
    """Returns whether a file should be kept raw.

    Args:
        source: The file.
        is_stored: Whether a chunk of that digest is stored.
        succession: What its chunks could be deltas of.

    Raises:
        FileUnreadableError: The file cannot be read.
    """
    if not RAW_FROM_BYTES <= source.size_bytes <= _RAW_TO_BYTES:
        return False
    sampled_bytes = needed_bytes = 0
    for number in range(_WINDOWS):
        offset = (source.size_bytes - _WINDOW_BYTES) * number // (_WINDOWS - 1)
        data = source.pread(_WINDOW_BYTES, offset)
        if not number and is_headed(data):
            return False
        records = []
        if succession is not None:
            succession.go_to(offset)
        for count, chunk in enumerate(cut(data)):
            digest = blake3(chunk).digest()
            base = None if succession is None else succession.follow(digest, len(chunk))
            if count < _UNALIGNED_CHUNKS:
                continue
            sampled_bytes += len(chunk)
            if not is_stored(digest):
                records.append(NewRecord(RecordKind.CHUNK, 0, digest, chunk, base))
        needed_bytes += sum(entry.stored_length for entry in encode_records(records)[1])
    return needed_bytes >= sampled_bytes * _LEAST_SHARE


class _Buffer:
    """Memory for one piece, aligned as going past the page cache demands, and who still works on what is in it."""

    def __init__(self) -> None:
        self.view = memoryview(mmap.mmap(-1, _BUFFER_BYTES))
        self.users: list[Future[object]] = []

    def reclaim(self) -> None:
        """Waits until nobody works on the contents; raises what went wrong with that."""
        for user in self.users:
            user.result()
        self.users = []


class RawPackWriter:
    """One raw pack that is being written: read, cut, hashed and written at the same time, in several threads.

    The bytes that are hashed are those that are kept: a file system that can do so makes a copy of the file that shares
    its bytes, and that is read; elsewhere what was read is what is written.
    Not safe for use from several threads; raises OSError as the system does, for the store.

    Attributes:
        recipe: Its chunks, once `take` returned.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        whole: ThreadPoolExecutor,
        chunks: ThreadPoolExecutor,
        writing: ThreadPoolExecutor,
    ) -> None:
        """Begins an empty one.

        Args:
            layout: Of the store.
            whole: One thread, which hashes the whole.
            chunks: Threads that hash the chunks.
            writing: Threads that write.
        """
        self.recipe = RecipeBuilder()
        self._layout = layout
        self._whole_pool = whole
        self._chunk_pool = chunks
        self._write_pool = writing
        self._whole = blake3()
        self._index = RawIndexBuilder()
        self._head = b""
        self._offset = 0
        self._read_into: Callable[[memoryview, int], int] = _read_nothing
        self._is_copy = True
        self._buffers = [_Buffer() for _ in range(_BUFFERS)]
        self._current = self._buffers[0]
        self._pieces: collections.deque[tuple[_Buffer, Future[memoryview]]] = collections.deque()
        self._stopped = threading.Event()
        self._chunks: list[bytes | memoryview] = []
        self._hashed: collections.deque[Future[list[tuple[bytes, int, int]]]] = collections.deque()
        self._file = Temporary.create(layout.temporaries, PACK_SUFFIX)

    def take(self, source: FileSource) -> BlobId:
        """Takes all of a file; returns its id.

        Raises:
            FileUnreadableError: The file cannot be read.
        """
        with contextlib.ExitStack() as stack:
            if self._file.clone(source.fileno(), source.size_bytes):
                self._is_copy = False
                self._read_into = _advancing(stack.enter_context(OnceReader(self._file.path)), source)
            else:
                self._file.go_past_cache()
                self._read_into = _in_order(source)
            # What is still on its way must not meet a file that is closed.
            stack.callback(self._wait)
            self._reader = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="mlvc-read"))
            stack.callback(self._stopped.set)
            for _ in range(_READ_AHEAD):
                self._read_ahead()
            for chunk in cut_stream(self):
                self._chunks.append(chunk)
            self._hash_chunks()
            self._note_hashed(0)
            for buffer in self._buffers:
                buffer.reclaim()
        return BlobId(self._whole.digest())

    def _wait(self) -> None:
        wait([user for buffer in self._buffers for user in buffer.users])

    def _read_ahead(self) -> None:
        buffer = self._buffers.pop(0)
        self._buffers.append(buffer)
        buffer.reclaim()
        self._pieces.append((buffer, self._reader.submit(self._read_piece, buffer)))

    def _read_piece(self, buffer: _Buffer) -> memoryview:
        """Runs in the thread that reads."""
        if self._stopped.is_set():
            return buffer.view[:0]
        piece = buffer.view[: self._read_into(buffer.view, self._offset)]
        if not self._offset:
            self._head = bytes(piece[:_HEAD_BYTES])
        if piece:
            buffer.users.append(self._whole_pool.submit(self._whole.update, piece))
            if self._is_copy:
                buffer.users.append(self._write_pool.submit(self._file.write_at, piece, self._offset))
        self._offset += len(piece)
        return piece

    def read(self, _size: int, /) -> memoryview:
        """Returns the next piece, for `cut_stream`; hands the chunks of the last one to those that hash."""
        self._hash_chunks()
        self._note_hashed(_BUFFERS)
        self._current, read = self._pieces.popleft()
        self._read_ahead()
        return read.result()

    def _hash_chunks(self) -> None:
        if self._chunks:
            hashed = self._chunk_pool.submit(_hash_all, self._chunks)
            self._chunks = []
            self._current.users.append(hashed)  # type: ignore[arg-type]  # a future of anything will do there
            self._hashed.append(hashed)

    def _note_hashed(self, allowed: int) -> None:
        while len(self._hashed) > allowed:
            for digest, length, checksum in self._hashed.popleft().result():
                self._index.append(digest, self.recipe.size_bytes, length, checksum)
                self.recipe.append(digest, length)

    @property
    def is_publishable(self) -> bool:
        """Whether what was taken can be a raw pack: it may have become something else since it was looked at."""
        return len(self.recipe) > 1 and not is_headed(self._head)

    @property
    def path(self) -> Path:
        """Where the bytes are until they are published."""
        return self._file.path

    def publish(self, blob: BlobId, lock: AbstractContextManager[None]) -> PackIndex:
        """Makes the pack, and then its index, durable and visible; see `publish_pack`."""
        info = PackInfo(
            PackId(blob.digest),
            is_data=True,
            size_bytes=self.recipe.size_bytes,
            records=len(self.recipe),
            is_raw=True,
        )
        return publish_pack(self._layout, self._file, info, self._index.encode(info), lock)

    def discard(self) -> None:
        """Removes what was written, unless it was published; may be called more than once."""
        self._file.discard()


def _read_nothing(_buffer: memoryview, _offset: int) -> int:
    raise AssertionError  # `take` says what is read.


def _advancing(reader: OnceReader, source: FileSource) -> Callable[[memoryview, int], int]:
    def read_into(buffer: memoryview, offset: int) -> int:
        count = reader.read_into(buffer, offset)
        source.advance(count)
        return count

    return read_into


def _in_order(source: FileSource) -> Callable[[memoryview, int], int]:
    def read_into(buffer: memoryview, _offset: int) -> int:
        done = 0
        while done < len(buffer) and (count := source.readinto(buffer[done:])):
            done += count
        return done

    return read_into


def _hash_all(chunks: list[bytes | memoryview]) -> list[tuple[bytes, int, int]]:
    return [(blake3(chunk).digest(), len(chunk), xxh3_64_intdigest(chunk)) for chunk in chunks]


class _PackSource:
    def __init__(self, file: PackFile) -> None:
        self._file = file
        self._offset = 0

    def read(self, size: int, /) -> bytes:
        data = self._file.read(self._offset, min(size, self._file.size_bytes - self._offset))
        self._offset += len(data)
        return data


def cut_again(file: PackFile) -> Iterator[Entry]:
    """Yields entries for a raw pack that has no usable index, in order of offset."""
    offset = 0
    for chunk in cut_stream(_PackSource(file)):
        length = len(chunk)
        yield Entry(
            blake3(chunk).digest(),
            offset,
            length,
            length,
            RecordKind.CHUNK,
            Encoding.RAW,
            checksum=xxh3_64_intdigest(chunk),
        )
        offset += length


def read_all(source: OnceReader, fd: int | None, advance: Callable[[int], None]) -> bytes:
    """Reads all of a file, and returns the BLAKE3 of it; what is hashed is also written to `fd`, if there is one.

    Holds a few MiB. Raises OSError as the system does.
    """
    whole = blake3()
    buffers = collections.deque(_Buffer() for _ in range(_READ_AHEAD + 1))
    offset = 0
    with ThreadPoolExecutor(1, thread_name_prefix="mlvc-hash") as hasher:
        while True:
            buffer = buffers[0]
            buffers.rotate(-1)
            buffer.reclaim()
            piece = buffer.view[: source.read_into(buffer.view, offset)]
            if not piece:
                break
            buffer.users.append(hasher.submit(whole.update, piece))
            left = piece[:0] if fd is None else piece
            while left and fd is not None:
                left = left[os.write(fd, left) :]
            advance(len(piece))
            offset += len(piece)
    return whole.digest()
