"""Which records the published packs hold: all their indexes, loaded at the first question."""

from __future__ import annotations

import mmap
import os
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from mlvc.errors import FormatError, MlvcError, VersionError
from mlvc.fsio import translate_os_errors
from mlvc.store.condemned import read_condemned
from mlvc.store.errors import DamagedFileError, UnknownFormatError
from mlvc.store.layout import INDEX_SUFFIX, PACK_SUFFIX, Layout, parse_pack_name
from mlvc.store.pack_index import PackIndex
from mlvc.store.table import Table

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence
    from pathlib import Path

    from mlvc.model.ids import PackId
    from mlvc.store.pack import Entry

__all__ = ["MAX_DELTAS", "Catalog", "Location", "load_index"]

MAX_DELTAS = 8
"""A writer makes deltas of whole records only; packs of several writers, brought together, may nest them."""

_MAPPED_FROM_BYTES = 256 << 10
"""5,000 records: what a full pack of chunks has is well below it, and a thousand such indexes take 50 MB."""
_COARSEST_MTIME_S = 1.0
"""How long two changes of a directory can share one mtime, on the coarsest of the usual file systems."""


class Location(NamedTuple):
    """Where a record stands."""

    pack: PackId
    entry: Entry


def load_index(path: Path) -> PackIndex:
    """Returns an index, read or, where it is large, mapped into memory.

    Raises:
        DamagedFileError: It is no index, or damaged.
        UnknownFormatError: Its version is not known.
        FileUnreadableError: It cannot be opened.
    """
    with translate_os_errors(f"read {path}"), path.open("rb") as file:
        # A map holds a file descriptor, and a store of many packs would run out of them.
        is_large = os.fstat(file.fileno()).st_size > _MAPPED_FROM_BYTES
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if is_large else file.read()
    try:
        index = PackIndex(data)
    except FormatError as exc:
        raise DamagedFileError(path, exc.message) from exc
    except VersionError as exc:
        raise UnknownFormatError(path, exc.message) from exc
    if index.info.id != parse_pack_name(path.name, INDEX_SUFFIX):
        raise DamagedFileError(path, "it is the index of another pack")
    return index


class Catalog:
    """The indexes of one store's packs. Safe for use from several threads.

    An index that cannot be used hides nothing: whatever is found elsewhere is found, and a question that only it
    could answer raises what is wrong with it, instead of calling the object missing.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._directory = layout.packs
        self._lock = threading.RLock()
        self._loaded = False
        self._table = Table()
        self._stand_ins: dict[PackId, PackIndex] = {}
        self._seen_mtime_ns = -1
        self._seen_at = 0.0
        self._listed_at = 0.0

    # ------------------------------------------------------------------------------------------ loading

    def _listing_is_current(self, mtime_ns: int) -> bool:
        return mtime_ns == self._seen_mtime_ns and self._listed_at - self._seen_at > _COARSEST_MTIME_S

    def refresh(self) -> bool:
        """Takes notice of packs that came or went since; returns whether there were any. Cheap when none did."""
        with self._lock:
            with translate_os_errors(f"list {self._directory}"):
                mtime_ns = self._directory.stat().st_mtime_ns
                if self._loaded and self._listing_is_current(mtime_ns):
                    return False
                self._listed_at = time.monotonic()
                if mtime_ns != self._seen_mtime_ns:
                    self._seen_mtime_ns, self._seen_at = mtime_ns, self._listed_at
                names = set(os.listdir(self._directory))
            condemned = read_condemned(self._layout.condemned)
            present = {
                pack
                for name in names
                if (pack := parse_pack_name(name, PACK_SUFFIX)) is not None
                and (pack.hex + INDEX_SUFFIX in names or pack in self._stand_ins)
                and pack not in condemned
            }
            changed = False
            if self._table.names - present or self._table.failures:
                self._table = Table()
                changed = True
            new = sorted(present - self._table.names)
            self._table.add([index for pack in new if (index := self._load(pack)) is not None])
            self._loaded = True
            return changed or bool(new)

    def _load(self, pack: PackId) -> PackIndex | None:
        try:
            return self._stand_ins.get(pack) or load_index(self._layout.index(pack))
        except MlvcError as exc:
            self._table.names.add(pack)
            self._table.failures[pack] = exc
            return None

    def stand_in(self, indexes: Iterable[PackIndex]) -> None:
        """Uses indexes that were made again from their packs, in this process alone, instead of those on disk."""
        with self._lock:
            self._stand_ins |= {index.info.id: index for index in indexes}
            self._loaded = False
            self._table = Table()

    def add(self, index: PackIndex) -> None:
        """Adds one published pack, if it is not known yet."""
        with self._lock:
            if index.info.id not in self._table.names:
                self._table.add([index])

    def _ensure_loaded(self) -> None:
        if not self._loaded:
            self.refresh()

    # ---------------------------------------------------------------------------------------- questions

    def find(self, digest: bytes, kind: int, part: int = 0) -> Location | None:
        """Returns where a record stands in the packs known so far, or None.

        A whole one rather than a delta, and a delta that can be read rather than one whose base is not here.
        """
        deltas: list[Location] = []
        for index, _, entry in self.find_all(digest, kind, part):
            location = Location(index.info.id, entry)
            if not entry.base:
                return location
            deltas.append(location)
        if len(deltas) > 1:
            deltas.sort(key=lambda delta: not self._has(delta.entry.base, kind, 0, {digest}))
        return deltas[0] if deltas else None

    def has(self, digest: bytes, kind: int, part: int = 0) -> bool:
        """Returns whether a record can be read, as far as the indexes tell: it is here, and so is its base.

        A delta without its base is as good as nothing, and so is one of more deltas than a reader follows: what counts
        on it as stored would be lost.
        """
        self._ensure_loaded()
        return self._table.may_have(digest) and self._has(digest, kind, part, set())

    def _has(self, digest: bytes, kind: int, part: int, above: set[bytes]) -> bool:
        return any(
            not entry.base
            # Of two that are deltas of each other, neither can be read.
            or (
                len(above) < MAX_DELTAS
                and entry.base not in above
                and self._has(entry.base, kind, 0, above | {digest})
            )
            for _, _, entry in self.find_all(digest, kind, part)
        )

    def find_whole(self, digests: Iterable[bytes], kind: int) -> Iterator[tuple[PackIndex, int] | None]:
        """Yields for each of many records without parts where it surely stands, whole; where not, `find` tells more.

        A fraction of the cost of `find`, for who asks about every file.
        """
        self._ensure_loaded()
        return self._table.find_whole(digests, kind)

    def without_whole(self, digests: Sequence[bytes], kind: int) -> list[bytes]:
        """Returns those digests of which there is no whole record without parts; of these, `find` tells more.

        A fraction of the cost of `find_whole`.
        """
        self._ensure_loaded()
        return self._table.without_whole(digests, kind)

    def is_raw(self, pack: PackId) -> bool:
        """Returns whether a raw pack of that name, which is also the id of its blob, is known."""
        self._ensure_loaded()
        return pack in self._table.raw

    def raw_packs(self) -> Container[PackId]:
        """Returns the raw packs that are known."""
        self._ensure_loaded()
        return self._table.raw

    def find_all(self, digest: bytes, kind: int, part: int = 0) -> Iterator[tuple[PackIndex, int, Entry]]:
        """Yields every copy of a record in the packs known so far: its pack, its number in that, and its entry."""
        self._ensure_loaded()
        for index, number in self._table.candidates(digest):
            try:
                entry = index.entry_of(number, digest, kind, part)
            except FormatError as exc:
                raise DamagedFileError(self._layout.index(index.info.id), exc.message) from exc
            if entry is not None:
                yield index, number, entry

    def iter_copies(self) -> Iterator[list[tuple[PackIndex, int, Entry]]]:
        """Yields all copies of every record that stands in more than one pack, as `find_all` does for one record."""
        self._ensure_loaded()
        for alike in self._table.alike():
            entries = [index.entry(number) for index, number in alike]
            records = {(entry.digest, entry.kind, entry.part) for entry in entries}
            for digest, kind, part in sorted(records):
                copies = list(self.find_all(digest, kind, part))
                if len(copies) > 1:
                    yield copies

    def raise_failure(self) -> None:
        """Raises what is wrong with the first index that cannot be used, if there is one."""
        failures = self._table.failures
        for pack in sorted(failures):
            raise failures[pack]

    def packs(self) -> Sequence[PackIndex]:
        """Returns the indexes of all packs.

        Raises:
            MlvcError: One of them cannot be used; the answer would not be whole.
        """
        self.refresh()
        self.raise_failure()
        return tuple(self._table.packs)

    def usable(self) -> frozenset[PackId]:
        """Returns the packs that are there now and whose indexes can be used."""
        self.refresh()
        return frozenset(index.info.id for index in self._table.packs)

    def iter_entries(self, index: PackIndex, start: bytes = b"") -> Iterator[Entry]:
        """Yields the entries of one pack in order of id, from the first whose id is not less than `start`.

        Raises:
            DamagedFileError: An entry cannot be read.
        """
        try:
            yield from index.entries_from(start)
        except FormatError as exc:
            raise DamagedFileError(self._layout.index(index.info.id), exc.message) from exc
