"""`mlvc lineage`: what a thing was made from, and what was made from it, read from the recorded runs themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlvc.errors import NotFoundError
from mlvc.model.ids import BlobId, RunId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Commit, Run
from mlvc.repo import Repo
from mlvc.verbs.target import find_tracked, resolve_target

if TYPE_CHECKING:
    from mlvc.index.answers import LineageEdge, PathRow, RunRow

__all__ = ["LineageResult", "Made", "lineage"]


class NoLineageError(NotFoundError):
    """The target is neither data nor a run nor a commit."""

    code = "no-lineage"


@dataclass(frozen=True, slots=True)
class Made:
    """Data, and where it came from.

    Attributes:
        entry: The data, by path and id.
        run: The run that made it; None for data that was added as it is, and where the run was shown before.
        inputs: What that run read, each with its own origin.
        used_by: Runs that read the data (filled for the targets only).
        repeated: Whether the run already stands higher up, so that it is not opened again.
    """

    entry: TrackedPath
    run: Run | None = None
    inputs: tuple[Made, ...] = ()
    used_by: tuple[Run, ...] = ()
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class LineageResult:
    """The targets, each with its ancestry and its uses, and all of that as a graph.

    Attributes:
        targets: Each with what it was made from.
        runs: Every run on the way up and down, across commits, the oldest first.
        edges: What these runs read and made.
        tracked: Where commits track the targets and what was made of them.
    """

    targets: tuple[Made, ...]
    runs: tuple[RunRow, ...]
    edges: tuple[LineageEdge, ...]
    tracked: tuple[PathRow, ...]


def lineage(repo: Repo, target: str) -> LineageResult:
    """Returns the ancestry of a tracked path, of a run's outputs, or of everything that a commit tracks.

    Raises:
        TargetMissingError: Nothing has that name.
        NoLineageError: It names an environment or a verdict.
    """
    entries = _entries(repo, target)
    repo.index.catch_up(repo.reporter)
    ids = list(dict.fromkeys(entry.id for entry in entries))
    graph = repo.index.lineage(ids)
    below = {str(data_id) for data_id in ids} | {str(edge.data) for edge in graph.edges if edge.made}
    return LineageResult(
        tuple(_with_uses(repo, _origin(repo, entry, set())) for entry in entries),
        graph.runs,
        graph.edges,
        tuple(repo.index.paths_with_ids(below)),
    )


def _entries(repo: Repo, target: str) -> Sequence[TrackedPath]:
    tracked = find_tracked(repo, target)
    if tracked is not None:
        return (tracked,)
    found = resolve_target(repo, target)
    if isinstance(found, Run):
        run_id = found.id
        return tuple(TrackedPath(e.path, e.kind, e.id, e.files, e.size_bytes, run_id) for e in found.outputs)
    if isinstance(found, Commit):
        return found.paths
    raise NoLineageError(f"{target} is neither data nor a run nor a commit")


def _maker(repo: Repo, entry: TrackedPath) -> Run | None:
    """Returns the run that made the data: the one that its line names, else the first that is known to have."""
    run_id = entry.run
    if run_id is None:
        known = repo.index.runs_by_output(entry.id)
        run_id = known[-1] if known else None
    if run_id is None or not repo.store.has_object(run_id):
        return None
    run = repo.store.read_object(run_id)
    return run if isinstance(run, Run) else None


def _origin(repo: Repo, entry: TrackedPath, shown: set[RunId]) -> Made:
    run = _maker(repo, entry)
    if run is None:
        return Made(entry)
    run_id = run.id
    if run_id in shown:
        return Made(entry, run, repeated=True)
    shown.add(run_id)
    return Made(entry, run, tuple(_origin(repo, item, shown) for item in run.inputs))


def _with_uses(repo: Repo, made: Made) -> Made:
    return Made(made.entry, made.run, made.inputs, _users(repo, made.entry.id), made.repeated)


def _users(repo: Repo, data_id: BlobId | TreeId) -> tuple[Run, ...]:
    found = (
        repo.store.read_object(run_id)
        for run_id in repo.index.runs_by_input(data_id)
        if repo.store.has_object(run_id)  # A colleague's may not be fetched.
    )
    return tuple(run for run in found if isinstance(run, Run))
