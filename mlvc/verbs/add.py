"""`mlvc add`: stores files or directories and tracks them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlvc.errors import NotFoundError, UsageError
from mlvc.model.lock import GIT_KEPT, LockConflictError, TrackedPath
from mlvc.model.names import encode_name
from mlvc.repo import Repo
from mlvc.verbs.left_out import check_ignores
from mlvc.verbs.undo import remember
from mlvc.worktree.ignore import add_ignore, remove_ignore

__all__ = ["AddResult", "Added", "GitTracksError", "add", "add_paths", "tracked_parent"]

_NAMED = 10


class GitTracksError(UsageError):
    """Git tracks the path, or files below it; one file has one keeper.

    Attributes:
        paths: The files that git tracks.
    """

    code = "git-tracked"

    def __init__(self, path: bytes, paths: Sequence[bytes]) -> None:
        names = ", ".join(encode_name(name) for name in paths[:_NAMED])
        more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
        super().__init__(
            f"git already tracks {names}{more}",
            hint=f"hand over with `git rm -r --cached -- {encode_name(path)}`",
        )
        self.paths = tuple(paths)


@dataclass(frozen=True, slots=True)
class Added:
    """One path that is tracked now.

    Attributes:
        entry: Its line of the lock.
        stored_bytes: How many bytes it took in the store; 0 where all of it was there.
        changed: Whether the lock said something else before.
    """

    entry: TrackedPath
    stored_bytes: int
    changed: bool


@dataclass(frozen=True, slots=True)
class AddResult:
    """What is tracked now, in the order asked for."""

    paths: tuple[Added, ...]


def add(repo: Repo, arguments: Sequence[str]) -> AddResult:
    """Stores what stands at the paths and writes their lock lines.

    A path inside a tracked directory stands for that directory. The lock and `.gitignore` are written after
    everything is durable, and only if every path could be stored. After a merge with conflicts, what stands in the
    work tree decides those of the path, and what only the other side changed is brought (`mlvc.verbs.resolve`).

    Args:
        repo: The repository.
        arguments: Paths as typed, relative to the caller's directory.

    Raises:
        GitTracksError: Git tracks one of them, or something below it.
        NotFoundError: Nothing is at one of them.
        SparseCheckoutError: Their `.gitignore` is in git and not in the work tree.
        UsageError: One lies outside the repository, or in another one below it, or is a file of mlvc's own.
        MlvcError: As `Worktree.capture` raises it.
    """
    with repo.editing():
        paths = [repo.path_of(argument) for argument in arguments]
        try:
            return add_paths(repo, paths)
        except LockConflictError:
            from mlvc.verbs.resolve import resolve_by_adding  # noqa: PLC0415  # an `add` in a conflict is rare

            return AddResult(tuple(Added(entry, 0, changed=True) for entry in resolve_by_adding(repo, paths)))


def add_paths(repo: Repo, paths: Iterable[bytes]) -> AddResult:
    """Does what `add` does for repository-relative paths; the caller holds `repo.editing()`."""
    lock = repo.read_lock()
    wanted = _outermost(dict.fromkeys(tracked_parent(path, lock.entries) or path for path in paths))
    for path in wanted:
        _check(repo, path)
    check_ignores(repo, wanted)
    inner = [path for path in lock.entries if any(path.startswith(outer + b"/") for outer in wanted)]
    for path in inner:
        # Its line stands in a `.gitignore` that is about to become data itself.
        remove_ignore(repo.root, path)
    added = []
    with repo.worktree.storing() as writer:
        before_bytes = 0
        for path in wanted:
            known = lock.entries.get(path)
            entry = repo.worktree.capture(path, writer, known)
            if known is not None and known.id == entry.id:
                # The same bytes were made by the same run.
                entry = entry._replace(run=known.run)
            stored_bytes = writer.stored_bytes
            added.append(Added(entry, stored_bytes - before_bytes, changed=entry != known))
            before_bytes = stored_bytes
        # Only now may the lock name it (promise 2).
        writer.flush()
        changed = [item.entry for item in added if item.changed]
        after = lock.with_entries(changed, removed=inner)
        if changed or inner:
            remember(repo, "add", lock, after)
        for item in added:
            add_ignore(repo.root, item.entry.path)
        if changed or inner:
            repo.write_lock(after)
        repo.note_brought([item.entry for item in added], removed=inner)
    return AddResult(tuple(added))


def tracked_parent(path: bytes, tracked: Mapping[bytes, TrackedPath]) -> bytes | None:
    """Returns the tracked directory that `path` lies in, if any."""
    parent = path.rpartition(b"/")[0]
    while parent and parent not in tracked:
        parent = parent.rpartition(b"/")[0]
    return parent or None


def _outermost(paths: Iterable[bytes]) -> list[bytes]:
    """Drops paths that lie in another of them."""
    given = list(paths)
    return [path for path in given if not any(path.startswith(other + b"/") for other in given)]


def _check(repo: Repo, path: bytes) -> None:
    if path in GIT_KEPT:
        raise UsageError(f"{encode_name(path)} belongs to git, not to the data", hint="use `git add`")
    top = _other_repository(repo, path)
    if top is not None:
        raise UsageError(
            f"{encode_name(path)} belongs to another git repository, {encode_name(top)}, as a submodule does",
            hint=f"work in that one: `mlvc -C {encode_name(top)} status`",
        )
    in_git = repo.code.tracked_below(path)
    if in_git:
        raise GitTracksError(path, in_git)
    if not repo.worktree.exists(path):
        raise NotFoundError(
            f"{encode_name(path)} does not exist",
            hint="check the name; `mlvc rm` stops tracking, `mlvc checkout` brings tracked files back",
        )


def _other_repository(repo: Repo, path: bytes) -> bytes | None:
    """Returns the repository below this one that `path` is or lies in, such as a submodule, if any."""
    while path:
        if os.path.lexists(repo.root / os.fsdecode(path) / ".git"):
            return path
        path = path.rpartition(b"/")[0]
    return None
