"""Carrying out a plan: the only code of this room that changes the user's files.

Every directory is opened by its name in the one above it and no link is followed, so a hostile tree, or a link that
appears meanwhile, cannot lead outside. A file is written under a temporary name beside its place and renamed when
all of its bytes were verified. Before anything is replaced its stat data is compared with what the plan was made
from, so that an edit in between is not lost either.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mlvc import fsio
from mlvc.errors import FormatError
from mlvc.model.ids import BlobId
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind, TreeEntry
from mlvc.worktree.new_directories import remove_unnamed
from mlvc.worktree.plan import DirectoryPlan
from mlvc.worktree.scan import TEMPORARY_PREFIX, Directory, FileChangedError, lstat_at, open_directory
from mlvc.worktree.statcache import Stamp
from mlvc.worktree.trees import blob_of

if TYPE_CHECKING:
    from mlvc.ports import Linker, ObjectReader

__all__ = ["Applier"]

_LINK_TARGET_BYTES = 1 << 16
_EXECUTE_BITS = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


class Applier:
    """Carries out plans.

    Attributes:
        written: How many files and links were written, or had their executable bit set.
        deleted: How many files and links were deleted.
    """

    def __init__(
        self, store: ObjectReader, advance: Callable[[int], None], link: Linker | None = None
    ) -> None:
        self._store = store
        self._advance = advance
        self._link = link
        self._temporary = TEMPORARY_PREFIX + os.urandom(8).hex()
        self.written = 0
        self.deleted = 0

    def apply(self, fd: int, path: bytes, plan: DirectoryPlan) -> None:
        """Makes the directory what the plan says, and the plan's `seen` what the directory then is.

        Raises:
            FileChangedError: Something changed since the plan was made; what was not reached is untouched.
            IntegrityError: Stored bytes are damaged; no wrong byte became visible.
            FileUnreadableError: Something cannot be written.
            DiskFullError: There is no room.
        """
        seen = plan.seen
        prefix = path + b"/" if path else b""
        _remove_leftovers(fd, path, seen)
        for name in plan.removals:
            self._remove_directory(fd, name, prefix + os.fsencode(name), seen.children.pop(name))
        for name in plan.deletes:
            self._delete(fd, name, prefix + os.fsencode(name), seen.entries.pop(name))
        for name, entry in plan.writes:
            below = prefix + os.fsencode(name)
            seen.entries[name] = self.write(fd, name, below, entry, seen.entries.get(name))
            self.written += 1
        for name, entry in plan.modes:
            below = prefix + os.fsencode(name)
            with _writing(below):
                self._check_unchanged(fd, name, below, seen.entries[name])
                # The mode of a link of the store's is the mode of the store's file.
                is_shared = os.stat(name, dir_fd=fd, follow_symlinks=False).st_nlink > 1
                seen.entries[name] = (
                    self._write(fd, name, below, entry) if is_shared else _set_executable(fd, name, entry)
                )
            self.written += 1
        for name, child in plan.children.items():
            seen.children[name] = child.seen
            self._apply_child(fd, name, prefix + os.fsencode(name), child)
        for name in plan.prunes:
            with _writing(prefix + os.fsencode(name)):
                if _remove_if_empty(fd, name):
                    seen.children.pop(name, None)
        plan.note_tree()

    def _apply_child(self, fd: int, name: str, path: bytes, plan: DirectoryPlan) -> None:
        with _writing(path):
            try:
                child_fd = open_directory(name, fd)
            except FileNotFoundError:
                os.mkdir(name, dir_fd=fd)
                child_fd = open_directory(name, fd)
        try:
            self.apply(child_fd, path, plan)
        finally:
            os.close(child_fd)

    def write(self, fd: int, name: str, path: bytes, entry: TreeEntry, expected: Stamp | None) -> Stamp:
        """Puts a file or link in its place and returns its stamp.

        Args:
            fd: The directory.
            name: Its name there.
            path: What to call it in an error.
            entry: What it shall be.
            expected: What stands there now; None for nothing.

        Raises:
            MlvcError: As `apply` raises it.
        """
        with _writing(path):
            self._check_unchanged(fd, name, path, expected)
            return self._write(fd, name, path, entry)

    def _write(self, fd: int, name: str, path: bytes, entry: TreeEntry) -> Stamp:
        temporary, is_linked = self._temporary, False
        try:
            if entry.kind is Kind.SYMLINK:
                self._make_link(fd, temporary, path, entry)
            else:
                is_linked = self._make_hard_link(fd, temporary, entry)
                if not is_linked:
                    self._make_file(fd, temporary, path, entry)
            fsio.rename(temporary, name, dir_fd=fd)
            if is_linked:
                # Renaming one link of a file over another one does nothing.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=fd)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=fd)
            raise
        return Stamp.of(os.stat(name, dir_fd=fd, follow_symlinks=False), entry.id.digest)

    def _make_hard_link(self, fd: int, temporary: str, entry: TreeEntry) -> bool:
        # An executable has another mode than the store's file, and a link has the same.
        if self._link is None or entry.kind is Kind.EXECUTABLE:
            return False
        if not self._link(BlobId(entry.id.digest), temporary, fd):
            return False
        self._advance(entry.size_bytes)
        return True

    def _make_file(self, fd: int, temporary: str, path: bytes, entry: TreeEntry) -> None:
        mode = 0o777 if entry.kind is Kind.EXECUTABLE else 0o666
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file_fd = os.open(temporary, flags, mode, dir_fd=fd)
        blob = blob_of(path, entry)
        try:
            if self._store.fill_file(blob, file_fd, self._advance):
                return
            for piece in self._store.iter_blob(blob):
                view = memoryview(piece)
                while view:
                    view = view[os.write(file_fd, view) :]
                self._advance(len(piece))
        finally:
            os.close(file_fd)

    def _make_link(self, fd: int, temporary: str, path: bytes, entry: TreeEntry) -> None:
        target = self._store.read_blob(blob_of(path, entry), limit_bytes=_LINK_TARGET_BYTES)
        if not target or b"\0" in target:
            raise FormatError(f"the link {encode_name(path)} has no valid target")
        os.symlink(target, os.fsencode(temporary), dir_fd=fd)
        self._advance(len(target))

    def _delete(self, fd: int, name: str, path: bytes, stamp: Stamp) -> None:
        with _writing(path):
            self._check_unchanged(fd, name, path, stamp)
            os.unlink(name, dir_fd=fd)
        self.deleted += 1

    def _remove_directory(self, fd: int, name: str, path: bytes, seen: Directory) -> None:
        with _writing(path):
            child_fd = open_directory(name, fd)
        try:
            _remove_leftovers(child_fd, path, seen)
            for item, stamp in seen.entries.items():
                self._delete(child_fd, item, path + b"/" + os.fsencode(item), stamp)
            for item, child in seen.children.items():
                self._remove_directory(child_fd, item, path + b"/" + os.fsencode(item), child)
        finally:
            os.close(child_fd)
        with _writing(path):
            if not _remove_if_empty(fd, name):
                raise FileChangedError(path)

    @staticmethod
    def _check_unchanged(fd: int, name: str, path: bytes, expected: Stamp | None) -> None:
        status = lstat_at(name, fd, path)
        if (status is None) != (expected is None) or (
            status is not None and expected is not None and not expected.is_same_file(status)
        ):
            raise FileChangedError(path)


def _remove_leftovers(fd: int, path: bytes, seen: Directory) -> None:
    """Removes what processes that are no more were writing: whoever writes holds the work tree's lock."""
    for name in seen.leftovers:
        with _writing(path + b"/" + os.fsencode(name)):
            remove_unnamed(fd, name)
    seen.leftovers = ()


def _set_executable(fd: int, name: str, entry: TreeEntry) -> Stamp:
    file_fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    try:
        mode = stat.S_IMODE(os.fstat(file_fd).st_mode)
        # Whoever may read it may execute it, as git does it and as a new file would come out.
        bits = (mode & (stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)) >> 2 | stat.S_IXUSR
        os.fchmod(file_fd, mode | bits if entry.kind is Kind.EXECUTABLE else mode & ~_EXECUTE_BITS)
        return Stamp.of(os.fstat(file_fd), entry.id.digest)
    finally:
        os.close(file_fd)


def _remove_if_empty(fd: int, name: str) -> bool:
    try:
        os.rmdir(name, dir_fd=fd)
    except FileNotFoundError:
        return True
    except OSError as exc:
        if exc.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            return False
        raise
    return True


@contextlib.contextmanager
def _writing(path: bytes) -> Iterator[None]:
    try:
        yield
    except NotADirectoryError:
        raise FileChangedError(path) from None
    except OSError as exc:
        with fsio.translate_os_errors(f"write {encode_name(path)}"):
            raise exc from None
