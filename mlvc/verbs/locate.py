"""Finding what stands at a path in a lock, without a checkout."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mlvc.errors import NotFoundError, UsageError
from mlvc.model.ids import TreeId
from mlvc.model.lock import Lock, TrackedPath
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind, TreeEntry
from mlvc.repo import Repo
from mlvc.verbs.add import tracked_parent

__all__ = ["Located", "PathMissingError", "TreeReader", "find_entry", "get_entry", "lock_of", "parse_address"]


class PathMissingError(NotFoundError):
    """A revision tracks no such path."""

    code = "path-missing"


@dataclass(frozen=True, slots=True)
class Located:
    """A place in a revision.

    Attributes:
        rev: The git revision; None for the present `mlvc.lock`.
        path: Relative to the repository; empty for its top.
    """

    rev: str | None
    path: bytes

    def __str__(self) -> str:
        return f"{self.rev or ''}:{encode_name(self.path)}"


def parse_address(text: str) -> Located:
    """Returns what `REV`, `REV:PATH` or `:PATH` names; the path is relative to the repository, as git has it."""
    rev, _, path = text.partition(":")
    return Located(rev or None, os.fsencode(path).strip(b"/"))


def lock_of(repo: Repo, rev: str | None) -> Lock:
    """Returns the lock of a revision, or the present one.

    Raises:
        RevisionMissingError: Git knows no such revision.
    """
    return repo.read_lock() if rev is None else repo.lock_at(rev)


class TreeReader(Protocol):
    """Reads directories."""

    def read_tree(self, tree: TreeId) -> Sequence[TreeEntry]:
        """Returns the entries of one directory."""
        ...


def find_entry(reader: TreeReader, lock: Lock, path: bytes) -> TrackedPath | None:
    """Returns what a lock has at `path`, also below a tracked directory; None where it has nothing there.

    The number of files of a directory below a tracked one is counted by reading its trees.
    """
    entry = lock.entries.get(path)
    if entry is not None:
        return entry
    parent = tracked_parent(path, lock.entries)
    if parent is None:
        return None
    item = lock.entries[parent]
    kind, object_id, size_bytes = item.kind, item.id, item.size_bytes
    for component in path[len(parent) + 1 :].split(b"/"):
        if not isinstance(object_id, TreeId):
            return None
        found = next((child for child in reader.read_tree(object_id) if child.name == component), None)
        if found is None:
            return None
        kind, object_id, size_bytes = found.kind, found.id, found.size_bytes
    return TrackedPath(path, kind, object_id, _count(reader, kind, object_id), size_bytes)


def get_entry(repo: Repo, place: Located, reader: TreeReader | None = None) -> TrackedPath:
    """Returns what stands at a place.

    Args:
        repo: The repository.
        place: Where.
        reader: Has the directories on the way; the store unless given.

    Raises:
        UsageError: The place has no path.
        PathMissingError: Nothing tracked stands there.
        RevisionMissingError: Git knows no such revision.
    """
    if not place.path:
        raise UsageError(f"{place} names no path", hint="write REV:PATH, for example HEAD:data/table.csv")
    entry = find_entry(reader or repo.store, lock_of(repo, place.rev), place.path)
    if entry is None:
        where = "mlvc.lock" if place.rev is None else place.rev
        listing = "mlvc ls" if place.rev is None else f"mlvc ls {place.rev}"
        raise PathMissingError(f"{where} tracks no {encode_name(place.path)}", hint=f"see `{listing}`")
    return entry


def _count(reader: TreeReader, kind: Kind, object_id: object) -> int:
    if kind is not Kind.DIRECTORY or not isinstance(object_id, TreeId):
        return 1
    return sum(_count(reader, child.kind, child.id) for child in reader.read_tree(object_id))
