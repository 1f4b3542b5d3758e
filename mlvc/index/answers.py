"""What the index answers with: frozen rows, ids as their own types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlvc.model.ids import BlobId, CommitId, EnvironmentId, PlanId, RunId, TreeId, VerdictId

__all__ = [
    "CommitRow",
    "DistributionRow",
    "Lineage",
    "LineageEdge",
    "PathRow",
    "RunEntry",
    "RunRow",
    "VerdictRow",
]


@dataclass(frozen=True, slots=True)
class CommitRow:
    """One mlvc commit; the fields are those of `model.objects.Commit`, without its paths."""

    id: CommitId
    code_sha: str
    environment: EnvironmentId | None
    parents: tuple[CommitId, ...]
    author: str
    time: str
    message: str


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run; the fields are those of `model.objects.Run` and of its code."""

    id: RunId
    plan: PlanId
    name: str | None
    argv: tuple[str, ...]
    directory: str
    status: str
    exit_code: int
    started: str
    duration_ms: int
    profile: str
    threads: int
    seed: int | None
    engine: str
    author: str
    code_sha: str | None
    code_tree: TreeId
    dirty: bool
    environment: EnvironmentId | None


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One line of the table of runs.

    Attributes:
        row: The run.
        verdict: The latest reproduction's, or None.
        params: JSON texts by name, sorted.
        metrics: Likewise.
    """

    row: RunRow
    verdict: str | None
    params: Mapping[str, str]
    metrics: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """One reproduction of a run."""

    id: VerdictId
    run: RunId
    verdict: str
    engine: str
    isolated: bool
    exit_code: int
    started: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class PathRow:
    """A commit that tracks some data, and the path where; in text form."""

    commit: CommitId
    path: str


@dataclass(frozen=True, slots=True)
class DistributionRow:
    """A distribution in an environment; the name is normalised."""

    environment: EnvironmentId
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """That a run read or made data.

    Attributes:
        run: The run.
        path: Where the data stood, in text form.
        data: The data.
        made: Whether the run made it; else it read it.
    """

    run: RunId
    path: str
    data: BlobId | TreeId
    made: bool


@dataclass(frozen=True, slots=True)
class Lineage:
    """What some data was made from, all the way up, and what was made from it, all the way down.

    Attributes:
        runs: The oldest first; each names its code and its environment.
        edges: What these runs read and made.
    """

    runs: tuple[RunRow, ...]
    edges: tuple[LineageEdge, ...]


@dataclass(frozen=True, slots=True)
class Impact:
    """What something reached.

    Attributes:
        data: The ids of the blobs and trees, as text: where it began, the trees around it, and all that was made of it.
        runs: The runs that read some of it, or made it; the oldest first.
        paths: Where commits track some of it.
    """

    data: frozenset[str]
    runs: tuple[RunRow, ...]
    paths: tuple[PathRow, ...]


@dataclass(frozen=True, slots=True)
class CommitChanges:
    """What one commit changed.

    Attributes:
        code_sha: The git commit.
        base: The commit that the changes are told against; None where they are all that it tracks.
        parents: The commits before it.
        changes: By path, the id of what stands there as text, None where nothing does any more; and the run that
            made it, as text.
    """

    code_sha: str
    base: CommitId | None
    parents: tuple[CommitId, ...]
    changes: Mapping[str, tuple[str | None, str | None]]
