"""`mlvc ls`: lists what a revision tracks, without a checkout."""

from __future__ import annotations

from dataclasses import dataclass

from mlvc.model.ids import BlobId, TreeId
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind
from mlvc.repo import Repo
from mlvc.verbs.locate import get_entry, lock_of, parse_address

__all__ = ["Listed", "LsResult", "ls"]


@dataclass(frozen=True, slots=True)
class Listed:
    """One line.

    Attributes:
        path: Relative to the repository, as bytes.
        kind: What stands there.
        id: Its blob or tree.
        size_bytes: Its size; of a directory, the sum of all below.
    """

    path: bytes
    kind: Kind
    id: BlobId | TreeId
    size_bytes: int

    @property
    def name(self) -> str:
        """The path in text form."""
        return encode_name(self.path)


@dataclass(frozen=True, slots=True)
class LsResult:
    """The entries, sorted by path."""

    entries: tuple[Listed, ...]


def ls(repo: Repo, address: str = "") -> LsResult:
    """Lists the tracked paths of `REV`, or what stands at `REV:PATH`: a directory's entries, or the file itself.

    Args:
        repo: The repository.
        address: `REV`, `REV:PATH` or `:PATH`; no revision means the present `mlvc.lock`.

    Raises:
        RevisionMissingError: Git knows no such revision.
        PathMissingError: It tracks no such path.
    """
    place = parse_address(address)
    if not place.path:
        tracked = lock_of(repo, place.rev).entries
        return LsResult(tuple(Listed(e.path, e.kind, e.id, e.size_bytes) for _, e in sorted(tracked.items())))
    entry = get_entry(repo, place)
    if not isinstance(entry.id, TreeId):
        return LsResult((Listed(entry.path, entry.kind, entry.id, entry.size_bytes),))
    items = repo.store.read_tree(entry.id)
    return LsResult(tuple(Listed(entry.path + b"/" + e.name, e.kind, e.id, e.size_bytes) for e in items))
