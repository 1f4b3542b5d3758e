"""Tells that an answer may be short because records are not here, as in a clone that fetched none."""

from __future__ import annotations

from collections.abc import Sequence

from mlvc.errors import FormatError, VersionError
from mlvc.model.ids import RunId, TreeId
from mlvc.model.lock import Lock, LockConflictError
from mlvc.repo import Repo

__all__ = ["note_absent_records"]


def note_absent_records(repo: Repo, locks: Sequence[Lock] | None = None) -> None:
    """Tells in one note that records are missing which locks name, and the command that brings them.

    Silent where all that is named is known. Reads no object: it costs a look-up for each run and directory.

    Args:
        repo: The repository. Its index must have caught up: what it knows of colleagues' runs is not missing.
        locks: What names records; None for the present `mlvc.lock`, as far as it can be read.
    """
    if locks is None:
        locks = _present(repo)
    runs = _absent_runs(repo, locks)
    if not runs and not any(_lacks_others(repo, lock) for lock in locks):
        return
    from mlvc.verbs.remote import list_remotes, way_to_remote  # noqa: PLC0415  # most questions have nothing to tell

    what = f"records of {len(runs)} runs" if len(runs) > 1 else "the record of a run" if runs else "records"
    verb = "is" if len(runs) == 1 else "are"
    way = "" if list_remotes(repo) else f"{way_to_remote(repo)}, then "
    repo.reporter.note(
        f"{what} that mlvc.lock names {verb} not here, so this may not be all: {way}`mlvc fetch` brings them"
    )


def _present(repo: Repo) -> Sequence[Lock]:
    try:
        return [repo.read_lock()]
    except (FormatError, LockConflictError, VersionError):
        # Other commands tell what is wrong with it; what is asked here does not need it.
        return []


def _absent_runs(repo: Repo, locks: Sequence[Lock]) -> set[RunId]:
    named = {entry.run for lock in locks for entry in lock.entries.values() if entry.run is not None}
    absent = {run for run in named if not repo.store.has_object(run)}
    return absent - {row.id for row in repo.index.run_rows()} if absent else absent


def _lacks_others(repo: Repo, lock: Lock) -> bool:
    """Returns whether a directory or an environment is not here, which come with the records, or nothing is at all."""
    trees = {entry.id for entry in lock.entries.values() if isinstance(entry.id, TreeId)}
    if not all(map(repo.store.has_tree, trees)):
        return True
    if lock.environment is not None and not repo.store.has_object(lock.environment):
        return True
    return bool(lock.entries) and not repo.store.packs()
