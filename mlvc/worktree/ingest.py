"""Storing many files at once, in forked processes: what `Capture` would do one file after the other."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mlvc import forks, fsio
from mlvc.errors import MlvcError
from mlvc.worktree.contents import add_contents, read_unchanged
from mlvc.worktree.previous import Previous
from mlvc.worktree.scan import Directory
from mlvc.worktree.statcache import Stamp, iter_stamps, iter_statuses, sizes_of, total_size

if TYPE_CHECKING:
    from mlvc.ports import ObjectWriter, Sharing

__all__ = ["ingest"]

_WORTH_FILES = 1_000
_WORTH_BYTES = 32 << 20
"""Fewer files with fewer bytes are stored before the processes would have begun."""

_TASK_FILES = 256
_TASK_BYTES = 8 << 20
_CHUNK_BYTES = 32 << 10
"""Less than the usual chunk, so that the room for claims is enough."""

_LENGTH = struct.Struct("<I")
_UNREAD = Stamp(bytes(68))


class _Part(NamedTuple):
    """Files of one directory that one process stores.

    Attributes:
        components: The names that lead to the directory.
        seen: What is in the directory.
        previous: What was in it before.
        encoded: The names of the files, separated by NUL. Reading an object of the first process in another copies
            the page that it is in, and with it in the end all that the first process knows.
        statuses: Their stat data as `seen` has it, one after the other.
    """

    components: list[bytes]
    seen: Directory
    previous: Previous
    encoded: bytes = b""
    statuses: bytes = b""

    @property
    def names(self) -> Sequence[str]:
        return os.fsdecode(self.encoded).split("\0")


def ingest(
    fd: int,
    path: bytes,
    seen: Directory,
    previous: Previous,
    writer: ObjectWriter,
    advance: Callable[[int], None],
) -> None:
    """Stores the unread files of a directory, if they are worth several processes, and fills in their stamps.

    What could not be stored, for whatever reason, keeps a stamp without a digest: it is left to this process, which
    can say what is wrong with it.

    Args:
        fd: The directory.
        path: Its path, for errors.
        seen: What is in it.
        previous: What was in it before.
        writer: Where to add the files.
        advance: Told how many bytes were read.
    """
    unread = list(_unread([], seen, previous))
    files = sum(len(names) for _, names in unread)
    size = sum(part.seen.unread_bytes() for part, _ in unread)
    if (files < _WORTH_FILES and size < _WORTH_BYTES) or files < 2 or forks.processors() < 2:
        return
    context = writer.shared(files + size // _CHUNK_BYTES)
    if context is None:
        return
    tasks = list(_tasks(unread))
    del unread
    stored: dict[int, bytes] = {}
    try:
        with context as sharing:
            for number, result in forks.fan_out(
                len(tasks), lambda share: _store(fd, path, tasks, share, sharing)
            ):
                end = _LENGTH.size + _LENGTH.unpack_from(result)[0]
                sharing.adopt(result[end:])
                if number < len(tasks):
                    stored[number] = result[_LENGTH.size : end]
                    advance(total_size([stored[number]]))
    except forks.WorkerFailedError:
        # What the process that failed had stored may not be durable.
        return
    # Not before the processes are gone: each page that is changed here is there twice as long as they have it too.
    for number, stamps in stored.items():
        _fill_in(tasks[number], iter_stamps(stamps))


def _fill_in(task: Sequence[_Part], stamps: Iterator[Stamp]) -> None:
    """Notes what was stored."""
    for part in task:
        names = part.names
        stored = dict(zip(names, itertools.islice(stamps, len(names)), strict=True))
        if _UNREAD in stored.values():
            stored = {name: stamp for name, stamp in stored.items() if stamp != _UNREAD}
        part.seen.entries.update(stored)


def _unread(
    components: list[bytes], seen: Directory, previous: Previous
) -> Iterator[tuple[_Part, list[str]]]:
    if seen.tree:
        return
    names = seen.unread()
    if names:
        yield _Part(components, seen, previous), names
    for name, child in seen.children.items():
        yield from _unread([*components, os.fsencode(name)], child, previous.child(name))


def _tasks(unread: Iterable[tuple[_Part, Sequence[str]]]) -> Iterator[list[_Part]]:
    """Yields the files again, so many at a time that the processes end at about the same time."""
    task: list[_Part] = []
    files = size = 0
    for part, names in unread:
        start = 0
        sizes = sizes_of(map(part.seen.entries.__getitem__, names))
        for end, length in enumerate(sizes, start=1):
            files += 1
            size += length
            if files >= _TASK_FILES or size >= _TASK_BYTES:
                yield [*task, _with_files(part, names[start:end])]
                task, files, size, start = [], 0, 0, end
        if start < len(names):
            task.append(_with_files(part, names[start:]))
    if task:
        yield task


def _with_files(part: _Part, names: Sequence[str]) -> _Part:
    entries = part.seen.entries
    return part._replace(
        encoded=os.fsencode("\0".join(names)), statuses=b"".join([entries[name].status for name in names])
    )


def _store(
    fd: int, path: bytes, tasks: Sequence[list[_Part]], share: Iterator[int], sharing: Sharing
) -> Iterator[tuple[int, bytes]]:
    """Runs in a forked process: stores its share of the tasks; the last result follows when all is durable."""
    with sharing.writer() as writer:
        for number in share:
            stamps = b"".join(stamp for part in tasks[number] for stamp in _stamps(fd, path, part, writer))
            yield number, _LENGTH.pack(len(stamps)) + stamps + writer.report()
        writer.flush()
        yield len(tasks), _LENGTH.pack(0) + writer.report()


def _stamps(fd: int, path: bytes, part: _Part, writer: ObjectWriter) -> Iterator[Stamp]:
    names = part.names
    try:
        directory = fsio.open_beneath(fd, part.components)
    except OSError:
        yield from [_UNREAD] * len(names)
        return
    prefix = b"/".join([path, *part.components, b""])
    try:
        for name, status in zip(names, iter_statuses(part.statuses), strict=True):
            data = read_unchanged(directory, name, status)
            try:
                if data is not None:
                    yield Stamp(status + writer.add_blob(data).digest)
                    continue
                previous = part.previous.child(name)
                yield add_contents(
                    directory, name, prefix + os.fsencode(name), writer, _ignore, previous.blob
                )
            except MlvcError:
                # Not lost: if it is the file's, the first process meets it again; if the store's, the flush does.
                yield _UNREAD
    finally:
        os.close(directory)


def _ignore(_amount: int) -> None:
    """The first process reports progress, by whole tasks."""
