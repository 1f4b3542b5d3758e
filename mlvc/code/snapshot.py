"""The code tree: the work tree's code exactly as it was, as an mlvc tree.

Git's index says which files are code; their bytes are the work tree's own, not what git's filters would make of them.
Untracked files belong to it unless git ignores them, they look like a secret, or they are large: an untracked script
is often what was run. `mlvc.lock` does not: it changes with every run of the same code.
Page: docs/guides/code.md
"""

from __future__ import annotations

import errno
import fnmatch
import os
import stat
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Self

from mlvc.code.child import run_git
from mlvc.code.survey import Survey, survey
from mlvc.fsio import FileUnreadableError, open_beneath, translate_os_errors
from mlvc.model.names import encode_name
from mlvc.model.objects import Code
from mlvc.model.tree import Kind, TreeEntry

if TYPE_CHECKING:
    from pathlib import Path

    from mlvc.model.config import Untracked
    from mlvc.model.ids import BlobId, TreeId
    from mlvc.ports import ObjectWriter

__all__ = [
    "LARGEST_UNTRACKED_BYTES",
    "MOST_UNTRACKED_BYTES",
    "capture_code",
    "capture_committed",
    "looks_secret",
]

LARGEST_UNTRACKED_BYTES = 1_000_000
MOST_UNTRACKED_BYTES = 20_000_000

_SECRET_NAMES = (".env*", "*.pem", "*.key", "id_*", ".netrc", "*credentials*", "*.tfstate", "*.tfstate.*")
_NOT_CODE = frozenset({b"mlvc.lock"})
_READ_AT_ONCE_BYTES = 1 << 20
# What opening says where a component of the path is no directory (any more), or a link.
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


def capture_code(
    root: Path,
    branch: str | None,
    writer: ObjectWriter,
    *,
    untracked: Untracked,
    exclude: Collection[bytes],
    own_lines: Mapping[bytes, Collection[bytes]],
) -> Code:
    """Stores the code and returns its description; see `CodeRepository.capture`."""
    found = survey(root)
    left_out = _NOT_CODE | set(exclude)
    with _Files(root) as files:
        chosen, omitted = _choose_untracked(files, found, untracked, left_out)
        tracked = {path for path in found.tracked if not _is_below(path, left_out)}
        entries = _store_files(files, tracked | chosen, writer, omitted)
    for path in found.absent_submodules:
        omitted[path] = "a submodule that is not checked out"
    edited = {path for path in found.changed if not _is_below(path, left_out)} | (chosen & entries.keys())
    return Code(
        sha=found.sha,
        dirty=any(
            path not in own_lines or not _is_same_without(root, found.sha, path, own_lines[path])
            for path in edited
        ),
        tree=_store_directories(entries, writer),
        omitted=tuple(f"{encode_name(path)}\t{omitted[path]}" for path in sorted(omitted)),
        branch=branch,
    )


def capture_committed(root: Path, writer: ObjectWriter, exclude: Collection[bytes]) -> TreeId | None:
    """Stores HEAD's code as the work tree has it; see `CodeRepository.capture_committed`."""
    found = survey(root)
    if found.changed:
        return None
    left_out = _NOT_CODE | set(exclude)
    with _Files(root) as files:
        tracked = {path for path in found.tracked if not _is_below(path, left_out)}
        return _store_directories(_store_files(files, tracked, writer, {}), writer)


def _store_files(
    files: _Files, paths: Collection[bytes], writer: ObjectWriter, omitted: dict[bytes, str]
) -> dict[bytes, TreeEntry]:
    """Stores files and returns their entries by path; what cannot be stored is noted in `omitted`."""
    entries: dict[bytes, TreeEntry] = {}
    for path in sorted(paths):
        try:
            entry = files.store(path, writer)
        except OSError as exc:
            raise FileUnreadableError(
                f"cannot read {encode_name(path)}: {exc.strerror}",
                hint="all code must be readable; make it so, or let git ignore the file",
            ) from exc
        if entry is not None:
            entries[path] = entry
        elif files.is_special(path):
            omitted[path] = "neither file nor symlink"
    return entries


def _is_same_without(root: Path, sha: str | None, path: bytes, lines: Collection[bytes]) -> bool:
    """Returns whether a file is what HEAD has there, or nothing, but for some lines."""
    committed = run_git(root, "cat-file", "blob", f"{sha}:".encode() + path) if sha is not None else None
    before = committed.stdout if committed is not None and committed.returncode == 0 else b""
    try:
        with _Files(root) as files:
            now = files.read(path)
    except OSError:
        return False
    if now is None:
        return False
    kept = [[line for line in text.split(b"\n") if line and line not in lines] for text in (before, now)]
    return kept[0] == kept[1]


def _is_below(path: bytes, tops: Collection[bytes]) -> bool:
    """Returns whether a path is one of `tops`, or lies below one."""
    while path:
        if path in tops:
            return True
        path = path.rpartition(b"/")[0]
    return False


def _choose_untracked(
    files: _Files, found: Survey, untracked: Untracked, left_out: Collection[bytes]
) -> tuple[set[bytes], dict[bytes, str]]:
    """Returns the untracked files that are code, and the reason for each that is not."""
    chosen: set[bytes] = set()
    omitted: dict[bytes, str] = {}
    if untracked == "none":
        return chosen, omitted
    total_bytes = 0
    for path in sorted(found.untracked):
        if _is_below(path, left_out):
            continue
        size_bytes = files.size(path)
        if path.endswith(b"/"):
            omitted[path] = "another git repository"
        elif untracked == "all":
            chosen.add(path)
        elif looks_secret(path):
            omitted[path] = "looks like a secret"
        elif size_bytes > LARGEST_UNTRACKED_BYTES:
            omitted[path] = "larger than 1 MB"
        elif total_bytes + size_bytes > MOST_UNTRACKED_BYTES:
            omitted[path] = "over 20 MB of untracked files"
        else:
            total_bytes += size_bytes
            chosen.add(path)
    return chosen, omitted


def looks_secret(path: bytes) -> bool:
    """Returns whether a file is called as those are that hold secrets."""
    # Directories too: `.env/` and `credentials/` hold what their names say.
    components = os.fsdecode(path).lower().split("/")
    return any(fnmatch.fnmatchcase(name, pattern) for name in components for pattern in _SECRET_NAMES)


def _store_directories(entries: Mapping[bytes, TreeEntry], writer: ObjectWriter) -> TreeId:
    """Stores the directories that lead to `entries`, and returns the top one."""
    contents: defaultdict[bytes, list[TreeEntry]] = defaultdict(list)
    for path, entry in entries.items():
        contents[path.rpartition(b"/")[0]].append(entry)
    for directory in list(contents):
        while directory:
            directory = directory.rpartition(b"/")[0]  # noqa: PLW2901  # climbs to the top
            contents[directory] += ()
    # The deepest first, so that a directory is stored after what it names; recursion would end at 1,000 levels.
    for directory in sorted(contents, key=lambda path: path.count(b"/"), reverse=True):
        if directory:
            tree = writer.add_tree(contents[directory])
            parent, _, name = directory.rpartition(b"/")
            size_bytes = sum(entry.size_bytes for entry in contents[directory])
            contents[parent].append(TreeEntry(name, Kind.DIRECTORY, tree, size_bytes))
    return writer.add_tree(contents[b""])


class _Files:
    """Reads files below a directory, following no symbolic link; what a link replaced is not there."""

    def __init__(self, root: Path) -> None:
        with translate_os_errors(f"read {encode_name(os.fsencode(root))}"):
            self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # The directory that was asked for last stays open, since paths come in order.
        self._parent_path = b""
        self._parent_fd: int | None = os.dup(self._root_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_parent()
        os.close(self._root_fd)

    def size(self, path: bytes) -> int:
        """Returns the size of what stands at `path`, and 0 if nothing does."""
        status = self._status(path)
        return 0 if status is None else status.st_size

    def is_special(self, path: bytes) -> bool:
        """Returns whether `path` is a device, a socket or a pipe."""
        status = self._status(path)
        return status is not None and not (
            stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode) or stat.S_ISDIR(status.st_mode)
        )

    def store(self, path: bytes, writer: ObjectWriter) -> TreeEntry | None:
        """Stores the file or symlink at `path`; returns None where there is neither.

        Raises:
            OSError: It is there and cannot be read.
        """
        status = self._status(path)
        if status is None:
            return None
        name = path.rpartition(b"/")[2]
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(name, dir_fd=self._parent(path))
            return TreeEntry(name, Kind.SYMLINK, writer.add_blob(target), len(target))
        if not stat.S_ISREG(status.st_mode):
            return None
        # O_NONBLOCK: if a pipe took the place of the file meanwhile, opening it must not wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(name, flags, dir_fd=self._parent(path)), "rb", buffering=0) as file:
            blob: BlobId
            if status.st_size < _READ_AT_ONCE_BYTES:
                data = file.read()
                blob, size_bytes = writer.add_blob(data), len(data)
            else:
                blob, size_bytes = writer.add_stream(file)
        return TreeEntry(
            name, Kind.EXECUTABLE if status.st_mode & stat.S_IXUSR else Kind.FILE, blob, size_bytes
        )

    def read(self, path: bytes) -> bytes | None:
        """Returns what the file at `path` holds; None where there is none.

        Raises:
            OSError: It is there and cannot be read.
        """
        status = self._status(path)
        if status is None or not stat.S_ISREG(status.st_mode):
            return None
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(path.rpartition(b"/")[2], flags, dir_fd=self._parent(path)), "rb") as file:
            return file.read()

    def _status(self, path: bytes) -> os.stat_result | None:
        directory = self._parent(path)
        if directory is None:
            return None
        try:
            return os.lstat(path.rpartition(b"/")[2], dir_fd=directory)
        except FileNotFoundError:
            return None

    def _parent(self, path: bytes) -> int | None:
        """Returns the open directory that `path` stands in; None where a component of it is no directory."""
        parent = path.rpartition(b"/")[0]
        if parent != self._parent_path:
            self._close_parent()
            self._parent_path = parent
            try:
                self._parent_fd = open_beneath(self._root_fd, parent.split(b"/") if parent else [])
            except OSError as exc:
                if exc.errno not in _NOT_THERE:
                    self._parent_path = b"/"  # No path has this parent, so the next question opens again.
                    raise
        return self._parent_fd

    def _close_parent(self) -> None:
        if self._parent_fd is not None:
            os.close(self._parent_fd)
            self._parent_fd = None
