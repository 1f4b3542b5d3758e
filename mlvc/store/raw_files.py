"""The files of blobs that are kept raw, shared with the work tree: by reflink, by hard link, or read in one go."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from mlvc import fsio
from mlvc.model.ids import PackId
from mlvc.page_cache import OnceReader
from mlvc.store.verified import FileState, note_verified, read_verified

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlvc.model.ids import BlobId
    from mlvc.store.catalog import Catalog
    from mlvc.store.layout import Layout

__all__ = ["RawFiles"]

_WRITE_BITS = 0o222


class RawFiles:
    """The raw packs of one store as files.

    Attributes:
        trusts_verified: Whether one that was found intact is trusted for as long as its file does not change.
    """

    def __init__(self, layout: Layout, catalog: Catalog) -> None:
        self.trusts_verified = False
        self._layout = layout
        self._catalog = catalog

    def fill(self, blob: BlobId, fd: int, advance: Callable[[int], None]) -> bool:
        """Fills an empty file with a blob that is kept raw; see `ports.ObjectReader`."""
        pack = PackId(blob.digest)
        if not self._catalog.is_raw(pack):
            return False
        try:
            source = OnceReader(self._layout.pack(pack))
        except OSError:
            # It is gone or cannot be read, which reading it chunk by chunk tells.
            return False
        with source:
            is_clone = fsio.clone(source.fd, fd)
            state = FileState.of(os.fstat(source.fd))
            if is_clone and self.trusts_verified and read_verified(self._layout).get(pack) == state:
                advance(state.size_bytes)
                return True
            if self._is_intact(pack, source, None if is_clone else fd, advance):
                return True
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        return False

    def link(self, blob: BlobId, name: str, dir_fd: int) -> bool:
        """Makes a hard link to the file of a blob that is kept raw, read-only; returns whether that could be done.

        The file is read if it has changed since it was last found intact, in whatever way but by links that came and
        went. Whoever writes through the link damages the store.

        Args:
            blob: Which one.
            name: What to call the link.
            dir_fd: The directory that the name is in.
        """
        pack = PackId(blob.digest)
        path = self._layout.pack(pack)
        if not self._catalog.is_raw(pack):
            return False
        try:
            with OnceReader(path) as source:
                known = read_verified(self._layout).get(pack)
                before = os.fstat(source.fd)
                is_known = known is not None and known.is_same_but_for_links(FileState.of(before))
                if before.st_mode & _WRITE_BITS or not (
                    is_known or self._is_intact(pack, source, None, lambda _: None)
                ):
                    return False
                os.link(path, name, dst_dir_fd=dir_fd, follow_symlinks=False)
        except OSError:
            # Another file system, or one that has no links, or no more of them: the bytes are copied.
            return False
        return True

    def _is_intact(
        self, pack: PackId, source: OnceReader, fd: int | None, advance: Callable[[int], None]
    ) -> bool:
        """Reads a raw pack, writes it to `fd` if there is one, and returns whether it is what its name says."""
        from mlvc.store.raw import read_all  # noqa: PLC0415  # cutting and compressing, which most reading needs not

        state = FileState.of(os.fstat(source.fd))
        if read_all(source, fd, advance) != pack.digest:
            return False
        with contextlib.suppress(OSError):
            # What was read may be on no disk yet, as after `cp` of a store. Power loss can take such bytes and leave
            # the stat data, which must never vouch for what then stands there.
            fsio.sync_file(source.fd)
            if state == FileState.of(os.fstat(source.fd)):
                self.note_intact(pack, state)
        return True

    def note_intact(self, pack: PackId, state: FileState) -> None:
        """Takes note that a raw pack was found to be what its name says, unless the store may only be read.

        Its bytes must be durable: what is noted counts after power loss too.
        """
        with contextlib.suppress(OSError):
            note_verified(self._layout, pack, state, self._catalog.raw_packs())

    def changed(self) -> list[PackId]:
        """Returns the raw packs whose files were written to since they were last found intact; reads none of them."""
        catalog, changed = self._catalog, []
        for pack, known in read_verified(self._layout).items():
            with contextlib.suppress(OSError):
                found = FileState.of(self._layout.pack(pack).stat())
                if catalog.is_raw(pack) and not known.is_same_but_for_links(found):
                    changed.append(pack)
        return changed
