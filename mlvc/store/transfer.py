"""Moves packs between a store and a remote, in parallel, each verified before it counts where it arrives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from blake3 import blake3

from mlvc import fsio
from mlvc.errors import FormatError, MlvcError
from mlvc.fsio import file_lock, translate_os_errors
from mlvc.store.catalog import load_index
from mlvc.store.errors import DamagedFileError
from mlvc.store.layout import INDEX_SUFFIX, PACK_SUFFIX
from mlvc.store.pack_index import KEY_BYTES, decode_index
from mlvc.store.remote_files import RemoteDamagedError, RemoteMissingError
from mlvc.store.temporaries import Temporary, remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from mlvc.model.ids import PackId
    from mlvc.ports import ProgressTask, Reporter
    from mlvc.store.layout import Layout
    from mlvc.store.local import LocalStore, RecordKey
    from mlvc.store.pack_index import PackIndex, PackInfo
    from mlvc.store.remote import Remote, RemotePack

__all__ = ["RemoteIndexes", "Transferred", "fetch", "push"]

_Item = TypeVar("_Item")
_AT_ONCE = 4
"""A pack is up to 64 MiB and one upload holds it in memory."""


class Transferred(NamedTuple):
    """What was moved; nothing where the other side had it all."""

    packs: int
    size_bytes: int


def _in_parallel(step: Callable[[_Item], None], items: Iterable[_Item]) -> None:
    """Runs a step for each item; damage does not keep the others from arriving, and is raised at the end.

    Raises:
        RemoteDamagedError: It names everything that is damaged.
        MlvcError: Another error of the first step that failed; steps that had not begun are left out.
    """
    damaged: list[tuple[str, str]] = []
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="mlvc-transfer") as pool:
        try:
            for future in as_completed([pool.submit(step, item) for item in items]):
                error = future.exception()
                if isinstance(error, RemoteDamagedError):
                    damaged += error.found
                elif error is not None:
                    raise error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    if damaged:
        raise RemoteDamagedError(*sorted(damaged))


# ---------------------------------------------------------------------------------------------- pushing


def push(store: LocalStore, remote: Remote, reporter: Reporter) -> Transferred:
    """Sends every pack that the remote lacks; nothing that arrived completely before is sent again.

    Metadata names data, so it is sent after all of it. A pack that is there with another length was cut short, and is
    sent again.

    Raises:
        DamagedFileError: A pack here is damaged; wrong bytes are never sent.
        MlvcError: The remote cannot be used.
    """
    try:
        listed = remote.list_packs()
    except RemoteMissingError:
        if not remote.url.startswith("file://"):
            raise
        listed = {}
    missing = [info for info in store.packs() if not _is_there(store.layout, info, listed.get(info.id))]
    size_bytes = sum(info.size_bytes for info in missing)
    if not missing:
        return Transferred(0, 0)
    remote.prepare()
    with reporter.task("pushing", total=size_bytes, unit="bytes") as task:

        def send(info: PackInfo) -> None:
            _send(store.layout, remote, info)
            task.advance(info.size_bytes)

        for is_data in (True, False):
            _in_parallel(send, [info for info in missing if info.is_data is is_data])
    return Transferred(len(missing), size_bytes)


def _is_there(layout: Layout, info: PackInfo, listed: RemotePack | None) -> bool:
    if listed is None or listed.size_bytes != info.size_bytes:
        return False
    path = layout.index(info.id)
    with translate_os_errors(f"read {path}"):
        return path.stat().st_size == listed.index_bytes


def _send(layout: Layout, remote: Remote, info: PackInfo) -> None:
    pack, index = layout.pack(info.id), layout.index(info.id)
    with translate_os_errors(f"read {pack}"):
        digest = blake3().update_mmap(pack).digest()
        index_bytes = index.read_bytes()
    if digest != info.id.digest:
        raise DamagedFileError(pack, "it holds other bytes than its name says, and was not sent")
    try:
        described, _ = decode_index(index_bytes)
    except FormatError as exc:
        raise DamagedFileError(index, exc.message) from exc
    if described != info:
        raise DamagedFileError(index, "it describes another pack")
    remote.put(info.id, pack, index_bytes, is_data=info.is_data)


# --------------------------------------------------------------------------------------------- fetching


def fetch(
    store: LocalStore,
    remote: Remote,
    listed: Mapping[PackId, RemotePack],
    wanted: Collection[PackId],
    reporter: Reporter,
) -> Transferred:
    """Brings packs that the store lacks; each becomes visible after every byte of it was verified.

    Args:
        store: Where to.
        remote: Where from.
        listed: What the remote has.
        wanted: Which of that.
        reporter: Told the progress.

    Raises:
        RemoteDamagedError: It names what is damaged; nothing of that was stored, and everything else was.
        MlvcError: The remote or the store cannot be used; what had arrived stays.
    """
    present = {info.id for info in store.packs()}
    missing = [pack for pack in wanted if pack not in present]
    if not missing:
        return Transferred(0, 0)
    size_bytes = sum(listed[pack].size_bytes for pack in missing)
    with translate_os_errors(f"write to the store {store.layout.directory}"):
        remove_leftovers(store.layout.temporaries)
    with reporter.task("fetching", total=size_bytes, unit="bytes") as task:
        # Data first: metadata of the same transfer names it.
        for is_data in (True, False):
            _in_parallel(
                lambda pack: _receive(store.layout, remote, pack, listed[pack], task),
                [pack for pack in missing if listed[pack].is_data is is_data],
            )
    return Transferred(len(missing), size_bytes)


def _receive(layout: Layout, remote: Remote, pack: PackId, listed: RemotePack, task: ProgressTask) -> None:
    index = remote.read_index(pack, listed)
    with translate_os_errors(f"write to the store {layout.directory}"):
        file = Temporary.create(layout.temporaries, PACK_SUFFIX)
        try:
            hasher = blake3()
            for piece in remote.read_pack(pack, listed):
                hasher.update(piece)
                file.write(piece)
                task.advance(len(piece))
            if hasher.digest() != pack.digest:
                raise remote.damaged_pack(pack, listed)
            file.sync()
            _publish(layout, pack, file, index)
        finally:
            file.discard()


def _publish(layout: Layout, pack: PackId, file: Temporary, index: bytes) -> None:
    """Makes a verified pack visible, and then its index (promise 1)."""
    index_file = Temporary.create(layout.temporaries, INDEX_SUFFIX)
    try:
        index_file.write(index)
        index_file.sync()
        with file_lock(layout.lock):
            file.publish(layout.pack(pack))
            index_file.publish(layout.index(pack))
    finally:
        index_file.discard()


# ---------------------------------------------------------------------------------- what a remote holds


class RemoteIndexes:
    """Tells which packs of a remote hold which records, from the indexes alone.

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
        self._indexes: list[PackIndex] = []
        self.damaged: list[tuple[str, str]] = []
        with translate_os_errors(f"write to {cache}"):
            cache.mkdir(parents=True, exist_ok=True)
        try:
            _in_parallel(lambda item: self._load(*item), sorted(listed.items()))
        except RemoteDamagedError as exc:
            self.damaged += exc.found

    def _load(self, pack: PackId, listed: RemotePack) -> None:
        for path in (self._layout.index(pack), self._cache / (pack.hex + INDEX_SUFFIX)):
            try:
                index = load_index(path)
            except MlvcError:
                continue
            # A pack that was cut short since must not count as there.
            if index.info.size_bytes == listed.size_bytes:
                self._indexes.append(index)
                return
        data = self._remote.read_index(pack, listed)
        kept = self._cache / (pack.hex + INDEX_SUFFIX)
        with translate_os_errors(f"write {kept}"):
            fsio.atomic_write(kept, data)
        self._indexes.append(load_index(kept))

    def locate(self, records: Iterable[RecordKey]) -> Mapping[PackId, set[RecordKey]]:
        """Returns the packs that hold any of the records (kind, part, id), with those that each holds."""
        by_key: dict[int, list[RecordKey]] = {}
        for record in records:
            by_key.setdefault(int.from_bytes(record.digest[:KEY_BYTES], "little"), []).append(record)
        found: dict[PackId, set[RecordKey]] = {}
        for index in self._indexes:
            held = {
                record
                for key in by_key.keys() & set(index.keys())
                for record in by_key[key]
                if index.find(record.digest, record.kind, record.part) is not None
            }
            if held:
                found[index.info.id] = held
        return found
