"""`mlvc commit`: the git commit and the data commit that links to it, as one step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlvc.code.commits import CommitInfo
from mlvc.code.writing import NothingToCommitError
from mlvc.model.ids import CommitId
from mlvc.model.lock import Lock, TrackedPath
from mlvc.model.names import encode_name
from mlvc.model.objects import Commit
from mlvc.repo import HOOK_TOKEN, LOCK_NAME, SETTINGS_NAME, Repo
from mlvc.verbs.add import add_paths

__all__ = ["CommitResult", "commit", "record_commit"]


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What was committed.

    Attributes:
        id: Of the mlvc commit.
        commit: The mlvc commit.
        added: Tracked paths that `-a` stored anew.
    """

    id: CommitId
    commit: Commit
    added: tuple[TrackedPath, ...]


def commit(repo: Repo, message: str, *, add_changed: bool = False) -> CommitResult:
    """Commits the lock, `.gitignore` and whatever is staged in git, and records the data commit for that SHA.

    Where git has nothing to commit and HEAD has no data commit yet (it was made by `git commit`, or mlvc was killed
    in between), HEAD gets one.

    Args:
        repo: The repository.
        message: Of the git commit.
        add_changed: Store tracked paths that changed first. Paths whose files are gone stay as they are in the lock.

    Raises:
        NothingToCommitError: Nothing is staged, and HEAD has its data commit.
        GitError: Git or a hook refused.
    """
    with repo.editing():
        added = _add_changed(repo) if add_changed else ()
        lock = repo.read_lock()
        head = repo.code.head_sha()
        # Before git commits: an index that cannot be asked would leave a commit without its record.
        recorded = {} if head is None else repo.recorded_commits([head])
        try:
            sha = repo.code.commit(message, _own_files(repo, lock), environment=HOOK_TOKEN)
        except NothingToCommitError:
            if head is None or recorded:
                raise
            sha = head
        info = repo.code.info(sha)
        others = [parent for parent in info.parents if parent != head]
        if others:
            recorded = {**recorded, **repo.recorded_commits(others)}
        record = record_commit(repo, info, lock, recorded)
    return CommitResult(record.id, record, added)


def _add_changed(repo: Repo) -> tuple[TrackedPath, ...]:
    present = []
    for path, entry in repo.read_lock().entries.items():
        if not repo.worktree.exists(path):
            repo.reporter.warn(f"{encode_name(path)} is missing; it stays tracked as it was")
        elif repo.worktree.differences(entry):
            present.append(path)
    return tuple(item.entry for item in add_paths(repo, present).paths)


def _own_files(repo: Repo, lock: Lock) -> Sequence[bytes]:
    """Returns the files that mlvc writes and git tracks, as far as they exist or git knows them."""
    directories = {path.rpartition(b"/")[0] for path in lock.entries}
    directories.update(_directories_of_head(repo))
    ignores = {directory + b"/.gitignore" if directory else b".gitignore" for directory in directories}
    return [
        SETTINGS_NAME,
        LOCK_NAME,
        *(name for name in sorted(ignores) if repo.worktree.exists(name) or repo.code.tracked_below(name)),
    ]


def _directories_of_head(repo: Repo) -> Iterable[bytes]:
    if repo.code.head_sha() is None:
        return ()
    return (path.rpartition(b"/")[0] for path in repo.lock_at("HEAD").entries)


def record_commit(
    repo: Repo, info: CommitInfo, lock: Lock, recorded: Mapping[str, CommitId], *, is_head: bool = True
) -> Commit:
    """Stores the data commit of a git commit; the index takes it in with the next question.

    Args:
        repo: The repository.
        info: The git commit.
        lock: Its lock.
        recorded: The data commits of its parents, by SHA.
        is_head: Whether HEAD is at it; of another one, the work tree does not hold the code.
    """
    with repo.store.writer() as writer:
        record = Commit(
            code_sha=info.sha,
            code_tree=repo.code.capture_committed(writer, list(lock.entries)) if is_head else None,
            paths=tuple(lock.entries[path] for path in sorted(lock.entries)),
            environment=lock.environment,
            parents=tuple(recorded[parent] for parent in info.parents if parent in recorded),
            author=info.author,
            time=info.time,
            message=info.message,
        )
        writer.add_object(record)
    return record
