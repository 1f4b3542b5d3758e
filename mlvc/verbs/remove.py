"""`mlvc rm`: stops tracking paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlvc.errors import NotFoundError
from mlvc.model.lock import Lock, TrackedPath
from mlvc.model.names import encode_name
from mlvc.repo import Repo
from mlvc.verbs.add import tracked_parent
from mlvc.verbs.undo import remember
from mlvc.worktree.ignore import remove_ignore

__all__ = ["NotTrackedError", "RemoveResult", "remove", "tracked_entry"]


class NotTrackedError(NotFoundError):
    """The lock has no line for the path."""

    code = "not-tracked"


@dataclass(frozen=True, slots=True)
class RemoveResult:
    """What is tracked no more.

    Attributes:
        paths: The lines that were removed from the lock.
        deleted: How many files were deleted.
    """

    paths: tuple[TrackedPath, ...]
    deleted: int


def remove(repo: Repo, arguments: Sequence[str], *, cached: bool, force: bool) -> RemoveResult:
    """Removes paths from the lock, and their files; what was stored stays in the store.

    Args:
        repo: The repository.
        arguments: Tracked paths as typed, relative to the caller's directory.
        cached: Keep the files.
        force: Store files that changed since `add`, name them in the journal, and delete them too.

    Raises:
        NotTrackedError: One of them is not tracked by itself; nothing was changed.
        UnsavedFilesError: Files changed since `add`, and `force` is off; nothing was changed.
    """
    with repo.editing():
        lock = repo.read_lock()
        entries = {path: tracked_entry(lock, path) for path in map(repo.path_of, arguments)}
        after = lock.with_entries(removed=entries)
        deleted = 0
        if cached:
            remember(repo, "rm", lock, after)
        else:
            deleted = repo.worktree.materialise(
                {},
                entries,
                force=force,
                replacing=lambda files: remember(repo, "rm", lock, after, files),
            ).deleted
        for path in entries:
            remove_ignore(repo.root, path)
        # Files that are no more mlvc's are not for a checkout to delete.
        repo.note_brought((), removed=entries)
        # It comes last: killed before, the same command goes on, and `mlvc checkout` brings the files back.
        repo.write_lock(after)
    return RemoveResult(tuple(entries.values()), deleted)


def tracked_entry(lock: Lock, path: bytes) -> TrackedPath:
    """Returns the lock's line for exactly this path.

    Raises:
        NotTrackedError: There is none.
    """
    entry = lock.entries.get(path)
    if entry is not None:
        return entry
    name, parent = encode_name(path), tracked_parent(path, lock.entries)
    if parent is None:
        raise NotTrackedError(f"{name} is not tracked", hint="`mlvc ls` lists what is")
    outer = encode_name(parent)
    raise NotTrackedError(
        f"{name} is tracked as part of {outer}", hint=f"delete it yourself, then `mlvc add {outer}`"
    )
