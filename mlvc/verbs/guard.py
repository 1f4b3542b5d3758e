"""What the git hooks do after git: the data follows where plain git moves the lock, and every commit is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlvc import fsio
from mlvc.model.lock import Lock, TrackedPath, decode_lock
from mlvc.repo import LOCK_NAME, Repo
from mlvc.verbs.commit import record_commit
from mlvc.worktree.worktree import UnsavedFilesError

__all__ = [
    "follow",
    "follow_commit",
    "lock_before",
    "lock_before_rebase",
    "record_head",
    "record_rewritten",
]


def lock_before(repo: Repo, rev: str) -> Lock:
    """Returns the lock of a revision that git left; empty where there was none, as before a clone's first checkout."""
    return repo.lock_at(rev) if rev.strip("0") and repo.code.resolves(rev) else Lock()


def lock_before_rebase(repo: Repo) -> Lock:
    """Returns the lines that data was brought by before or in the middle of a rebase that now ends.

    Of lines that were edited before it began, and that git will bring back from its own stash, those of the commit
    that it began at: their data must not move unless the rebase moved them.
    """
    brought = repo.brought()
    stash = repo.code.git_dir / "rebase-merge" / "autostash"
    with fsio.translate_os_errors(f"read {stash}"):
        if not stash.exists():
            return brought
        edited = repo.lock_at(stash.read_text().strip()).entries
        began = repo.lock_at(stash.with_name("orig-head").read_text().strip()).entries
    kept = [path for path in brought.entries.keys() | edited if brought.entries.get(path) == edited.get(path)]
    return brought.with_entries((began[path] for path in kept if path in began), removed=kept)


def follow(repo: Repo, before: Lock) -> None:
    """Brings the data of lines that changed since `before`; lines that did not change keep whatever is there.

    Raises:
        UnsavedFilesError: Bytes would be lost; nothing was changed.
        MissingObjectsError: The store lacks contents; nothing was changed.
    """
    with repo.editing():
        old, new = before.entries, repo.read_lock().entries
        moved = [path for path in old.keys() | new.keys() if old.get(path) != new.get(path)]
        _bring(repo, repo.brought().entries, new, moved)


def follow_commit(repo: Repo) -> None:
    """Brings the data of a commit that git made by itself, as a cherry-pick does.

    Only lines that this commit changed, and only over what its parent's line brought: after a person's own commit
    there are none.

    Raises:
        MlvcError: As `follow` raises it.
    """
    with repo.editing():
        lock = repo.read_lock()
        head, parent_of_head = repo.locks_at("HEAD", "HEAD~1")
        if head is None or lock != head[1]:
            return
        before = repo.brought().entries
        parent = {} if parent_of_head is None else parent_of_head[1].entries
        paths = before.keys() | parent.keys() | lock.entries.keys()
        still = [path for path in paths if before.get(path) == parent.get(path)]
        _bring(repo, before, lock.entries, still)


def _bring(
    repo: Repo,
    before: Mapping[bytes, TrackedPath],
    after: Mapping[bytes, TrackedPath],
    paths: Iterable[bytes],
) -> None:
    changed = [path for path in paths if before.get(path) != after.get(path)]
    if not changed:
        return
    target = {path: after[path] for path in changed if path in after}
    current = {path: before[path] for path in changed if path in before}
    try:
        repo.worktree.materialise(target, current, force=False)
    except UnsavedFilesError as exc:
        # To repeat git's command would not help.
        exc.hint = "`mlvc checkout --force` saves them first and goes on; `mlvc add` keeps them instead"
        raise
    repo.note_brought(target.values(), removed=current.keys() - target.keys())


# ---------------------------------------------------------------------------------------- data commits


def record_head(repo: Repo) -> None:
    """Records the data commit of HEAD, unless it has one or holds no lock."""
    record_rewritten(repo, ["HEAD"])


def record_rewritten(repo: Repo, revs: Iterable[str]) -> None:
    """Records the data commits of git commits, parents first, unless they have one or hold no lock."""
    head, *found = repo.code.commits_at(LOCK_NAME, "HEAD", *revs)
    commits = [(info, decode_lock(lock)) for info, lock in filter(None, found) if lock is not None]
    if head is None or not commits:
        return
    asked = {sha for info, _ in commits for sha in (info.sha, *info.parents)}
    recorded = dict(repo.recorded_commits(asked))
    for info, lock in commits:
        if info.sha not in recorded:
            record = record_commit(repo, info, lock, recorded, is_head=info.sha == head[0].sha)
            recorded[info.sha] = record.id
