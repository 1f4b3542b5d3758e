"""Paths that a person names by a pattern, looked up in a lock and its directories, and not in the work tree."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple, Protocol

from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import Lock
from mlvc.model.names import encode_name
from mlvc.model.tree import TreeEntry
from mlvc.repo import Repo
from mlvc.verbs.locate import PathMissingError, find_entry

__all__ = ["TreeBringer", "expand_patterns"]

_ANY_DEPTH = b"**"


class TreeBringer(Protocol):
    """Reads directories, many of which it can make ready together."""

    def bring_trees(self, trees: Collection[TreeId]) -> None:
        """Makes directories ready to be read; what cannot be had stays missing."""
        ...

    def read_tree(self, tree: TreeId) -> Sequence[TreeEntry]:
        """Returns the entries of one directory."""
        ...


class _Place(NamedTuple):
    """A path that matches so far, and the parts of the pattern that what is below it must match.

    `id` is None for a directory that is not tracked itself and leads to what is.
    """

    path: bytes
    id: BlobId | TreeId | None
    rest: tuple[bytes, ...]


def expand_patterns(repo: Repo, arguments: Sequence[str], reader: TreeBringer) -> list[str]:
    """Returns what arguments name in the present lock, each as an absolute path, and none below another.

    What is tracked under the very name stands for itself. Otherwise `*`, `?` and `[…]` match in one part of a path, and
    `**` any number of directories. Directories are brought level by level: one look for all of the same depth.

    Raises:
        PathMissingError: An argument is a pattern, and nothing matches.
        UsageError: An argument lies outside the repository.
    """
    lock = repo.read_lock()
    names: set[bytes] = set()
    for argument in arguments:
        path = repo.path_of(argument)
        if not any(mark in path for mark in b"*?[") or find_entry(reader, lock, path) is not None:
            names.add(path)
            continue
        found = set(_matches(lock, tuple(path.split(b"/")), reader))
        if not found:
            raise PathMissingError(
                f"mlvc.lock tracks nothing that matches {encode_name(path)}", hint="see `mlvc ls`"
            )
        names |= found
    return [str(repo.root / os.fsdecode(path)) for path in _outermost(names)]


def _matches(lock: Lock, pattern: tuple[bytes, ...], reader: TreeBringer) -> Iterator[bytes]:
    """Yields the tracked paths, and those below them, that match."""
    places = {_Place(b"", None, pattern)}
    while places:
        reader.bring_trees([place.id for place in places if isinstance(place.id, TreeId)])
        further: set[_Place] = set()
        for place in sorted(places, key=lambda place: (place.path, place.rest)):
            for name, object_id in _below(lock, place, reader):
                path = b"/".join(filter(None, (place.path, name)))
                for rest in _after(name, place.rest):
                    if rest not in {(), (_ANY_DEPTH,)}:
                        further.add(_Place(path, object_id, rest))
                    elif object_id is not None:
                        yield path
                    else:
                        # What is tracked below stands for a directory that is not.
                        yield from (entry for entry in lock.entries if entry.startswith(path + b"/"))
        places = further


def _after(name: bytes, pattern: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    """Yields what must match below a directory of that name; nothing where the name does not match."""
    first, *others = pattern
    if first == _ANY_DEPTH:
        yield pattern
        if others:
            yield from _after(name, tuple(others))
    elif fnmatchcase(name, first):
        yield tuple(others)


def _below(lock: Lock, place: _Place, reader: TreeBringer) -> Iterator[tuple[bytes, BlobId | TreeId | None]]:
    if isinstance(place.id, TreeId):
        yield from ((child.name, child.id) for child in reader.read_tree(place.id))
    elif place.id is None:
        prefix = place.path + b"/" if place.path else b""
        below = {path[len(prefix) :] for path in lock.entries if path.startswith(prefix)}
        for name in sorted({path.partition(b"/")[0] for path in below}):
            entry = lock.entries.get(prefix + name)
            yield name, None if entry is None else entry.id


def _outermost(paths: Collection[bytes]) -> list[bytes]:
    """Returns those that are not below another."""
    found: list[bytes] = []
    for path in sorted(paths, key=lambda path: path.split(b"/")):
        if not found or not path.startswith(found[-1] + b"/"):
            found.append(path)
    return found
