"""A merge that left conflicts in `mlvc.lock`: one side is taken for a path, or what stands in the work tree is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mlvc.code.objects import find_objects
from mlvc.errors import MlvcError, NotFoundError, UsageError
from mlvc.model.lock import Lock, LockConflict, TrackedPath, decode_lock, encode_entry
from mlvc.model.names import encode_name
from mlvc.model.tree import TreeEntry
from mlvc.repo import LOCK_NAME, Repo
from mlvc.verbs.naming import some_of
from mlvc.verbs.undo import remember
from mlvc.worktree.ignore import add_ignore, ignore_lines
from mlvc.worktree.merge import LockMerge, Side, merge_locks, settle
from mlvc.worktree.plan import MissingObjectsError
from mlvc.worktree.trees import diff_trees
from mlvc.worktree.worktree import MaterialiseResult

__all__ = ["NoConflictError", "StillInConflictError", "files_to_stage", "resolve", "resolve_by_adding"]

_BASE = ":1:mlvc.lock"
"""What both sides come from, as git keeps it until the merge is committed."""


class NoConflictError(UsageError):
    """A side is to be taken, and there is nothing to decide."""

    code = "no-conflict"


class StillInConflictError(MlvcError):
    """What was chosen does not decide all of a tracked path."""

    code = "lock-conflict"


def resolve(repo: Repo, side: Side, arguments: Sequence[str], *, force: bool = False) -> MaterialiseResult:
    """Takes one side of each conflict at some paths, merges the rest of their directories, and brings the files.

    Of a directory in which more is in conflict than was named, both sides then agree about what was: the lock keeps the
    rest between its marks, and what only the other side changed comes when the last is decided.

    Args:
        repo: The repository; `mlvc.lock` holds conflict marks.
        side: `ours` for the present side, as git calls them.
        arguments: Paths as typed, tracked ones or files below; empty for every conflict, also that of environments.
        force: Overwrite edited files too; they are stored first.

    Raises:
        NoConflictError: There is no conflict, or none at one of the paths.
        StillInConflictError: What was named decides nothing; nothing was changed.
        UnsavedFilesError: Edited files would be lost, and `force` is off; nothing was changed.
        MissingObjectsError: The store lacks contents; it is decided, and the files are as before.
    """
    with repo.editing():
        decided, conflicts = repo.read_conflicts()
        if not conflicts:
            raise NoConflictError(
                "mlvc.lock holds no conflict", hint="`mlvc status` tells what differs from it"
            )
        wanted = [repo.path_of(argument) for argument in arguments]
        chosen: dict[bytes, Side] = dict.fromkeys(wanted or (item.path for item in conflicts), side)
        meant = _meant(conflicts, wanted) if wanted else list(conflicts)
        entries: list[TrackedPath] = []
        opened: list[tuple[TrackedPath, TrackedPath]] = []
        left = [item for item in conflicts if item not in meant]
        for item in meant:
            ours, theirs = (_lock_of(lines) for lines in (item.ours, item.theirs))
            taken = ours if side == "ours" else theirs
            if item.path == b"":
                decided = Lock(decided.entries, taken.environment)
            elif ours.entries.keys() | theirs.entries.keys() == {item.path}:
                merged = _merge(repo, item.path, ours, theirs, chosen)
                if merged.reasons:
                    settled = _settle(repo, item, ours, theirs, chosen, merged.reasons)
                    opened.append((ours.entries[item.path], _lock_of(settled.ours).entries[item.path]))
                    left.append(settled)
                entries += merged.lock.entries.values()
            else:
                # A path that is tracked on one side, and paths inside it on the other.
                entries += taken.entries.values()
        current = {
            path: entry
            for item in meant
            for path, entry in {**_lock_of(item.ours).entries, **repo.brought().entries}.items()
            if path == item.path or path.startswith(item.path + b"/")
        }
        return _take(repo, decided, entries, current, left, opened=opened, force=force)


def files_to_stage(repo: Repo, conflicts: Iterable[LockConflict]) -> Sequence[bytes]:
    """Returns the files that git has to be given once some conflicts are decided."""
    sides = [_lock_of(lines) for item in conflicts for lines in (item.ours, item.theirs)]
    keepers = ignore_lines(sorted({path for side in sides for path in side.entries}))
    return [LOCK_NAME, *(path for path in keepers if repo.view.exists(path))]


def resolve_by_adding(repo: Repo, paths: Iterable[bytes]) -> Sequence[TrackedPath]:
    """Takes what stands in the work tree wherever both sides changed something, merges the rest, and brings that.

    The caller holds `repo.editing()`.

    Args:
        repo: The repository; `mlvc.lock` holds conflict marks.
        paths: Tracked paths in conflict, or files below.

    Raises:
        NoConflictError: A path is in no conflict.
        StillInConflictError: It is in one with paths inside it; nothing was changed.
        NotFoundError: Nothing is there.
        MissingObjectsError: The store lacks what the other side added; it is decided, and the files are as before.
    """
    decided, conflicts = repo.read_conflicts()
    entries: list[TrackedPath] = []
    current: dict[bytes, TrackedPath] = {}
    meant = _meant(conflicts, list(paths))
    for item in meant:
        if not repo.worktree.exists(item.path):
            raise NotFoundError(
                f"{encode_name(item.path)} does not exist",
                hint=f"mlvc checkout --ours -- {encode_name(item.path)}, or --theirs",
            )
        with repo.store.writer() as writer:
            here = repo.worktree.capture(item.path, writer, repo.brought().entries.get(item.path))
        merged = _merge(repo, item.path, Lock({item.path: here}), _lock_of(item.theirs), {item.path: "ours"})
        if merged.reasons:
            raise _still(item.path, merged.reasons)
        entries += merged.lock.entries.values()
        current[item.path] = here
    _take(repo, decided, entries, current, [item for item in conflicts if item not in meant], force=False)
    return entries


def _meant(conflicts: Sequence[LockConflict], paths: Sequence[bytes]) -> list[LockConflict]:
    """Returns the conflicts that paths stand for: the path itself, one that it lies in, or all below it."""
    meant: list[LockConflict] = []
    for path in paths:
        found = [
            item
            for item in conflicts
            if item.path and (path == item.path or _is_below(path, item.path) or _is_below(item.path, path))
        ]
        if not found:
            names = [encode_name(item.path) or "the environment" for item in conflicts]
            raise NoConflictError(
                f"{encode_name(path)} is in no conflict", hint=f"in conflict: {some_of(names)}"
            )
        meant += [item for item in found if item not in meant]
    return meant


def _is_below(path: bytes, top: bytes) -> bool:
    return path.startswith(top + b"/")


def _lock_of(lines: Sequence[str]) -> Lock:
    return decode_lock("".join(f"{line}\n" for line in ("mlvc-lock 1", *lines)).encode())


def _base(repo: Repo, path: bytes) -> TrackedPath | None:
    (found,) = find_objects(repo.root, [_BASE], with_content=True)
    return None if found is None else decode_lock(found.content).entries.get(path)


def _merge(repo: Repo, path: bytes, ours: Lock, theirs: Lock, chosen: Mapping[bytes, Side]) -> LockMerge:
    """Returns the merged line of one path, or no line where the side that was taken has removed it."""
    before = _base(repo, path)
    with repo.store.writer() as writer:
        return merge_locks(
            Lock({} if before is None else {path: before}), ours, theirs, repo.store, writer, chosen
        )


def _settle(
    repo: Repo,
    item: LockConflict,
    ours: Lock,
    theirs: Lock,
    chosen: Mapping[bytes, Side],
    reasons: Sequence[str],
) -> LockConflict:
    """Returns what is left of the conflict of a directory when files of it were chosen; the person is told.

    Raises:
        StillInConflictError: Nothing was decided by it.
    """
    mine, other = ours.entries.get(item.path), theirs.entries.get(item.path)
    if mine is None or other is None:
        raise _still(item.path, reasons)
    try:
        with repo.store.writer() as writer:
            settled = settle(item.path, _base(repo, item.path), mine, other, repo.store, writer, chosen)
    except NotFoundError as exc:
        raise _still(item.path, reasons) from exc
    if settled == (mine, other):
        raise _still(item.path, reasons)
    repo.reporter.note(f"{encode_name(item.path)} is still in conflict: {'; '.join(reasons)}")
    kept, taken = ((encode_entry(entry),) for entry in settled)
    return LockConflict(item.path, kept, taken)


def _still(path: bytes, reasons: Sequence[str]) -> StillInConflictError:
    return StillInConflictError(
        f"{encode_name(path)} is still in conflict: {'; '.join(reasons)}",
        hint="name one of these files, or put them right and `mlvc add` it; `mlvc fetch` brings records",
    )


def _take(
    repo: Repo,
    decided: Lock,
    entries: Sequence[TrackedPath],
    current: Mapping[bytes, TrackedPath],
    left: Sequence[LockConflict],
    *,
    force: bool,
    opened: Sequence[tuple[TrackedPath, TrackedPath]] = (),
) -> MaterialiseResult:
    """Brings what was decided, and of `opened` the files in which the present side became another; writes the lock."""
    after = decided.with_entries(entries)
    target = {entry.path: entry for entry in entries}
    there = {path: entry for path, entry in current.items() if path not in {old.path for old, _ in opened}}
    chosen: dict[bytes, TrackedPath] = {}
    for old, new in opened:
        for change in diff_trees(repo.store, old, new):
            # Only these: beside them may stand files that are put right by hand.
            _note(chosen, change.path, change.after)
            _note(there, change.path, change.before)

    def keep(files: Sequence[TrackedPath]) -> None:
        if files:
            remember(repo, "checkout", after, after, files)

    try:
        result = repo.worktree.materialise(target | chosen, there, force=force, replacing=keep)
    except MissingObjectsError:
        # It is decided all the same, as after a merge without conflicts; with marks in the lock nothing can be pulled.
        repo.write_lock(after, left)
        raise
    for entry in entries:
        add_ignore(repo.root, entry.path)
    repo.write_lock(after, left)
    known = repo.brought().entries
    brought = [*entries, *(new for old, new in opened if old.path in known)]
    repo.note_brought(brought, removed=current.keys() - {entry.path for entry in brought})
    return result


def _note(found: dict[bytes, TrackedPath], path: bytes, entry: TreeEntry | None) -> None:
    """Adds what stands at a path below a tracked one, unless it lies in a directory that is there already."""
    if entry is not None and not any(_is_below(path, top) for top in found):
        found[path] = TrackedPath(path, entry.kind, entry.id, 1, entry.size_bytes)
