"""`mlvc undo`: brings back the lock and the files from before the last `add`, `rm` or `checkout`, step by step."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlvc.errors import MlvcError, NotFoundError, UnsavedError
from mlvc.fsio import read_if_there, translate_os_errors
from mlvc.model.lock import Lock, TrackedPath
from mlvc.repo import HOOK_TOKEN, Repo
from mlvc.store.marks import ids_in
from mlvc.worktree.ignore import add_ignore, remove_ignore
from mlvc.worktree.undo import UndoJournal, UndoRecord, decode_undo
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

_DEFAULT_KEEP_DAYS = 30


class NothingToUndoError(NotFoundError):
    """No operation is left to undo, or it was longer ago than the keep period."""

    code = "nothing-to-undo"


class LockMovedError(UnsavedError):
    """`mlvc.lock`, or HEAD, is no longer what the last operation left; undoing it would undo more than that."""

    code = "lock-moved"


@dataclass(frozen=True, slots=True)
class UndoResult:
    """What was undone.

    Attributes:
        operation: What it was: `add`, `rm` or `checkout`.
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
) -> None:
    """Writes down what undoes an operation that is about to change the lock or the files.

    Args:
        repo: The repository; the caller holds `repo.editing()`.
        operation: Its name.
        before: The lock as it is.
        after: The lock as it will be.
        files: What will be overwritten or deleted, stored already; None where no file changes.
        sha: The commit that HEAD will be moved to.
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
        head=head,
        sha=None if head is None else sha,
    )
    UndoJournal(repo.state_dir).append(record, _oldest(repo))


def _oldest(repo: Repo) -> datetime.datetime:
    return repo.clock.now() - datetime.timedelta(days=keep_days_of(repo))


def undo(repo: Repo) -> UndoResult:
    """Brings back the lock and the files from before the last operation that was not undone yet.

    So one undo after the other goes one step further back each. Killed on its way, the same step is undone again.
    What it replaces, and the lock that it leaves, are named in the journal for the keep period.

    Raises:
        NothingToUndoError: There is none within the keep period.
        LockMovedError: The lock or HEAD was changed by something else since.
        UnsavedFilesError: Files hold bytes that are stored nowhere; nothing was changed.
        CheckoutRefusedError: Edited code would be lost; nothing was changed.
        MissingObjectsError: The store lacks contents; nothing was changed.
    """
    with repo.editing():
        journal = UndoJournal(repo.state_dir)
        step = journal.last()
        if step is None or step[1].time < _oldest(repo):
            raise NothingToUndoError(
                f"there is no add, rm or checkout of the last {keep_days_of(repo)} days left to undo",
                hint="`mlvc log` lists the commits, and `mlvc checkout REV` goes to one",
            )
        path, record = step
        lock = repo.read_lock()
        _check_unmoved(repo, record, lock)
        target_sha = None if record.head is None else repo.code.resolve(record.head)
        files = MaterialiseResult(0, 0, 0)
        if record.changes_files:
            files = _bring_back(repo, journal, record)
        _write(repo, lock, record.before)
        gone = record.after.entries.keys() - record.before.entries.keys()
        back: Iterable[TrackedPath] = record.before.entries.values()
        if not record.changes_files:
            # A checkout deletes files that count as brought: those of a path that is new to mlvc are a person's again.
            back = [entry for entry in back if record.after.entries.get(entry.path) != entry]
        repo.note_brought(back, removed=gone)
        # It comes last: killed before, the same step is undone again, which changes nothing that is right already.
        journal.mark_undone(path)
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


def _bring_back(repo: Repo, journal: UndoJournal, record: UndoRecord) -> MaterialiseResult:
    after, replaced = record.after, dict[bytes, TrackedPath]()

    def keep(files: Sequence[TrackedPath]) -> None:
        replaced.update((entry.path, entry) for entry in files)
        if replaced:
            # Whatever else may name these bytes no more: gc keeps them for as long as a step could be undone.
            taken = UndoRecord(
                "undo", repo.clock.now(), after, record.before, changes_files=True, replaced=replaced
            )
            journal.append(taken, _oldest(repo), is_undone=True)

    result = repo.worktree.materialise(
        record.before.entries, after.entries, force=False, overlay=record.replaced, replacing=keep
    )
    if record.head is not None:
        try:
            repo.code.checkout(record.head, environment=HOOK_TOKEN)
        except MlvcError:
            repo.worktree.materialise(after.entries, record.before.entries, force=True, overlay=replaced)
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
    """Returns the digests that the journal of a work tree names, but for steps older than `oldest`.

    A step that cannot be understood counts as young, whatever it names.
    """
    named: set[bytes] = set()
    for path in UndoJournal(state_dir).files():
        with translate_os_errors(f"read {os.fsdecode(path)}"):
            # One that was undone meanwhile has another name; gc looks again when nobody can undo anything.
            data = read_if_there(path)
        if data is None or _is_from_before(data, oldest):
            continue
        named |= ids_in(data)
    return named


def _is_from_before(data: bytes, oldest: datetime.datetime) -> bool:
    with contextlib.suppress(MlvcError, UnicodeDecodeError):
        return decode_undo(data).time < oldest
    return False
