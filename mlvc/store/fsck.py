"""Reads everything a store holds and names what is damaged; never writes.

First every pack by itself: its name, its index, each record's checksum, encoding and id, and whether trees and
objects can be decoded. Then every recipe: whether its chunks are there and make the bytes that its id names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zstandard
from blake3 import blake3

from mlvc.errors import FormatError, IntegrityError, MlvcError, NotFoundError, VersionError
from mlvc.fsio import FileUnreadableError, translate_os_errors
from mlvc.model.ids import BlobId, ObjectId, PackId, TreeId
from mlvc.ports import RecordKind
from mlvc.store.contents import WHOLE_TYPES, check_content, object_of
from mlvc.store.errors import DamagedFileError
from mlvc.store.layout import INDEX_SUFFIX, PACK_SUFFIX, parse_pack_name
from mlvc.store.pack import (
    PACK_HEADER_BYTES,
    RECORD_HEADER_BYTES,
    base_of,
    decode_pack_header,
    decode_payload,
    decode_record_header,
)
from mlvc.store.pack_index import decode_index
from mlvc.store.records import PackFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlvc.ports import ProgressTask, Reporter
    from mlvc.store.layout import Layout
    from mlvc.store.local import LocalStore, RecordKey
    from mlvc.store.pack import Entry

__all__ = ["Damage", "check"]

_PIECE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong.

    Attributes:
        kind: `damaged-pack`, `damaged-index`, `damaged-record`, `damaged-object`, `missing-pack`, `missing-index`,
            `missing-chunk`, `unknown-version`, `unreadable` or `stray-file`.
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


def check(
    store: LocalStore,
    reporter: Reporter,
    elsewhere: Callable[[set[RecordKey]], set[RecordKey]] = lambda _: set(),
) -> Sequence[Damage]:
    """Reads every pack, index and recipe of a store, and returns everything that is wrong with them.

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
        self._total = 0

    def run(self, elsewhere: Callable[[set[RecordKey]], set[RecordKey]]) -> Sequence[Damage]:
        with translate_os_errors(f"list {self._layout.packs}"), os.scandir(self._layout.packs) as found:
            sizes = {entry.name: entry.stat().st_size for entry in found}
        packs = {pack for name in sizes if (pack := parse_pack_name(name, PACK_SUFFIX)) is not None}
        indexes = {pack for name in sizes if (pack := parse_pack_name(name, INDEX_SUFFIX)) is not None}
        known = {*map(self._layout.pack, packs), *map(self._layout.index, indexes)}
        for name in sorted(sizes):
            path = self._layout.packs / name
            if path not in known:
                self._report("stray-file", f"{path} has no name that a pack or an index can have")
        for pack in sorted(indexes - packs):
            path = self._layout.pack(pack)
            self._report("missing-pack", f"{path} is missing, and its index is there", pack)
        # Each pack is read twice: for its name, and record by record.
        self._total = sum(2 * sizes[pack.hex + PACK_SUFFIX] for pack in packs)
        self._task.set_total(self._total)
        for pack in sorted(packs):
            self._check_pack(pack, has_index=pack in indexes)
        self._task.set_total(self._total)
        absent = self._absent(elsewhere)
        for (digest, part), pack in sorted(self._recipes.items()):
            if (digest, part) in absent:
                self._task.advance(self._store.blob_size(BlobId(digest)))
            else:
                self._check_whole(digest, part, pack)
        return tuple(self._damages)

    def _absent(self, elsewhere: Callable[[set[RecordKey]], set[RecordKey]]) -> set[tuple[bytes, int]]:
        """Returns the recipes of blobs that lack chunks which are all elsewhere, and of which no chunk is damaged."""
        damaged = {damage.object_id.digest for damage in self._damages if damage.object_id is not None}
        lacking: dict[tuple[bytes, int], set[RecordKey]] = {}
        for digest, part in self._recipes:
            if part != RecordKind.CHUNK:
                continue
            try:
                records = set(self._store.records_of(BlobId(digest)))
                absent = self._store.lacking(records)
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

    def _check_pack(self, pack: PackId, *, has_index: bool) -> None:
        try:
            file = PackFile(self._layout.pack(pack))
            is_data, is_intact = self._check_file(pack, file)
        except MlvcError as exc:
            self._report_error(exc, "damaged-pack", pack)
            return
        entries = self._read_index(pack, file if is_intact else None, is_data=is_data) if has_index else None
        if not has_index:
            path = self._layout.index(pack)
            self._report("missing-index", f"{path} is missing, so nothing in its pack can be found", pack)
        decompressor = zstandard.ZstdDecompressor()
        try:
            for entry in self._walk(file) if entries is None else entries:
                self._check_record(pack, file, entry, decompressor, is_data=is_data)
        except MlvcError as exc:
            self._report_error(exc, "damaged-pack", pack)

    def _check_file(self, pack: PackId, file: PackFile) -> tuple[bool, bool]:
        """Checks a pack's header and name; returns whether it holds data, and whether it is what its name says."""
        hasher = blake3()
        for offset in range(0, file.size_bytes, _PIECE_BYTES):
            piece = file.read(offset, min(_PIECE_BYTES, file.size_bytes - offset))
            hasher.update(piece)
            self._task.advance(len(piece))
        is_intact = hasher.digest() == pack.digest
        if not is_intact:
            self._report("damaged-pack", f"{file.path} holds other bytes than its name says", pack)
        try:
            return decode_pack_header(file.read(0, min(PACK_HEADER_BYTES, file.size_bytes))), is_intact
        except FormatError as exc:
            raise DamagedFileError(file.path, exc.message) from exc

    def _read_index(self, pack: PackId, intact: PackFile | None, *, is_data: bool) -> list[Entry] | None:
        """Returns the entries by offset, or None if the index is of no use.

        Args:
            pack: Whose index.
            intact: The pack, unless it is damaged: then its length says nothing about the index.
            is_data: What the pack holds.
        """
        path = self._layout.index(pack)
        try:
            with translate_os_errors(f"read {path}"):
                data = path.read_bytes()
            info, entries = decode_index(data)
        except FileUnreadableError as exc:
            self._report_error(exc, "unreadable", pack)
            return None
        except (FormatError, VersionError) as exc:
            self._report_error(type(exc)(f"{path}: {exc.message}"), "damaged-index", pack)
            return None
        sizes_differ = intact is not None and info.size_bytes != intact.size_bytes
        if info.id != pack or sizes_differ or info.is_data != is_data:
            self._report("damaged-index", f"{path} describes another pack", pack)
            return None
        return sorted(entries, key=lambda entry: entry.offset)

    def _walk(self, file: PackFile) -> Iterator[Entry]:
        """Yields the records of a pack that has no usable index, each from the lengths of the one before."""
        offset = PACK_HEADER_BYTES
        while offset < file.size_bytes:
            entry = decode_record_header(file.read(offset, RECORD_HEADER_BYTES), offset)
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
        size_bytes = entry.end - entry.offset
        where = f"{file.path}, at offset {entry.offset}"
        kind = RecordKind(entry.kind) if entry.kind in _KINDS else None
        object_id = object_of(entry.kind, entry.part, entry.digest)
        try:
            record = file.read(entry.offset, size_bytes)
            self._task.advance(size_bytes)
            if not entry.base:
                # Without an index only the record itself says what it is based on.
                entry = entry._replace(base=base_of(record, entry))
            data = decode_payload(
                record, entry, decompressor, lambda base: self._store.read_base(base, entry.kind)
            )
        except NotFoundError as exc:
            self._report("missing-chunk", f"{where}: {exc.message}", pack, kind, object_id)
            return
        except IntegrityError as exc:
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
        try:
            self._check_content(pack, entry, data)
        except (FormatError, VersionError) as exc:
            self._report_error(type(exc)(f"{where}: {exc.message}"), "damaged-object", pack, kind, object_id)

    def _check_content(self, pack: PackId, entry: Entry, data: bytes) -> None:
        recipe = check_content(entry, data)
        # Without its index nobody can find the recipe, so nothing is promised of its chunks.
        if recipe is not None and self._layout.index(pack).exists():
            self._recipes[entry.digest, entry.part] = pack
            self._total += recipe.size_bytes

    def _check_whole(self, digest: bytes, part: int, pack: PackId) -> None:
        """Reads a blob or a large tree through its recipe."""
        try:
            if part == RecordKind.CHUNK:
                for piece in self._store.iter_blob(BlobId(digest)):
                    self._task.advance(len(piece))
            else:
                self._store.read_tree(TreeId(digest))
        except (IntegrityError, NotFoundError, VersionError, FileUnreadableError) as exc:
            whole = WHOLE_TYPES[part](digest)
            kind = "missing-chunk" if isinstance(exc, NotFoundError) else "damaged-object"
            message = f"the {whole.noun} {whole} cannot be read: {exc.message}"
            self._report(kind, message, pack, RecordKind.RECIPE, whole)


_KINDS = frozenset(map(int, RecordKind))
