"""The pre-commit hook: a git commit that would not describe the data, or that would hold data, is refused or mended."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mlvc import fsio
from mlvc.code.child import GitError, git_said, run_git
from mlvc.code.objects import find_objects
from mlvc.errors import MlvcError, NotFoundError
from mlvc.model.lock import Lock, TrackedPath, decode_lock
from mlvc.model.names import encode_name
from mlvc.repo import LOCK_NAME, SETTINGS_NAME, Repo
from mlvc.verbs.naming import some_of, typed
from mlvc.verbs.rewriting import is_rewriting
from mlvc.worktree.ignore import ignore_lines

__all__ = ["UNFINISHED_MERGE", "CommitUnfitError", "check_commit", "staged_data"]

_LARGE_BYTES = 10 * 1000 * 1000
_DATA_FORMATS = (
    *(b".arrow", b".ckpt", b".feather", b".gguf", b".h5", b".hdf5", b".joblib", b".keras", b".npy", b".npz"),
    *(b".onnx", b".parquet", b".pickle", b".pkl", b".pt", b".pth", b".safetensors", b".tflite", b".tfrecord"),
)
UNFINISHED_MERGE = "MERGE_HEAD"
"""What git has while a merge goes on; what that brings is in git already."""
_UNFINISHED = (UNFINISHED_MERGE, "CHERRY_PICK_HEAD", "REVERT_HEAD")
_OF_NAMED_FILES = "next-index-"
"""How the index begins that git makes for `git commit FILE`: what is staged there is gone after the commit."""


class CommitUnfitError(MlvcError):
    """A git commit would not describe the data, or would take data into git."""

    code = "commit-unfit"


def check_commit(repo: Repo, index: Mapping[str, str]) -> Sequence[str]:
    """Refuses a git commit whose lock is not that of the files, or that holds data itself.

    Data that only waits to follow, because git is in the middle of a merge or a rebase, is no reason. With
    `hooks.add = "auto"` edited data is added, and the lock and `.gitignore` are staged; otherwise nothing is changed.

    Args:
        repo: The repository.
        index: `GIT_INDEX_FILE`, where git commits another index than its usual one.

    Returns:
        The tracked paths that were added, in text form.

    Raises:
        CommitUnfitError: With the command that mends it.
    """
    is_whole = not any(Path(path).name.startswith(_OF_NAMED_FILES) for path in index.values())
    is_auto = repo.config.hooks_add == "auto" and is_whole
    lock = repo.read_lock()
    edited, waiting = _differences(repo, lock)
    added: Sequence[str] = ()
    if is_auto and edited and all(map(repo.view.exists, edited)):
        added = _add(repo, edited)
        lock, edited = repo.read_lock(), {}
    if is_auto and not waiting:
        from mlvc.code.writing import stage  # noqa: PLC0415  # only where hooks.add says so

        stage(repo.root, [LOCK_NAME, *_ignores_to_stage(repo, lock, index)], index)
    unfinished = _check_staged(repo, lock, index, is_whole=is_whole)
    if edited:
        names = [name for changed in edited.values() for name in changed]
        raise CommitUnfitError(
            f"tracked data differs from mlvc.lock: {some_of(names)}", hint=_ways_out(repo, edited)
        )
    if waiting and not unfinished and not is_rewriting(repo):
        raise CommitUnfitError(
            f"the data is stored, but mlvc.lock names another version of it: {some_of(waiting)}",
            hint=f"`git add {typed(repo, [LOCK_NAME])}` after `mlvc add`; "
            "`mlvc checkout` after `git reset` or `git stash`",
        )
    if UNFINISHED_MERGE not in unfinished:
        _check_no_data(repo, index)
    _check_environment(repo, lock)
    return added


def _add(repo: Repo, paths: Iterable[bytes]) -> Sequence[str]:
    from mlvc.verbs.add import add_paths  # noqa: PLC0415  # git waits for this hook, and most commits add nothing

    with repo.editing():
        return [item.entry.name for item in add_paths(repo, paths).paths]


def _ways_out(repo: Repo, edited: Collection[bytes]) -> str:
    """Returns the commands that make `mlvc.lock` say what stands in the work tree, and those that do the contrary."""
    there = [path for path in edited if repo.view.exists(path)]
    gone = [path for path in edited if path not in there]
    commands = [f"mlvc add {typed(repo, there)}"] if there else []
    commands += [f"mlvc rm {typed(repo, gone)}"] if gone else []
    commands.append(f"git add {typed(repo, [LOCK_NAME, *ignore_lines(gone)])}")
    take, back = f"`{' && '.join(commands)}`", f"`mlvc checkout --force -- {typed(repo, edited)}`"
    # Whoever makes room on a disk does not mean to take the data from everybody.
    return f"{take}, or {back} to go back" if there else f"{back} brings it back, or {take}"


# ------------------------------------------------------------------------------------------ what is staged


def _check_staged(repo: Repo, lock: Lock, index: Mapping[str, str], *, is_whole: bool) -> Sequence[str]:
    """Refuses a lock or a line of `.gitignore` that is in the work tree and not in the commit.

    Returns:
        What git is in the middle of; asked in the same breath, because each child of git costs milliseconds.
    """
    lines = ignore_lines(lock.entries)
    ignoring = _ignore_files(repo, lock)
    asked = [f":0:{os.fsdecode(path)}" for path in (SETTINGS_NAME, LOCK_NAME, *ignoring)]
    objects = find_objects(repo.root, [*asked, *_UNFINISHED], with_content=True, environment=index)
    texts = [None if item is None else item.content for item in objects]
    settings, staged, *found = texts
    unstaged = [
        path
        for path, text in zip(ignoring, found, strict=False)
        if (lines[path] & _lines_of(repo, path)) - set((text or b"").splitlines())
    ]
    names = [LOCK_NAME, *unstaged]
    told = None
    if staged is None and lock == Lock():
        pass  # Nothing is tracked yet, or no longer.
    elif staged is None:
        told = "mlvc.lock is not in git, so the commit would not say which data belongs to it"
        names = names if settings is not None else [SETTINGS_NAME, *names]
    elif decode_lock(staged) != lock:
        told = "mlvc.lock has changes that are not staged"
    elif unstaged:
        told = f"{encode_name(unstaged[0])} keeps git away from tracked data, and has changes that are not staged"
    if told is not None:
        command = f"git add {typed(repo, names)}"
        # What is staged is not in a commit of named files.
        hint = command if is_whole else f"`{command}`, then `git commit` without names, or name these too"
        raise CommitUnfitError(told, hint=hint)
    return [name for name, text in zip(_UNFINISHED, texts[len(asked) :], strict=True) if text is not None]


def _ignores_to_stage(repo: Repo, lock: Lock, index: Mapping[str, str]) -> Sequence[bytes]:
    """Returns the `.gitignore`s that have lines of mlvc's otherwise than they are staged; a person's own wait."""
    files = _ignore_files(repo, lock)
    asked = [f":0:{os.fsdecode(path)}" for path in (LOCK_NAME, *files)]
    before, *staged = find_objects(repo.root, asked, with_content=True, environment=index)
    tracked = Lock() if before is None else decode_lock(before.content)
    ours = ignore_lines({*lock.entries, *tracked.entries})
    return [
        path
        for path, item in zip(files, staged, strict=True)
        if ours[path] & (_lines_of(repo, path) ^ set((b"" if item is None else item.content).splitlines()))
    ]


def _ignore_files(repo: Repo, lock: Lock) -> Sequence[bytes]:
    """Returns the files that keep git away from tracked data, as far as they are here."""
    return [path for path in ignore_lines(lock.entries) if repo.view.exists(path)]


def _lines_of(repo: Repo, path: bytes) -> set[bytes]:
    with fsio.translate_os_errors(f"read {encode_name(path)}"):
        return set((fsio.read_if_there(repo.root / os.fsdecode(path)) or b"").splitlines())


# --------------------------------------------------------------------------------------- what is in the work tree


def _differences(repo: Repo, lock: Lock) -> tuple[dict[bytes, Sequence[str]], Sequence[str]]:
    """Returns what was edited, by tracked path, and what only waits for the lock or the data to follow."""
    brought = repo.brought().entries
    edited: dict[bytes, Sequence[str]] = {}
    waiting: list[str] = []
    for path, entry in lock.entries.items():
        before = brought.get(path)
        if before is None and not repo.view.exists(path):
            continue  # It was never brought: a clone whose owner works on the code.
        changes = [change.name for change in repo.view.differences(entry)]
        if changes and _is_as_brought(repo, before):
            waiting += changes
        elif changes:
            edited[path] = changes
    for path in _left_out(repo, [path for path in edited if not repo.view.exists(path)]):
        del edited[path]
    return edited, waiting


def _left_out(repo: Repo, paths: Collection[bytes]) -> Collection[bytes]:
    """Returns the paths whose directory a sparse checkout leaves out, where git itself deletes what it ignores.

    That is told by the `.gitignore` beside them.
    """
    if not paths:
        return ()
    keepers = {path: keeper for path in paths for keeper in ignore_lines([path])}
    left_out = repo.code.left_out(*set(keepers.values()))
    return [path for path, keeper in keepers.items() if keeper in left_out]


def _is_as_brought(repo: Repo, entry: TrackedPath | None) -> bool:
    try:
        return entry is not None and not repo.view.differences(entry)
    except NotFoundError:
        return False  # Nobody can tell any more.


# ------------------------------------------------------------------------------------------- what goes into git


def _check_no_data(repo: Repo, index: Mapping[str, str]) -> None:
    data = list(staged_data(repo, index))
    if data:
        name, added = typed(repo, data[:1]), typed(repo, [LOCK_NAME, *ignore_lines(data[:1])])
        raise CommitUnfitError(
            f"data would go into git: {some_of([encode_name(path) for path in data])}",
            hint=f"git rm --cached {name} && mlvc add {name} && git add {added}",
        )


def staged_data(
    repo: Repo, index: Mapping[str, str], kinds: str = "AMT", below: Collection[bytes] = ()
) -> Iterator[bytes]:
    """Yields the staged files that are data by their name or size.

    Args:
        repo: The repository.
        index: As of `check_commit`.
        kinds: Which changes count, as `--diff-filter` of git has them.
        below: Paths of data: what is staged there is some, too.

    Raises:
        GitError: Git does not say what is staged.
    """
    most_bytes = _LARGE_BYTES if repo.config.hooks_max_size is None else repo.config.hooks_max_size
    arguments = ("diff", "--cached", "--raw", "--no-abbrev", "--no-renames", f"--diff-filter={kinds}", "-z")
    done = run_git(repo.root, *arguments, environment=index)
    if done.returncode != 0:
        raise GitError(f"git does not say what is staged: {git_said(done)}")
    fields = done.stdout.split(b"\0")[:-1]
    # `:MODE MODE SHA SHA STATUS`, and the name as a field of its own; a submodule's SHA is nothing here.
    staged = [entry.split(b" ")[3].decode() for entry in fields[::2]]
    for name, item in zip(fields[1::2], find_objects(repo.root, staged), strict=True):
        is_data = name.lower().endswith(_DATA_FORMATS) or any(
            name == path or name.startswith(path + b"/") for path in below
        )
        if is_data or (item is not None and item.size_bytes > most_bytes):
            yield name


def _check_environment(repo: Repo, lock: Lock) -> None:
    """Warns of an environment that is not the locked one, or refuses it, as `hooks.environment` says."""
    if lock.environment is None or repo.config.hooks_environment == "off":
        return
    from mlvc.verbs.status import find_drift  # noqa: PLC0415  # for projects with a locked environment alone

    drift = find_drift(repo, lock)
    if not drift:
        return
    told = f"the environment is not the one in mlvc.lock: {some_of(drift.sentences())}"
    if repo.config.hooks_environment == "refuse":
        raise CommitUnfitError(told, hint="mlvc env lock && git add mlvc.lock, or install what is locked")
    repo.reporter.warn(f"{told} (mlvc env lock)")
