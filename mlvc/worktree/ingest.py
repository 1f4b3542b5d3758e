"""Storing many files at once, in forked processes: what `Capture` would do one file after the other."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from mlvc import forks, fsio
from mlvc.errors import MlvcError
from mlvc.ports import ObjectWriter, Sharing
from mlvc.worktree.contents import SMALL_BYTES, add_contents
from mlvc.worktree.previous import Previous
from mlvc.worktree.scan import Directory
from mlvc.worktree.statcache import Stamp, iter_stamps

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
        names: Which of its files.
    """

    components: list[bytes]
    seen: Directory
    previous: Previous
    names: Sequence[str]


def ingest(
    fd: int,
    path: bytes,
    seen: Directory,
    previous: Previous,
    writer: ObjectWriter,
    advance: Callable[[int], None],
) -> set[bytes]:
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

    Returns:
        The digests of what was stored.
    """
    fresh: set[bytes] = set()
    parts = list(_unread([], seen, previous))
    files = sum(len(part.names) for part in parts)
    size = sum(part.seen.entries[name].size for part in parts for name in part.names)
    if (files < _WORTH_FILES and size < _WORTH_BYTES) or files < 2 or forks.processors() < 2:
        return fresh
    context = writer.shared(files + size // _CHUNK_BYTES)
    if context is None:
        return fresh
    tasks = list(_tasks(parts))
    results: dict[int, bytes] = {}
    try:
        with context as sharing:
            for number, result in forks.fan_out(
                len(tasks), lambda share: _store(fd, path, tasks, share, sharing)
            ):
                end = _LENGTH.size + _LENGTH.unpack_from(result)[0]
                sharing.adopt(result[end:])
                results[number] = result[_LENGTH.size : end]
                if number < len(tasks):
                    advance(
                        sum(part.seen.entries[name].size for part in tasks[number] for name in part.names)
                    )
    except forks.WorkerFailedError:
        return fresh
    for number, task in enumerate(tasks):
        stamps = iter_stamps(results[number])
        for part in task:
            entries = part.seen.entries
            for name, stamp in zip(part.names, stamps, strict=False):
                if stamp != _UNREAD:
                    entries[name] = stamp
                    fresh.add(stamp.digest)
    return fresh


def _unread(components: list[bytes], seen: Directory, previous: Previous) -> Iterator[_Part]:
    if seen.tree:
        return
    names = [name for name, stamp in seen.entries.items() if not stamp.digest]
    if names:
        yield _Part(components, seen, previous, names)
    for name, child in seen.children.items():
        yield from _unread([*components, os.fsencode(name)], child, previous.child(name))


def _tasks(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """Yields the files again, so many at a time that the processes end at about the same time."""
    task: list[_Part] = []
    files = size = 0
    for part in parts:
        start = 0
        for end, name in enumerate(part.names, start=1):
            files += 1
            size += part.seen.entries[name].size
            if files >= _TASK_FILES or size >= _TASK_BYTES:
                yield [*task, part._replace(names=part.names[start:end])]
                task, files, size, start = [], 0, 0, end
        if start < len(part.names):
            task.append(part._replace(names=part.names[start:]))
    if task:
        yield task


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
    try:
        directory = fsio.open_beneath(fd, part.components)
    except OSError:
        yield from [_UNREAD] * len(part.names)
        return
    prefix = b"/".join([path, *part.components, b""])
    try:
        for name in part.names:
            try:
                is_large = part.seen.entries[name].size > SMALL_BYTES
                before = part.previous.child(name).blob if is_large else None
                yield add_contents(directory, name, prefix + os.fsencode(name), writer, _ignore, before)
            except MlvcError:
                # Not lost: if it is the file's, the first process meets it again; if the store's, the flush does.
                yield _UNREAD
    finally:
        os.close(directory)


def _ignore(_amount: int) -> None:
    """The first process reports progress, by whole tasks."""
