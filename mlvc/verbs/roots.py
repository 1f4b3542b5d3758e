"""What everyone who uses a store needs of it: read from git, from work trees and from journals, for gc."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlvc.code.roots import commits_of, linked_worktrees, staged_versions, versions_of
from mlvc.errors import MlvcError
from mlvc.fsio import FileUnreadableError, read_if_there, translate_os_errors
from mlvc.model.names import encode_name
from mlvc.repo import LOCK_NAME
from mlvc.store.gc import Roots
from mlvc.store.marks import ids_in
from mlvc.store.registry import Registration, read_registrations
from mlvc.verbs.undo import ids_to_undo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlvc.store.layout import Layout

__all__ = ["RepositoryUnreadableError", "read_roots"]

_PRIVATE = "mlvc"
_JOURNALS = ("saved.log", "brought.lock")


class RepositoryUnreadableError(MlvcError):
    """A repository that uses the store cannot be read, so nobody knows what it needs; nothing is deleted.

    Attributes:
        path: Its top, or its git directory.
    """

    code = "repository-unreadable"

    def __init__(self, path: Path, why: str) -> None:
        name = encode_name(bytes(path))
        super().__init__(
            f"the repository {name} uses this store and cannot be read, so nothing was deleted: {why}",
            hint="make it readable; a worktree that is gone: `git worktree prune`; a repository that was moved: run "
            f"`mlvc status` where it is now; one that is gone or moved: `mlvc gc --forget {name}`",
        )
        self.path = path


def read_roots(layout: Layout, *, now: datetime.datetime, keep: datetime.timedelta) -> Roots:
    """Returns the roots of every registered repository and work tree (promise 6).

    Args:
        layout: The store's.
        now: The time.
        keep: For how long the journal of `undo` protects what it names.

    Raises:
        RepositoryUnreadableError: One of them cannot be read to its end.
        IntegrityError: The register is damaged.
    """
    by_common: dict[Path, list[Registration]] = {}
    for registration in read_registrations(layout):
        by_common.setdefault(registration.common, []).append(registration)
    digests: set[bytes] = set()
    shas: set[str] = set()
    for common, registered in by_common.items():
        place = registered[0].root
        try:
            if not _is_there(common):
                raise FileUnreadableError(f"there is no {encode_name(bytes(common))}")
            worktrees = _worktrees(common, registered)
            for git_dir, root in worktrees:
                place = root
                digests.update(_of_worktree(git_dir, root, now - keep))
            place = registered[0].root
            commits, trees = commits_of(common, [common, *(git_dir for git_dir, _ in worktrees)])
            shas.update(commits)
            holders = [*(sha.encode() for sha in commits), *trees]
            digests.update(_named_in(versions_of(common, holders, LOCK_NAME)))
        except MlvcError as exc:
            raise RepositoryUnreadableError(place, exc.message) from exc
    return Roots(digests, shas)


def _worktrees(common: Path, registered: Iterable[Registration]) -> list[tuple[Path, Path]]:
    """Returns the git directory and the root of each work tree; those that git has given up are left out."""
    known = {item.git: item.root for item in registered if _is_there(item.git)}
    # Git knows where a linked worktree was moved to.
    known.update(linked_worktrees(common))
    return sorted(known.items())


def _is_there(directory: Path) -> bool:
    """Returns whether a directory is there; what cannot be looked at is not taken for gone."""
    with translate_os_errors(f"look at {encode_name(bytes(directory))}"):
        try:
            os.stat(directory)
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True


def _of_worktree(git_dir: Path, root: Path, oldest_undo: datetime.datetime) -> Iterator[bytes]:
    with translate_os_errors(f"read {root}"):
        # Listing fails where the work tree is gone or on a disk that is not mounted; then its lock is not known.
        names = {path.name for path in root.iterdir()}
        texts = [(root / name).read_bytes() for name in names if name.encode() == LOCK_NAME]
        for name in _JOURNALS:
            text = read_if_there(git_dir / _PRIVATE / name)
            if text is not None:
                texts.append(text)
    yield from _named_in(texts)
    yield from _named_in(staged_versions(root, LOCK_NAME))
    yield from ids_to_undo(git_dir / _PRIVATE, oldest_undo)


def _named_in(texts: Iterable[bytes]) -> Iterator[bytes]:
    for text in texts:
        yield from ids_in(text)
