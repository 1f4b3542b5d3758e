"""Brings packs, or single records out of them, from a remote to a store; each verified before it counts there."""

from __future__ import annotations

import collections
import contextlib
import functools
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, NamedTuple

import zstandard

from mlvc.errors import FormatError, NotFoundError, VersionError
from mlvc.model.kinds import RecordKind
from mlvc.store.arrivals import Stored, key_of
from mlvc.store.contents import check_record, object_of
from mlvc.store.local import RecordKey
from mlvc.store.pack import MAX_CHUNK_BYTES, check_lengths, frame
from mlvc.store.receive import receive_packs
from mlvc.store.remote import RemoteVersionError
from mlvc.store.remote_files import RemoteDamagedError
from mlvc.store.remote_indexes import base_key
from mlvc.store.transfer import Transferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mlvc.model.ids import PackId
    from mlvc.ports import ProgressTask, Reporter
    from mlvc.store.arrivals import Arrivals, Target
    from mlvc.store.local import LocalStore
    from mlvc.store.pack import Entry
    from mlvc.store.pack_index import PackIndex
    from mlvc.store.remote import Remote, RemotePack
    from mlvc.store.remote_indexes import Lookup

__all__ = ["BadRecord", "Planned", "check_records", "fetch_into_memory", "fetch_records", "plan_records"]

_GAP_BYTES = 128 << 10
"""Reading over a shorter gap is quicker than another request: 10 ms at 100 Mbit/s, where a request costs 20 to 100."""
_WINDOW_BYTES = 8 << 20
"""The most that one request brings; with those that are read at once and those that are written, 80 MiB.

Only a recipe or another object may be longer; it is brought alone, and memory is what it has."""


_ONE_LARGE = threading.Lock()
"""Held while a large object is decoded, which takes many times its length."""


class BadRecord(NamedTuple):
    """A record that is damaged on a remote."""

    pack: PackId
    entry: Entry
    what: str

    @property
    def key(self) -> RecordKey:
        """What it is looked up by."""
        return key_of(self.entry)

    def found(self, remote: Remote, listed: Mapping[PackId, RemotePack]) -> tuple[str, str]:
        """Returns the name of its pack, and what is wrong, as `RemoteDamagedError.found` has them."""
        target = object_of(self.entry.kind, self.entry.part, self.entry.digest)
        what = f"the {target.noun} {target} at offset {self.entry.offset}: {self.what}"
        return remote.pack_name(self.pack, listed[self.pack]), what


# ---------------------------------------------------------------------------------------- single records


class _Window(NamedTuple):
    """Records of one pack that stand near each other, in order: what one request brings."""

    pack: PackId
    entries: Sequence[Entry]

    @property
    def start(self) -> int:
        return self.entries[0].offset

    @property
    def size_bytes(self) -> int:
        return self.entries[-1].end - self.entries[0].offset


def _windows(pack: PackId, entries: Iterable[Entry]) -> Iterator[_Window]:
    """Yields the requests that bring entries, which come in order of their offset."""
    window: list[Entry] = []
    for entry in entries:
        if window and (
            entry.offset - window[-1].end > _GAP_BYTES or entry.end - window[0].offset > _WINDOW_BYTES
        ):
            yield _Window(pack, window)
            window = []
        window.append(entry)
    if window:
        yield _Window(pack, window)


def fetch_records(
    store: LocalStore,
    remote: Remote,
    listed: Mapping[PackId, RemotePack],
    indexes: Lookup,
    wanted: Iterable[RecordKey],
    reporter: Reporter,
) -> Transferred:
    """Brings those of some records that the store lacks and the remote has.

    A pack of which most is wanted is brought as a whole. Of the others, ranges are read, and written to packs of the
    store's own. A damaged record is looked for in the remote's other packs; where all is found after all, the damage
    is only warned of. Memory is bounded, and what has arrived survives the end of the process, all but 16 MiB.

    Args:
        store: Where to.
        remote: Where from.
        listed: What the remote has.
        indexes: What is where in it.
        wanted: The records.
        reporter: Told the progress and warned of damage.

    Raises:
        RemoteDamagedError: It names what is damaged; nothing of that was stored, and everything else was.
        MlvcError: The remote or the store cannot be used; what had arrived stays.
    """
    return _fetch(Stored(store), remote, listed, indexes, wanted, reporter)


def fetch_into_memory(
    arrivals: Arrivals,
    remote: Remote,
    listed: Mapping[PackId, RemotePack],
    indexes: Lookup,
    wanted: Iterable[RecordKey],
    reporter: Reporter,
) -> Transferred:
    """Brings those of some records that have not arrived and are not stored, by ranges alone; as `fetch_records`."""
    return _fetch(arrivals, remote, listed, indexes, wanted, reporter)


class Planned(NamedTuple):
    """What would be brought: from how many packs, how many records, and how many bytes."""

    packs: int
    records: int
    size_bytes: int


def plan_records(
    store: LocalStore, listed: Mapping[PackId, RemotePack], indexes: Lookup, wanted: Iterable[RecordKey]
) -> Planned:
    """Returns what `fetch_records` would bring if nothing is damaged; asks nothing but the indexes."""
    target = Stored(store)
    packs: set[PackId] = set()
    whole: set[PackId] = set()
    records = size_bytes = 0
    for together in _in_order(target, indexes, wanted):
        for pack, entries in _choose(_readable(target, indexes.locate(together))).items():
            records += len(entries)
            packs.add(pack)
            moved_bytes = sum(window.size_bytes for window in _windows(pack, entries))
            if pack in whole:
                continue
            if _is_worth_whole(moved_bytes, listed[pack]) and _can_be_read(target, indexes[pack], together):
                whole.add(pack)
                moved_bytes = listed[pack].size_bytes
            size_bytes += moved_bytes
    return Planned(len(packs), records, size_bytes)


def _fetch(
    target: Target,
    remote: Remote,
    listed: Mapping[PackId, RemotePack],
    indexes: Lookup,
    wanted: Iterable[RecordKey],
    reporter: Reporter,
) -> Transferred:
    moved = _Moved()
    for records in _in_order(target, indexes, wanted):
        _fetch_together(target, remote, listed, indexes, records, moved, reporter)
    lost = target.lacking(moved.tried)
    if lost:
        raise RemoteDamagedError(*moved.damage, records=lost)
    for name, what in moved.damage:
        reporter.warn(f"{name} is damaged: {what}; what is needed was found intact")
    return Transferred(len(moved.packs), moved.size_bytes)


class _Moved:
    """What has happened so far.

    Attributes:
        packs: The packs that something was read of.
        size_bytes: How much was read.
        damage: What was found damaged, in the order of finding it.
        tried: In which packs a record was found damaged.
    """

    def __init__(self) -> None:
        self.packs: set[PackId] = set()
        self.size_bytes = 0
        self.damage: dict[tuple[str, str], None] = {}
        self.tried: dict[RecordKey, set[PackId]] = collections.defaultdict(set)


def _in_order(target: Target, indexes: Lookup, wanted: Iterable[RecordKey]) -> Iterator[set[RecordKey]]:
    """Yields what the target lacks, with what deltas are based on, which comes before the deltas."""
    new = target.lacking(wanted)
    bases: dict[RecordKey, RecordKey | None] = {}
    while new:
        entries = indexes.entries(new)
        bases |= {record: base_key(entries[record]) if record in entries else None for record in new}
        new = target.lacking({base for base in bases.values() if base is not None} - bases.keys())
    while bases:
        # Deltas that are based on each other in a circle come together, and are found damaged.
        ready = {record for record, base in bases.items() if base not in bases} or set(bases)
        yield target.lacking(ready)
        for record in ready:
            del bases[record]


def _fetch_together(
    target: Target,
    remote: Remote,
    listed: Mapping[PackId, RemotePack],
    indexes: Lookup,
    records: set[RecordKey],
    moved: _Moved,
    reporter: Reporter,
) -> None:
    """Brings records that need nothing of each other."""
    tried = moved.tried
    held: Mapping[PackId, Mapping[RecordKey, Entry]] = indexes.locate(records)
    while shares := _choose(_readable(target, held)):
        windows = {pack: list(_windows(pack, entries)) for pack, entries in shares.items()}
        sizes = {pack: sum(window.size_bytes for window in windows[pack]) for pack in shares}
        whole = [
            pack
            for pack in shares
            if target.packs is not None
            and _is_worth_whole(sizes[pack], listed[pack])
            and _can_be_read(target, indexes[pack], records)
        ]
        sizes |= {pack: listed[pack].size_bytes for pack in whole}
        moved.packs.update(shares)
        moved.size_bytes += sum(sizes.values())
        with reporter.task("fetching", total=sum(sizes.values()), unit="bytes") as task:
            damaged: set[PackId] = set()
            if target.packs is not None:
                damaged = receive_packs(target.packs, remote, listed, {p: indexes[p] for p in whole}, task)
            # What is intact in a damaged pack is still of use.
            single = [pack for pack in shares if pack in damaged or pack not in whole]
            bad = _bring_windows(target, remote, listed, (w for pack in single for w in windows[pack]), task)
        for pack in damaged - {record.pack for record in bad}:
            moved.damage |= dict.fromkeys(remote.damaged_pack(pack, listed[pack]).found)
        moved.damage |= dict.fromkeys(record.found(remote, listed) for record in bad)
        for record in bad:
            tried[record.key].add(record.pack)
        held = {
            pack: left
            for pack, there in indexes.locate(record.key for record in bad).items()
            if (left := {key: entry for key, entry in there.items() if pack not in tried[key]})
        }


def _choose(held: Mapping[PackId, Mapping[RecordKey, Entry]]) -> dict[PackId, list[Entry]]:
    """Returns packs that together hold all the records, those with most of them first, and what to take of each.

    A delta is taken only of what no pack holds whole.
    """
    chosen: dict[PackId, list[Entry]] = {}
    covered: set[RecordKey] = set()
    whole = {key for records in held.values() for key, entry in records.items() if not entry.base}
    for pack, records in sorted(held.items(), key=lambda item: (-len(item[1]), item[0])):
        new = {
            key: entry
            for key, entry in records.items()
            if key not in covered and not (entry.base and key in whole)
        }
        if new:
            chosen[pack] = sorted(new.values(), key=lambda entry: entry.offset)
            covered |= new.keys()
    return chosen


def _readable(
    target: Target, held: Mapping[PackId, Mapping[RecordKey, Entry]]
) -> dict[PackId, dict[RecordKey, Entry]]:
    """Leaves out deltas whose base the target lacks, of records that are also there as something else.

    Clones that had different older versions make different deltas of the same chunk; the base of one has been brought.
    """
    deltas = [
        (pack, key, entry) for pack, there in held.items() for key, entry in there.items() if entry.base
    ]
    lacking = target.lacking({RecordKey(entry.kind, 0, entry.base) for _, _, entry in deltas})
    useless = {(pack, key) for pack, key, entry in deltas if RecordKey(entry.kind, 0, entry.base) in lacking}
    readable = {
        pack: {key: entry for key, entry in there.items() if (pack, key) not in useless}
        for pack, there in held.items()
    }
    found = {key for there in readable.values() for key in there}
    for pack, key in useless:
        if key not in found:
            readable[pack][key] = held[pack][key]
    return readable


def _can_be_read(target: Target, index: PackIndex, coming: set[RecordKey]) -> bool:
    """Returns whether no delta of a pack would lack its base: a store must not hold what it cannot read."""
    bases = {RecordKey(RecordKind.CHUNK, 0, base) for base in index.bases()} - coming
    others = {base for base in bases if not _has_whole(index, base)}
    return not others or not target.lacking(others)


def _has_whole(index: PackIndex, record: RecordKey) -> bool:
    entry = index.find(record.digest, record.kind, record.part)
    return entry is not None and not entry.base


def _is_worth_whole(size_bytes: int, listed: RemotePack) -> bool:
    return 2 * size_bytes >= listed.size_bytes or listed.size_bytes <= _GAP_BYTES


def _bring_windows(
    target: Target,
    remote: Remote,
    listed: Mapping[PackId, RemotePack],
    windows: Iterable[_Window],
    task: ProgressTask,
) -> list[BadRecord]:
    """Reads windows, several at once, and keeps the records in them; returns those that are damaged."""
    bad: list[BadRecord] = []
    pending: set[Future[tuple[list[tuple[bytes, Entry]], list[BadRecord]]]] = set()
    source = iter(windows)
    window = next(source, None)
    if window is None:
        return bad
    is_alone = False
    failure: BaseException | None = None
    with (
        target.adding() as add,
        ThreadPoolExecutor(remote.jobs, thread_name_prefix="mlvc-transfer") as pool,
    ):
        try:
            while True:
                # As many wait to be written as are being read. All of them may be done by now.
                while (
                    failure is None
                    and window is not None
                    and len(pending) < 2 * remote.jobs
                    and not (pending and (is_alone or window.size_bytes > _WINDOW_BYTES))
                ):
                    is_alone = window.size_bytes > _WINDOW_BYTES
                    pending.add(pool.submit(_read_window, remote, listed, window, target.read_base))
                    window = next(source, None)
                if not pending:
                    break
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    error = future.exception()
                    if error is not None:
                        # What is on its way may still arrive, and then stays.
                        failure = failure or error
                        pending = {other for other in pending if not other.cancel()}
                        continue
                    good, damaged = future.result()
                    bad += damaged
                    add(good)
                    task.advance(sum(len(record) for record, _ in good))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    # Leaving the context has kept what arrived.
    if failure is not None:
        raise failure
    return bad


def _read_window(
    remote: Remote,
    listed: Mapping[PackId, RemotePack],
    window: _Window,
    read_base: Callable[[bytes, int], bytes] | None,
) -> tuple[list[tuple[bytes, Entry]], list[BadRecord]]:
    """Returns the records of a window that are intact, and those that are damaged.

    Args:
        remote: Where from.
        listed: What it has.
        window: Which records.
        read_base: Returns what deltas are based on; without it they are checked as far as they go.
    """
    listed_pack = listed[window.pack]
    data = b""
    too_long = {entry: what for entry in window.entries if (what := _what_is_too_long(entry))}
    # An index that says so is not believed, whatever its checksum.
    if len(too_long) < len(window.entries):
        data = remote.read_range(window.pack, listed_pack, window.start, window.size_bytes)
    good: list[tuple[bytes, Entry]] = []
    bad: list[BadRecord] = []
    decompressor = zstandard.ZstdDecompressor()
    for entry in window.entries:
        if entry in too_long:
            bad.append(BadRecord(window.pack, entry, too_long[entry]))
            continue
        record = data[entry.offset - window.start : entry.end - window.start]
        try:
            base = None if read_base is None else functools.partial(_swapped, read_base, entry.kind)
            with _ONE_LARGE if entry.length > MAX_CHUNK_BYTES else contextlib.nullcontext():
                check_record(record, entry, decompressor, base)
        except (FormatError, NotFoundError) as exc:
            bad.append(BadRecord(window.pack, entry, exc.message))
        except VersionError as exc:
            name = remote.pack_name(window.pack, listed_pack)
            raise RemoteVersionError(
                f"this mlvc does not know {exc.message} of {name}", hint="install a newer mlvc"
            ) from exc
        else:
            good.append(frame(record, entry))
    return good, bad


def _what_is_too_long(entry: Entry) -> str:
    """Returns what is wrong with the lengths of an entry, or nothing."""
    try:
        check_lengths(entry)
    except FormatError as exc:
        return exc.message
    return ""


def _swapped(read_base: Callable[[bytes, int], bytes], kind: int, digest: bytes) -> bytes:
    return read_base(digest, kind)


def check_records(
    remote: Remote, listed: Mapping[PackId, RemotePack], index: PackIndex, task: ProgressTask
) -> list[BadRecord]:
    """Reads every record of a pack on a remote, stores none, and returns those that are damaged."""
    bad = []
    for window in _windows(index.info.id, sorted(index.entries_from(b""), key=lambda entry: entry.offset)):
        bad += _read_window(remote, listed, window, None)[1]
        task.advance(window.size_bytes)
    return bad
