"""`mlvc show`: one record."""

from __future__ import annotations

from dataclasses import dataclass

from mlvc.model.objects import StoredObject
from mlvc.repo import Repo
from mlvc.verbs.target import resolve_target

__all__ = ["ShowResult", "show"]


@dataclass(frozen=True, slots=True)
class ShowResult:
    """The record: a commit, run, environment or verdict."""

    value: StoredObject


def show(repo: Repo, target: str) -> ShowResult:
    """Returns the record that an id (or its start), a run's name or a git revision names.

    Raises:
        TargetMissingError: Nothing has that name.
        UsageError: Several ids start so.
    """
    return ShowResult(resolve_target(repo, target))
