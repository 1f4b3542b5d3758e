"""What the git hooks do: a commit is checked, and the data follows where plain git moves the lock."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from mlvc.code.child import git_names, run_git
from mlvc.errors import MlvcError
from mlvc.model.lock import Lock, decode_lock
from mlvc.model.names import encode_name
from mlvc.repo import LOCK_NAME, Repo
from mlvc.verbs.commit import record_commit

__all__ = ["CommitUnfitError", "check_commit", "follow", "follow_commit", "lock_before", "record_head"]

_LARGE_BYTES = 10 * 1000 * 1000
_DATA_FORMATS = (
    *(b".arrow", b".ckpt", b".feather", b".gguf", b".h5", b".hdf5", b".joblib", b".keras", b".npy", b".npz"),
    *(b".onnx", b".parquet", b".pickle", b".pkl", b".pt", b".pth", b".safetensors", b".tflite", b".tfrecord"),
)
_NAMED = 5


class CommitUnfitError(MlvcError):
    """A git commit would not describe the data, or would take data into git."""

    code = "commit-unfit"


def check_commit(repo: Repo, index: Mapping[str, str]) -> None:
    """Refuses a git commit whose lock is not that of the files, or that holds data itself; changes nothing.

    Args:
        repo: The repository.
        index: `GIT_INDEX_FILE`, where git commits another index than its usual one.

    Raises:
        CommitUnfitError: With the command that mends it.
    """
    staged = run_git(repo.root, "cat-file", "blob", b":" + LOCK_NAME, environment=index)
    lock = repo.read_lock()
    if staged.returncode == 0 and decode_lock(staged.stdout) != lock:
        raise CommitUnfitError(
            "mlvc.lock has changes that are not staged", hint="git add mlvc.lock .gitignore"
        )
    changed = [change.name for entry in lock.entries.values() for change in repo.worktree.differences(entry)]
    if changed:
        raise CommitUnfitError(
            f"tracked data differs from mlvc.lock: {_listed(changed)}",
            hint="`mlvc add` the path and `git add mlvc.lock`, or `mlvc checkout` to go back",
        )
    # What a merge brings is in git already.
    if run_git(repo.root, "rev-parse", "--verify", "--quiet", "MERGE_HEAD").returncode != 0:
        data = [encode_name(path) for path in _staged_data(repo, index)]
        if data:
            raise CommitUnfitError(
                f"data would go into git: {_listed(data)}",
                hint=f"git rm --cached {data[0]} && mlvc add {data[0]} && git add mlvc.lock .gitignore",
            )


def _staged_data(repo: Repo, index: Mapping[str, str]) -> Iterator[bytes]:
    arguments = ("diff", "--cached", "--name-only", "--no-renames", "--diff-filter=AMT", "-z")
    names = run_git(repo.root, *arguments, environment=index).stdout.split(b"\0")[:-1]
    for name in names:
        size = run_git(repo.root, "cat-file", "-s", b":" + name, environment=index).stdout.strip()
        if name.lower().endswith(_DATA_FORMATS) or (size.isdigit() and int(size) > _LARGE_BYTES):
            yield name


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def lock_before(repo: Repo, rev: str) -> Lock:
    """Returns the lock of a revision that git left; empty where there was none, as before a clone's first checkout."""
    return repo.lock_at(rev) if rev.strip("0") and repo.code.resolves(rev) else Lock()


def follow(repo: Repo, before: Lock) -> None:
    """Brings the data of lines that changed since `before`; lines that did not change keep whatever is there.

    Raises:
        UnsavedFilesError: Bytes would be lost; nothing was changed.
        MissingObjectsError: The store lacks contents; nothing was changed.
    """
    with repo.editing():
        after = repo.read_lock().entries
        same = {path for path, entry in after.items() if before.entries.get(path) == entry}
        target = {path: entry for path, entry in after.items() if path not in same}
        current = {path: entry for path, entry in before.entries.items() if path not in same}
        with repo.store.writer() as writer:
            repo.worktree.materialise(target, current, force=False, writer=writer)


def follow_commit(repo: Repo) -> None:
    """Brings the data of a commit that git made by itself, as a rebase does; only over what its parent's lock names.

    Raises:
        MlvcError: As `follow` raises it.
    """
    lock, before = repo.read_lock(), lock_before(repo, "HEAD~1")
    if lock != repo.lock_at("HEAD"):
        return
    old = {
        path: entry
        for path, entry in before.entries.items()
        if path in lock.entries and lock.entries[path] != entry and not repo.worktree.differences(entry)
    }
    new = {
        path: entry
        for path, entry in lock.entries.items()
        if path in old or (path not in before.entries and not repo.worktree.exists(path))
    }
    if new:
        with repo.editing(), repo.store.writer() as writer:
            repo.worktree.materialise(new, old, force=False, writer=writer)


def record_head(repo: Repo) -> None:
    """Records the data commit of HEAD, unless it has one or holds no lock."""
    sha = repo.code.resolve("HEAD")
    if not git_names(repo.root, "ls-tree", "-z", "--name-only", sha, "--", os.fsdecode(LOCK_NAME)):
        return
    repo.index.catch_up(repo.reporter)
    if repo.index.commit_for_sha(sha) is None:
        record_commit(repo, sha, repo.lock_at(sha))
