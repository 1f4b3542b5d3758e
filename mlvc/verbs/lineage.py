"""`mlvc lineage`: what a thing was made from, and what was made from it, read from the recorded runs themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from mlvc.errors import NotFoundError
from mlvc.model.ids import BlobId, RunId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Commit, Run
from mlvc.repo import Repo
from mlvc.verbs.target import find_data, resolve_target

if TYPE_CHECKING:
    from mlvc.index.answers import Lineage, LineageEdge, PathRow, RunRow

__all__ = ["LineageResult", "Made", "lineage"]

_DEEPEST = 50
"""Runs, one made from the other, that are told one inside the other; `runs` and `edges` tell of all."""

_Runs: TypeAlias = "defaultdict[BlobId | TreeId, list[RunRow]]"


class NoLineageError(NotFoundError):
    """The target is neither data nor a run nor a commit."""

    code = "no-lineage"


@dataclass(frozen=True, slots=True)
class Made:
    """Data, and where it came from.

    Attributes:
        entry: The data, by path and id.
        run: The run that made it; None for data that was added as it is, and where the record is not here.
        inputs: What that run read, each with its own origin.
        used_by: Runs that read the data, the newest first (filled for the targets only).
        repeated: Whether the run already stands higher up, so that it is not opened again.
        is_far: Whether so many runs lie between that this one is not opened.
        missing_run: The run that made it, where its record is not here.
    """

    entry: TrackedPath
    run: Run | None = None
    inputs: tuple[Made, ...] = ()
    used_by: tuple[RunRow, ...] = ()
    repeated: bool = False
    is_far: bool = False
    missing_run: RunId | None = None


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

    Warns where it ends at a run whose record is not here.

    Raises:
        TargetMissingError: Nothing has that name.
        NoLineageError: It names an environment or a verdict.
    """
    entries = _entries(repo, target)
    repo.index.catch_up(repo.reporter)
    ids = list(dict.fromkeys(entry.id for entry in entries))
    graph = repo.index.lineage(ids)
    makers, readers = _by_data(graph)
    targets = tuple(
        replace(_origin(repo, entry, makers, set(), 0), used_by=tuple(readers[entry.id][::-1]))
        for entry in entries
    )
    missing = len(set(_missing(targets)))
    if missing:
        repo.reporter.warn(
            f"{missing} records of runs are not here, so what they read is not told: see `mlvc fetch`"
        )
    return LineageResult(
        targets,
        graph.runs,
        graph.edges,
        tuple(repo.index.paths_with_ids({str(each) for each in _made_of(ids, graph.edges)})),
    )


def _missing(found: Iterable[Made]) -> Iterator[RunId]:
    for made in found:
        if made.missing_run is not None:
            yield made.missing_run
        yield from _missing(made.inputs)


def _by_data(graph: Lineage) -> tuple[_Runs, _Runs]:
    """Returns the runs that made each piece of data and those that read it, both the oldest first."""
    makers: _Runs = defaultdict(list)
    readers: _Runs = defaultdict(list)
    rows = {row.id: row for row in graph.runs}
    place = {run_id: number for number, run_id in enumerate(rows)}
    for edge in sorted(graph.edges, key=lambda edge: place[edge.run]):
        found = (makers if edge.made else readers)[edge.data]
        if rows[edge.run] not in found[-1:]:  # A run may read the same data at two paths.
            found.append(rows[edge.run])
    return makers, readers


def _made_of(data: Iterable[BlobId | TreeId], edges: Iterable[LineageEdge]) -> set[BlobId | TreeId]:
    """Returns the data and all that was made of it, and nothing that it was made of."""
    readers: dict[BlobId | TreeId, list[RunId]] = defaultdict(list)
    outputs: dict[RunId, list[BlobId | TreeId]] = defaultdict(list)
    for edge in edges:
        if edge.made:
            outputs[edge.run].append(edge.data)
        else:
            readers[edge.data].append(edge.run)
    found: set[BlobId | TreeId] = set()
    pending = list(data)
    while pending:
        each = pending.pop()
        if each not in found:
            found.add(each)
            pending += [made for run in readers[each] for made in outputs[run]]
    return found


def _entries(repo: Repo, target: str) -> Sequence[TrackedPath]:
    tracked = find_data(repo, target)
    if tracked is not None:
        return (tracked,)
    found = resolve_target(repo, target)
    if isinstance(found, Run):
        run_id = found.id
        return tuple(TrackedPath(e.path, e.kind, e.id, e.files, e.size_bytes, run_id) for e in found.outputs)
    if isinstance(found, Commit):
        return found.paths
    raise NoLineageError(f"{target} is neither data nor a run nor a commit")


def _origin(repo: Repo, entry: TrackedPath, makers: _Runs, shown: set[RunId], depth: int) -> Made:
    """Returns the data with the run that made it: the one that its line names, else the first that is known to have."""
    known = makers[entry.id]
    run_id = entry.run or (known[0].id if known else None)
    if run_id is None:
        return Made(entry)
    run = repo.store.read_object(run_id) if repo.store.has_object(run_id) else None
    if not isinstance(run, Run):
        return Made(entry, missing_run=run_id)
    if run.id in shown:
        return Made(entry, run, repeated=True)
    if depth == _DEEPEST:
        return Made(entry, run, is_far=True)
    shown.add(run.id)
    return Made(entry, run, tuple(_origin(repo, item, makers, shown, depth + 1) for item in run.inputs))
