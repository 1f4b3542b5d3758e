"""Which records the published packs hold: all their indexes, loaded at the first question.

One dictionary maps the first eight bytes of every id to the number of its entry, counted over all packs (about 110
bytes of memory a record); the pack's index, mapped into memory, has the rest.
"""

from __future__ import annotations

import bisect
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
from mlvc.store.pack_index import KEY_BYTES, PackIndex

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence
    from pathlib import Path

    from mlvc.model.ids import PackId
    from mlvc.store.pack import Entry

__all__ = ["Catalog", "Location", "load_index"]

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


class _Table:
    """What is known at one time; it only grows, so a reader may go on using one that was replaced."""

    def __init__(self) -> None:
        self.packs: list[PackIndex] = []
        self.names: set[PackId] = set()
        self.raw: set[PackId] = set()
        self.failures: dict[PackId, MlvcError] = {}
        # Entries are numbered over all packs; those of a pack begin at its number in `starts`.
        self.starts: list[int] = []
        self.records = 0
        self.first: dict[int, int] = {}
        self.others: dict[int, list[int]] = {}

    def add(self, index: PackIndex) -> None:
        keys, end = list(index.keys()), self.records + index.info.records
        # Of entries with one key, which are neighbours, the first wins, because it comes last here.
        new = dict(zip(reversed(keys), range(end - 1, self.records - 1, -1), strict=True))
        for key in self.first.keys() & new.keys():
            self.others.setdefault(key, []).append(new.pop(key))
        self.packs.append(index)
        self.starts.append(self.records)
        self.records = end
        self.first.update(new)
        self.names.add(index.info.id)
        if index.info.is_raw:
            self.raw.add(index.info.id)

    def candidates(self, key: int) -> Iterator[tuple[PackIndex, int]]:
        """Yields each pack with that key, and the number in it of the first entry that has it."""
        number = self.first.get(key)
        if number is None:
            return
        for each in (number, *self.others.get(key, ())):
            pack = bisect.bisect_right(self.starts, each) - 1
            yield self.packs[pack], each - self.starts[pack]


class Catalog:
    """The indexes of one store's packs. Safe for use from several threads.

    An index that cannot be used hides nothing: whatever is found elsewhere is found, and a question that only it
    could answer raises what is wrong with it, instead of calling the object missing.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.RLock()
        self._loaded = False
        self._table = _Table()
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
            with translate_os_errors(f"list {self._layout.packs}"):
                mtime_ns = self._layout.packs.stat().st_mtime_ns
                if self._loaded and self._listing_is_current(mtime_ns):
                    return False
                self._listed_at = time.monotonic()
                if mtime_ns != self._seen_mtime_ns:
                    self._seen_mtime_ns, self._seen_at = mtime_ns, self._listed_at
                names = set(os.listdir(self._layout.packs))
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
                self._table = _Table()
                changed = True
            for pack in sorted(present - self._table.names):
                self._load(pack)
                changed = True
            self._loaded = True
            return changed

    def _load(self, pack: PackId) -> None:
        try:
            self._table.add(self._stand_ins.get(pack) or load_index(self._layout.index(pack)))
        except MlvcError as exc:
            self._table.names.add(pack)
            self._table.failures[pack] = exc

    def stand_in(self, indexes: Iterable[PackIndex]) -> None:
        """Uses indexes that were made again from their packs, in this process alone, instead of those on disk."""
        with self._lock:
            self._stand_ins |= {index.info.id: index for index in indexes}
            self._loaded = False
            self._table = _Table()

    def add(self, index: PackIndex) -> None:
        """Adds one published pack, if it is not known yet."""
        with self._lock:
            if index.info.id not in self._table.names:
                self._table.add(index)

    def _ensure_loaded(self) -> None:
        if not self._loaded:
            self.refresh()

    # ---------------------------------------------------------------------------------------- questions

    def find(self, digest: bytes, kind: int, part: int = 0) -> Location | None:
        """Returns where a record stands in the packs known so far, or None; a whole one rather than a delta."""
        self._ensure_loaded()
        key = int.from_bytes(digest[:KEY_BYTES], "little")
        found: Location | None = None
        for index, number in self._table.candidates(key):
            if not part and index.is_whole_at(number, digest, kind):
                # Nearly always the first look finds it, and needs no more.
                return Location(index.info.id, index.entry(number))
            try:
                entry = next((entry for _, entry in index.numbers_near(number, digest, kind, part)), None)
            except FormatError as exc:
                raise DamagedFileError(self._layout.index(index.info.id), exc.message) from exc
            if entry is not None:
                found = Location(index.info.id, entry)
                if not entry.base:
                    break
        return found

    def has_whole(self, digest: bytes, kind: int) -> bool:
        """Returns whether a record without parts is surely here, whole; if not, `find` tells.

        A fraction of the cost of `find`, for who asks about every file.
        """
        self._ensure_loaded()
        table = self._table
        number = table.first.get(int.from_bytes(digest[:KEY_BYTES], "little"))
        if number is None:
            return False
        pack = bisect.bisect_right(table.starts, number) - 1
        return table.packs[pack].is_whole_at(number - table.starts[pack], digest, kind)

    def not_whole(self, digests: Iterable[bytes], kind: int) -> Iterator[bytes]:
        """Yields those of many digests of which `has_whole` says no."""
        self._ensure_loaded()
        table = self._table
        first, starts, find_pack = table.first.get, table.starts, bisect.bisect_right
        for digest in digests:
            number = first(int.from_bytes(digest[:KEY_BYTES], "little"))
            if number is not None:
                pack = find_pack(starts, number) - 1
                if table.packs[pack].is_whole_at(number - starts[pack], digest, kind):
                    continue
            yield digest

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
        for index, first in self._table.candidates(int.from_bytes(digest[:KEY_BYTES], "little")):
            try:
                for number, entry in index.numbers_near(first, digest, kind, part):
                    yield index, number, entry
            except FormatError as exc:
                raise DamagedFileError(self._layout.index(index.info.id), exc.message) from exc

    def iter_copies(self) -> Iterator[list[tuple[PackIndex, int, Entry]]]:
        """Yields all copies of every record that stands in more than one pack, as `find_all` does for one record."""
        self._ensure_loaded()
        for key in list(self._table.others):
            records = {
                (entry.digest, entry.kind, entry.part)
                for index, first in self._table.candidates(key)
                for entry in index.with_key(first, key)
            }
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

    def iter_entries(self, index: PackIndex, start: bytes = b"") -> Iterator[Entry]:
        """Yields the entries of one pack in order of id, from the first whose id is not less than `start`.

        Raises:
            DamagedFileError: An entry cannot be read.
        """
        try:
            yield from index.entries_from(start)
        except FormatError as exc:
            raise DamagedFileError(self._layout.index(index.info.id), exc.message) from exc
