"""Deletes what nothing needs any more (promise 6), and never what a concurrent command counts on.

A record is deleted only if it is reached from no root, and gc has found it unreached for the whole keep period: an
earlier gc noted it (`unreached`), a later one deletes it. So until then everything can be had back, and the first phase
is nothing but a note.

Of a record that several packs hold, one copy that was read and found good stays, without any period: all of its
contents can be had as before (`duplicates`).

What stays is closed: whatever a record that stays refers to stays too, also if that record is itself unreached and only
too young, or shares a pack that is not worth rewriting. Otherwise a tree could look stored while its files are gone,
and the next `add` of the same directory would count on it.

Why no command loses what it found "already stored":

1. Whoever counts on a stored object (a writer that skips it, a verb that then names it in a lock) holds `use` shared
   from before it looks until after the name is written (`LocalStore.in_use`).
2. Marking and copying change nothing that anybody could count on: new packs only add copies.
3. Deletion happens with `use` held alone, which is tried and never waited for. So nobody is between looking and naming.
   Before it, all roots are read again and followed, and so is everything in packs that appeared meanwhile: what was
   named, or stored by a command that was killed before it named it, since the first marking, is spared.
4. A command that begins afterwards looks at the packs anew when it gets `use`.
5. Readers hold nothing. A reader that has a deleted pack open reads on in it; one that has not finds the record's copy
   when it lists the packs again; and what has no copy was needed by nobody.

Killed at any step: copies without the deletion are found again by the next gc; once the list of condemned packs is
published none of them counts, whether or not it is still there, and whoever uses the store next deletes the rest.
"""

from __future__ import annotations

import array
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlvc.fsio import LockTimeoutError, file_lock, translate_os_errors
from mlvc.model.ids import ObjectId
from mlvc.model.kinds import RecordKind
from mlvc.model.objects import Commit, Verdict
from mlvc.store.condemned import condemn, execute
from mlvc.store.copying import copy_records
from mlvc.store.duplicates import mark_duplicates
from mlvc.store.kinds import OBJECT_ID_TYPES
from mlvc.store.marks import DUPLICATE, KEPT, Marks
from mlvc.store.temporaries import remove_leftovers
from mlvc.store.unreached import Since, read_unreached, write_unreached

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from mlvc.model.ids import PackId
    from mlvc.ports import ProgressTask, Reporter
    from mlvc.store.local import LocalStore
    from mlvc.store.pack import Entry
    from mlvc.store.pack_index import PackIndex

__all__ = ["Collected", "Roots", "collect"]

_MUCH = 4
"""A data pack is rewritten when one part in so many of it can go: less is not worth copying, and sending, the rest."""

_LAST_SECOND = (1 << 32) - 1
"""The latest time that a note can hold, in 2106; zero in one says that a record is reached."""

_KNOWN = frozenset(map(int, RecordKind))
_DUE = (0, DUPLICATE)


@dataclass(frozen=True, slots=True)
class Roots:
    """What is needed, as those who use the store say.

    Attributes:
        digests: Of objects that locks and journals name.
        code_shas: The git commits that a reference leads to.
    """

    digests: Collection[bytes]
    code_shas: Collection[str]


@dataclass(slots=True)
class Collected:
    """What a gc did, or would do.

    Attributes:
        needed_bytes: What is reached from a root.
        kept_bytes: What nothing needs and the keep period still protects.
        kept_until_s: When the first of that may go, in seconds since 1970; None where there is none.
        stuck_bytes: What might go, and stays because it shares a pack with much that does not.
        freed_bytes: By how much the packs become smaller because of what goes.
        duplicate_bytes: By how much more they do because several packs held the same.
        removed: The commits, runs, environments and verdicts that go.
        removed_records: How many records go, those included.
        packs_deleted: How many packs go.
        packs_written: How many take over what remains of them.
        is_put_off: Whether nothing was deleted because another command was using the store.
    """

    needed_bytes: int = 0
    kept_bytes: int = 0
    kept_until_s: int | None = None
    stuck_bytes: int = 0
    freed_bytes: int = 0
    duplicate_bytes: int = 0
    removed: tuple[ObjectId, ...] = ()
    removed_records: int = 0
    packs_deleted: int = 0
    packs_written: int = 0
    is_put_off: bool = False


def collect(
    store: LocalStore,
    read_roots: Callable[[], Roots],
    reporter: Reporter,
    *,
    now_s: int,
    keep_s: int,
    dry_run: bool = False,
) -> Collected:
    """Notes what is unreached, and deletes what has been so for `keep_s` seconds; another gc is waited for.

    Args:
        store: The store; the caller does not hold it `in_use`.
        read_roots: Reads the roots of everyone who uses the store; called once for the marking and once before the
            deletion.
        reporter: Told the progress.
        now_s: The time, in seconds since 1970.
        keep_s: The keep period.
        dry_run: Change nothing.

    Raises:
        MlvcError: As `read_roots` raises it; nothing was deleted.
        IntegrityError: What has to be followed is damaged; nothing was deleted.
        DiskFullError: There is no room for copies; nothing was deleted.
    """
    layout = store.layout

    def wait() -> None:
        reporter.note("waiting for another gc in this store")

    with contextlib.ExitStack() as stack:
        with translate_os_errors(f"lock {layout.gc}"):
            stack.enter_context(file_lock(layout.gc, on_wait=wait))
        task = stack.enter_context(reporter.task("following references", unit="objects"))
        return _Gc(store, read_roots, reporter, task, min(now_s, _LAST_SECOND), keep_s).run(dry_run=dry_run)


@dataclass
class _Gc:
    store: LocalStore
    read_roots: Callable[[], Roots]
    reporter: Reporter
    task: ProgressTask
    now_s: int
    keep_s: int
    since: dict[PackId, Since[int]] = field(default_factory=dict)
    result: Collected = field(default_factory=Collected)

    def __post_init__(self) -> None:
        self.layout = self.store.layout
        self.catalog = self.store.records.catalog
        self.marks = Marks(self.store, self.task.advance)

    def run(self, *, dry_run: bool) -> Collected:
        if not dry_run:
            with (
                self._alone() as is_alone,
                translate_os_errors(f"write to the store {self.layout.directory}"),
            ):
                remove_leftovers(self.layout.temporaries, partial=True)
                if is_alone:
                    execute(self.layout)
        self._mark_needed()
        before = self.catalog.packs()
        self._note_unreached(before)
        self._mark_kept(before)
        mark_duplicates(self.store, self.marks)
        doomed = self._choose(before)
        self._count(before, doomed)
        if dry_run:
            return self.result
        with self._alone() as is_alone:
            if doomed and not is_alone:
                # Most likely so later too, and the copies would be for nothing.
                self._put_off()
                doomed = []
        with translate_os_errors(f"write to the store {self.layout.directory}"):
            written = {index.info.id for index in self._rewrite(doomed)}
            write_unreached(self.layout, self.since)
            # A pack is named by its contents: what remains of one may be what another already is.
            doomed = [index for index in doomed if index.info.id not in written]
            if doomed:
                self._delete(doomed, written | {index.info.id for index in before})
                write_unreached(self.layout, self.since)
        return self.result

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """Holds `use` alone if nobody uses the store right now; tells whether."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(file_lock(self.layout.use, timeout_s=0))
            except LockTimeoutError:
                yield False
                return
            yield True

    # ------------------------------------------------------------------------------------------- marking

    def _mark_needed(self) -> None:
        """Marks everything that the roots need; what is marked already is not followed again."""
        roots = self.read_roots()
        self.marks.reach(roots.digests)
        for commit_id in self._unmarked(RecordKind.COMMIT):
            commit = self.store.read_object(commit_id)
            if isinstance(commit, Commit) and commit.code_sha in roots.code_shas:
                self.marks.reach([commit_id.digest])
        for verdict_id in self._unmarked(RecordKind.VERDICT):
            verdict = self.store.read_object(verdict_id)
            if isinstance(verdict, Verdict) and self.marks.is_reached(RecordKind.RUN, verdict.run.digest):
                self.marks.reach([verdict_id.digest])

    def _unmarked(self, kind: RecordKind) -> list[ObjectId]:
        return [
            object_id
            for object_id in self.store.iter_object_ids(kind)
            if not self.marks.is_reached(kind, object_id.digest)
        ]

    def _note_unreached(self, packs: Sequence[PackIndex]) -> None:
        known = read_unreached(self.layout)
        noted_s = self._time_to_note(packs)
        for index in packs:
            marks, before = self.marks.of(index), known.get(index.info.id)
            if 0 not in marks:
                continue
            if before is None or len(before) != len(marks):
                before = array.array("I", bytes(4 * len(marks)))
            # A time that is still to come is a clock that went wrong, and would keep the record for ever.
            times = (
                0 if mark else min(first or noted_s, noted_s)
                for mark, first in zip(marks, before, strict=True)
            )
            self.since[index.info.id] = array.array("I", times)

    def _time_to_note(self, packs: Sequence[PackIndex]) -> int:
        """Returns the present time, or that of the youngest pack where the clock has fallen behind it.

        So does the clock of a machine that starts without a battery, in 1970. What is noted with that time would be
        older than any keep period once the clock is right again.
        """
        newest_s = 0
        for index in packs:
            # One that is gone or cannot be read is met again, or was replaced.
            with contextlib.suppress(OSError):
                newest_s = max(newest_s, int(self.layout.pack(index.info.id).stat().st_mtime))
        return max(1, self.now_s, min(newest_s, _LAST_SECOND))

    def _mark_kept(self, packs: Sequence[PackIndex]) -> None:
        """Marks what is younger than the keep period, or of a kind that this mlvc does not know, and its needs."""
        for index in packs:
            since = self.since.get(index.info.id)
            if since is None:
                continue
            marks = self.marks.of(index)
            for number, entry in enumerate(self.catalog.iter_entries(index)):
                if marks[number]:
                    continue
                if entry.kind not in _KNOWN:
                    marks[number] = KEPT
                elif self.now_s - since[number] < self.keep_s:
                    self.marks.reach_record(entry.kind, entry.part, entry.digest, KEPT)

    # ------------------------------------------------------------------------------------------ choosing

    def _choose(self, packs: Sequence[PackIndex]) -> list[PackIndex]:
        """Returns the packs that are to go; what the others hold stays, and with it all that it needs."""
        doomed = [index for index in packs if self._has_due(index) and self._is_worth_it(index)]
        going = {index.info.id for index in doomed}
        for index in packs:
            if index.info.id not in going:
                self._spare(index)
        return [index for index in doomed if self._has_due(index)]

    def _has_due(self, index: PackIndex) -> bool:
        marks = self.marks.of(index)
        return 0 in marks or DUPLICATE in marks

    def _is_worth_it(self, index: PackIndex) -> bool:
        # Metadata goes whenever it can: there is little of it, and it names data that goes.
        due_bytes = sum(_size(entry) for _, entry in self._due(index))
        return not index.info.is_data or due_bytes * _MUCH >= index.info.size_bytes

    def _due(self, index: PackIndex) -> Iterator[tuple[int, Entry]]:
        marks = self.marks.of(index)
        return (
            (number, entry)
            for number, entry in enumerate(self.catalog.iter_entries(index))
            if marks[number] in _DUE
        )

    def _spare(self, index: PackIndex) -> None:
        """Marks what the records of a pack that stays need; those that are due remain unmarked themselves."""
        for _, entry in list(self._due(index)):
            self.marks.follow_record(entry.kind, entry.part, entry.digest, KEPT)

    def _count(self, packs: Sequence[PackIndex], doomed: Sequence[PackIndex]) -> None:
        result = self.result
        removed: set[ObjectId] = set()
        going = {index.info.id for index in doomed}
        for index in packs:
            since, marks = self.since.get(index.info.id), self.marks.of(index)
            for number, entry in enumerate(self.catalog.iter_entries(index)):
                if marks[number] == DUPLICATE:
                    result.duplicate_bytes += _size(entry) if index.info.id in going else 0
                elif since is None or not since[number]:
                    result.needed_bytes += _size(entry)
                elif marks[number]:
                    result.kept_bytes += _size(entry)
                    until_s = since[number] + self.keep_s
                    if until_s > self.now_s:
                        result.kept_until_s = min(result.kept_until_s or until_s, until_s)
                elif index.info.id in going:
                    result.freed_bytes += _size(entry)
                    result.removed_records += 1
                    if entry.kind in OBJECT_ID_TYPES:
                        removed.add(OBJECT_ID_TYPES[RecordKind(entry.kind)](entry.digest))
                else:
                    result.stuck_bytes += _size(entry)
        result.removed = tuple(sorted(removed, key=lambda item: (item.noun, item.digest)))
        result.packs_deleted = len(doomed)

    # ---------------------------------------------------------------------------------------- rewriting

    def _rewrite(self, doomed: Sequence[PackIndex]) -> list[PackIndex]:
        """Copies what remains of the doomed packs into new ones."""
        total = sum(index.info.size_bytes for index in doomed)
        written = []
        whole = {
            (entry.kind, entry.part, entry.digest)
            for index in doomed
            for _, entry in self._remaining(index)
            if not entry.base
        }
        with self.reporter.task("copying what remains", total=total, unit="bytes") as task:
            for is_data in (True, False):
                sources = [index for index in doomed if index.info.is_data is is_data]
                remaining = (
                    (
                        index.info.id,
                        [
                            entry
                            for _, entry in self._remaining(index)
                            # Two chunks may be deltas of each other.
                            if not entry.base or (entry.kind, entry.part, entry.digest) not in whole
                        ],
                    )
                    for index in sources
                )
                written += copy_records(self.store, remaining, task, is_data=is_data)
        ages = {
            (entry.kind, entry.part, entry.digest): since[number]
            for index in doomed
            if (since := self.since.get(index.info.id)) is not None
            for number, entry in self._remaining(index)
            if since[number]
        }
        for index in written:
            self.catalog.add(index)
            times = (
                ages.get((entry.kind, entry.part, entry.digest), 0)
                for entry in self.catalog.iter_entries(index)
            )
            self.since[index.info.id] = array.array("I", times)
        self.result.packs_written = len(written)
        return written

    def _remaining(self, index: PackIndex) -> list[tuple[int, Entry]]:
        marks = self.marks.of(index)
        return [
            (number, entry)
            for number, entry in enumerate(self.catalog.iter_entries(index))
            if marks[number] not in _DUE
        ]

    # ------------------------------------------------------------------------------------------ deleting

    def _delete(self, doomed: list[PackIndex], known: set[PackId]) -> None:
        due = {index.info.id: bytes(self.marks.of(index)) for index in doomed}
        with self._alone() as is_alone:
            if not is_alone:
                self._put_off()
                return
            self.catalog.refresh()
            self._mark_needed()
            for index in self.catalog.packs():
                if index.info.id not in known:
                    for entry in self.catalog.iter_entries(index):
                        if entry.kind in _KNOWN:
                            self.marks.reach_record(entry.kind, entry.part, entry.digest, KEPT)
            doomed = self._still_doomed(doomed, due)
            self.result.packs_deleted = len(doomed)
            if not doomed:
                return
            condemn(self.layout, [index.info.id for index in doomed])
            execute(self.layout)
            self.catalog.refresh()
        for index in doomed:
            self.since.pop(index.info.id, None)

    def _put_off(self) -> None:
        result = self.result
        result.is_put_off = True
        result.packs_deleted = result.freed_bytes = result.duplicate_bytes = result.removed_records = 0
        result.removed = ()

    def _still_doomed(self, doomed: list[PackIndex], due: dict[PackId, bytes]) -> list[PackIndex]:
        """Leaves out the packs in which something is needed after all, until what stays is closed again.

        That is what was marked meanwhile, or is marked and in no pack that stays.
        """
        while True:
            going = {index.info.id for index in doomed}
            spared = [
                index
                for index in doomed
                if bytes(self.marks.of(index)) != due[index.info.id] or self._is_last(index, going)
            ]
            if not spared:
                return doomed
            doomed = [index for index in doomed if index not in spared]
            for index in spared:
                self._spare(index)

    def _is_last(self, index: PackIndex, going: set[PackId]) -> bool:
        """Returns whether a pack holds something that is needed or kept, and only packs that go hold that."""
        marks = self.marks.of(index)
        return any(
            all(
                copy.info.id in going
                for copy, _, _ in self.catalog.find_all(entry.digest, entry.kind, entry.part)
            )
            for number, entry in enumerate(self.catalog.iter_entries(index))
            if marks[number]
        )


def _size(entry: Entry) -> int:
    return entry.end - entry.offset
