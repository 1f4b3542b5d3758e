"""What the git hooks do after git: the data follows where plain git moves the lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlvc import fsio
from mlvc.model.lock import Lock, TrackedPath
from mlvc.repo import Repo

__all__ = [
    "follow",
    "follow_commit",
    "lock_before",
    "lock_before_rebase",
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
    if repo.read_lock().entries == before.entries:
        return  # As at each new branch: nobody needs to wait for the store.
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
    from mlvc.worktree.contents import ObstructedError  # noqa: PLC0415  # most checkouts move no data
    from mlvc.worktree.worktree import UnsavedFilesError  # noqa: PLC0415  # likewise

    target = {path: after[path] for path in changed if path in after}
    current = {path: before[path] for path in changed if path in before}
    try:
        repo.worktree.materialise(target, current, force=False)
    # To repeat git's command would not help.
    except UnsavedFilesError as exc:
        exc.hint = "`mlvc checkout --force` saves them first and goes on; `mlvc add` keeps them instead"
        raise
    except ObstructedError as exc:
        exc.hint = "move it away, then `mlvc checkout`"
        raise
    repo.note_brought(target.values(), removed=current.keys() - target.keys())
