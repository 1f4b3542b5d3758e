"""`mlvc cat`: the bytes of a tracked file of any revision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlvc.errors import UsageError
from mlvc.model.ids import BlobId
from mlvc.model.lock import TrackedPath
from mlvc.repo import Repo
from mlvc.verbs.locate import get_entry, parse_address

__all__ = ["CatResult", "cat"]


@dataclass(frozen=True, slots=True)
class CatResult:
    """One file.

    Attributes:
        entry: What it is.
        pieces: Its bytes in order, each piece verified before it is yielded; of a symlink, the target.
    """

    entry: TrackedPath
    pieces: Iterator[bytes]


def cat(repo: Repo, address: str) -> CatResult:
    """Returns the file at `REV:PATH` (or `:PATH`, of the present `mlvc.lock`); nothing is read before it is asked for.

    Raises:
        UsageError: It is a directory, or the address names no path.
        RevisionMissingError: Git knows no such revision.
        PathMissingError: It tracks no such path.
    """
    place = parse_address(address)
    entry = get_entry(repo, place)
    if not isinstance(entry.id, BlobId):
        raise UsageError(f"{place} is a directory", hint=f"`mlvc ls {place}` lists it")
    return CatResult(entry, repo.store.iter_blob(entry.id))
