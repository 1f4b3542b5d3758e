"""Reading what a revision tracks, without a checkout, and without having all of it here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mlvc.errors import NotFoundError
from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import Lock
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind
from mlvc.repo import Repo
from mlvc.store.ranges import BlobRanges
from mlvc.store.sparse import SparseStore
from mlvc.verbs.locate import lock_of
from mlvc.verbs.remote import list_remotes, open_remote
from mlvc.verbs.source import index_cache

__all__ = ["BrokenLinkError", "Item", "Snapshot", "open_sparse"]

_MOST_LINKS = 40
"""As many as Linux follows."""
_MOST_TARGET_BYTES = 4096


class BrokenLinkError(NotFoundError):
    """A tracked symlink leads nowhere, out of what is tracked, or in a circle."""

    code = "broken-link"


class Item(NamedTuple):
    """What stands at a path of a snapshot.

    Attributes:
        path: Relative to the repository; empty for its top.
        kind: What it is.
        id: Its blob or tree; None for a directory that is not tracked itself and leads to what is.
        size_bytes: Its size; of a tracked directory, the sum of all below; zero without an id.
    """

    path: bytes
    kind: Kind
    id: BlobId | TreeId | None
    size_bytes: int


def open_sparse(repo: Repo, remote: str | None = None) -> SparseStore:
    """Returns the store, with a remote behind it: the one of that name, or the default one if there is one."""
    has_remote = remote is not None or any(entry.is_default for entry in list_remotes(repo))
    connect = (lambda: open_remote(repo, remote)) if has_remote else None
    return SparseStore(repo.store, connect, index_cache(repo), repo.reporter)


class Snapshot:
    """The tracked files of one revision, as they are told by its lock; safe for use from several threads.

    Directories are brought from the remote where they are not here, and data only in the parts that are read.

    Attributes:
        store: Where everything is read from.
        seen_at: When the lock was read, in UTC.
    """

    def __init__(self, repo: Repo, rev: str | None) -> None:
        """Reads the lock, and nothing else.

        Args:
            repo: The repository.
            rev: A git revision; None for the present `mlvc.lock`.

        Raises:
            RevisionMissingError: Git knows no such revision.
        """
        self.store = open_sparse(repo)
        self._repo = repo
        self._rev = rev
        self._trees: dict[TreeId, dict[bytes, Item]] = {}
        self._lock: Lock
        self.renew()

    def renew(self) -> None:
        """Reads the lock again: a branch may have moved since."""
        self._lock = lock_of(self._repo, self._rev)
        self.seen_at = self._repo.clock.now()

    def find(self, path: bytes) -> Item | None:
        """Returns what stands at a path, following no link; None where nothing does."""
        entry = self._lock.entries.get(path)
        if entry is not None:
            return Item(path, entry.kind, entry.id, entry.size_bytes)
        if not path or any(name.startswith(path + b"/") for name in self._lock.entries):
            return Item(path, Kind.DIRECTORY, None, 0)
        parent, _, name = path.rpartition(b"/")
        above = self.find(parent) if parent else None
        if above is None or not isinstance(above.id, TreeId):
            return None
        found = self._tree(above.id).get(name)
        return None if found is None else found._replace(path=path)

    def list(self, item: Item) -> Sequence[Item]:
        """Returns what a directory holds, sorted by name; nothing of anything else."""
        if isinstance(item.id, TreeId):
            prefix = item.path + b"/" if item.path else b""
            return [child._replace(path=prefix + child.path) for child in self._tree(item.id).values()]
        if item.kind is not Kind.DIRECTORY:
            return ()
        start = len(item.path) + 1 if item.path else 0
        names = {
            path[start:].partition(b"/")[0]
            for path in self._lock.entries
            if not item.path or path.startswith(item.path + b"/")
        }
        children = (self.find(item.path + b"/" + name if item.path else name) for name in sorted(names))
        return [child for child in children if child is not None]

    def _tree(self, tree: TreeId) -> dict[bytes, Item]:
        known = self._trees.get(tree)
        if known is None:
            entries = self.store.read_tree(tree)
            known = {
                entry.name: Item(entry.name, entry.kind, entry.id, entry.size_bytes) for entry in entries
            }
            self._trees[tree] = known
        return known

    def follow(self, path: bytes) -> Item | None:
        """Returns what stands at a path once every link on the way was followed; None where nothing does.

        Raises:
            BrokenLinkError: A link leads out of what is tracked, or in a circle.
        """
        pending = [part for part in reversed(path.split(b"/")) if part]
        done: list[bytes] = []
        links = 0
        while pending:
            part = pending.pop()
            if part == b"..":
                if not done:
                    raise BrokenLinkError(f"{encode_name(path)} leads out of the repository through a link")
                done.pop()
                continue
            if part in {b"", b"."}:
                continue
            item = self.find(b"/".join([*done, part]))
            if item is None:
                return None
            if item.kind is not Kind.SYMLINK or not isinstance(item.id, BlobId):
                done.append(part)
                continue
            links += 1
            target = BlobRanges(self.store, item.id).read(0, _MOST_TARGET_BYTES + 1)
            if links > _MOST_LINKS or len(target) > _MOST_TARGET_BYTES:
                raise BrokenLinkError(f"{encode_name(path)} follows too many links")
            if target.startswith(b"/"):
                raise BrokenLinkError(
                    f"{encode_name(item.path)} is a link to {encode_name(target)}, which is not tracked"
                )
            pending += reversed(target.split(b"/"))
        return self.find(b"/".join(done))
