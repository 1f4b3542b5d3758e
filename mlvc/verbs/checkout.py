"""`mlvc checkout`: makes the files match the lock, or code and data match a revision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlvc.code.child import git_said, run_git
from mlvc.code.writing import CheckoutRefusedError
from mlvc.errors import MlvcError
from mlvc.model.lock import Lock, TrackedPath
from mlvc.repo import HOOK_TOKEN, Repo
from mlvc.verbs.add import tracked_parent
from mlvc.verbs.left_out import check_ignores
from mlvc.verbs.locate import Located, get_entry, lock_of
from mlvc.verbs.undo import remember
from mlvc.worktree.ignore import add_ignore
from mlvc.worktree.worktree import MaterialiseResult

__all__ = ["CheckoutResult", "checkout"]


@dataclass(frozen=True, slots=True)
class CheckoutResult:
    """What was done.

    Attributes:
        sha: The git commit that HEAD is at now, where a revision was checked out as a whole.
        files: What happened to the data files.
    """

    sha: str | None
    files: MaterialiseResult


def checkout(
    repo: Repo, rev: str | None = None, *, paths: Sequence[str] = (), force: bool = False
) -> CheckoutResult:
    """Brings files back: those of the lock, of a revision, or only some paths of either.

    With paths, the code is untouched, and the lock takes over the lines of tracked paths from the revision.
    Without, git moves HEAD. Whatever would be lost is found before anything is touched.

    Args:
        repo: The repository.
        rev: A git revision; None for the present `mlvc.lock`.
        paths: Only these, as typed; they may lie below a tracked directory.
        force: Store changed data files first, name them in the journal, and go on.

    Raises:
        UnsavedFilesError: Data files would be lost, and `force` is off; nothing was changed.
        CheckoutRefusedError: Edited code, or an edited lock, would be lost; nothing was changed.
        RevisionMissingError: Git knows no such revision.
        PathMissingError: A path is not tracked there.
        MissingObjectsError: The store lacks contents; nothing was changed.
    """
    with repo.editing():
        if paths:
            return CheckoutResult(None, _checkout_paths(repo, rev, paths, force=force))
        lock = repo.read_lock()
        if rev is None:
            keep = _remembering(repo, lock, lock)
            return CheckoutResult(None, _bring_all(repo, lock, force=force, replacing=keep))
        return _checkout_revision(repo, rev, lock, force=force)


def _remembering(
    repo: Repo, before: Lock, after: Lock, sha: str | None = None
) -> Callable[[Sequence[TrackedPath]], None]:
    """Returns what tells `mlvc undo` of the files that are about to be replaced."""

    def keep(files: Sequence[TrackedPath]) -> None:
        if files or before != after or sha is not None:
            remember(repo, "checkout", before, after, files, sha=sha)

    return keep


def _bring_all(
    repo: Repo,
    target: Lock,
    *,
    force: bool,
    replacing: Callable[[Sequence[TrackedPath]], None] | None = None,
) -> MaterialiseResult:
    """Makes the files those of a lock; files that only what was brought before has are deleted."""
    brought = repo.brought().entries
    result = repo.worktree.materialise(
        target.entries, brought or target.entries, force=force, replacing=replacing
    )
    repo.note_brought(target.entries.values(), removed=brought.keys() - target.entries.keys())
    return result


def _checkout_paths(repo: Repo, rev: str | None, paths: Sequence[str], *, force: bool) -> MaterialiseResult:
    lock = repo.read_lock()
    wanted = [get_entry(repo, Located(rev, repo.path_of(argument))) for argument in paths]
    target = {entry.path: entry for entry in wanted}
    # What the lock tracks as a whole loses the files that the wanted version lacks; parts of it only gain.
    current = {path: lock.entries[path] for path in target if path in lock.entries}
    whole: list[TrackedPath] = []
    after = lock
    if rev is not None:
        whole = [entry for entry in wanted if not tracked_parent(entry.path, lock.entries)]
        inner = [path for path in lock.entries if any(path.startswith(entry.path + b"/") for entry in whole)]
        tracked = lock_of(repo, rev).entries
        after = lock.with_entries((tracked.get(entry.path, entry) for entry in whole), removed=inner)
        check_ignores(repo, [entry.path for entry in whole])
    keep = _remembering(repo, lock, after)
    result = repo.worktree.materialise(target, current, force=force, replacing=keep)
    if rev is not None:
        for entry in whole:
            add_ignore(repo.root, entry.path)
        repo.write_lock(after)
        repo.note_brought([after.entries[entry.path] for entry in whole], removed=inner)
    else:
        repo.note_brought(entry for path, entry in target.items() if lock.entries.get(path) == entry)
    return result


def _checkout_revision(repo: Repo, rev: str, lock: Lock, *, force: bool) -> CheckoutResult:
    found, head = repo.locks_at(rev, "HEAD")
    if found is None:
        # Mostly this raises, and says what is wrong.
        sha = repo.code.resolve(rev)
        found = sha, repo.lock_at(sha)
    sha, target = found
    if head is not None:
        if head[1] == target:
            # Git carries an edited lock over when both commits have the same.
            target = lock
        _try_git(repo, head[0], sha)
    # Data comes first, because it can refuse and leave everything as it is. Killed in between, every byte is in an
    # object and the lock is the old one: `mlvc checkout` goes back, the same command again goes on.
    keep = _remembering(repo, lock, target, sha)
    files = _bring_all(repo, target, force=force, replacing=keep)
    try:
        repo.code.checkout(rev, environment=HOOK_TOKEN)
    except MlvcError:
        _bring_all(repo, lock, force=True)
        raise
    return CheckoutResult(sha, files)


def _try_git(repo: Repo, head: str, sha: str) -> None:
    """Asks git whether it could move to `sha`, so that a refusal costs no data being written twice."""
    question = ("read-tree", "--dry-run", "-u", "-m", head, sha)
    trial = run_git(repo.root, *question)
    if trial.returncode != 0:
        # A file that was touched, and is as it was, counts as edited until git has looked at it.
        run_git(repo.root, "update-index", "-q", "--refresh")
        trial = run_git(repo.root, *question)
    if trial.returncode != 0:
        raise CheckoutRefusedError(
            f"git cannot check out {sha[:12]}: {git_said(trial)}",
            hint="commit or stash your edits, then repeat",
        )
