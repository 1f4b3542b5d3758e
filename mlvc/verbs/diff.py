"""`mlvc diff`: the data files that differ between two revisions, or between one and the files."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlvc import fsio
from mlvc.model.lock import Lock
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind
from mlvc.repo import Repo
from mlvc.repro.compare.comparison import Comparison, iter_pieces
from mlvc.repro.compare.files import compare_windows
from mlvc.repro.compare.windows import Unpacked, is_same
from mlvc.verbs.comparing import policy_of
from mlvc.verbs.locate import lock_of
from mlvc.worktree.trees import PathChange, blob_of, diff_trees

__all__ = ["DiffResult", "diff"]


@dataclass(frozen=True, slots=True)
class DiffResult:
    """What differs.

    Attributes:
        changes: The paths, sorted.
        contents: How the contents of changed files compare, by path; empty unless that was asked for.
    """

    changes: tuple[PathChange, ...]
    contents: Mapping[bytes, Comparison] = field(default_factory=dict)


def diff(
    repo: Repo,
    before: str | None = None,
    after: str | None = None,
    *,
    paths: Sequence[str] = (),
    content: bool = False,
) -> DiffResult:
    """Compares two revisions; without `after`, a revision with the files; without either, the lock with the files.

    Args:
        repo: The repository.
        before: A git revision; None for the present `mlvc.lock`.
        after: A git revision; None for the files.
        paths: Only what is at or below these paths, as typed.
        content: Whether changed files are compared by what they hold; each is then read twice.

    Raises:
        RevisionMissingError: Git knows no such revision.
        ObjectMissingError: A tree that has to be read is not in the store.
    """
    wanted = [repo.path_of(argument) for argument in paths]
    old = lock_of(repo, before)
    new = None if after is None else repo.lock_at(after)
    changes = _with_files(repo, old, wanted) if new is None else _between(repo, old, new, wanted)
    found = tuple(change for change in _merged(changes) if _is_within(change.path, wanted))
    return DiffResult(found, _compare_contents(repo, found, in_files=after is None) if content else {})


_FILES = {Kind.FILE, Kind.EXECUTABLE}


def _compare_contents(
    repo: Repo, changes: Iterable[PathChange], *, in_files: bool
) -> Mapping[bytes, Comparison]:
    """Compares the files that are on both sides; what differs in kind, or is on one side, has no contents.

    Args:
        repo: The repository.
        changes: What differs.
        in_files: Whether the later side is the work tree, whose bytes may be in no object.
    """
    found = {}
    policy = policy_of(repo.config)
    scratch = repo.common_dir / "tmp"
    with fsio.translate_os_errors(f"make {encode_name(os.fsencode(scratch))}"):
        scratch.mkdir(exist_ok=True)
    for change in changes:
        if change.change != "modified" or change.before is None or change.before.kind not in _FILES:
            continue
        with (
            repo.reporter.task(f"comparing {change.name}", unit="steps"),
            Unpacked(scratch, most_bytes=sys.maxsize) as stored,
            Unpacked(scratch) as unpacked,
        ):
            before = stored.add(repo.store.iter_blob(blob_of(change.path, change.before)))
            if in_files or change.after is None:
                # A copy holds still.
                after = stored.add(_iter_file(repo, change.path))
            else:
                after = stored.add(repo.store.iter_blob(blob_of(change.path, change.after)))
            if is_same(before, after):
                # Another executable bit, or a file that was put back meanwhile.
                continue
            found[change.path] = compare_windows(before, after, unpacked, name=change.name, policy=policy)
    return found


def _iter_file(repo: Repo, path: bytes) -> Iterator[bytes]:
    """Yields the bytes of a file of the work tree, following no link."""
    *parents, name = path.split(b"/")
    with fsio.translate_os_errors(f"read {encode_name(path)}"):
        root = os.open(repo.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            directory = fsio.open_beneath(root, parents)
        finally:
            os.close(root)
        try:
            # Not waiting, for a named pipe may have taken its place.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.fdopen(os.open(name, flags, dir_fd=directory), "rb")
        finally:
            os.close(directory)
        with file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                yield from iter_pieces(file)


def _between(repo: Repo, old: Lock, new: Lock, wanted: Sequence[bytes]) -> Iterator[PathChange]:
    for path in old.entries.keys() | new.entries.keys():
        if _overlaps(path, wanted):
            yield from diff_trees(repo.store, old.entries.get(path), new.entries.get(path))


def _with_files(repo: Repo, old: Lock, wanted: Sequence[bytes]) -> Iterator[PathChange]:
    for path, entry in old.entries.items():
        if _overlaps(path, wanted):
            yield from repo.worktree.differences(entry)
    present = repo.read_lock()
    for path in present.entries.keys() - old.entries.keys():
        if not _overlaps(path, wanted):
            continue
        # Tracked since: everything that is there now is new.
        entry = present.entries[path]
        found = {change.path: change for change in diff_trees(repo.store, None, entry)}
        for change in repo.worktree.differences(entry):
            if change.change == "deleted":
                found.pop(change.path, None)
            else:
                found[change.path] = PathChange(change.path, "added", None, change.after)
        yield from found.values()


def _merged(changes: Iterable[PathChange]) -> list[PathChange]:
    """Joins what was deleted from one tracked path and added to another that holds the same file, and sorts."""
    by_path: dict[bytes, PathChange] = {}
    for change in changes:
        other = by_path.pop(change.path, None)
        if other is None:
            by_path[change.path] = change
            continue
        before, after = change.before or other.before, change.after or other.after
        if before is None or after is None or (before.id, before.kind) != (after.id, after.kind):
            by_path[change.path] = PathChange(change.path, "modified", before, after)
    return [by_path[path] for path in sorted(by_path)]


def _is_within(path: bytes, wanted: Sequence[bytes]) -> bool:
    return not wanted or any(path == top or path.startswith(top + b"/") for top in wanted)


def _overlaps(path: bytes, wanted: Sequence[bytes]) -> bool:
    return _is_within(path, wanted) or any(top.startswith(path + b"/") for top in wanted)
