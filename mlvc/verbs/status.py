"""`mlvc status`: what changed since `add`, since the last commit, and in the environment.

Must stay fast: no index, no history, no interpreter; see `tests/architecture`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mlvc.model.ids import BlobId
from mlvc.model.lock import Lock
from mlvc.model.names import encode_name
from mlvc.repo import Repo
from mlvc.worktree.trees import PathChange

if TYPE_CHECKING:
    from mlvc.env.drift import Drift

__all__ = ["Staged", "StatusResult", "find_drift", "status"]


@dataclass(frozen=True, slots=True)
class Staged:
    """One line of `mlvc.lock` that HEAD's lock does not have, or has otherwise; `environment` for that line."""

    path: str
    change: Literal["added", "modified", "removed"]


@dataclass(frozen=True, slots=True)
class StatusResult:
    """What is not in a commit.

    Attributes:
        branch: The git branch; None on a detached head.
        head: HEAD's SHA; None before the first commit.
        changes: Data files that differ from the lock.
        staged: What the next commit would record of the data.
        drift: How the environment differs from the lock's; None where either is not known.
        tracked: The number of tracked paths.
    """

    branch: str | None
    head: str | None
    changes: tuple[PathChange, ...]
    staged: tuple[Staged, ...]
    drift: Drift | None
    tracked: int

    @property
    def is_clean(self) -> bool:
        """Whether all data is in a commit; drift of the environment is no loss."""
        return not self.changes and not self.staged


def status(repo: Repo) -> StatusResult:
    """Compares the files with the lock, the lock with HEAD's, and the environment with the lock's.

    Reads contents only where stat data changed, and never executes anything of the work tree but git.

    Raises:
        LockConflictError: A merge left conflict marks in the lock.
        FileUnreadableError: A tracked file cannot be read.
    """
    for pack in repo.store.raw_files.changed():
        repo.reporter.warn(
            f"the store's own file of {BlobId(pack.digest)} was written to, as through a hard link of it: "
            "`mlvc fsck --repair` brings its contents back from a remote"
        )
    lock = repo.read_lock()
    (found,) = repo.locks_at("HEAD")
    head, committed = (None, Lock()) if found is None else found
    return StatusResult(
        branch=repo.code.branch(),
        head=head,
        changes=tuple(
            change for path in sorted(lock.entries) for change in repo.view.differences(lock.entries[path])
        ),
        staged=tuple(_staged(committed, lock)),
        drift=find_drift(repo, lock),
        tracked=len(lock.entries),
    )


def _staged(before: Lock, after: Lock) -> Iterator[Staged]:
    for path in sorted(before.entries.keys() | after.entries.keys()):
        old, new = before.entries.get(path), after.entries.get(path)
        if old == new:
            continue
        yield Staged(encode_name(path), "added" if old is None else "removed" if new is None else "modified")
    if before.environment != after.environment:
        yield Staged(
            "environment",
            "added" if before.environment is None else "removed" if after.environment is None else "modified",
        )


def find_drift(repo: Repo, lock: Lock) -> Drift | None:
    """Returns how what is installed differs from what the lock names; None where either is not known.

    Compares metadata alone: an interpreter of the work tree may come from a stranger, and starting it is slow.
    """
    if lock.environment is None or not repo.store.has_object(lock.environment):
        return None
    # A quarter of the start-up time, which a project without a locked environment must not pay.
    from mlvc.env.drift import compare, read_present  # noqa: PLC0415
    from mlvc.env.probe import find_interpreter  # noqa: PLC0415
    from mlvc.model.objects import Environment  # noqa: PLC0415

    python = find_interpreter(
        configured=repo.config.env_python,
        virtual_env=repo.environment.get("VIRTUAL_ENV"),
        project=repo.root,
        path=repo.environment.get("PATH", os.defpath),
    )
    if python is None:
        return None
    present = read_present(python, project=repo.root, cache_dir=repo.common_dir / "cache")
    recorded = repo.store.read_object(lock.environment)
    if present is None or not isinstance(recorded, Environment):
        return None
    return compare(recorded, present)
