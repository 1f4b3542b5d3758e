"""`mlvc runs`: the table of runs."""

from __future__ import annotations

from dataclasses import dataclass

from mlvc.model.objects import Run
from mlvc.repo import Repo

__all__ = ["ListedRun", "RunsResult", "list_runs"]


@dataclass(frozen=True, slots=True)
class ListedRun:
    """One row.

    Attributes:
        run: The record.
        verdict: The latest reproduction's verdict, or None where there was none.
    """

    run: Run
    verdict: str | None


@dataclass(frozen=True, slots=True)
class RunsResult:
    """The runs, the newest first."""

    runs: tuple[ListedRun, ...]


def list_runs(
    repo: Repo, *, name: str | None = None, status: str | None = None, limit: int | None = None
) -> RunsResult:
    """Returns recorded runs, the newest first.

    Args:
        repo: The repository.
        name: Only runs that the user called so.
        status: Only `finished`, `failed` or `interrupted` ones.
        limit: At most so many.
    """
    repo.index.catch_up(repo.reporter)
    rows = repo.index.run_rows(name=name, status=status, limit=limit)
    listed = []
    for row in rows:
        run = repo.store.read_object(row.id)
        verdicts = repo.index.verdicts_of(row.id)
        if isinstance(run, Run):
            listed.append(ListedRun(run, verdicts[0].verdict if verdicts else None))
    return RunsResult(tuple(listed))
