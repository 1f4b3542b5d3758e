"""What is where on remotes, told from the indexes of their packs alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from mlvc import fsio
from mlvc.errors import MlvcError
from mlvc.fsio import translate_os_errors
from mlvc.store.catalog import load_index
from mlvc.store.kinds import WHOLE_KIND_OF
from mlvc.store.layout import INDEX_SUFFIX, parse_pack_name
from mlvc.store.local import RecordKey
from mlvc.store.pack_index import KEY_BYTES
from mlvc.store.remote_files import RemoteDamagedError
from mlvc.store.table import Table
from mlvc.store.transfer import in_parallel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mlvc.model.ids import ObjectId, PackId
    from mlvc.store.layout import Layout
    from mlvc.store.local import LocalStore
    from mlvc.store.pack import Entry
    from mlvc.store.pack_index import PackIndex
    from mlvc.store.remote import Remote, RemotePack

__all__ = [
    "Held",
    "Lookup",
    "RemoteIndexes",
    "base_key",
    "cached_indexes",
    "locate",
    "read_kept",
    "whole_first",
]

Held = dict["PackId", dict["RecordKey", "Entry"]]


def locate(indexes: Iterable[PackIndex], records: Iterable[RecordKey]) -> Held:
    """Returns the packs that hold any of the records, and where in them; one pass over each index."""
    by_key: dict[int, list[RecordKey]] = {}
    for record in records:
        by_key.setdefault(int.from_bytes(record.digest[:KEY_BYTES], "little"), []).append(record)
    found: Held = {}
    for index in indexes:
        held = {
            record: entry
            for key in by_key.keys() & set(index.keys())
            for record in by_key[key]
            if (entry := index.find(record.digest, record.kind, record.part)) is not None
        }
        if held:
            found[index.info.id] = held
    return found


def whole_first(held: Held) -> dict[RecordKey, Entry]:
    """Returns one entry of each record; that of a whole one rather than that of a delta."""
    found: dict[RecordKey, Entry] = {}
    for there in held.values():
        found |= {record: entry for record, entry in there.items() if record not in found or not entry.base}
    return found


def base_key(entry: Entry) -> RecordKey | None:
    """Returns what a delta is based on; None for a whole record."""
    return RecordKey(entry.kind, 0, entry.base) if entry.base else None


def cached_indexes(cache: Path) -> list[PackIndex]:
    """Returns the indexes that were kept from earlier looks at any remote; asks none. Damaged ones are left out."""
    if not cache.is_dir():
        return []
    found = []
    for name in sorted(os.listdir(cache)):
        if parse_pack_name(name, INDEX_SUFFIX) is not None:
            try:
                found.append(load_index(cache / name))
            except MlvcError:
                continue
    return found


def read_kept(layout: Layout, cache: Path, pack: PackId, listed: RemotePack) -> PackIndex | None:
    """Returns the index of a remote's pack if it is in the store or was fetched before; asks no remote."""
    for path in (layout.index(pack), cache / (pack.hex + INDEX_SUFFIX)):
        try:
            index = load_index(path)
        except MlvcError:
            continue
        # A pack or an index that was cut short since must not count as there.
        if (index.info.size_bytes, len(index)) == (listed.size_bytes, listed.index_bytes):
            return index
    return None


class Lookup(Protocol):
    """Tells what is where on one remote."""

    def __getitem__(self, pack: PackId) -> PackIndex:
        """Returns the index of a pack, such as `locate` named."""
        ...

    def locate(self, records: Iterable[RecordKey]) -> Held:
        """Returns packs that hold any of the records, and where in them."""
        ...

    def entries(self, records: Iterable[RecordKey]) -> dict[RecordKey, Entry]:
        """Returns an entry of each of the records that are there; that of a whole one rather than that of a delta."""
        ...


class RemoteIndexes:
    """The indexes of one remote's packs.

    Attributes:
        damaged: What is wrong with packs whose index could not be used; what only they hold is not found.
    """

    def __init__(
        self, store: LocalStore, remote: Remote, listed: Mapping[PackId, RemotePack], cache: Path
    ) -> None:
        """Reads every index; those that are not in the store are fetched once and kept.

        Args:
            store: Has the indexes of the packs in it.
            remote: Has the others.
            listed: What the remote has.
            cache: The directory where fetched indexes are kept. A pack's index never changes, whatever the remote.

        Raises:
            MlvcError: The remote cannot be used.
        """
        self._layout = store.layout
        self._remote = remote
        self._cache = cache
        self._indexes: dict[PackId, PackIndex] = {}
        self.damaged: list[tuple[str, str]] = []
        with translate_os_errors(f"write to {cache}"):
            cache.mkdir(parents=True, exist_ok=True)
        try:
            in_parallel(lambda item: self._load(*item), sorted(listed.items()), remote.jobs)
        except RemoteDamagedError as exc:
            self.damaged += exc.found

    def _load(self, pack: PackId, listed: RemotePack) -> None:
        index = read_kept(self._layout, self._cache, pack, listed)
        if index is None:
            kept = self._cache / (pack.hex + INDEX_SUFFIX)
            data = self._remote.read_index(pack, listed)
            with translate_os_errors(f"write {kept}"):
                fsio.atomic_write(kept, data)
            index = load_index(kept)
        self._indexes[pack] = index

    def __contains__(self, pack: PackId) -> bool:
        """Returns whether the index of a pack could be used."""
        return pack in self._indexes

    def __getitem__(self, pack: PackId) -> PackIndex:
        """Returns the index of a pack, such as `locate` named."""
        return self._indexes[pack]

    def locate(self, records: Iterable[RecordKey]) -> Held:
        """Returns the packs that hold any of the records, and where in them."""
        return locate(self._indexes.values(), records)

    def entries(self, records: Iterable[RecordKey]) -> dict[RecordKey, Entry]:
        """Returns an entry of each of the records that are there; that of a whole one rather than that of a delta."""
        return whole_first(self.locate(records))

    def without_whole(self, objects: Iterable[ObjectId]) -> set[ObjectId]:
        """Returns those of the objects that are not there as one whole record; of these, `holding` tells more.

        A fraction of its cost, for who asks about every file.
        """
        table = Table()
        table.add(self._indexes.values())
        by_kind: dict[int, dict[bytes, ObjectId]] = {}
        for item in objects:
            by_kind.setdefault(WHOLE_KIND_OF[type(item)], {})[item.digest] = item
        return {
            alike[digest]
            for kind, alike in by_kind.items()
            for digest in table.without_whole(list(alike), kind)
        }

    def holding(self, records: Iterable[RecordKey]) -> set[RecordKey]:
        """Returns those of the records that are there, with everything that they are deltas of."""
        wanted = set(records)
        bases: dict[RecordKey, RecordKey | None] = {}
        asked: set[RecordKey] = set()
        new = wanted
        while new:
            asked |= new
            bases |= {record: base_key(entry) for record, entry in self.entries(new).items()}
            new = {base for base in bases.values() if base is not None} - asked
        usable = {record for record, base in bases.items() if base is None}
        while more := {record for record, base in bases.items() if record not in usable and base in usable}:
            usable |= more
        return wanted & usable

    def records(self, packs: Iterable[PackId]) -> set[RecordKey]:
        """Returns everything that some packs hold; nothing for those whose index cannot be used."""
        return {
            RecordKey(entry.kind, entry.part, entry.digest)
            for pack in packs
            if pack in self._indexes
            for entry in self._indexes[pack].entries_from(b"")
        }
