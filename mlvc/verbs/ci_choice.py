"""Which runs `mlvc ci` executes, and why: those that a change touches, on the code and data of this revision.

A run is *stale* where the code or the data that it read, or its environment, is another one now: then its record alone
proves nothing about this revision. Which files of the code a run read is what its record saw; without a tracer it is
all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mlvc.errors import FormatError, UsageError
from mlvc.model.config import decode_config
from mlvc.model.ids import TreeId
from mlvc.model.lock import GIT_KEPT, Lock, TrackedPath
from mlvc.model.names import decode_name, encode_name
from mlvc.model.objects import Run
from mlvc.model.tree import Kind
from mlvc.repo import SETTINGS_NAME, Repo
from mlvc.verbs.locate import find_entry
from mlvc.verbs.recipe import locked_environment
from mlvc.worktree.trees import diff_trees

__all__ = ["Base", "Choice", "choose", "parse_shard"]

_CODE = b"code"
_PREFIX = len(_CODE) + 1


@dataclass(frozen=True, slots=True)
class Base:
    """What a change is measured against.

    Attributes:
        sha: The merge base.
        lock: The lock there.
        changed: The paths that git tracks and that differ since.
        is_other_image: Whether `image.base` differs, on which a run is executed that recorded no image.
    """

    sha: str
    lock: Lock
    changed: frozenset[bytes]
    is_other_image: bool = False

    @classmethod
    def of(cls, repo: Repo, rev: str) -> Base:
        """Reads what HEAD and `rev` have in common.

        Raises:
            RevisionMissingError: There is no such revision, or nothing that they have in common is here.
        """
        sha = repo.code.merge_base(rev)
        changed = frozenset(repo.code.changed_between(sha, "HEAD"))
        is_other_image = SETTINGS_NAME in changed and _image(repo, sha) != _image(repo, "HEAD")
        return cls(sha, repo.lock_at(sha), changed, is_other_image)


def _image(repo: Repo, rev: str) -> str | None:
    data = repo.code.read_file(rev, SETTINGS_NAME)
    try:
        return None if data is None else decode_config(data).image_base
    except FormatError:
        return None  # What stood there chose no image that anybody could run on.


@dataclass(frozen=True, slots=True)
class Choice:
    """A run that is to be executed.

    Attributes:
        run: Its record.
        why: Short reasons for a person; empty where the run was asked for and nothing touched it.
        stale: What differs between the record and this revision, in text form; where there is any, the run is
            executed with the code, the data and the environment of this revision.
    """

    run: Run
    why: tuple[str, ...]
    stale: tuple[str, ...] = ()


def parse_shard(text: str | None) -> tuple[int, int]:
    """Returns the number of a job, from 1, and of how many.

    Raises:
        UsageError: It has another form.
    """
    if text is None:
        return 1, 1
    first, slash, last = text.partition("/")
    if slash and all(part.isascii() and part.isdigit() and len(part) < 6 for part in (first, last)):
        number, count = int(first), int(last)
        if 1 <= number <= count:
            return number, count
    raise UsageError(f"--shard {text}: no part of a whole", hint="as in 1/4, up to 4/4")


def choose(
    repo: Repo, lock: Lock, runs: Iterable[Run], base: Base | None, shard: tuple[int, int]
) -> Sequence[Choice]:
    """Returns which of the runs are to be executed, in the order given.

    Args:
        repo: The repository; its work tree is this revision.
        lock: The lock of this revision.
        runs: What was asked for.
        base: Leaves out what did not change since; None for all.
        shard: Leaves out what other jobs do. A run belongs to the same job wherever and whenever that is asked.
    """
    number, count = shard
    mine = [run for run in runs if int.from_bytes(run.id.digest[:8], "big") % count == number - 1]
    if not mine:
        return []
    with repo.store.writer() as writer:
        code = repo.code.capture(writer, untracked="none", exclude=tuple(lock.entries)).tree
    choices = (_choice(repo, lock, run, base, code) for run in mine)
    return [choice for choice in choices if choice is not None]


def _choice(repo: Repo, lock: Lock, run: Run, base: Base | None, code: TreeId) -> Choice | None:
    stale: list[str] = []
    why: list[str] = []
    for path in _stale(repo, lock, run, code):
        stale.append(encode_name(path))
        if base is None or _is_changed(path, lock, base):
            why.append(f"{stale[-1]} is another one than the run had")
    if locked_environment(repo, lock, run) != run.environment:
        stale.append("the environment")
        if base is None or lock.environment != base.lock.environment:
            why.append("the environment is another one than the run had")
    if base is None:
        return Choice(run, tuple(why), tuple(stale))
    if base.is_other_image and run.base is None:
        why.append("image.base is another one")
    recorded = [
        f"{entry.name} was recorded since"
        for entry in lock.entries.values()
        if entry.run == run.id and base.lock.entries.get(entry.path) != entry
    ]
    return Choice(run, (*recorded, *why), tuple(stale)) if recorded or why else None


def _is_changed(path: bytes, lock: Lock, base: Base) -> bool:
    """Whether the code or data at a path is another one than at the merge base."""
    if any(path == changed or path.startswith(changed + b"/") for changed in base.changed):
        return True
    return any(
        lock.entries.get(tracked) != base.lock.entries.get(tracked)
        for tracked in {*lock.entries, *base.lock.entries}
        if tracked == path or path.startswith(tracked + b"/")
    )


def _stale(repo: Repo, lock: Lock, run: Run, code: TreeId) -> Iterator[bytes]:
    """Yields the inputs and the files of the code that the run had and this revision has otherwise, or not at all."""
    for entry in run.inputs:
        found = find_entry(repo.store, lock, entry.path)
        if found is None:
            with repo.store.writer() as writer:
                found = (
                    repo.worktree.capture(entry.path, writer) if repo.worktree.exists(entry.path) else None
                )
        if found is None or found.id != entry.id:
            yield entry.path
    declared = [
        *(entry.path for entry in (*run.inputs, *run.outputs)),
        *map(decode_name, run.missing_outputs),
    ]
    seen = _Seen(run)
    for change in diff_trees(repo.store, _entry(run.code.tree), _entry(code)):
        path = change.path[_PREFIX:]
        if path in GIT_KEPT or _is_within(path, [*declared, *lock.entries]):
            continue
        if seen.read(path) or (change.change in {"added", "deleted"} and seen.listed(path)):
            yield path


def _entry(tree: TreeId) -> TrackedPath:
    return TrackedPath(_CODE, Kind.DIRECTORY, tree, 0, 0)


def _is_within(path: bytes, tops: Collection[bytes]) -> bool:
    return any(path == top or path.startswith(top + b"/") for top in tops)


class _Seen:
    """What a run is known to have looked at below the work tree; everything, where nobody watched it."""

    def __init__(self, run: Run) -> None:
        observed = run.observed
        self._is_watched = bool(observed.tracer)
        names = (*observed.reads, *observed.executed, *observed.failed_opens)
        above = decode_name(run.directory) + b"/" if run.directory else b""
        self._files = {*map(decode_name, names), *(above + decode_name(name) for name in run.argv)}
        # Python lists every directory that it imports from, and a new file there is rarely a module of the same name.
        imported = {path.rpartition(b"/")[0] for path in self._files if path.endswith(b".py")}
        project = decode_name(run.project)
        listed = (decode_name(name) for name in observed.listed)
        self._listed = {b"" if path == project else path for path in listed} - imported

    def read(self, path: bytes) -> bool:
        """Whether other contents of this file can have reached the run."""
        return not self._is_watched or path in self._files

    def listed(self, path: bytes) -> bool:
        """Whether the run saw which files stand beside this one."""
        return path.rpartition(b"/")[0] in self._listed
