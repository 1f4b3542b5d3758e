"""`mlvc index`: rebuilds the metadata index from the objects, or tells what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlvc.repo import Repo

__all__ = ["IndexResult", "rebuild", "show"]


@dataclass(frozen=True, slots=True)
class IndexResult:
    """What the index holds.

    Attributes:
        place: The file, or the server's address without the password.
        counts: Rows by table.
    """

    place: str
    counts: Mapping[str, int]


def rebuild(repo: Repo) -> IndexResult:
    """Makes the index anew from the objects, whatever state the old one is in.

    Raises:
        IntegrityError: An object is damaged; the old index is still there.
    """
    repo.index.rebuild(repo.reporter)
    return IndexResult(repo.index.place, repo.index.counts())


def show(repo: Repo) -> IndexResult:
    """Takes in what is new, and counts."""
    repo.index.catch_up(repo.reporter)
    return IndexResult(repo.index.place, repo.index.counts())
