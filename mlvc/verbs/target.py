"""What a person may call a thing: an id or the start of one, a run's name, a git revision, a tracked path."""

from __future__ import annotations

from mlvc.errors import NotFoundError, UsageError
from mlvc.model.ids import ObjectId, RunId
from mlvc.model.kinds import RecordKind
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Commit, Run, StoredObject
from mlvc.repo import Repo
from mlvc.verbs.tag import find_named

__all__ = ["TargetMissingError", "find_data", "find_tracked", "resolve_target", "runs_of_target"]

_SHORTEST_PREFIX = 4
_KINDS = (RecordKind.RUN, RecordKind.COMMIT, RecordKind.ENVIRONMENT, RecordKind.VERDICT)


class TargetMissingError(NotFoundError):
    """Nothing has that name."""

    code = "target-missing"


def _by_prefix(repo: Repo, text: str) -> ObjectId | None:
    digits = text.removeprefix("b3:").lower()
    if len(digits) < _SHORTEST_PREFIX or digits.strip("0123456789abcdef"):
        return None
    found = {object_id for kind in _KINDS for object_id in repo.store.find_by_prefix(kind, digits)}
    if len(found) > 1:
        names = ", ".join(f"{item.noun} {item.short}" for item in sorted(found, key=str))
        raise UsageError(f"{text} is the start of several ids: {names}", hint="give more digits")
    return next(iter(found), None)


def find_tracked(repo: Repo, text: str) -> TrackedPath | None:
    """Returns the tracked path that `text` names, or that it lies in; None where it is not tracked."""
    try:
        path = repo.path_of(text)
    except UsageError:
        return None
    entries = repo.read_lock().entries
    while path:
        if path in entries:
            return entries[path]
        path = path.rpartition(b"/")[0]
    return None


def find_data(repo: Repo, text: str) -> TrackedPath | None:
    """Returns the data that `text` names: a tracked path, or one that it lies in; or the name of a model or dataset."""
    return find_tracked(repo, text) or find_named(repo, text)


def resolve_target(repo: Repo, text: str) -> StoredObject:
    """Returns the object that `text` names.

    In this order: the id (or its start) of a run, commit, environment or verdict; the name of a run, the newest of
    that name; a git revision, whose mlvc commit it is.

    Raises:
        TargetMissingError: Nothing has that name.
        UsageError: Several ids start so.
    """
    object_id = _by_prefix(repo, text)
    if object_id is not None:
        return repo.store.read_object(object_id)
    repo.index.catch_up(repo.reporter)
    named = repo.index.run_rows(name=text, limit=1)
    if named:
        return repo.store.read_object(named[0].id)
    try:
        sha = repo.code.resolve(text)
    except NotFoundError as exc:
        raise TargetMissingError(
            f"{text[:80]} is no run, commit, revision or tracked path", hint="see `mlvc runs` and `mlvc log`"
        ) from exc
    commit_id = repo.index.commit_for_sha(sha)
    if commit_id is None:
        raise TargetMissingError(
            f"the git commit {sha[:12]} has no mlvc commit",
            hint="commit with `mlvc commit`, or install the hooks",
        )
    return repo.store.read_object(commit_id)


def runs_of_target(repo: Repo, text: str | None) -> tuple[Run, ...]:
    """Returns the runs that a target stands for; none given: those that made what the lock tracks.

    An index in a damaged file is made again first.

    Raises:
        TargetMissingError: The target is unknown, or no run made it.
    """
    return repo.mending_index(lambda: _runs_of(repo, text))


def _runs_of(repo: Repo, text: str | None) -> tuple[Run, ...]:
    if text is None:
        ids = [entry.run for entry in repo.read_lock().entries.values()]
        what = "what mlvc.lock tracks"
    else:
        tracked = find_data(repo, text)
        if tracked is not None:
            ids, what = [tracked.run], tracked.name
        else:
            found = resolve_target(repo, text)
            if isinstance(found, Run):
                return (found,)
            ids = [entry.run for entry in found.paths] if isinstance(found, Commit) else []
            what = text
    unique: dict[RunId, None] = dict.fromkeys(run_id for run_id in ids if run_id is not None)
    if not unique:
        raise TargetMissingError(
            f"no recorded run made {what}", hint="record one with `mlvc run -o PATH -- CMD`"
        )
    runs = (repo.store.read_object(run_id) for run_id in unique)
    return tuple(run for run in runs if isinstance(run, Run))
