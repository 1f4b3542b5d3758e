"""Deletes from a remote what nothing there needs, while others push to it and fetch from it (promise 6).

Needed is what the commits, runs and verdicts on the remote lead to, whoever sent them, and what the caller's own roots
lead to; never what one client's references alone decide. So a commit or run that is on a remote stays, with its data:
what goes is what a push left that was interrupted, what was added and never committed, what several packs hold, and
what shares a pack with much of that.

There is no lock, and nobody can tell who is pushing. Two phases stand for one:

- *Condemning.* Packs in which nothing, or little, is needed and that are older than the keep period are put on a list,
  an immutable file of the remote (`remote_condemned`), after what is needed in them was sent in new packs.
- *Deleting*, by a later gc, when the list is older than the grace period. It announces itself, looks at everything
  anew, and deletes of the list what was not sent again since and of which all that is needed now is in packs that no
  list names.

A pusher skips what the remote has in packs that no list names. Before it writes the metadata that names data (M), it
looks (C) until two looks in turn found the same lists and no announcement, and sends again what is not there to stay;
sending a pack again makes it younger than the list that names it.

Why nothing is lost, given that the remote shows what was written to whoever asks afterwards, as S3 and a disk do, and
that no push takes longer from C to M than the grace period:

1. Let the metadata M name a record, and P be the standing pack that its pusher found it in, at C.
2. If P is condemned after C, it is deleted a grace period later at the earliest. M has arrived by then, the deleting gc
   looks anew after that, finds the record needed, and spares P, unless another pack holds it that no list names.
3. If P had been condemned before C by a list that C saw, then P was sent again before C. A gc that announced itself
   before C, and was not done, was seen at C, which then was not the last look. One that was done had removed its list,
   so that look differed from the one before. One that announced itself after C looks after that, finds P younger than
   its list, and spares it. So metadata that a list names is sent again before C too, and only the rest after it. A
   pusher that lacks the record, such as a clone that fetched no data, brings it before C if a commit, run or verdict
   that it sends leads to it, and then sends it (`push_needs`).
4. Two gcs may condemn each other's copies of a record. Neither deletes one: a pack on any list is no reason to delete
   another.
5. A gc that was stopped for a while must not delete by what it saw long ago: it deletes nothing when half of the lease
   has passed since its announcement, which everybody else believes for the whole of it.
6. What is whole somewhere stays whole: a delta of it, which may be based on what is a delta of it in turn, is no
   reason to delete it. And what stays is closed (`remote_needs`).
7. Killed at any step, it leaves a list and an announcement, which the next gc takes up, indexes without packs or packs
   without indexes, which do not count, or new packs with copies, which the next gc finds.

A reader that finds a pack deleted looks again: what is needed is in another one.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlvc.fsio import file_lock, translate_os_errors
from mlvc.store.copying import copy_records
from mlvc.store.fetch import fetch_records
from mlvc.store.layout import INDEX_SUFFIX, PACK_SUFFIX
from mlvc.store.local import LocalStore, RecordKey
from mlvc.store.push import send_all
from mlvc.store.remote_condemned import (
    GRACE_S,
    LEASE_S,
    MOST_CONDEMNED,
    CondemnedFiles,
    RemoteBusyError,
    announce,
    is_being_deleted,
    publish_list,
    read_lists,
    remote_now,
    remove_old,
    standing_packs,
    time_of,
)
from mlvc.store.remote_files import REMOVED_AT_ONCE, RemoteDeniedError
from mlvc.store.remote_indexes import base_key
from mlvc.store.remote_needs import RemoteNeeds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mlvc.model.ids import PackId
    from mlvc.ports import Reporter
    from mlvc.store.catalog import Location
    from mlvc.store.pack import Entry
    from mlvc.store.pack_index import PackIndex
    from mlvc.store.remote import Listing, Remote

__all__ = ["RemoteCollected", "collect_remote"]

_MUCH = 4
"""A pack is written anew when one part in so many of it can go: as in the store."""


@dataclass(frozen=True, slots=True)
class RemoteCollected:
    """What a gc of a remote did, or would do.

    Attributes:
        step: `condemned` for a list that was published; `waiting` for one whose grace period has not passed;
            `deleted`; or `nothing`.
        files: The files in question, sorted.
        freed_bytes: Their length, less what was sent in new packs.
        spared: Files that a list named, and that are needed again or were sent again.
        until_s: When the condemned files may be deleted, in seconds since 1970 by the remote's clock.
    """

    step: str
    files: tuple[str, ...] = ()
    freed_bytes: int = 0
    spared: tuple[str, ...] = ()
    until_s: float | None = None


def collect_remote(
    store: LocalStore,
    remote: Remote,
    roots: Collection[bytes],
    cache: Path,
    reporter: Reporter,
    *,
    keep_s: float,
    grace_s: float = GRACE_S,
    now_s: float | None = None,
) -> RemoteCollected:
    """Takes the next step: deletes what a list names whose time has come, or condemns what nothing needs.

    Args:
        store: Takes the metadata of the remote, which has to be followed; the caller holds it `in_use`.
        remote: The remote.
        roots: Digests of objects that are needed besides those that the remote's own commits, runs and verdicts need.
        cache: As of `RemoteIndexes`, in a directory that is used for new packs too.
        reporter: Told the progress.
        keep_s: What is younger is never condemned.
        grace_s: How long before it is deleted a list must have been there.
        now_s: The time, for a dry run, which changes nothing; otherwise the remote is asked.

    Raises:
        RemoteIncompleteError: What is needed is not known; nothing was deleted.
        RemoteDamagedError: Something that has to be read is damaged; nothing was deleted.
        RemoteBusyError: Another gc deletes just now, or this one took too long; the next one goes on.
        MlvcError: The remote or the store cannot be used.
    """
    return _RemoteGc(store, remote, roots, cache, reporter, keep_s, grace_s, now_s).run()


@dataclass
class _RemoteGc:
    store: LocalStore
    remote: Remote
    roots: Collection[bytes]
    cache: Path
    reporter: Reporter
    keep_s: float
    grace_s: float
    dry_now_s: float | None

    def run(self) -> RemoteCollected:
        if self.dry_now_s is None:
            self.remote.prepare()
        looked = self.remote.look()
        lists = read_lists(self.remote, looked)
        now = remote_now(self.remote) if self.dry_now_s is None else self.dry_now_s
        if self.dry_now_s is None:
            remove_old(self.remote, looked, now)
        if not lists:
            return self._condemn(looked, now)
        due = [each for each in lists if now - each.time_s >= self.grace_s]
        if due and self.dry_now_s is None:
            return self._delete(due[0])
        first = min(due or lists, key=lambda each: each.time_s)
        files = [file for file in first.files if first.dooms(file, looked.files)]
        return self._told("waiting", looked, files, until_s=first.time_s + self.grace_s)

    @staticmethod
    def _told(
        step: str,
        looked: Listing,
        files: Iterable[str],
        *,
        added_bytes: int = 0,
        until_s: float | None = None,
    ) -> RemoteCollected:
        files = sorted(files)
        freed = sum(looked.files[file].size_bytes for file in files) - added_bytes
        return RemoteCollected(step, tuple(files), freed, until_s=until_s)

    def _needs(self, looked: Listing) -> RemoteNeeds:
        """Returns what is needed by those who say what they need."""
        needs = RemoteNeeds(self.store, self.remote, looked.packs, self.cache, self.reporter)
        needs.follow(self.roots)
        return needs

    # ----------------------------------------------------------------------------------------- condemning

    def _condemn(self, looked: Listing, now: float) -> RemoteCollected:
        needs = self._needs(looked)
        doomed = [
            pack
            for pack, found in sorted(looked.packs.items(), key=lambda item: (item[1].size_bytes, item[0]))
            if all(
                now - looked.files[name].time_s >= self.keep_s for name in self.remote.names_of(pack, found)
            )
        ]
        moving: set[RecordKey] = set()
        known = -1
        while known != len(needs.records):
            known = len(needs.records)
            doomed, moving = self._choose(looked, needs, doomed)
            # What the others name stays with them, so that less may go than seemed.
            needs.keep(looked.packs.keys() - set(doomed))
        files = [name for pack in doomed for name in self.remote.names_of(pack, looked.packs[pack])]
        files += self._alone(looked, now)
        if self.dry_now_s is not None:
            sizes = {
                key: size for pack in doomed for key, size in needs.copies(pack).items() if key in moving
            }
            return self._told(
                "condemned" if files else "nothing", looked, files, added_bytes=sum(sizes.values())
            )
        sent = self._move(looked, needs, moving)
        # A pack is named by its contents: what remains of one may be what another already is, which is young now.
        files = [name for name in files if name.rpartition("/")[2].partition(".")[0] not in sent]
        if not files:
            return RemoteCollected("nothing")
        # Whole pairs: a pack and its index follow each other.
        files = files[:MOST_CONDEMNED]
        publish_list(self.remote, files)
        return self._told(
            "condemned", looked, files, added_bytes=sum(sent.values()), until_s=now + self.grace_s
        )

    @staticmethod
    def _choose(
        looked: Listing, needs: RemoteNeeds, candidates: Iterable[PackId]
    ) -> tuple[list[PackId], set[RecordKey]]:
        """Returns those of some packs that are worth deleting, and what has to be sent anew for that."""
        held = Counter(
            key for pack in looked.packs for key in needs.copies(pack) if key in needs.records
        )  # In how many packs that stay each record is.
        doomed: list[PackId] = []
        moving: set[RecordKey] = set()
        for pack in candidates:
            here = {key: size for key, size in needs.copies(pack).items() if key in needs.records}
            alone = {key: size for key, size in here.items() if held[key] == 1}
            size_bytes = looked.packs[pack].size_bytes
            is_worth_it = (size_bytes - sum(alone.values())) * _MUCH >= size_bytes
            # Metadata goes whenever it can: there is little of it, and it names data that goes.
            if not alone or is_worth_it or (not looked.packs[pack].is_data and needs.holds_unneeded(pack)):
                doomed.append(pack)
                moving |= alone.keys()
                held.subtract(here.keys() - alone.keys())
        return doomed, moving

    def _alone(self, looked: Listing, now: float) -> Iterator[str]:
        """Yields old packs without an index and indexes without a pack, as a killed push or gc leaves them."""
        complete = {
            name for pack, found in looked.packs.items() for name in self.remote.names_of(pack, found)
        }
        for name, described in looked.files.items():
            folder, _, file = name.partition("/")
            is_ours = folder in {"data", "metadata"} and file.endswith((PACK_SUFFIX, INDEX_SUFFIX))
            if is_ours and name not in complete and now - described.time_s >= self.keep_s:
                yield name

    def _move(self, looked: Listing, needs: RemoteNeeds, records: set[RecordKey]) -> Mapping[str, int]:
        """Sends records that are needed in new packs; returns the lengths of those by the digits of their names."""
        if not records:
            return {}
        place = self.cache / "remote-gc"
        with (
            translate_os_errors(f"write to {place}"),
            file_lock(self.cache / "remote-gc.lock", on_wait=lambda: self.reporter.note("waiting for a gc")),
        ):
            shutil.rmtree(place, ignore_errors=True)
            copies = LocalStore.create(place)
            fetch_records(copies, self.remote, looked.packs, needs.indexes, records, self.reporter)
            packs = [index.info for index in self._alone_in_packs(copies, records)]
            send_all(copies, self.remote, packs, self.reporter)
            shutil.rmtree(place)
        return {info.id.hex: info.size_bytes for info in packs}

    def _alone_in_packs(self, copies: LocalStore, records: set[RecordKey]) -> list[PackIndex]:
        """Copies records into packs without anything else but what they are deltas of: whole packs may have come."""
        catalog = copies.records.catalog
        fetched = catalog.packs()
        wanted: dict[RecordKey, Location] = {}
        new = set(records)
        while new:
            found = {record: catalog.find(record.digest, record.kind, record.part) for record in new}
            wanted |= {record: location for record, location in found.items() if location is not None}
            bases = {base_key(location.entry) for location in found.values() if location is not None}
            new = {base for base in bases if base is not None} - wanted.keys()
        chosen: dict[PackId, list[Entry]] = {}
        for location in wanted.values():
            chosen.setdefault(location.pack, []).append(location.entry)
        made: list[PackIndex] = []
        total = sum(index.info.size_bytes for index in fetched)
        with self.reporter.task("copying what remains", total=total, unit="bytes") as task:
            for is_data in (True, False):
                sources = [
                    (index.info.id, chosen.get(index.info.id, []))
                    for index in fetched
                    if index.info.is_data is is_data
                ]
                made += copy_records(copies, sources, task, is_data=is_data)
        return made

    # ------------------------------------------------------------------------------------------- deleting

    def _delete(self, listed: CondemnedFiles) -> RemoteCollected:
        deadline = _awake_s() + LEASE_S / 2
        announcement = announce(self.remote)
        try:
            looked = self.remote.look()
            if is_being_deleted(looked, time_of(self.remote, looked, announcement), announcement):
                raise RemoteBusyError(self.remote.url)
            lists = read_lists(self.remote, looked)
            if listed not in lists:
                # Another gc has ended it since, or made it anew.
                return RemoteCollected("nothing")
            result = self._delete_announced(listed, looked, lists, deadline)
            self.remote.remove([listed.name])
        finally:
            # Of a gc that is killed it stays, for the lease: nobody knows what it still does.
            self.remote.remove([announcement])
        return result

    def _delete_announced(
        self, listed: CondemnedFiles, looked: Listing, lists: Sequence[CondemnedFiles], deadline: float
    ) -> RemoteCollected:
        needs = self._needs(looked)
        needs.keep(
            pack
            for pack, found in looked.packs.items()
            if not any(listed.dooms(name, looked.files) for name in self.remote.names_of(pack, found))
        )
        standing = standing_packs(self.remote, looked, lists)
        spared = {
            name
            for pack in self._kept(looked, needs, standing)
            for name in self.remote.names_of(pack, looked.packs[pack])
        }
        partners = {file.rpartition(".")[0] for file in looked.files if file not in listed.files}
        doomed = [
            file
            for file in listed.files
            if listed.dooms(file, looked.files)
            and file not in spared
            # The other half of it was sent meanwhile.
            and file.rpartition(".")[0] not in partners
        ]
        # Without its index a pack does not count, so no reader finds half of one; and what names data goes before it,
        # so that a gc that is killed here leaves nothing that names what is gone.
        for suffix in (INDEX_SUFFIX, PACK_SUFFIX):
            for is_data in (False, True):
                files = [
                    file for file in doomed if file.endswith(suffix) and is_data is file.startswith("data/")
                ]
                self._remove(sorted(files), deadline)
        now = self.remote.look().files
        # What a pusher sent again meanwhile is younger than the list.
        if left := {file for file in doomed if listed.dooms(file, now)}:
            raise RemoteDeniedError(
                f"the remote {self.remote.url} did not delete {min(left)}",
                hint="check that your credentials may delete; then repeat",
            )
        told = self._told("deleted", looked, doomed)
        kept = sorted(listed.files.intersection(looked.files).difference(doomed))
        return RemoteCollected("deleted", told.files, told.freed_bytes, tuple(kept))

    @staticmethod
    def _kept(looked: Listing, needs: RemoteNeeds, standing: Collection[PackId]) -> set[PackId]:
        """Returns the packs that stand, and those with something that is needed and in none that stands."""
        there = {key for pack in standing for key in needs.copies(pack)}
        kept = set(standing)
        while more := {
            pack
            for pack in looked.packs.keys() - kept
            if any(key in needs.records and key not in there for key in needs.copies(pack))
        }:
            kept |= more
            needs.keep(more)
        return kept

    def _remove(self, files: Sequence[str], deadline: float) -> None:
        for start in range(0, len(files), REMOVED_AT_ONCE):
            if _awake_s() > deadline:
                raise RemoteBusyError(self.remote.url)
            self.remote.remove(files[start : start + REMOVED_AT_ONCE])


def _awake_s() -> float:
    """Returns seconds that pass while the machine sleeps, too, where the system has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
