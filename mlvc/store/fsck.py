"""Reads everything a store holds and names what is damaged; never writes.

First every pack by itself, metadata before data: its name, its index, each record's checksum, encoding and id, and
whether trees and objects can be decoded. Then every delta, with what it is based on. Then every recipe: whether its
chunks are there and make the bytes that its id names; of most blobs that was seen while the packs were read. Where an
index is of no use, one is made again from the pack, in memory, so that everything behind it can still be checked.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import zstandard

from mlvc.errors import FormatError, IntegrityError, MlvcError, NotFoundError, VersionError
from mlvc.fsio import FileUnreadableError, file_lock, translate_os_errors
from mlvc.model.ids import BlobId, ObjectId, PackId, TreeId
from mlvc.model.kinds import RecordKind
from mlvc.store.catalog import Location
from mlvc.store.condemned import read_condemned
from mlvc.store.contents import WHOLE_TYPES, check_content, no_base, object_of
from mlvc.store.errors import DamagedFileError
from mlvc.store.layout import INDEX_SUFFIX, PACK_SUFFIX, parse_pack_name
from mlvc.store.local import LocalStore
from mlvc.store.pack import (
    PACK_HEADER_BYTES,
    RECORD_HEADER_BYTES,
    Encoding,
    base_of,
    check_payload,
    decode_pack_header,
    decode_payload,
    decode_record_header,
    is_headed,
)
from mlvc.store.pack_index import PackIndex, PackInfo, decode_index, encode_index
from mlvc.store.raw import cut_again
from mlvc.store.records import PackFile
from mlvc.store.registry import read_registrations
from mlvc.store.unreached import decode_unreached
from mlvc.store.whole_hashes import HashedPack, WholeBlobs, hash_ahead, in_reading_order

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence
    from concurrent.futures import Future

    from mlvc.ports import ProgressTask, Reporter
    from mlvc.store.layout import Layout
    from mlvc.store.local import RecordKey
    from mlvc.store.pack import Entry

__all__ = ["Damage", "Examined", "PackState", "check", "examine"]


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong.

    Attributes:
        kind: `damaged-pack`, `damaged-index`, `damaged-record`, `damaged-object`, `damaged-file`, `missing-pack`,
            `missing-index`, `missing-chunk`, `unknown-version`, `unreadable` or `stray-file`.
        pack: The pack it is in, where it is in one.
        object_kind: What kind of object it reaches, where it is known.
        object_id: The object, where it is known.
        message: A sentence for a person, which names the file.
    """

    kind: str
    pack: PackId | None
    object_kind: RecordKind | None
    object_id: ObjectId | None
    message: str


@dataclass(slots=True)
class PackState:
    """A pack with which something is wrong.

    Attributes:
        is_data: What it holds; None where that cannot be told.
        is_raw: Whether it is a raw one.
        is_intact: Whether it is what its name says.
        has_good_index: Whether its index is there and describes it.
        good: The records that are what they should be.
        bad: How many are not.
        is_foreign: Whether a newer mlvc wrote it, or it cannot be read; then it must be left alone.
    """

    is_data: bool | None = None
    is_raw: bool = False
    is_intact: bool = False
    has_good_index: bool = False
    good: list[Entry] = field(default_factory=list)
    bad: int = 0
    is_foreign: bool = False


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found.

    Attributes:
        damages: Everything that is wrong.
        packs: The packs that are not as they should be.
        indexes: Made again, in memory, for packs whose index is of no use.
    """

    damages: Sequence[Damage]
    packs: dict[PackId, PackState]
    indexes: Sequence[PackIndex]


def _nowhere(_: set[RecordKey]) -> set[RecordKey]:
    return set()


def check(
    store: LocalStore,
    reporter: Reporter,
    elsewhere: Callable[[set[RecordKey]], set[RecordKey]] = _nowhere,
) -> Sequence[Damage]:
    """Returns everything that is wrong with a store; see `examine`."""
    return examine(store, reporter, elsewhere).damages


def examine(
    store: LocalStore,
    reporter: Reporter,
    elsewhere: Callable[[set[RecordKey]], set[RecordKey]] = _nowhere,
) -> Examined:
    """Reads every pack, index and recipe of a store, and tells everything that is wrong with them.

    Args:
        store: The store.
        reporter: Told the progress, in bytes.
        elsewhere: Returns those of some records that a remote is known to have. A blob that lacks only such chunks
            was never fetched, which is no damage.

    Raises:
        FileUnreadableError: The directory of packs cannot be listed.
    """
    with reporter.task("checking the store", unit="bytes") as task:
        return _Check(store, task).run(elsewhere)


class _Check:
    def __init__(self, store: LocalStore, task: ProgressTask) -> None:
        self._store = store
        self._layout: Layout = store.layout
        self._task = task
        self._damages: list[Damage] = []
        self._recipes: dict[tuple[bytes, int], PackId] = {}
        self._packs: dict[PackId, PackState] = {}
        self._deltas: list[Location] = []
        self._wholes = WholeBlobs(store, ())
        self._total = 0

    def run(self, elsewhere: Callable[[set[RecordKey]], set[RecordKey]]) -> Examined:
        self._check_files()
        condemned = read_condemned(self._layout.condemned)
        with translate_os_errors(f"list {self._layout.packs}"), os.scandir(self._layout.packs) as found:
            sizes = {
                entry.name: entry.stat().st_size for entry in found if _pack_of(entry.name) not in condemned
            }
        packs = {pack for name in sizes if (pack := parse_pack_name(name, PACK_SUFFIX)) is not None}
        indexes = {pack for name in sizes if (pack := parse_pack_name(name, INDEX_SUFFIX)) is not None}
        known = {*map(self._layout.pack, packs), *map(self._layout.index, indexes)}
        for name in sorted(sizes):
            path = self._layout.packs / name
            if path not in known:
                self._report("stray-file", f"{path} has no name that a pack or an index can have")
        for pack in sorted(indexes - packs):
            path = self._layout.pack(pack)
            self._packs[pack] = PackState()
            self._report("missing-pack", f"{path} is missing, and its index is there", pack)
        self._total = sum(sizes[pack.hex + PACK_SUFFIX] for pack in packs)
        self._task.set_total(self._total)
        metadata = {pack for pack in packs if self._holds_metadata(pack)}
        self._check_packs(sorted(metadata), indexes)
        blobs = [BlobId(digest) for digest, part in self._recipes if part == RecordKind.CHUNK]
        self._wholes = WholeBlobs(self._store, blobs)
        self._check_packs(in_reading_order(self._store, blobs, packs - metadata), indexes)
        rebuilt = [
            _index_of(pack, state, self._layout)
            for pack, state in self._packs.items()
            if state.good and not state.has_good_index
        ]
        whole = LocalStore(self._layout.directory)
        whole.records.catalog.stand_in(rebuilt)
        for delta in self._deltas:
            self._check_delta(whole, delta)
        absent = self._absent(whole, elsewhere)
        for (digest, part), pack in sorted(self._recipes.items()):
            is_done = part == RecordKind.CHUNK and BlobId(digest) in self._wholes.proven
            if (digest, part) not in absent and not is_done:
                self._check_whole(whole, digest, part, pack)
        return Examined(tuple(self._damages), self._packs, rebuilt)

    def _holds_metadata(self, pack: PackId) -> bool:
        try:
            file = PackFile(self._layout.pack(pack))
            head = file.read(0, min(PACK_HEADER_BYTES, file.size_bytes))
            return is_headed(head) and not decode_pack_header(head)
        except (FormatError, MlvcError):
            return False  # Whatever it is: that is told when it is checked.

    def _check_packs(self, packs: Sequence[PackId], indexes: Container[PackId]) -> None:
        for pack, hashed in hash_ahead(self._layout, packs):
            state = self._check_pack(pack, hashed, has_index=pack in indexes or self._has_index_by_now(pack))
            if state.bad or state.is_foreign or not (state.is_intact and state.has_good_index):
                self._packs[pack] = state

    def _has_index_by_now(self, pack: PackId) -> bool:
        """Tells a pack that is being published, and gets its index in a moment, from one whose writer was killed."""
        with contextlib.suppress(OSError), file_lock(self._layout.lock):
            pass  # Whoever held it has published both, or was killed. A store that may only be read has no writers.
        return self._layout.index(pack).exists()

    def _check_files(self) -> None:
        """Checks what stands beside the packs."""
        path = self._layout.unreached
        if path.exists():
            try:
                with translate_os_errors(f"read {path}"):
                    decode_unreached(path.read_bytes())
            except FileUnreadableError as exc:
                self._report("unreadable", exc.message)
            except (FormatError, VersionError) as exc:
                self._report("damaged-file", f"{path} is damaged, and counts as empty: {exc.message}")
        try:
            read_registrations(self._layout)
        except FileUnreadableError as exc:
            self._report("unreadable", exc.message)
        except (DamagedFileError, VersionError) as exc:
            self._report("damaged-file", exc.message)

    def _absent(
        self, store: LocalStore, elsewhere: Callable[[set[RecordKey]], set[RecordKey]]
    ) -> set[tuple[bytes, int]]:
        """Returns the recipes of blobs that lack chunks which are all elsewhere, and of which no chunk is damaged."""
        damaged = {damage.object_id.digest for damage in self._damages if damage.object_id is not None}
        lacking: dict[tuple[bytes, int], set[RecordKey]] = {}
        for digest, part in self._recipes:
            if part != RecordKind.CHUNK:
                continue
            try:
                records = set(store.records_of(BlobId(digest)))
                absent = store.lacking(records)
            except MlvcError:
                continue  # Reading the whole will tell.
            if absent and damaged.isdisjoint(record.digest for record in records):
                lacking[digest, part] = absent
        held = elsewhere(set().union(*lacking.values()))
        return {recipe for recipe, absent in lacking.items() if absent <= held}

    def _report(
        self,
        kind: str,
        message: str,
        pack: PackId | None = None,
        object_kind: RecordKind | None = None,
        object_id: ObjectId | None = None,
    ) -> None:
        self._damages.append(Damage(kind, pack, object_kind, object_id, message))

    def _report_error(
        self,
        exc: MlvcError,
        kind: str,
        pack: PackId,
        object_kind: RecordKind | None = None,
        object_id: ObjectId | None = None,
    ) -> None:
        match exc:
            case VersionError():
                kind = "unknown-version"
            case FileUnreadableError():
                kind = "unreadable"
            case NotFoundError():
                kind = "missing-chunk"
            case _:
                pass
        self._report(kind, exc.message, pack, object_kind, object_id)

    # --------------------------------------------------------------------------------------------- packs

    def _check_pack(self, pack: PackId, hashed: Future[HashedPack], *, has_index: bool) -> PackState:
        state = PackState()
        try:
            file, digest = hashed.result()
            state.is_intact = digest == pack.digest
            if not state.is_intact:
                self._report("damaged-pack", f"{file.path} holds other bytes than its name says", pack)
            found = self._read_index(pack, file if state.is_intact else None, state) if has_index else None
            is_data = self._class_of(file, state, found)
        except MlvcError as exc:
            self._report_error(exc, "damaged-pack", pack)
            state.is_foreign = isinstance(exc, VersionError | FileUnreadableError)
            return state
        state.is_data = is_data
        self._task.advance(0 if state.is_raw else PACK_HEADER_BYTES)
        entries = None if found is None else found[1]
        if found is not None and (found[0].is_data, found[0].is_raw) != (is_data, state.is_raw):
            self._report("damaged-index", f"{self._layout.index(pack)} describes another pack", pack)
            entries, state.has_good_index = None, False
        if not has_index:
            path = self._layout.index(pack)
            self._report("missing-index", f"{path} is missing, so nothing in its pack can be found", pack)
        decompressor = zstandard.ZstdDecompressor()
        try:
            for entry in self._walk(file, state) if entries is None else entries:
                damages = len(self._damages)
                self._check_record(pack, file, entry, decompressor, is_data=is_data)
                if len(self._damages) == damages:
                    state.good.append(entry)
                else:
                    state.bad += 1
                    state.is_foreign = state.is_foreign or self._damages[-1].kind == "unknown-version"
        except MlvcError as exc:
            self._report_error(exc, "damaged-pack", pack)
            state.bad += 1
        return state

    @staticmethod
    def _class_of(file: PackFile, state: PackState, found: tuple[PackInfo, list[Entry]] | None) -> bool:
        """Returns whether a pack holds data, and notes whether it is raw.

        What has no header is raw if its name or its index vouches for that; else its header is damaged.
        """
        head = file.read(0, min(PACK_HEADER_BYTES, file.size_bytes))
        vouched = state.is_intact if found is None else found[0].is_raw
        if vouched and not is_headed(head):
            state.is_raw = True
            return True
        try:
            return decode_pack_header(head)
        except FormatError as exc:
            raise DamagedFileError(file.path, exc.message) from exc

    def _read_index(
        self, pack: PackId, intact: PackFile | None, state: PackState
    ) -> tuple[PackInfo, list[Entry]] | None:
        """Returns what an index says, with the entries by offset, or None if it is of no use.

        Args:
            pack: Whose index.
            intact: The pack, unless it is damaged: then its length says nothing about the index.
            state: Where to note whether the index is good.
        """
        path = self._layout.index(pack)
        try:
            with translate_os_errors(f"read {path}"):
                data = path.read_bytes()
            info, entries = decode_index(data)
        except FileUnreadableError as exc:
            self._report_error(exc, "unreadable", pack)
            state.is_foreign = True
            return None
        except (FormatError, VersionError) as exc:
            self._report_error(type(exc)(f"{path}: {exc.message}"), "damaged-index", pack)
            state.is_foreign = isinstance(exc, VersionError)
            return None
        if info.id != pack or (intact is not None and info.size_bytes != intact.size_bytes):
            self._report("damaged-index", f"{path} describes another pack", pack)
            return None
        state.has_good_index = True
        return info, sorted(entries, key=lambda entry: entry.offset)

    def _walk(self, file: PackFile, state: PackState) -> Iterator[Entry]:
        """Yields the records of a pack that has no usable index, each from the lengths of the one before."""
        if state.is_raw:
            yield from cut_again(file)
            return
        offset = PACK_HEADER_BYTES
        while offset < file.size_bytes:
            entry = decode_record_header(file.read(offset, RECORD_HEADER_BYTES), offset)
            if entry.encoding == Encoding.DELTA:
                entry = entry._replace(base=base_of(file.read(offset, entry.end - offset), entry))
            yield entry
            offset = entry.end

    # ------------------------------------------------------------------------------------------- records

    def _check_record(
        self,
        pack: PackId,
        file: PackFile,
        entry: Entry,
        decompressor: zstandard.ZstdDecompressor,
        *,
        is_data: bool,
    ) -> None:
        size_bytes = entry.size_bytes
        where = f"{file.path}, at offset {entry.offset}"
        kind = RecordKind(entry.kind) if entry.kind in _KINDS else None
        object_id = object_of(entry.kind, entry.part, entry.digest)
        try:
            record = file.read(entry.offset, size_bytes)
            self._task.advance(size_bytes)
            if entry.base:
                check_payload(record, entry)
                self._deltas.append(Location(pack, entry))
                data = None
            else:
                data = decode_payload(record, entry, decompressor, no_base)
        except DamagedFileError as exc:
            self._report("damaged-record", exc.message, pack, kind, object_id)
            return
        except FormatError as exc:
            self._report("damaged-record", f"{where}: {exc.message}", pack, kind, object_id)
            return
        except VersionError as exc:
            self._report("unknown-version", f"{where}: {exc.message}", pack, kind, object_id)
            return
        if RecordKind(entry.kind).is_data != is_data:
            self._report("damaged-record", f"{where}: data and metadata share a pack", pack, kind, object_id)
        if data is None:
            return
        try:
            self._check_content(pack, entry, data)
        except (FormatError, VersionError) as exc:
            self._report_error(type(exc)(f"{where}: {exc.message}"), "damaged-object", pack, kind, object_id)

    def _check_delta(self, store: LocalStore, location: Location) -> None:
        """Decodes a delta, which may be based on a record of any other pack."""
        entry = location.entry
        object_id = object_of(entry.kind, entry.part, entry.digest)
        try:
            store.records.read_verified(location, object_id)
        except (IntegrityError, NotFoundError, VersionError, FileUnreadableError) as exc:
            kind = "missing-chunk" if isinstance(exc, NotFoundError) else "damaged-object"
            message = f"the {object_id.noun} {object_id} cannot be read: {exc.message}"
            self._report(kind, message, location.pack, RecordKind(entry.kind), object_id)

    def _check_content(self, pack: PackId, entry: Entry, data: bytes) -> None:
        recipe = check_content(entry, data)
        if recipe is not None:
            self._recipes[entry.digest, entry.part] = pack
        elif entry.kind == RecordKind.CHUNK:
            self._wholes.pass_by(entry.digest, data)

    def _check_whole(self, store: LocalStore, digest: bytes, part: int, pack: PackId) -> None:
        """Reads a blob or a large tree through its recipe."""
        try:
            if part == RecordKind.CHUNK:
                self._total += store.blob_size(BlobId(digest))
                self._task.set_total(self._total)
                for piece in store.iter_blob(BlobId(digest)):
                    self._task.advance(len(piece))
            else:
                store.read_tree(TreeId(digest))
        except (IntegrityError, NotFoundError, VersionError, FileUnreadableError) as exc:
            whole = WHOLE_TYPES[part](digest)
            kind = "missing-chunk" if isinstance(exc, NotFoundError) else "damaged-object"
            message = f"the {whole.noun} {whole} cannot be read: {exc.message}"
            self._report(kind, message, pack, RecordKind.RECIPE, whole)


def _pack_of(name: str) -> PackId | None:
    return parse_pack_name(name, PACK_SUFFIX) or parse_pack_name(name, INDEX_SUFFIX)


def _index_of(pack: PackId, state: PackState, layout: Layout) -> PackIndex:
    size_bytes = layout.pack(pack).stat().st_size
    info = PackInfo(pack, bool(state.is_data), size_bytes, len(state.good), state.is_raw)
    return PackIndex(encode_index(info, state.good))


_KINDS = frozenset(map(int, RecordKind))
