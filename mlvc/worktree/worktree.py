"""The work tree of one repository: what a verb sees of this room."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from mlvc import fsio
from mlvc.errors import MlvcError, NotFoundError, UnsavedError
from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import TrackedPath, check_path
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind, TreeEntry
from mlvc.ports import Linker, ObjectWriter, Reporter, Store
from mlvc.worktree.apply import Applier
from mlvc.worktree.capture import Capture, UnstorableError, check_storable
from mlvc.worktree.contents import add_contents
from mlvc.worktree.differences import Comparison
from mlvc.worktree.ingest import ingest
from mlvc.worktree.journal import append_saved, read_saved
from mlvc.worktree.own import make_own
from mlvc.worktree.plan import MissingObjectsError, Node, Planner, Risk, lay_over, merge, nest
from mlvc.worktree.previous import Previous
from mlvc.worktree.rescan import look_again
from mlvc.worktree.scan import (
    BeyondLinkError,
    Directory,
    FileChangedError,
    kind_of,
    list_leftovers,
    lstat_at,
    open_child,
    open_parent,
    remember,
    special_word,
)
from mlvc.worktree.statcache import Stamp, StatCache
from mlvc.worktree.trees import BoundedTrees, PathChange, as_tree_entry, only_side
from mlvc.worktree.write_out import write_out

__all__ = ["MaterialiseResult", "PathMissingError", "UnsavedFilesError", "Worktree"]

_NAMED = 20
_SETTLE_S = 0.05
"""The longest wait for the file system's clock to tick; Linux ticks every 1 to 10 ms."""


class PathMissingError(NotFoundError):
    """Nothing stands at a path of the work tree."""

    code = "path-missing"

    def __init__(self, path: bytes) -> None:
        super().__init__(f"{encode_name(path)} does not exist")
        self.path = path


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


class Worktree:
    """The files of one work tree, with its stat cache and its journal of saved files.

    Paths are relative to the root, as bytes. Not safe for use from several threads. Callers that write hold the
    work tree's lock.
    """

    def __init__(
        self, root: Path, state_dir: Path, store: Store, reporter: Reporter, link: Linker | None = None
    ) -> None:
        self._root = root
        self._link = link
        self._cache_path = state_dir / "statcache"
        self._journal_path = state_dir / "saved.log"
        self._store = store
        self._reporter = reporter
        self._captured: list[bytes] | None = None

    @cached_property
    def _cache(self) -> StatCache:
        return StatCache(self._cache_path)

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
        self._remember(_rooted(path, seen), [path], now)
        if self._captured is not None and entry.kind is Kind.DIRECTORY:
            self._captured.append(path)
        return entry

    def _capture_directory(
        self, fd: int, name: str, path: bytes, seen: Directory, previous: Previous, writer: ObjectWriter
    ) -> TrackedPath:
        check_storable(path, seen)
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

    def differences(self, entry: TrackedPath) -> Sequence[PathChange]:
        """Returns how the work tree differs from an entry, sorted by path; writes nothing to the store.

        A file of another size counts as modified without being read; the stat cache answers for unchanged ones.

        Raises:
            ObjectMissingError: A tree that has to be read is not in the store.
            FileUnreadableError: A file or directory cannot be read.
        """
        check_path(entry.path)
        recorded = as_tree_entry(entry)
        now = self._cache.now()
        try:
            with (
                self._at(entry.path) as (fd, name),
                self._reporter.task(f"comparing {entry.name}", unit="bytes") as task,
            ):
                seen = self._look(fd, [name], entry.path.rpartition(b"/")[0])
                comparison = Comparison(BoundedTrees(self._store), task.advance)
                changes = list(comparison.entry(fd, name, entry.path, recorded, seen))
        except (PathMissingError, BeyondLinkError):
            changes = list(only_side(BoundedTrees(self._store), entry.path, recorded, "deleted"))
        else:
            self._remember(_rooted(entry.path, seen), [entry.path], now)
        return sorted(changes, key=lambda change: change.path)

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

    def exists(self, path: bytes) -> bool:
        """Returns whether anything, even a broken link, stands at a path; nothing does beyond a link."""
        check_path(path)
        try:
            with self._at(path) as (fd, name):
                return lstat_at(name, fd, path) is not None
        except (PathMissingError, BeyondLinkError):
            return False

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
        planner = Planner(self._store)
        plan = planner.plan(None, b"", Directory(), wanted, {})
        if planner.missing:
            raise MissingObjectsError(planner.missing)
        with (
            self._reporter.task("writing files", total=planner.write_bytes, unit="bytes") as task,
            _opened_root(destination) as fd,
        ):
            write_out(fd, plan, self._store, task.advance)
            Applier(self._store, task.advance).apply(fd, b"", plan)

    @contextlib.contextmanager
    def _at(self, path: bytes) -> Iterator[tuple[int, str]]:
        """Opens the directory of a path, and tells the name in it."""
        try:
            with open_parent(self._root, path) as fd:
                yield fd, os.fsdecode(path.rpartition(b"/")[2])
        except FileNotFoundError as exc:
            raise PathMissingError(path) from exc

    def _look(self, fd: int, names: Iterable[str], parent: bytes) -> Directory:
        """Returns what stands under some names of a directory, and everything below those."""
        known = self._cache.get(os.fsdecode(parent)).entries
        seen = Directory()
        for name in names:
            path = parent + b"/" + os.fsencode(name) if parent else os.fsencode(name)
            status = lstat_at(name, fd, path)
            if status is None:
                continue
            if kind_of(status.st_mode) is Kind.DIRECTORY:
                with open_child(name, fd, path) as child_fd:
                    seen.children[name] = look_again(child_fd, os.fsdecode(path), self._cache)
            else:
                stamp = known.get(name)
                is_known = stamp is not None and stamp.is_same_file(status)
                seen.entries[name] = stamp if stamp is not None and is_known else Stamp.of(status)
        return seen

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

    def _remember(
        self,
        seen: Directory,
        paths: Iterable[bytes],
        now: int | None,
        has_blobs: Callable[[Sequence[bytes]], bool] | None = None,
    ) -> None:
        """Makes the stat cache know what `seen`, of the root, tells about some paths."""
        if now is None:
            return
        for path in paths:
            *parents, name = os.fsdecode(path).split("/")
            directory: Directory | None = seen
            for parent in parents:
                directory = None if directory is None else directory.children.get(parent)
            if directory is None:
                continue
            child, stamp = directory.children.get(name), directory.entries.get(name)
            if child is not None:
                remember(self._cache, os.fsdecode(path), child, now, has_blobs)
            else:
                trusted = stamp is not None and stamp.digest and stamp.ctime_ns < now
                self._cache.set_file("/".join(parents), name, stamp if trusted else None)
        if self._captured is None:
            self._cache.save()

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


def _rooted(path: bytes, parent: Directory) -> Directory:
    """Returns a root in which `parent` stands where the directory of `path` does."""
    for name in reversed(os.fsdecode(path).split("/")[:-1]):
        above = Directory()
        above.children[name] = parent
        parent = above
    return parent


def _as_tracked(path: bytes, stamp: Stamp) -> TrackedPath:
    return TrackedPath(path, kind_of(stamp.mode) or Kind.FILE, BlobId(stamp.digest), 1, stamp.size)


def _unread_bytes(seen: Directory) -> int:
    """Returns how many bytes have to be read, so far as the stat cache can tell."""
    if seen.tree:
        return 0
    here = sum(seen.entries[name].size for name in seen.unread())
    return here + sum(_unread_bytes(child) for child in seen.children.values())
