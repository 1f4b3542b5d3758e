"""`mlvc undo`: brings back the lock and the files from before the last `add`, `rm` or `checkout`."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mlvc.errors import MlvcError, NotFoundError, UnsavedError
from mlvc.fsio import translate_os_errors
from mlvc.model.lock import Lock, TrackedPath
from mlvc.repo import HOOK_TOKEN, Repo
from mlvc.store.marks import ids_in
from mlvc.worktree.ignore import add_ignore, remove_ignore
from mlvc.worktree.undo import UndoRecord, decode_undo, read_undo, write_undo
from mlvc.worktree.worktree import MaterialiseResult

__all__ = [
    "LockMovedError",
    "NothingToUndoError",
    "UndoResult",
    "ids_to_undo",
    "keep_days_of",
    "remember",
    "undo",
]

_JOURNAL = "undo.log"
_DEFAULT_KEEP_DAYS = 30


class NothingToUndoError(NotFoundError):
    """No operation was remembered, or it was longer ago than the keep period."""

    code = "nothing-to-undo"


class LockMovedError(UnsavedError):
    """`mlvc.lock`, or HEAD, is no longer what the last operation left; undoing it would undo more than that."""

    code = "lock-moved"


@dataclass(frozen=True, slots=True)
class UndoResult:
    """What was undone.

    Attributes:
        operation: What it was: `add`, `rm`, `checkout`, or `undo`.
        time: When it was done.
        sha: The git commit that HEAD is at now, where it moved.
        files: What happened to the data files.
    """

    operation: str
    time: datetime.datetime
    sha: str | None
    files: MaterialiseResult


def keep_days_of(repo: Repo) -> int:
    """Returns the keep period in days: for how long gc keeps what nothing needs, and undo can bring it back."""
    own = repo.config.gc_keep_days
    return _DEFAULT_KEEP_DAYS if own is None else own


def remember(
    repo: Repo,
    operation: str,
    before: Lock,
    after: Lock,
    files: Iterable[TrackedPath] | None = None,
    *,
    sha: str | None = None,
    restored: Mapping[bytes, TrackedPath] = MappingProxyType({}),
) -> None:
    """Writes down what undoes an operation that is about to change the lock; in the place of the one before.

    Args:
        repo: The repository; the caller holds `repo.editing()`.
        operation: Its name.
        before: The lock as it is.
        after: The lock as it will be.
        files: What will be overwritten or deleted, stored already; None where no file changes.
        sha: The commit that HEAD will be moved to.
        restored: What an undo will bring back besides what `after` says.
    """
    head = None
    if sha is not None:
        head = repo.code.branch() or repo.code.head_sha()
    record = UndoRecord(
        operation=operation,
        time=repo.clock.now(),
        before=before,
        after=after,
        changes_files=files is not None,
        replaced={entry.path: entry for entry in files or ()},
        restored=restored,
        head=head,
        sha=None if head is None else sha,
    )
    write_undo(repo.state_dir / _JOURNAL, record)


def undo(repo: Repo) -> UndoResult:
    """Brings back the lock and the files from before the last operation; undoing that again does it again.

    Raises:
        NothingToUndoError: There is none within the keep period.
        LockMovedError: The lock or HEAD was changed by something else since.
        UnsavedFilesError: Files hold bytes that are stored nowhere; nothing was changed.
        CheckoutRefusedError: Edited code would be lost; nothing was changed.
        MissingObjectsError: The store lacks contents; nothing was changed.
    """
    with repo.editing():
        record = read_undo(repo.state_dir / _JOURNAL)
        keep = datetime.timedelta(days=keep_days_of(repo))
        if record is None or repo.clock.now() - record.time > keep:
            raise NothingToUndoError(
                f"there is no add, rm or checkout of the last {keep.days} days to undo",
                hint="`mlvc log` lists the commits, and `mlvc checkout REV` goes to one",
            )
        lock = repo.read_lock()
        _check_unmoved(repo, record, lock)
        target_sha = None if record.head is None else repo.code.resolve(record.head)
        if record.changes_files:
            files = _bring_back(repo, record, lock, target_sha)
        else:
            files = MaterialiseResult(0, 0, 0)
            remember(repo, "undo", record.after, record.before)
        _write(repo, lock, record.before)
        if record.changes_files:
            gone = record.after.entries.keys() - record.before.entries.keys()
            repo.note_brought(record.before.entries.values(), removed=gone)
    return UndoResult(record.operation, record.time, target_sha, files)


def _check_unmoved(repo: Repo, record: UndoRecord, lock: Lock) -> None:
    # It is still the one before where the operation was killed on its way.
    if lock not in (record.after, record.before):
        raise LockMovedError(
            f"mlvc.lock was changed since the last {record.operation}, by mlvc run, mlvc env lock or git",
            hint="`git diff mlvc.lock` shows how; `git checkout -- mlvc.lock` and `mlvc checkout` go back to HEAD",
        )
    if record.sha is not None and repo.code.head_sha() not in (
        record.sha,
        repo.code.resolve(str(record.head)),
    ):
        raise LockMovedError(
            f"git's HEAD has moved since the last {record.operation}",
            hint=f"go back with `mlvc checkout {record.head}`",
        )


def _bring_back(repo: Repo, record: UndoRecord, lock: Lock, target_sha: str | None) -> MaterialiseResult:
    # Where the operation was killed on its way, the lock is still the one before, and files may be of either: what it
    # was to restore, and had not yet, must be in the journal still.
    after = record.after
    may_be_half_done = lock != after or record.before == after
    replaced = dict(record.restored) if may_be_half_done else {}

    def keep(files: Sequence[TrackedPath]) -> None:
        replaced.update((entry.path, entry) for entry in files)
        remember(
            repo,
            "undo",
            after,
            record.before,
            replaced.values(),
            sha=target_sha,
            restored=record.replaced,
        )

    with repo.store.writer() as writer:
        result = repo.worktree.materialise(
            record.before.entries,
            after.entries,
            force=False,
            writer=writer,
            overlay=record.replaced,
            replacing=keep,
        )
        if record.head is not None:
            try:
                repo.code.checkout(record.head, environment=HOOK_TOKEN)
            except MlvcError:
                repo.worktree.materialise(
                    after.entries,
                    record.before.entries,
                    force=True,
                    writer=writer,
                    overlay=replaced,
                )
                raise
    return result


def _write(repo: Repo, lock: Lock, wanted: Lock) -> None:
    for path in lock.entries.keys() - wanted.entries.keys():
        remove_ignore(repo.root, path)
    for path in sorted(wanted.entries.keys() - lock.entries.keys()):
        add_ignore(repo.root, path)
    if repo.read_lock() != wanted:
        repo.write_lock(wanted)


def ids_to_undo(state_dir: Path, oldest: datetime.datetime) -> set[bytes]:
    """Returns the digests that the journal of a work tree names; none where it is older than `oldest`.

    A journal that cannot be understood counts as young, whatever it names.
    """
    path = state_dir / _JOURNAL
    with translate_os_errors(f"read {os.fsdecode(path)}"):
        if not path.exists():
            return set()
        data = path.read_bytes()
    with contextlib.suppress(MlvcError, UnicodeDecodeError):
        if decode_undo(data).time < oldest:
            return set()
    return ids_in(data)
