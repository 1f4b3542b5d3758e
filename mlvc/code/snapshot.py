"""The code tree: the work tree's code exactly as it was, as an mlvc tree.

Git's index says which files are code; their bytes are the work tree's own, not what git's filters would make of them.
Untracked files belong to it unless git ignores them, they look like a secret, or they are large: an untracked script
is often what was run. `mlvc.lock` does not: it changes with every run of the same code.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mlvc.fsio import FileUnreadableError
from mlvc.model.config import Untracked
from mlvc.model.ids import TreeId
from mlvc.model.names import encode_name
from mlvc.model.objects import Code
from mlvc.model.tree import Kind, TreeEntry
from mlvc.ports import ObjectWriter

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LARGEST_UNTRACKED_BYTES", "MOST_UNTRACKED_BYTES", "capture_code"]

LARGEST_UNTRACKED_BYTES = 1_000_000
MOST_UNTRACKED_BYTES = 20_000_000

_SECRET_NAMES = (
    ".env*",
    "*.pem",
    "*.key",
    "id_*",
    ".netrc",
    "*credentials*",
    "*.tfstate",
    "*.tfstate.*",
)
_NOT_CODE = frozenset({b"mlvc.lock"})


class _Repository(Protocol):
    """What this module needs of `CodeRepository`."""

    root: Path

    def head_sha(self) -> str | None: ...
    def branch(self) -> str | None: ...
    def tracked_files(self) -> Iterator[bytes]: ...
    def untracked_files(self) -> Iterator[bytes]: ...
    def changed_files(self) -> Iterator[bytes]: ...


@dataclass
class _Directory:
    """A directory of the tree while it is being built."""

    files: dict[bytes, TreeEntry] = field(default_factory=dict)
    directories: dict[bytes, _Directory] = field(default_factory=dict)

    def place(self, path: bytes, entry: TreeEntry) -> None:
        directory = self
        *parents, name = path.split(b"/")
        for parent in parents:
            directory = directory.directories.setdefault(parent, _Directory())
        directory.files[name] = entry

    def store(self, writer: ObjectWriter) -> tuple[TreeId, int]:
        entries = list(self.files.values())
        for name, directory in self.directories.items():
            tree, size_bytes = directory.store(writer)
            entries.append(TreeEntry(name, Kind.DIRECTORY, tree, size_bytes))
        return writer.add_tree(entries), sum(entry.size_bytes for entry in entries)


def capture_code(
    repository: _Repository, writer: ObjectWriter, *, untracked: Untracked, exclude: Collection[bytes]
) -> Code:
    """Stores the code and returns its description; see `CodeRepository.capture`."""
    root_fd = os.open(repository.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        top = _Directory()
        omitted: list[str] = []
        for path in repository.tracked_files():
            if not _is_excluded(path, exclude):
                _add(root_fd, path, writer, top, omitted)
        if untracked != "none":
            _add_untracked(repository, root_fd, writer, top, omitted, exclude, keep_all=untracked == "all")
        tree, _ = top.store(writer)
    finally:
        os.close(root_fd)
    return Code(
        sha=repository.head_sha(),
        dirty=any(not _is_excluded(path, exclude) for path in repository.changed_files()),
        tree=tree,
        omitted=tuple(sorted(omitted)),
        branch=repository.branch(),
    )


def _is_excluded(path: bytes, exclude: Collection[bytes]) -> bool:
    return path in _NOT_CODE or any(path == top or path.startswith(top + b"/") for top in exclude)


def _add_untracked(
    repository: _Repository,
    root_fd: int,
    writer: ObjectWriter,
    top: _Directory,
    omitted: list[str],
    exclude: Collection[bytes],
    *,
    keep_all: bool,
) -> None:
    total_bytes = 0
    for path in sorted(repository.untracked_files()):
        if _is_excluded(path, exclude):
            continue
        if path.endswith(b"/"):
            omitted.append(f"{encode_name(path)}\tanother git repository")
            continue
        reason = None
        if not keep_all:
            size_bytes = _size(root_fd, path)
            if _looks_secret(path):
                reason = "looks like a secret"
            elif size_bytes > LARGEST_UNTRACKED_BYTES:
                reason = "larger than 1 MB"
            elif total_bytes + size_bytes > MOST_UNTRACKED_BYTES:
                reason = "over 20 MB of untracked files"
            else:
                total_bytes += size_bytes
        if reason is None:
            _add(root_fd, path, writer, top, omitted)
        else:
            omitted.append(f"{encode_name(path)}\t{reason}")


def _looks_secret(path: bytes) -> bool:
    components = os.fsdecode(path).lower().split("/")
    return any(fnmatch.fnmatchcase(name, pattern) for name in components for pattern in _SECRET_NAMES)


def _size(root_fd: int, path: bytes) -> int:
    try:
        return os.lstat(path, dir_fd=root_fd).st_size
    except FileNotFoundError:
        return 0


def _add(root_fd: int, path: bytes, writer: ObjectWriter, top: _Directory, omitted: list[str]) -> None:
    """Stores one file. A file that git tracks and the user deleted is absent; a special file is named."""
    name = path.rpartition(b"/")[2]
    try:
        status = os.lstat(path, dir_fd=root_fd)
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(path, dir_fd=root_fd)
            top.place(path, TreeEntry(name, Kind.SYMLINK, writer.add_blob(target), len(target)))
        elif stat.S_ISREG(status.st_mode):
            # O_NONBLOCK: if a FIFO took the place of the file meanwhile, opening it must not wait for a writer.
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=root_fd)
            with open(fd, "rb", buffering=0) as file:
                blob, size_bytes = writer.add_stream(file)
            kind = Kind.EXECUTABLE if status.st_mode & stat.S_IXUSR else Kind.FILE
            top.place(path, TreeEntry(name, kind, blob, size_bytes))
        elif not stat.S_ISDIR(status.st_mode):
            # A directory in git's index is a submodule that is not checked out: it has no files.
            omitted.append(f"{encode_name(path)}\tneither file nor symlink")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        raise FileUnreadableError(
            f"cannot read {encode_name(path)}: {exc.strerror}", hint="the code of a run must be readable as a whole"
        ) from exc
