"""Writing many new files at once, in forked processes: what `Applier` would do one file after the other."""

from __future__ import annotations

import contextlib
import itertools
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mlvc import forks, fsio
from mlvc.errors import MlvcError
from mlvc.model.tree import Kind, TreeEntry
from mlvc.worktree.apply import Applier
from mlvc.worktree.plan import DirectoryPlan
from mlvc.worktree.statcache import Stamp, iter_stamps, total_size
from mlvc.worktree.whole_files import open_descriptors, write_whole

if TYPE_CHECKING:
    from mlvc.ports import Linker, ObjectReader

__all__ = ["write_out"]

_WORTH_FILES = 1_000
_WORTH_BYTES = 32 << 20
"""Fewer files with fewer bytes are written before the processes would have begun."""

_TASK_FILES = 2_000
_TASK_BYTES = 32 << 20
"""Enough that most directories are one task: two processes that make files in one directory wait for each other."""

_UNWRITTEN = Stamp(bytes(68))
_NAME_OF = operator.itemgetter(0)
_MODES = {Kind.FILE: 0o666, Kind.EXECUTABLE: 0o777}


class _Part(NamedTuple):
    """New files of one directory that one process writes.

    Attributes:
        components: The names that lead to the directory.
        plan: What happens in it.
        writes: Which of its files.
    """

    components: list[bytes]
    plan: DirectoryPlan
    writes: Sequence[tuple[str, TreeEntry]]


def write_out(
    fd: int,
    plan: DirectoryPlan,
    store: ObjectReader,
    advance: Callable[[int], None],
    link: Linker | None = None,
) -> int:
    """Writes the files of a plan where nothing stands yet, if they are worth several processes.

    They are taken out of the plan. What could not be written, for whatever reason, stays in it: it is left to this
    process, which can say what is wrong.

    Args:
        fd: The root of the work tree.
        plan: What happens in it.
        store: Where the contents are.
        advance: Told how many bytes were written.
        link: Makes links to files of the store, where that is wanted.

    Returns:
        How many files were written.

    Raises:
        WorkerFailedError: A process was killed; what had been written until then is whole, and noted in the plan.
    """
    parts = list(_new_files([], plan))
    files = sum(len(part.writes) for part in parts)
    size = sum(entry.size_bytes for part in parts for _, entry in part.writes)
    if (files < _WORTH_FILES and size < _WORTH_BYTES) or files < 2 or forks.processors() < 2:
        return 0
    for part in parts:
        part.plan.writes = [] if part.writes is part.plan.writes else _standing(part.plan)
    tasks = list(_tasks(parts))
    written = 0
    for number, result in forks.fan_out(len(tasks), lambda share: _write(fd, tasks, share, store, link)):
        stamps = iter_stamps(result)
        for part in tasks[number]:
            written += _fill_in(part, list(itertools.islice(stamps, len(part.writes))), advance)
    return written


def _fill_in(part: _Part, stamps: Sequence[Stamp], advance: Callable[[int], None]) -> int:
    """Notes what was written of a part, gives back to its plan what was not, and returns how many files were."""
    writes = part.writes
    if _UNWRITTEN in stamps:
        part.plan.writes += (
            write for write, stamp in zip(writes, stamps, strict=True) if stamp == _UNWRITTEN
        )
        writes = [write for write, stamp in zip(writes, stamps, strict=True) if stamp != _UNWRITTEN]
        stamps = [stamp for stamp in stamps if stamp != _UNWRITTEN]
    part.plan.seen.entries.update(zip(map(_NAME_OF, writes), stamps, strict=True))
    advance(total_size(stamps))
    return len(stamps)


def _new_files(components: list[bytes], plan: DirectoryPlan) -> Iterator[_Part]:
    """Yields the files that stand in nothing's place."""
    new = plan.writes
    if plan.seen.entries or plan.seen.children:
        new = [write for write in new if not _is_occupied(plan, write[0])]
    if new:
        yield _Part(components, plan, new)
    for name, child in plan.children.items():
        if name not in plan.seen.entries:
            yield from _new_files([*components, os.fsencode(name)], child)


def _standing(plan: DirectoryPlan) -> list[tuple[str, TreeEntry]]:
    """Returns what is to be written in something's place."""
    return [write for write in plan.writes if _is_occupied(plan, write[0])]


def _is_occupied(plan: DirectoryPlan, name: str) -> bool:
    return name in plan.seen.entries or name in plan.seen.children


def _tasks(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """Yields the files again, so many at a time that the processes end at about the same time.

    A directory is not split unless it is too much for one task.
    """
    task: list[_Part] = []
    files = size = 0
    for part in parts:
        if task and files + len(part.writes) > _TASK_FILES:
            yield task
            task, files, size = [], 0, 0
        start = 0
        for end, (_, entry) in enumerate(part.writes, start=1):
            files += 1
            size += entry.size_bytes
            if files >= _TASK_FILES or size >= _TASK_BYTES:
                yield [*task, part._replace(writes=part.writes[start:end])]
                task, files, size, start = [], 0, 0, end
        if start < len(part.writes):
            task.append(part._replace(writes=part.writes[start:]))
    if task:
        yield task


def _write(
    fd: int, tasks: Sequence[list[_Part]], share: Iterator[int], store: ObjectReader, link: Linker | None
) -> Iterator[tuple[int, bytes]]:
    """Runs in a forked process: writes its share of the tasks."""
    applier = Applier(store, _ignore, link)
    for number in share:
        yield number, b"".join(stamp for part in tasks[number] for stamp in _stamps(fd, part, store, applier))


def _stamps(fd: int, part: _Part, store: ObjectReader, applier: Applier) -> list[Stamp]:
    stamps = [_UNWRITTEN] * len(part.writes)
    try:
        directory = fsio.open_beneath(fd, part.components, create=True)
    except OSError:
        return stamps
    try:
        _write_small(directory, part, store, stamps)
        for number, (name, entry) in enumerate(part.writes):
            if stamps[number] is _UNWRITTEN:
                path = b"/".join([*part.components, os.fsencode(name)])
                # Not lost: the first process meets it again.
                with contextlib.suppress(MlvcError):
                    stamps[number] = applier.write(directory, name, path, entry, None)
    finally:
        os.close(directory)
    return stamps


def _write_small(directory: int, part: _Part, store: ObjectReader, stamps: list[Stamp]) -> None:
    """Writes those of the files that can be read and written at one go; what it did not write, `Applier` does."""
    files = [number for number, (_, entry) in enumerate(part.writes) if entry.kind in _MODES]
    try:
        descriptors = open_descriptors()
    except OSError:
        return
    try:
        for at, data in store.read_small_blobs([part.writes[number][1].id.digest for number in files]):
            name, entry = part.writes[files[at]]
            try:
                status = write_whole(descriptors, directory, name, _MODES[entry.kind], data)
            except FileExistsError:
                continue
            stamps[files[at]] = Stamp.of(status, entry.id.digest)
    except OSError:
        # This file system knows no files without names, or is full, which `Applier` can say.
        return
    finally:
        os.close(descriptors)


def _ignore(_amount: int) -> None:
    """The first process reports progress, by whole tasks."""
