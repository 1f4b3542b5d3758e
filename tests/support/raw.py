"""Raw packs of a few chunks: what a store makes of files of 16 MiB and more, small enough to break byte by byte."""

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mlvc.model.ids import BlobId
from mlvc.store.local import LocalStore
from mlvc.store.raw import RawPackWriter

__all__ = ["OpenFile", "add_raw"]


class OpenFile:
    """A `ports.FileSource` over a file; counts what it was told of the progress."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.size_bytes = os.fstat(self._file.fileno()).st_size
        self.done_bytes = 0

    def fileno(self) -> int:
        return self._file.fileno()

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self.advance(len(data))
        return data

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._file.readinto(buffer)
        self.advance(count)
        return count

    def pread(self, size: int, offset: int, /) -> bytes:
        return os.pread(self.fileno(), size, offset)

    def advance(self, size: int, /) -> None:
        self.done_bytes += size

    def close(self) -> None:
        self._file.close()


def add_raw(store: LocalStore, path: Path) -> BlobId:
    """Adds a file of any length as a raw pack, and its recipe."""
    with (
        store.writer() as writer,
        contextlib.closing(OpenFile(path)) as source,
        ThreadPoolExecutor(1) as whole,
        ThreadPoolExecutor(2) as others,
    ):
        pack = RawPackWriter(store.layout, whole=whole, chunks=others, writing=others)
        try:
            blob = pack.take(source)
            pack.publish(blob, contextlib.nullcontext())
        finally:
            pack.discard()
        store.catalog.refresh()
        writer.add_blob(path.read_bytes())
    return blob
