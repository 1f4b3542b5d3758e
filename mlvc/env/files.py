"""Trees of files that belong to an environment: an interpreter, an editable install, what no distribution owns.

Links are stored as links and never followed; sockets, devices and pipes are left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from mlvc import fsio
from mlvc.errors import FormatError
from mlvc.model.ids import BlobId, TreeId
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind, TreeEntry, check_name
from mlvc.ports import ObjectReader, ObjectWriter, ProgressTask

__all__ = ["Keep", "capture_entries", "capture_tree", "iter_stats", "lay_out"]

Keep = Callable[[str, str], bool]
"""Takes a path and a name; tells whether the entry belongs to the tree."""

# Below this size a file is read into memory, which saves a copy.
_HELD_BYTES = 1 << 20

_LINK_TARGET_BYTES = 1 << 16
"""No system takes a longer one; it is read into memory."""


def capture_tree(
    directory: str,
    writer: ObjectWriter,
    *,
    keep: Keep,
    keep_empty: bool = True,
    progress: ProgressTask | None = None,
) -> tuple[TreeId, int] | None:
    """Stores the files below a directory; returns its tree and size, or None where nothing was kept of it.

    Names that no tree may hold (`.git` among them) are left out.

    Args:
        directory: Where.
        writer: Takes the files and trees.
        keep: Which files and directories; a directory that is not kept is not entered.
        keep_empty: Whether a directory of which nothing was kept is in the tree.
        progress: Told of every file.

    Raises:
        FileUnreadableError: Something could not be read.
    """
    entries = capture_entries(directory, writer, keep=keep, keep_empty=keep_empty, progress=progress)
    if not entries and not keep_empty:
        return None
    return writer.add_tree(entries), sum(entry.size_bytes for entry in entries)


def capture_entries(
    directory: str,
    writer: ObjectWriter,
    *,
    keep: Keep,
    keep_empty: bool = True,
    progress: ProgressTask | None = None,
) -> list[TreeEntry]:
    """Stores the files below a directory and returns its entries; as `capture_tree`, which adds their tree."""
    entries: list[TreeEntry] = []
    with fsio.translate_os_errors(f"read {encode_name(os.fsencode(directory))}"):
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            if not _is_allowed(entry.name) or not keep(entry.path, entry.name):
                continue
            captured = _capture_entry(entry, writer, keep, keep_empty=keep_empty, progress=progress)
            if captured is not None:
                entries.append(captured)
    return entries


def _capture_entry(
    entry: os.DirEntry[str],
    writer: ObjectWriter,
    keep: Keep,
    *,
    keep_empty: bool,
    progress: ProgressTask | None,
) -> TreeEntry | None:
    name = os.fsencode(entry.name)
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        below = capture_tree(entry.path, writer, keep=keep, keep_empty=keep_empty, progress=progress)
        return None if below is None else TreeEntry(name, Kind.DIRECTORY, *below)
    if progress is not None:
        progress.advance()
    if stat.S_ISLNK(status.st_mode):
        target = os.fsencode(os.readlink(entry.path))
        return TreeEntry(name, Kind.SYMLINK, writer.add_blob(target), len(target))
    if not stat.S_ISREG(status.st_mode):
        return None
    kind = Kind.EXECUTABLE if status.st_mode & stat.S_IXUSR else Kind.FILE
    with open(os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as file:
        if status.st_size < _HELD_BYTES:
            data = file.read()
            return TreeEntry(name, kind, writer.add_blob(data), len(data))
        blob, size_bytes = writer.add_stream(file)
        return TreeEntry(name, kind, blob, size_bytes)


def _is_allowed(name: str) -> bool:
    try:
        check_name(os.fsencode(name))
    except FormatError:
        return False
    return True


def iter_stats(directory: str, keep: Keep) -> Iterator[tuple[str, os.stat_result]]:
    """Yields every file and link below a directory with its stat data; a missing directory has none.

    Directories themselves do not count: their times change with every byte-code cache that Python writes.
    """
    pending = [directory]
    while pending:
        folder = pending.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            if not keep(entry.path, entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            else:
                yield entry.path, entry.stat(follow_symlinks=False)


def lay_out(tree: TreeId, reader: ObjectReader, directory: Path) -> None:
    """Writes a tree into a directory of our own, which is made if missing; files of the same name are replaced.

    Raises:
        ObjectMissingError: Something of it is not in the store.
        FileUnreadableError: Something could not be written.
        DiskFullError: There is no room.
    """
    with fsio.translate_os_errors(f"write {encode_name(os.fsencode(directory))}"):
        directory.mkdir(parents=True, exist_ok=True)
        # Whatever the umask: the user of a sandbox reads it too.
        directory.chmod(0o755)
        for entry in reader.read_tree(tree):
            path = directory / os.fsdecode(entry.name)
            if isinstance(entry.id, TreeId):
                lay_out(entry.id, reader, path)
            else:
                _write_entry(entry.kind, entry.id, reader, path)


def _write_entry(kind: Kind, blob: BlobId, reader: ObjectReader, path: Path) -> None:
    # Unlinked first: a link of that name must not be written through.
    path.unlink(missing_ok=True)
    if kind is Kind.SYMLINK:
        os.symlink(reader.read_blob(blob, limit_bytes=_LINK_TARGET_BYTES), path)
        return
    mode = 0o755 if kind is Kind.EXECUTABLE else 0o644
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        file.writelines(reader.iter_blob(blob))
        os.fchmod(file.fileno(), mode)
