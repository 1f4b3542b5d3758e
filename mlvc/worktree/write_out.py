"""Writing many new files at once, in forked processes: what `Applier` would do one file after the other."""

from __future__ import annotations

import contextlib
import functools
import itertools
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mlvc import forks, fsio
from mlvc.errors import MlvcError
from mlvc.model.tree import Kind, TreeEntry
from mlvc.worktree.apply import Applier
from mlvc.worktree.new_directories import new_directory, remove_unnamed, write_new
from mlvc.worktree.plan import DirectoryPlan
from mlvc.worktree.scan import TEMPORARY_PREFIX
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
        temporary: What to call the directory until they are in it; empty where there may be, or will be, others.
    """

    components: list[bytes]
    plan: DirectoryPlan
    writes: Sequence[tuple[str, TreeEntry]]
    temporary: str = ""


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
    try:
        with contextlib.closing(
            forks.fan_out(len(tasks), lambda share: _write(fd, tasks, share, store, link))
        ) as results:
            for number, result in results:
                stamps = iter_stamps(result)
                for part in tasks[number]:
                    written += _fill_in(part, list(itertools.islice(stamps, len(part.writes))), advance)
    except BaseException:
        # The processes are gone by now.
        for part in itertools.chain.from_iterable(tasks):
            _remove_unnamed(fd, part)
        raise
    return written


def _remove_unnamed(fd: int, part: _Part) -> None:
    """Removes the directory that a killed process was filling; what cannot be removed, the next checkout removes."""
    if part.temporary:
        with contextlib.suppress(OSError):
            parent = fsio.open_beneath(fd, part.components[:-1])
            try:
                remove_unnamed(parent, part.temporary)
            finally:
                os.close(parent)


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


def _new_files(components: list[bytes], plan: DirectoryPlan, *, is_inside: bool = False) -> Iterator[_Part]:
    """Yields the files that stand in nothing's place.

    Args:
        components: The names that lead to the directory.
        plan: What happens in it.
        is_inside: Whether it is in a tracked directory, which git ignores with all that a killed process left in it.
    """
    new, temporary = plan.writes, ""
    if plan.seen.entries or plan.seen.children:
        new = [write for write in new if not _is_occupied(plan, write[0])]
    elif is_inside and not plan.children:
        temporary = TEMPORARY_PREFIX + os.urandom(8).hex()
    if new:
        yield _Part(components, plan, new, temporary)
    for name, child in plan.children.items():
        if name not in plan.seen.entries:
            yield from _new_files([*components, os.fsencode(name)], child, is_inside=bool(plan.tree))


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
                yield [*task, _cut(part, start, end)]
                task, files, size, start = [], 0, 0, end
        if start < len(part.writes):
            task.append(_cut(part, start, len(part.writes)))
    if task:
        yield task


def _cut(part: _Part, start: int, end: int) -> _Part:
    """Returns some of the files of a part; a directory gets its name at once if several tasks fill it."""
    if (start, end) == (0, len(part.writes)):
        return part
    return part._replace(writes=part.writes[start:end], temporary="")


def _write(
    fd: int, tasks: Sequence[list[_Part]], share: Iterator[int], store: ObjectReader, link: Linker | None
) -> Iterator[tuple[int, bytes]]:
    """Runs in a forked process: writes its share of the tasks."""
    applier = Applier(store, _ignore, link)
    for number in share:
        yield number, b"".join(stamp for part in tasks[number] for stamp in _stamps(fd, part, store, applier))


def _stamps(fd: int, part: _Part, store: ObjectReader, applier: Applier) -> list[Stamp]:
    if part.temporary:
        # Where that fails, for want of room or because something is there, it is tried once more file by file.
        with contextlib.suppress(OSError):
            return _fill_new_directory(fd, part, store, applier)
    try:
        directory = fsio.open_beneath(fd, part.components, create=True)
    except OSError:
        return [_UNWRITTEN] * len(part.writes)
    try:
        return _fill_directory(directory, part, store, applier)
    finally:
        os.close(directory)


def _fill_new_directory(fd: int, part: _Part, store: ObjectReader, applier: Applier) -> list[Stamp]:
    *above, name = part.components
    stamps = [_UNWRITTEN] * len(part.writes)
    parent = fsio.open_beneath(fd, above, create=True)
    try:
        with new_directory(parent, name, part.temporary) as directory:
            _write_small(part, store, stamps, functools.partial(write_new, directory))
            _write_others(directory, part, applier, stamps)
    finally:
        os.close(parent)
    return stamps


def _fill_directory(directory: int, part: _Part, store: ObjectReader, applier: Applier) -> list[Stamp]:
    stamps = [_UNWRITTEN] * len(part.writes)
    # This file system may know no files without names, or be full, which `Applier` can say.
    with contextlib.suppress(OSError):
        descriptors = open_descriptors()
        try:
            _write_small(part, store, stamps, functools.partial(write_whole, descriptors, directory))
        finally:
            os.close(descriptors)
    _write_others(directory, part, applier, stamps)
    return stamps


def _write_small(
    part: _Part,
    store: ObjectReader,
    stamps: list[Stamp],
    write: Callable[[str, int, bytes | memoryview], os.stat_result],
) -> None:
    """Writes those of the files that can be read and written at one go, and notes their stamps."""
    files = [number for number, (_, entry) in enumerate(part.writes) if entry.kind in _MODES]
    for at, data in store.read_small_blobs([part.writes[number][1].id.digest for number in files]):
        name, entry = part.writes[files[at]]
        try:
            status = write(name, _MODES[entry.kind], data)
        except FileExistsError:
            continue
        stamps[files[at]] = Stamp.of(status, entry.id.digest)


def _write_others(directory: int, part: _Part, applier: Applier, stamps: list[Stamp]) -> None:
    """Writes what `_write_small` did not, and notes the stamps."""
    for number, (name, entry) in enumerate(part.writes):
        if stamps[number] is _UNWRITTEN:
            path = b"/".join([*part.components, os.fsencode(name)])
            # Not lost: the first process meets it again.
            with contextlib.suppress(MlvcError):
                stamps[number] = applier.write(directory, name, path, entry, None)


def _ignore(_amount: int) -> None:
    """The first process reports progress, by whole tasks."""
