"""What a change did to data, metrics and environment since its merge base, for the people who review it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlvc.env.drift import Drift, compare
from mlvc.errors import NotFoundError
from mlvc.model.ids import EnvironmentId, RunId
from mlvc.model.lock import Lock, TrackedPath
from mlvc.model.objects import Environment, Run
from mlvc.repo import Repo
from mlvc.worktree.trees import diff_trees

__all__ = ["Changes", "DataChange", "MetricChange", "changes_between"]


@dataclass(frozen=True, slots=True)
class DataChange:
    """A tracked path that is another one.

    Attributes:
        path: In text form.
        before: What the lock had; None where it is new.
        after: What the lock has; None where it is tracked no more.
        added: How many files are new; None where the directories that tell are not here.
        changed: How many have other contents or are of another kind; likewise.
        removed: How many are gone; likewise.
    """

    path: str
    before: TrackedPath | None
    after: TrackedPath | None
    added: int | None = None
    changed: int | None = None
    removed: int | None = None


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A metric of a run that was recorded since, and of the run that made the same path before.

    Attributes:
        path: The first tracked path that both made, in text form.
        name: Of the metric.
        before: Its JSON text; None where there was none.
        after: Likewise.
    """

    path: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Changes:
    """All of it; environment is None where it is the same, or not known here."""

    data: tuple[DataChange, ...]
    metrics: tuple[MetricChange, ...]
    environment: Drift | None


def changes_between(repo: Repo, before: Lock, after: Lock) -> Changes:
    """Compares two locks, from records alone; what no remote has any more is left open, and is no error."""
    drift = None
    if before.environment != after.environment:
        old, new = _environment(repo, before.environment), _environment(repo, after.environment)
        drift = None if old is None or new is None else compare(old, new)
    return Changes(tuple(_data(repo, before, after)), tuple(_metrics(repo, before, after)), drift)


def _data(repo: Repo, before: Lock, after: Lock) -> Iterator[DataChange]:
    for path in sorted(before.entries.keys() | after.entries.keys()):
        old, new = before.entries.get(path), after.entries.get(path)
        name = (new or old).name  # type: ignore[union-attr]  # one of them is there
        if old is not None and new is not None and (old.id, old.kind) == (new.id, new.kind):
            continue
        try:
            found = [change.change for change in diff_trees(repo.store, old, new)]
        except NotFoundError:
            yield DataChange(name, old, new)
            continue
        added, removed = found.count("added"), found.count("deleted")
        yield DataChange(name, old, new, added, len(found) - added - removed, removed)


def _metrics(repo: Repo, before: Lock, after: Lock) -> Iterator[MetricChange]:
    seen: set[RunId] = set()
    for path, entry in sorted(after.entries.items()):
        old = before.entries.get(path)
        last = None if old is None else old.run
        if entry.run is None or entry.run == last or entry.run in seen:
            continue
        seen.add(entry.run)
        values, past = _values(repo, entry.run), _values(repo, last)
        for name in sorted(values.keys() | past.keys()):
            yield MetricChange(entry.name, name, past.get(name), values.get(name))


def _values(repo: Repo, run: RunId | None) -> dict[str, str]:
    if run is None or not repo.store.has_object(run):
        return {}
    found = repo.store.read_object(run)
    return dict(found.metrics) if isinstance(found, Run) else {}


def _environment(repo: Repo, environment: EnvironmentId | None) -> Environment | None:
    if environment is None or not repo.store.has_object(environment):
        return None
    found = repo.store.read_object(environment)
    return found if isinstance(found, Environment) else None
