"""Where a few records are on a remote, without its indexes: a few thousand entries of each are read instead."""

from __future__ import annotations

import contextlib
import threading
from functools import cached_property
from typing import TYPE_CHECKING

from mlvc.errors import FormatError, VersionError
from mlvc.model.ids import DIGEST_BYTES
from mlvc.model.kinds import RecordKind
from mlvc.store.pack_index import INDEX_HEADER_BYTES, Span
from mlvc.store.remote_files import RemoteDamagedError
from mlvc.store.remote_indexes import RemoteIndexes, locate, read_kept, whole_first
from mlvc.store.transfer import in_parallel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from mlvc.model.ids import PackId
    from mlvc.store.local import LocalStore, RecordKey
    from mlvc.store.pack import Entry
    from mlvc.store.pack_index import PackIndex
    from mlvc.store.remote import Remote, RemotePack
    from mlvc.store.remote_indexes import Held

__all__ = ["RemoteLookup"]

_FEW = 16
"""Of more records than this, whole indexes are read: they serve for the next question too."""
_SMALL_INDEX_BYTES = 32 << 10
"""An index up to this length is read whole: a part of it would take two requests, and be little shorter."""


class RemoteLookup:
    """Finds records on one remote with few bytes; answers as `RemoteIndexes` does.

    Safe for use from several threads. What was found is remembered.
    """

    def __init__(
        self, store: LocalStore, remote: Remote, listed: Mapping[PackId, RemotePack], cache: Path
    ) -> None:
        """Asks nothing yet; the arguments are those of `RemoteIndexes`."""
        self._store = store
        self._remote = remote
        self._listed = listed
        self._cache = cache
        self._lock = threading.RLock()
        self._found: Held = {}
        self._headers: dict[PackId, bytes] = {}

    @cached_property
    def _known(self) -> dict[PackId, PackIndex]:
        """The indexes that are here, and all of metadata, which are small.

        Raises:
            RemoteDamagedError: One of metadata cannot be used, so nothing can be told to be missing.
        """
        kept = {
            pack: read_kept(self._store.layout, self._cache, pack, listed)
            for pack, listed in self._listed.items()
        }
        known = {pack: index for pack, index in kept.items() if index is not None}
        metadata = [pack for pack, listed in self._listed.items() if not listed.is_data and pack not in known]
        known |= self._load(metadata)
        return known

    def _load(self, packs: Collection[PackId]) -> dict[PackId, PackIndex]:
        """Returns whole indexes.

        Raises:
            RemoteDamagedError: One cannot be used.
        """
        if not packs:
            return {}
        indexes = RemoteIndexes(
            self._store, self._remote, {pack: self._listed[pack] for pack in packs}, self._cache
        )
        if indexes.damaged:
            raise RemoteDamagedError(*indexes.damaged)
        return {pack: indexes[pack] for pack in packs}

    @cached_property
    def _all(self) -> RemoteIndexes:
        """All indexes, whole and checked."""
        return RemoteIndexes(self._store, self._remote, self._listed, self._cache)

    def __getitem__(self, pack: PackId) -> PackIndex:
        """Returns the whole index of a pack.

        Raises:
            RemoteDamagedError: It cannot be used.
        """
        with self._lock:
            if pack not in self._known:
                self._known.update(self._load([pack]))
            return self._known[pack]

    def entries(self, records: Iterable[RecordKey]) -> dict[RecordKey, Entry]:
        """Returns an entry of each of the records that are there; as `RemoteIndexes.entries`."""
        return whole_first(self.locate(records))

    def locate(self, records: Iterable[RecordKey]) -> Held:
        """Returns packs that hold any of the records, and where in them.

        Where a record is found once, other packs that might have it too are not asked. Where a chunk is found nowhere,
        all indexes are read: a part of an index cannot be checked, so only a whole one may say that it is missing.

        Raises:
            MlvcError: The remote cannot be used.
        """
        wanted = set(records)
        with self._lock:
            held = locate(self._known.values(), wanted)
            _merge(held, self._found, wanted)
            missing = {record for record in wanted - whole_first(held).keys() if _is_data(record)}
            if 0 < len(missing) <= _FEW:
                self._look(missing)
                _merge(held, self._found, missing)
                missing -= whole_first(held).keys()
            if missing:
                _merge(held, self._all.locate(missing), missing)
            return held

    def _look(self, records: set[RecordKey]) -> None:
        """Looks into indexes that are not here: small ones come whole, of large ones a part for each record."""
        unknown = [pack for pack in self._listed if pack not in self._known]
        small = [pack for pack in unknown if self._listed[pack].index_bytes <= _SMALL_INDEX_BYTES]
        # A damaged one hides nothing: what is found nowhere is looked for in all of them.
        with contextlib.suppress(RemoteDamagedError):
            self._known.update(self._load(small))
        _merge(
            self._found,
            locate((self._known[pack] for pack in small if pack in self._known), records),
            records,
        )
        questions = [(pack, record) for pack in unknown if pack not in self._known for record in records]
        in_parallel(lambda question: self._ask(*question), questions, self._remote.jobs)

    def _ask(self, pack: PackId, record: RecordKey) -> None:
        """Reads the part of an index that has an entry if the index has it."""
        listed = self._listed[pack]
        header = self._headers.get(pack)
        if header is None:
            header = self._headers[pack] = self._remote.read_index_range(pack, listed, 0, INDEX_HEADER_BYTES)
        try:
            span = Span.of(header, record.digest)
        except (FormatError, VersionError):
            return
        data = self._remote.read_index_range(pack, listed, span.offset, span.size_bytes)
        found = span.find(data, record.digest, record.kind, record.part)
        if found is None:
            return
        entry, base = found
        if base:
            digest = self._remote.read_index_range(pack, listed, span.base_offset(base), DIGEST_BYTES)
            entry = entry._replace(base=digest)
        self._found.setdefault(pack, {})[record] = entry


def _is_data(record: RecordKey) -> bool:
    return RecordKind(record.kind).is_data


def _merge(into: Held, held: Held, records: Collection[RecordKey]) -> None:
    """Adds to `into` what `held` has of some records."""
    for pack, there in held.items():
        found = {record: there[record] for record in records if record in there}
        if found:
            into.setdefault(pack, {}).update(found)
