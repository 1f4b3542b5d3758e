"""The work tree of one repository: what a verb sees of this room."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from mlvc import fsio
from mlvc.errors import MlvcError, UnsavedError
from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import TrackedPath, check_path
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind, TreeEntry
from mlvc.worktree.apply import Applier
from mlvc.worktree.capture import Capture, UnstorableError, check_storable, forget_missing
from mlvc.worktree.contents import add_contents
from mlvc.worktree.ingest import ingest
from mlvc.worktree.journal import append_saved, read_saved
from mlvc.worktree.own import make_own
from mlvc.worktree.plan import MissingObjectsError, Node, Planner, Risk, lay_over, merge, nest
from mlvc.worktree.previous import Previous
from mlvc.worktree.scan import (
    Directory,
    FileChangedError,
    check_lasting,
    kind_of,
    list_leftovers,
    lstat_at,
    open_child,
    special_word,
)
from mlvc.worktree.statcache import Stamp
from mlvc.worktree.view import PathMissingError, WorktreeView, rooted
from mlvc.worktree.write_out import write_out

if TYPE_CHECKING:
    from mlvc.ports import Linker, ObjectWriter, Reporter, Store

__all__ = ["MaterialiseResult", "PathMissingError", "UnsavedFilesError", "Worktree"]

_NAMED = 20
_SETTLE_S = 0.05
"""The longest wait for the file system's clock to tick; Linux ticks every 1 to 10 ms."""


class UnsavedFilesError(UnsavedError):
    """Files that would be overwritten or deleted hold bytes that are in no object.

    Attributes:
        paths: Those files.
    """

    def __init__(self, paths: Sequence[bytes]) -> None:
        names = ", ".join(encode_name(path) for path in paths[:_NAMED])
        more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
        super().__init__(
            f"these files are stored nowhere else and would be lost: {names}{more}; nothing was changed",
            hint="store them with `mlvc add`, or repeat with `--force`, which saves them first",
        )
        self.paths = tuple(paths)


@dataclass(frozen=True, slots=True)
class MaterialiseResult:
    """What a checkout of files did.

    Attributes:
        written: How many files and links were written.
        deleted: How many were deleted.
        unchanged: How many were right already.
        saved: What was stored before it was overwritten by force.
    """

    written: int
    deleted: int
    unchanged: int
    saved: tuple[TrackedPath, ...] = ()


class Worktree(WorktreeView):
    """The files of one work tree, with its stat cache and its journal of saved files.

    Paths are relative to the root, as bytes. Not safe for use from several threads. Callers that write hold the
    work tree's lock.
    """

    def __init__(
        self, root: Path, state_dir: Path, store: Store, reporter: Reporter, link: Linker | None = None
    ) -> None:
        super().__init__(root, state_dir, store, reporter)
        self._link = link
        self._journal_path = state_dir / "saved.log"
        self._store = store
        self._captured: list[bytes] | None = None

    @contextlib.contextmanager
    def storing(self) -> Iterator[ObjectWriter]:
        """Begins storing, as `Store.writer` does, and remembers what is captured with that writer as stored.

        The stat cache is written once, at the end. It is many times as large as what usually changed, and whoever
        syncs anything after it was written has to wait for it.
        """
        self._captured = []
        try:
            with self._store.writer() as writer:
                yield writer
            if self._cache.believe(self._store.holdings()):
                for path in self._captured:
                    self._cache.note_stored(os.fsdecode(path))
        finally:
            self._captured = None
            self._cache.save()

    def capture(self, path: bytes, writer: ObjectWriter, previous: TrackedPath | None = None) -> TrackedPath:
        """Stores what stands at `path` and returns its entry, without a run.

        A file that is unchanged since it was last stored, and that the store still has, is not read.

        Args:
            path: Of a file or directory.
            writer: Where to add it.
            previous: What was tracked there before: what is stored resembles it, and can be stored as the difference.

        Raises:
            PathMissingError: Nothing is there.
            FormatError: The path itself cannot be tracked.
            BeyondLinkError: The path leads through a link.
            UnstorableError: Something at or below it cannot be stored; all such paths are named.
            FileChangedError: A file keeps changing while it is read.
            FileUnreadableError: A file cannot be read.
        """
        check_path(path)
        check_lasting(b"", os.fsdecode(path).split("/"))
        self._cache.believe(self._store.holdings())
        now = self._cache.now()
        with self._at(path) as (fd, name):
            seen = self._look(fd, [name], path.rpartition(b"/")[0])
            if name in seen.children:
                before = Previous.of(self._store, previous)
                entry = self._capture_directory(fd, name, path, seen.children[name], before, writer)
            elif name in seen.entries:
                before = Previous.of(self._store, previous)
                entry = self._capture_file(fd, name, path, seen, before, writer)
            else:
                raise PathMissingError(path)
        self._remember(rooted(path, seen), [path], now)
        if self._captured is not None and entry.kind is Kind.DIRECTORY:
            self._captured.append(path)
        return entry

    def _capture_directory(
        self, fd: int, name: str, path: bytes, seen: Directory, previous: Previous, writer: ObjectWriter
    ) -> TrackedPath:
        check_storable(path, seen)
        forget_missing(self._store, seen)
        with (
            open_child(name, fd, path) as child_fd,
            self._reporter.task(
                f"adding {encode_name(path)}", total=_unread_bytes(seen), unit="bytes"
            ) as task,
        ):
            ingest(child_fd, path, seen, previous, writer, task.advance)
            capture = Capture(self._store, writer, task.advance)
            entry = capture.store_directory(child_fd, path, seen, previous)
        return TrackedPath(path, entry.kind, entry.id, seen.files, entry.size_bytes)

    def _capture_file(
        self, fd: int, name: str, path: bytes, seen: Directory, previous: Previous, writer: ObjectWriter
    ) -> TrackedPath:
        stamp = seen.entries[name]
        if kind_of(stamp.mode) is None:
            raise UnstorableError({path: special_word(stamp.mode)})
        if not stamp.digest or not self._store.has_blob(BlobId(stamp.digest)):
            with self._reporter.task(f"adding {encode_name(path)}", total=stamp.size, unit="bytes") as task:
                stamp = add_contents(fd, name, path, writer, task.advance, previous.blob)
            seen.entries[name] = stamp
        kind = kind_of(stamp.mode) or Kind.FILE
        return TrackedPath(path, kind, BlobId(stamp.digest), 1, stamp.size)

    def materialise(
        self,
        target: Mapping[bytes, TrackedPath],
        current: Mapping[bytes, TrackedPath],
        *,
        force: bool,
        overlay: Mapping[bytes, TrackedPath] = MappingProxyType({}),
        replacing: Callable[[Sequence[TrackedPath]], None] | None = None,
    ) -> MaterialiseResult:
        """Makes the files what the entries of `target` say; everything is checked before anything is touched.

        Only what differs is written. Files of `current` that `target` lacks are deleted; files in neither are left
        alone unless one stands where another must. Bytes that are in no object are never overwritten or deleted.
        The caller keeps what is in the store from being deleted meanwhile.

        Args:
            target: The wanted entries by path.
            current: The entries that the files were brought by.
            force: Store unsaved bytes first, name them in the journal, and go on; they are durable before the first
                file is touched.
            overlay: Files and links that shall stand in or beside what `target` says, in place of what it has there.
            replacing: Told, when everything was checked and before the first file is touched, which files and links
                that are not what `current` says will be changed or deleted; all of them are in objects by then.

        Raises:
            UnsavedFilesError: Bytes would be lost, and `force` is off.
            ObstructedError: A socket, device or untracked link stands in the way.
            MissingObjectsError: The store lacks contents; all such paths are named.
            FileChangedError: A file changed after it was checked; it is untouched.
            IntegrityError: Stored bytes are damaged; no wrong byte became visible.
        """
        paths = sorted(target.keys() | current.keys())
        for path in paths:
            check_path(path)
        self._cache.believe(self._store.holdings())
        with _opened_root(self._root) as fd:
            planner = Planner(self._store)
            wanted: Mapping[str, Node] = lay_over(self._store, nest(target), overlay)
            had = nest(current)
            seen = self._look_nested(fd, b"", merge(wanted, had))
            plan = planner.plan(fd, b"", seen, wanted, had)
            if planner.missing:
                raise MissingObjectsError(planner.missing)
            if planner.risks and not force:
                raise UnsavedFilesError([risk.path for risk in planner.risks])
            saved = self._save_risks(planner.risks)
            if replacing is not None:
                replacing([_as_tracked(path, stamp) for path, stamp in planner.replaced])
            with self._reporter.task("writing files", total=planner.write_bytes, unit="bytes") as task:
                applier = Applier(self._store, task.advance, self._link)
                try:
                    written = write_out(fd, plan, self._store, task.advance, self._link)
                    applier.apply(fd, b"", plan)
                finally:
                    self._remember(seen, paths, self._settled(), self._has_blobs())
        return MaterialiseResult(written + applier.written, applier.deleted, planner.unchanged, saved)

    def remove(self, entry: TrackedPath, *, force: bool = False) -> MaterialiseResult:
        """Deletes the files of an entry; those in its directories that are not part of it stay.

        Raises:
            UnsavedFilesError: A file holds bytes that are in no object, and `force` is off.
        """
        return self.materialise({}, {entry.path: entry}, force=force)

    def save_existing(self, paths: Iterable[bytes], writer: ObjectWriter) -> Mapping[bytes, TrackedPath]:
        """Stores what stands at each of the paths and names it in the journal (promise 5).

        Returns after it is durable; `writer` has been flushed. What was a link of the store's is a file of its own
        then, which may be written to.

        Returns:
            The entries of those paths at which something is.

        Raises:
            MlvcError: As `capture` raises it.
        """
        saved = {path: self.capture(path, writer) for path in paths if self.exists(path)}
        if saved:
            writer.flush()
            append_saved(self._journal_path, saved.values())
        for path in saved:
            with self._at(path) as (fd, name):
                make_own(fd, name, path)
        return saved

    def saved(self) -> Sequence[TrackedPath]:
        """Returns what was stored before it was overwritten, the oldest first."""
        return read_saved(self._journal_path)

    def export(self, source: TreeId | TrackedPath, destination: Path) -> None:
        """Writes a tree, or an entry at its path, into a directory outside the work tree; nothing is cached.

        Args:
            source: A tree, whose entries come to stand in `destination`, or an entry, which comes to stand at its
                path below it.
            destination: The directory; made if missing. What is to be written must not be there yet.

        Raises:
            MissingObjectsError: The store lacks contents; nothing was written.
            FileChangedError: Something stands in the way.
        """
        with fsio.translate_os_errors(f"make {destination}"):
            destination.mkdir(parents=True, exist_ok=True)
        wanted: Mapping[str, Node]
        if isinstance(source, TreeId):
            if not self._store.has_tree(source):
                raise MissingObjectsError([b"."])
            wanted = {os.fsdecode(item.name): item for item in self._store.read_tree(source)}
        else:
            check_path(source.path)
            wanted = nest({source.path: source})
        planner = Planner(self._store, is_once=True)
        plan = planner.plan(None, b"", Directory(), wanted, {})
        if planner.missing:
            raise MissingObjectsError(planner.missing)
        with (
            self._reporter.task("writing files", total=planner.write_bytes, unit="bytes") as task,
            _opened_root(destination) as fd,
        ):
            write_out(fd, plan, self._store, task.advance)
            Applier(self._store, task.advance).apply(fd, b"", plan)

    def _look_nested(self, fd: int, path: bytes, wanted: Mapping[str, Node]) -> Directory:
        """Returns what stands at tracked paths; of directories that only lead to them nothing else is seen."""
        leading = {name: node for name, node in wanted.items() if not isinstance(node, TreeEntry)}
        seen = self._look(fd, wanted.keys() - leading.keys(), path)
        with fsio.translate_os_errors(f"list {encode_name(path) or self._root}"):
            seen.leftovers = list_leftovers(fd)
        for name, node in leading.items():
            below = path + b"/" + os.fsencode(name) if path else os.fsencode(name)
            status = lstat_at(name, fd, below)
            if status is None:
                continue
            if kind_of(status.st_mode) is Kind.DIRECTORY:
                with open_child(name, fd, below) as child_fd:
                    seen.children[name] = self._look_nested(child_fd, below, node)
            else:
                seen.entries[name] = Stamp.of(status)
        return seen

    def _save_risks(self, risks: Sequence[Risk]) -> tuple[TrackedPath, ...]:
        if not risks:
            return ()
        saved = []
        with self._store.writer() as writer:
            for risk in risks:
                with self._at(risk.path) as (fd, name):
                    stamp = add_contents(fd, name, risk.path, writer, lambda _amount: None)
                kind = kind_of(stamp.mode)
                if kind is None or stamp != risk.stamp:
                    raise FileChangedError(risk.path)
                saved.append(TrackedPath(risk.path, kind, BlobId(stamp.digest), 1, stamp.size))
        append_saved(self._journal_path, saved)
        return tuple(saved)

    def _save_cache(self) -> None:
        # While storing, once at the end.
        if self._captured is None:
            super()._save_cache()

    def _has_blobs(self) -> Callable[[Sequence[bytes]], bool] | None:
        """Returns what tells whether the store has blobs; None where it lost some meanwhile, or cannot tell."""
        try:
            return self._store.has_blobs if self._cache.believe(self._store.holdings()) else None
        except MlvcError:
            return None

    def _settled(self) -> int | None:
        """Returns a time stamp that is later than everything written until now, if the clock ticks soon enough."""
        start = now = self._cache.now()
        deadline = time.monotonic() + _SETTLE_S
        while now is not None and now == start and time.monotonic() < deadline:
            time.sleep(_SETTLE_S / 50)
            now = self._cache.now()
        return now


@contextlib.contextmanager
def _opened_root(root: Path) -> Iterator[int]:
    with fsio.translate_os_errors(f"open {root}"):
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _as_tracked(path: bytes, stamp: Stamp) -> TrackedPath:
    return TrackedPath(path, kind_of(stamp.mode) or Kind.FILE, BlobId(stamp.digest), 1, stamp.size)


def _unread_bytes(seen: Directory) -> int:
    """Returns how many bytes have to be read, so far as the stat cache can tell."""
    return 0 if seen.tree else seen.unread_bytes() + sum(map(_unread_bytes, seen.children.values()))
