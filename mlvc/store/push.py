"""Sends packs from a store to a remote, each verified before it leaves, and mends packs that are damaged there."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from blake3 import blake3

from mlvc.errors import FormatError, IntegrityError
from mlvc.fsio import translate_os_errors
from mlvc.store.errors import DamagedFileError
from mlvc.store.layout import PACK_SUFFIX
from mlvc.store.local import RecordKey
from mlvc.store.outgoing import Outgoing
from mlvc.store.pack import encode_pack_header
from mlvc.store.pack_index import check_index
from mlvc.store.push_needs import bring_condemned
from mlvc.store.remote import Listing
from mlvc.store.remote_condemned import (
    RemoteBusyError,
    gc_names,
    has_announcement,
    is_being_deleted,
    not_shown,
    read_lists,
    remote_now,
    standing_packs,
)
from mlvc.store.remote_files import RemoteDamagedError, RemoteMissingError
from mlvc.store.remote_indexes import RemoteIndexes, cached_indexes
from mlvc.store.temporaries import Temporary
from mlvc.store.transfer import Transferred, in_parallel, is_large

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from mlvc.model.ids import PackId
    from mlvc.ports import ProgressTask, Reporter
    from mlvc.store.layout import Layout
    from mlvc.store.local import LocalStore
    from mlvc.store.pack_index import PackIndex, PackInfo
    from mlvc.store.remote import Remote, RemotePack

__all__ = ["lacked", "push", "repair", "send_all"]

_PATIENCE_S = 60.0
_POLL_S = 1.0
_ROUNDS = 3
"""So often a pack that the remote does not list is sent again: a gc may have deleted it, though hardly twice."""


def push(store: LocalStore, remote: Remote, cache: Path, reporter: Reporter) -> Transferred:
    """Sends every pack with something that the remote lacks; nothing that arrived completely is sent again.

    Metadata names data, so it is sent after all of it. A pack that is there with another length was cut short, and is
    sent again.

    Args:
        store: Where from; the caller holds it `in_use`, so that no gc here takes a pack away.
        remote: Where to.
        cache: As of `RemoteIndexes`.
        reporter: Told the progress.

    Raises:
        DamagedFileError: A pack here is damaged; wrong bytes are never sent.
        MlvcError: The remote cannot be used.
    """
    looked = _look(remote)
    here = frozenset(info.id for info in store.packs())
    missing = _lacked(store, remote, _standing(remote, looked), cache)
    if missing or not looked.files:
        # Also for nothing: whoever asks for it next finds an empty remote, and none that is missing.
        remote.prepare()
    if not missing:
        return Transferred(0, 0)
    with reporter.task("pushing", total=sum(info.size_bytes for info in missing), unit="bytes") as task:
        _send_class(store, remote, missing, task, is_data=True)
        sent = _send_metadata(store, remote, looked, missing, here, cache, reporter, task)
    return Transferred(len(sent), sum(info.size_bytes for info in sent))


def lacked(store: LocalStore, remote: Remote, cache: Path) -> list[PackInfo]:
    """Returns the packs that a push would send; changes nothing there.

    Args:
        store: Where from.
        remote: Where to.
        cache: As of `RemoteIndexes`.

    Raises:
        MlvcError: The remote cannot be used.
    """
    return _lacked(store, remote, _standing(remote, _look(remote)), cache)


def _send_metadata(
    store: LocalStore,
    remote: Remote,
    looked: Listing,
    missing: Iterable[PackInfo],
    here: Collection[PackId],
    cache: Path,
    reporter: Reporter,
    task: ProgressTask,
) -> Collection[PackInfo]:
    """Sends metadata once nothing that it names is lacked, whatever a gc of the remote has done meanwhile.

    Looks until two looks in turn found the same lists of gcs, nobody deleting and nothing to send before: then whatever
    is deleted later was decided by somebody who has seen what is there now (see `remote_gc`).

    Args:
        store: As of `push`.
        remote: As of `push`.
        looked: What was there first.
        missing: What that lacked; its data was sent.
        here: The packs of the store before that was asked.
        cache: As of `push`.
        reporter: As of `push`.
        task: Told what is sent.

    Returns:
        All packs that were sent.
    """
    sent = {info.id: info for info in missing if info.is_data}
    waiting = {info.id: info for info in missing if not info.is_data}
    seen: frozenset[str] | None = gc_names(looked)
    deadline = time.monotonic() + _PATIENCE_S
    told = False
    rounds = 0
    while True:
        looked = remote.look()
        if has_announcement(looked) and is_being_deleted(looked, remote_now(remote)):
            if not told:
                reporter.note("waiting for a gc of the remote")
            if time.monotonic() > deadline:
                raise RemoteBusyError(remote.url)
            told = True
            time.sleep(_POLL_S)
            seen = gc_names(looked)
            continue
        here_now = frozenset(info.id for info in store.packs())
        standing = _standing(remote, looked)
        missing = _lacked(store, remote, standing, cache)
        waiting |= {info.id: info for info in missing if not info.is_data}
        first = [info for info in missing if info.is_data]
        is_calm, seen = gc_names(looked) == seen, gc_names(looked)
        if is_calm and not first:
            # Whoever lists packs that are being added may see metadata, which is published last, and miss its data.
            ready = [info for info in waiting.values() if info.id in here]
            if _bring_condemned(store, remote, looked, standing, ready, cache, reporter):
                seen = None
            elif not (first := [info for info in ready if info.id in looked.packs.keys() - standing.keys()]):
                _send_class(store, remote, ready, task, is_data=False)
                return [*sent.values(), *ready]
        if first:
            rounds += 1
            unseen = [info.id for info in first if info.id in sent and info.id not in looked.packs]
            if unseen and rounds >= _ROUNDS:
                raise not_shown(remote, f"the pack {unseen[0].hex}")
            # What a list names may be deleted after it came again: that is seen before anything counts on it.
            for is_data in (True, False):
                _send_class(store, remote, first, task, is_data=is_data)
            sent |= {info.id: info for info in first}
            for info in first:
                waiting.pop(info.id, None)
            seen = None
        here = here_now


def _bring_condemned(
    store: LocalStore,
    remote: Remote,
    looked: Listing,
    standing: Mapping[PackId, RemotePack],
    ready: Iterable[PackInfo],
    cache: Path,
    reporter: Reporter,
) -> bool:
    """Returns whether there was something to save, now brought, or to learn that it is too late."""
    if len(standing) == len(looked.packs):
        return False
    metadata = [info.id for info in ready if not info.is_data]
    try:
        return bring_condemned(store, remote, looked, standing, metadata, cache, reporter)
    except RemoteMissingError:
        reporter.warn(
            f"a gc of the remote {remote.url} has just deleted data that is needed and is not here; "
            "`mlvc verify --remote` tells which"
        )
        return True


def _standing(remote: Remote, looked: Listing) -> Mapping[PackId, RemotePack]:
    """Returns the packs that are there to stay: who skips others because the remote has them counts on these."""
    return standing_packs(remote, looked, read_lists(remote, looked))


def _look(remote: Remote) -> Listing:
    try:
        return remote.look()
    except RemoteMissingError:
        if not remote.url.startswith(("file://", "ssh://")):
            raise  # mlvc makes no buckets.
        return Listing({}, {})


def _lacked(
    store: LocalStore, remote: Remote, listed: Mapping[PackId, RemotePack], cache: Path
) -> list[PackInfo]:
    """Returns the packs with something that the remote lacks, or has cut short."""
    missing = [info for info in store.packs() if not _is_there(store.layout, info, listed.get(info.id))]
    others = {pack: found for pack, found in listed.items() if pack not in {info.id for info in missing}}
    if not missing or not others:
        return missing
    # A pack that was made here of single records that a pull brought has nothing new.
    indexes = RemoteIndexes(store, remote, others, cache)
    return [info for info in missing if not _holds_all(indexes, store, info.id)]


def _is_there(layout: Layout, info: PackInfo, listed: RemotePack | None) -> bool:
    if listed is None or listed.size_bytes != info.size_bytes:
        return False
    path = layout.index(info.id)
    with translate_os_errors(f"read {path}"):
        return path.stat().st_size == listed.index_bytes


def _holds_all(indexes: RemoteIndexes, store: LocalStore, pack: PackId) -> bool:
    records = {RecordKey(entry.kind, entry.part, entry.digest) for entry in store.entries_of(pack)}
    return records == indexes.holding(records)


def send_all(store: LocalStore, remote: Remote, packs: Collection[PackInfo], reporter: Reporter) -> None:
    """Sends packs, those of data first, whatever is there."""
    with reporter.task("pushing", total=sum(info.size_bytes for info in packs), unit="bytes") as task:
        for is_data in (True, False):
            _send_class(store, remote, packs, task, is_data=is_data)


def _send_class(
    store: LocalStore, remote: Remote, packs: Iterable[PackInfo], task: ProgressTask, *, is_data: bool
) -> None:
    def send(info: PackInfo, jobs: int = 1) -> None:
        _send(store.layout, remote, info, jobs, task.advance)

    chosen = [info for info in packs if info.is_data is is_data]
    # A large one makes as many requests at once as there may be.
    in_parallel(send, [info for info in chosen if not is_large(info.size_bytes)], remote.jobs)
    for info in chosen:
        if is_large(info.size_bytes):
            send(info, remote.jobs)


def _send(layout: Layout, remote: Remote, info: PackInfo, jobs: int, advance: Callable[[int], None]) -> None:
    pack, index = layout.pack(info.id), layout.index(info.id)
    with translate_os_errors(f"read {index}"):
        index_bytes = index.read_bytes()
    try:
        described = check_index(index_bytes)
    except FormatError as exc:
        raise DamagedFileError(index, exc.message) from exc
    if described != info:
        raise DamagedFileError(index, "it describes another pack")
    remote.put(info.id, Outgoing(pack, info.id.digest, advance), index_bytes, is_data=info.is_data, jobs=jobs)


# ------------------------------------------------------------------------------------------------ mending


def repair(store: LocalStore, remote: Remote, cache: Path, reporter: Reporter) -> Transferred:
    """Pushes, then reads every pack of the remote, and replaces those that are damaged, as far as the store can.

    A pack that the store does not have is made again from its records, wherever in the store they are.

    Raises:
        RemoteDamagedError: It names what the store cannot mend; everything else is mended.
        MlvcError: The remote cannot be used.
    """
    pushed = push(store, remote, cache, reporter)
    remote.prepare()
    listed = remote.list_packs()
    damage = _find_damage(remote, listed, reporter)
    if not damage:
        return pushed
    RemoteIndexes(store, remote, listed, cache)  # Keeps every index that is still good.
    known = {index.info.id: index for index in cached_indexes(cache)}
    here = {info.id: info for info in store.packs()}
    mended: list[int] = []
    hopeless: dict[PackId, tuple[tuple[str, str], ...]] = {}
    for pack in sorted(damage, key=lambda pack: (not listed[pack].is_data, pack)):
        if pack in here:
            _send(store.layout, remote, here[pack], remote.jobs, lambda _: None)
            mended.append(here[pack].size_bytes)
        elif pack in known and _rebuild(store, remote, known[pack]):
            mended.append(known[pack].info.size_bytes)
        else:
            hopeless[pack] = damage[pack]
    if hopeless:
        # What the store has of them goes there in other packs, where a fetch finds it.
        rest = {pack: found for pack, found in listed.items() if pack not in hopeless}
        send_all(store, remote, _lacked(store, remote, rest, cache), reporter)
        raise RemoteDamagedError(*(found for pack in sorted(hopeless) for found in hopeless[pack]))
    return Transferred(pushed.packs + len(mended), pushed.size_bytes + sum(mended))


def _find_damage(
    remote: Remote, listed: Mapping[PackId, RemotePack], reporter: Reporter
) -> Mapping[PackId, tuple[tuple[str, str], ...]]:
    damage: dict[PackId, tuple[tuple[str, str], ...]] = {}
    lock = threading.Lock()
    total = sum(found.size_bytes for found in listed.values())
    with reporter.task("reading the remote", total=total, unit="bytes") as task:

        def look(pack: PackId) -> None:
            try:
                remote.read_index(pack, listed[pack])
                remote.check_pack(pack, listed[pack], task)
            except RemoteDamagedError as exc:
                with lock:
                    damage[pack] = exc.found

        in_parallel(look, sorted(listed), remote.jobs)
    return damage


def _rebuild(store: LocalStore, remote: Remote, index: PackIndex) -> bool:
    """Makes a pack again from records of other packs, and sends it; returns whether that could be done."""
    info = index.info
    header = b"" if info.is_raw else encode_pack_header(is_data=info.is_data)
    hasher = blake3(header)
    with translate_os_errors(f"write to the store {store.layout.directory}"):
        file = Temporary.create(store.layout.temporaries, PACK_SUFFIX)
        try:
            file.write(header)
            for entry in sorted(index.entries_from(b""), key=lambda entry: entry.offset):
                try:
                    record = store.read_encoded(entry)
                except IntegrityError:
                    return False
                if record is None:
                    return False
                hasher.update(record)
                file.write(record)
            if hasher.digest() != info.id.digest:
                return False
            remote.put(info.id, Outgoing(file.path, info.id.digest), index.encoded(), is_data=info.is_data)
            return True
        finally:
            file.discard()
