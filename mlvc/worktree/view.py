"""What can be seen of a work tree: what stands where, and how it differs from what is recorded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlvc.errors import NotFoundError
from mlvc.model.lock import TrackedPath, check_path
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind
from mlvc.worktree.differences import Comparison
from mlvc.worktree.rescan import look_again
from mlvc.worktree.scan import (
    BeyondLinkError,
    Directory,
    kind_of,
    lstat_at,
    open_child,
    open_parent,
    remember,
)
from mlvc.worktree.statcache import Stamp, StatCache
from mlvc.worktree.trees import BoundedTrees, PathChange, TreeReader, as_tree_entry, only_side

if TYPE_CHECKING:
    from mlvc.ports import Reporter

__all__ = ["PathMissingError", "WorktreeView", "rooted"]


class PathMissingError(NotFoundError):
    """Nothing stands at a path of the work tree."""

    code = "path-missing"

    def __init__(self, path: bytes) -> None:
        super().__init__(f"{encode_name(path)} does not exist")
        self.path = path


class WorktreeView:
    """The files of one work tree as they are seen, with its stat cache; loads nothing that only writing needs.

    Paths are relative to the root, as bytes. Not safe for use from several threads.
    """

    def __init__(self, root: Path, state_dir: Path, trees: TreeReader, reporter: Reporter) -> None:
        """Looks at nothing yet.

        Args:
            root: The top of the work tree.
            state_dir: Where the stat cache is.
            trees: Where recorded trees are read, as far as the stat cache does not know them.
            reporter: Told what takes long.
        """
        self._root = root
        self._cache_path = state_dir / "statcache"
        self._trees = trees
        self._reporter = reporter

    @cached_property
    def _cache(self) -> StatCache:
        return StatCache(self._cache_path)

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
                comparison = Comparison(BoundedTrees(self._trees), task.advance)
                changes = list(comparison.entry(fd, name, entry.path, recorded, seen))
        except (PathMissingError, BeyondLinkError):
            changes = list(only_side(BoundedTrees(self._trees), entry.path, recorded, "deleted"))
        else:
            self._remember(rooted(entry.path, seen), [entry.path], now)
        return sorted(changes, key=lambda change: change.path)

    def exists(self, path: bytes) -> bool:
        """Returns whether anything, even a broken link, stands at a path; nothing does beyond a link."""
        check_path(path)
        try:
            with self._at(path) as (fd, name):
                return lstat_at(name, fd, path) is not None
        except (PathMissingError, BeyondLinkError):
            return False

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
        self._save_cache()

    def _save_cache(self) -> None:
        self._cache.save()


def rooted(path: bytes, parent: Directory) -> Directory:
    """Returns a root in which `parent` stands where the directory of `path` does."""
    for name in reversed(os.fsdecode(path).split("/")[:-1]):
        above = Directory()
        above.children[name] = parent
        parent = above
    return parent
