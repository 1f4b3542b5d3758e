"""What the git hooks do: a commit is checked, and the data follows where plain git moves the lock."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from mlvc import fsio
from mlvc.code.child import git_names, run_git
from mlvc.code.objects import find_objects
from mlvc.errors import MlvcError, NotFoundError
from mlvc.model.lock import Lock, TrackedPath, decode_lock
from mlvc.model.names import encode_name
from mlvc.repo import LOCK_NAME, Repo
from mlvc.verbs.commit import record_commit
from mlvc.worktree.worktree import UnsavedFilesError

__all__ = [
    "CommitUnfitError",
    "check_commit",
    "follow",
    "follow_commit",
    "is_rewriting",
    "lock_before",
    "lock_before_rebase",
    "record_head",
    "record_rewritten",
]

_LARGE_BYTES = 10 * 1000 * 1000
_DATA_FORMATS = (
    *(b".arrow", b".ckpt", b".feather", b".gguf", b".h5", b".hdf5", b".joblib", b".keras", b".npy", b".npz"),
    *(b".onnx", b".parquet", b".pickle", b".pkl", b".pt", b".pth", b".safetensors", b".tflite", b".tfrecord"),
)
_NAMED = 5
_UNFINISHED = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD")
_PICKS = frozenset(
    [b"pick", b"p", b"reword", b"r", b"edit", b"e", b"squash", b"s", b"fixup", b"f", b"merge", b"m"]
)


class CommitUnfitError(MlvcError):
    """A git commit would not describe the data, or would take data into git."""

    code = "commit-unfit"


# ------------------------------------------------------------------------------------------- pre-commit


def check_commit(repo: Repo, index: Mapping[str, str]) -> None:
    """Refuses a git commit whose lock is not that of the files, or that holds data itself; changes nothing.

    Data that only waits to follow, because git is in the middle of a merge or a rebase, is no reason.

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
    _check_files(repo, lock)
    # What a merge brings is in git already.
    if not _is_there(repo, "MERGE_HEAD"):
        data = [encode_name(path) for path in _staged_data(repo, index)]
        if data:
            raise CommitUnfitError(
                f"data would go into git: {_listed(data)}",
                hint=f"git rm --cached {data[0]} && mlvc add {data[0]} && git add mlvc.lock .gitignore",
            )


def _check_files(repo: Repo, lock: Lock) -> None:
    brought = repo.brought().entries
    edited: list[str] = []
    waiting: list[str] = []
    for path, entry in lock.entries.items():
        before = brought.get(path)
        if before is None and not repo.worktree.exists(path):
            continue  # It was never brought: a clone whose owner works on the code.
        changes = [change.name for change in repo.worktree.differences(entry)]
        (waiting if changes and _is_as_brought(repo, before) else edited).extend(changes)
    if edited:
        raise CommitUnfitError(
            f"tracked data differs from mlvc.lock: {_listed(edited)}",
            hint="`mlvc add` the path and `git add mlvc.lock`, or `mlvc checkout` to go back",
        )
    is_gits_own = is_rewriting(repo) or any(_is_there(repo, name) for name in _UNFINISHED)
    if waiting and not is_gits_own:
        raise CommitUnfitError(
            f"the data is stored, but mlvc.lock names another version of it: {_listed(waiting)}",
            hint="`git add mlvc.lock .gitignore` after `mlvc add`; `mlvc checkout` after `git reset` or `git stash`",
        )


def _is_as_brought(repo: Repo, entry: TrackedPath | None) -> bool:
    try:
        return entry is not None and not repo.worktree.differences(entry)
    except NotFoundError:
        return False  # Nobody can tell any more.


def _is_there(repo: Repo, ref: str) -> bool:
    return run_git(repo.root, "rev-parse", "--verify", "--quiet", ref).returncode == 0


def _staged_data(repo: Repo, index: Mapping[str, str]) -> Iterator[bytes]:
    arguments = ("diff", "--cached", "--raw", "--no-abbrev", "--no-renames", "--diff-filter=AMT", "-z")
    fields = run_git(repo.root, *arguments, environment=index).stdout.split(b"\0")[:-1]
    # `:MODE MODE SHA SHA STATUS`, and the name as a field of its own; a submodule's SHA is nothing here.
    staged = [entry.split(b" ")[3].decode() for entry in fields[::2]]
    for name, item in zip(fields[1::2], find_objects(repo.root, staged), strict=True):
        if name.lower().endswith(_DATA_FORMATS) or (item is not None and item.size_bytes > _LARGE_BYTES):
            yield name


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


# ------------------------------------------------------------------------------------------ data follows


def is_rewriting(repo: Repo) -> bool:
    """Returns whether a rebase is going on, at whose end git calls post-rewrite: data follows there, once."""
    directory = repo.code.git_dir
    if (directory / "rebase-apply").is_dir():
        return True
    todo = directory / "rebase-merge" / "git-rebase-todo"
    with fsio.translate_os_errors(f"read {todo}"):
        if not todo.parent.is_dir():
            return False
        # At its start a rebase that will pick nothing is as good as a checkout.
        files = [path for path in (todo, todo.with_name("done")) if path.exists()]
        lines = [line for path in files for line in path.read_bytes().splitlines()]
    return any(line.split(b" ", 1)[0] in _PICKS for line in lines)


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
        if lock != repo.lock_at("HEAD"):
            return
        before = repo.brought().entries
        parent = repo.lock_at("HEAD~1").entries if repo.code.resolves("HEAD~1") else {}
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
    with repo.store.writer() as writer:
        try:
            repo.worktree.materialise(target, current, force=False, writer=writer)
        except UnsavedFilesError as exc:
            # To repeat git's command would not help.
            exc.hint = "`mlvc checkout --force` saves them first and goes on; `mlvc add` keeps them instead"
            raise
    repo.note_brought(target.values(), removed=current.keys() - target.keys())


# ---------------------------------------------------------------------------------------- data commits


def record_head(repo: Repo) -> None:
    """Records the data commit of HEAD, unless it has one or holds no lock."""
    record_rewritten(repo, [repo.code.resolve("HEAD")])


def record_rewritten(repo: Repo, shas: Iterable[str]) -> None:
    """Records the data commits of git commits, parents first, unless they have one or hold no lock."""
    head = repo.code.resolve("HEAD")
    for sha in shas:
        if not git_names(repo.root, "ls-tree", "-z", "--name-only", sha, "--", os.fsdecode(LOCK_NAME)):
            continue
        if repo.index_for_work().commit_for_sha(sha) is None:
            record_commit(repo, sha, repo.lock_at(sha), is_head=sha == head)
