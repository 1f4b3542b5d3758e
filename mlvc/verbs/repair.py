"""`mlvc fsck --repair`: mends what can be mended, from what is intact here, the work tree, and the remotes.

Nothing is ever destroyed: a damaged pack is moved into `damaged/` of the store, after everything that is good in it
was copied into a new pack.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mlvc.errors import MlvcError
from mlvc.model.ids import BlobId, ObjectId, PackId, TreeId
from mlvc.model.kinds import RecordKind
from mlvc.model.tree import Kind
from mlvc.repo import Repo
from mlvc.store.catalog import load_index
from mlvc.store.local import LocalStore, RecordKey
from mlvc.store.repair import mend_packs
from mlvc.verbs.fsck import FsckResult, Problem, find_problems, missing_objects
from mlvc.verbs.references import READ_ERRORS
from mlvc.verbs.remote import list_remotes
from mlvc.verbs.source import open_source

__all__ = ["RepairResult", "repair"]

_PIECES = (RecordKind.CHUNK, RecordKind.TREE_CHUNK)
_ROUNDS = 4
"""What a remote brings can show what else is missing: records, then trees in them, then data."""


@dataclass(frozen=True, slots=True)
class RepairResult:
    """What was done.

    Attributes:
        mended: What was wrong and no longer is.
        left: What still is.
        set_aside: Where the damaged files are now.
    """

    mended: tuple[Problem, ...]
    left: FsckResult
    set_aside: tuple[Path, ...]


def repair(repo: Repo) -> RepairResult:
    """Checks everything, mends what can be mended, and checks everything again.

    Good copies are taken from intact records of damaged packs, from tracked files whose bytes still have the wanted
    id, and from every remote that is known; a remote that cannot be used is told as a warning.

    Raises:
        FileUnreadableError: The store cannot be written.
        DiskFullError: There is no room for copies; what was damaged is where it was.
    """
    with repo.editing():
        before = find_problems(repo)
        if not before.result.problems:
            return RepairResult((), before.result, ())
        held = _held_by(repo.store, before.examined.packs)
        set_aside = mend_packs(repo.store, before.examined, repo.reporter)
        _take_from_work_tree(repo)
        known = {problem.object_id for problem in before.result.problems if problem.object_id is not None}
        _take_from_remotes(repo, known, held)
        left = find_problems(repo).result
    remaining = {(problem.kind, problem.object_id, problem.message) for problem in left.problems}
    mended = tuple(
        problem
        for problem in before.result.problems
        if (problem.kind, problem.object_id, problem.message) not in remaining
    )
    return RepairResult(mended, left, tuple(set_aside))


def _take_from_work_tree(repo: Repo) -> None:
    """Stores the tracked files again of which something is missing; what they hold decides what that mends."""
    try:
        entries = repo.read_lock().entries.values()
    except MlvcError:
        return  # It is among the problems.
    with repo.store.writer() as writer:
        for entry in entries:
            if not _lacks(repo.store, entry.kind, entry.id) or not repo.worktree.exists(entry.path):
                continue
            try:
                repo.worktree.capture(entry.path, writer)
            except MlvcError as exc:
                repo.reporter.warn(f"{entry.name} was not used: {exc.message}")


def _lacks(store: LocalStore, kind: Kind, object_id: ObjectId) -> bool:
    """Returns whether anything of a blob or tree, or below it, is not stored or cannot be read."""
    try:
        if isinstance(object_id, BlobId):
            return not store.has_blob(object_id)
        if kind is not Kind.DIRECTORY or not isinstance(object_id, TreeId):
            return False
        return any(_lacks(store, entry.kind, entry.id) for entry in store.read_tree(object_id))
    except READ_ERRORS:
        return True


def _held_by(store: LocalStore, packs: Iterable[PackId]) -> set[RecordKey]:
    """Returns what damaged or missing packs held, as far as their indexes still tell."""
    held: set[RecordKey] = set()
    for pack in packs:
        try:
            entries = load_index(store.layout.index(pack)).entries_from(b"")
        except MlvcError:
            continue
        held.update(RecordKey(entry.kind, entry.part, entry.digest) for entry in entries)
    return held


def _take_from_remotes(repo: Repo, known: set[ObjectId], held: set[RecordKey]) -> None:
    for remote in list_remotes(repo):
        for _ in range(_ROUNDS):
            missing = _records_of(repo.store, known | missing_objects(repo)) | repo.store.lacking(held)
            if not missing:
                return
            try:
                if not open_source(repo, remote.name).bring(repo, missing).size_bytes:
                    break
            except MlvcError as exc:
                repo.reporter.warn(f"the remote {remote.name} was not used to its end: {exc.message}")
                break


def _records_of(store: LocalStore, items: Iterable[ObjectId]) -> set[RecordKey]:
    """Returns the records of objects that are not whole here, in every form that they could have."""
    wanted: set[RecordKey] = set()
    for item in items:
        forms = {RecordKey(kind, 0, item.digest) for kind in RecordKind if kind is not RecordKind.RECIPE}
        forms |= {RecordKey(RecordKind.RECIPE, part, item.digest) for part in _PIECES}
        try:
            parts = forms - store.lacking(forms)
            if isinstance(item, BlobId | TreeId) and parts:
                parts.update(store.records_of(item))
            wanted |= store.lacking(parts) if parts else forms
        except READ_ERRORS:
            continue  # Something that is left alone, because a newer mlvc wrote it, may have it.
    return wanted
