"""What is needed on a remote, told from its metadata alone.

That is what its commits, runs and verdicts lead to, and what others say that they need. And what stays is closed: what
a record names that stays for another reason, because it is young or shares a pack with much that is needed, stays too,
and so does what it is a delta of. Otherwise a clone would bring recipes without their chunks and deltas without their
bases, and take the remote, or itself, for damaged.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from mlvc.errors import NotFoundError
from mlvc.model.ids import CommitId, TreeId
from mlvc.model.kinds import RecordKind
from mlvc.model.objects import Commit
from mlvc.store.fetch import fetch_records
from mlvc.store.local import RecordKey
from mlvc.store.marks import NEEDED, Followed
from mlvc.store.remote_files import RemoteDamagedError
from mlvc.store.remote_indexes import RemoteIndexes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from mlvc.model.ids import PackId
    from mlvc.ports import Reporter
    from mlvc.store.local import LocalStore
    from mlvc.store.remote import Remote, RemotePack

__all__ = ["RemoteIncompleteError", "RemoteNeeds"]

_ROOTS = frozenset({RecordKind.COMMIT, RecordKind.RUN, RecordKind.VERDICT})


class RemoteIncompleteError(NotFoundError):
    """A directory that a commit on the remote needs is neither there nor here: what it needs is not known."""

    code = "remote-incomplete"

    def __init__(self, url: str, tree: TreeId) -> None:
        super().__init__(
            f"the remote {url} lacks the directory {tree.short}, which a commit there needs; nothing was deleted",
            hint="`mlvc push` from a clone that has it; `mlvc verify --remote` lists what is missing",
        )


class RemoteNeeds:
    """The records of a remote that are needed; they only become more.

    Attributes:
        indexes: Of all packs of the remote.
        records: What is needed, whether or not it is there.
    """

    def __init__(
        self,
        store: LocalStore,
        remote: Remote,
        listed: Mapping[PackId, RemotePack],
        cache: Path,
        reporter: Reporter,
    ) -> None:
        """Fetches all metadata of the remote, which has to be followed.

        Raises:
            RemoteDamagedError: Something of it, or an index, is damaged.
            MlvcError: The remote or the store cannot be used.
        """
        self._store = store
        self._url = remote.url
        self._reporter = reporter
        self.indexes = RemoteIndexes(store, remote, listed, cache)
        if self.indexes.damaged:
            raise RemoteDamagedError(*self.indexes.damaged)
        self._metadata = frozenset(pack for pack, found in listed.items() if not found.is_data)
        fetch_records(store, remote, listed, self.indexes, self.indexes.records(self._metadata), reporter)
        self.records: set[RecordKey] = set()
        self._followed = Followed(store, lambda _: None)
        self._copies: dict[PackId, dict[RecordKey, int]] = {}
        self._bases: dict[RecordKey, set[RecordKey]] = collections.defaultdict(set)
        self._note_copies(listed)

    def _note_copies(self, packs: Iterable[PackId]) -> None:
        deltas: list[tuple[PackId, RecordKey]] = []
        whole: set[RecordKey] = set()
        for pack in packs:
            sizes = self._copies[pack] = {}
            for entry in self.indexes[pack].entries_from(b""):
                key = RecordKey(entry.kind, entry.part, entry.digest)
                sizes[key] = entry.end - entry.offset
                if entry.base:
                    self._bases[key].add(RecordKey(entry.kind, 0, entry.base))
                    deltas.append((pack, key))
                else:
                    whole.add(key)
        for pack, key in deltas:
            if key in whole:
                del self._copies[pack][key]

    def copies(self, pack: PackId) -> Mapping[RecordKey, int]:
        """Returns what a pack holds that counts, with the bytes that each record takes in it.

        Of what any pack holds whole, a delta is no copy: two chunks may be deltas of each other.
        """
        return self._copies[pack]

    def holds_unneeded(self, pack: PackId) -> bool:
        """Returns whether there is something in a pack that nothing needs."""
        return not self.indexes.records([pack]) <= self.records

    def follow(self, roots: Collection[bytes]) -> None:
        """Makes needed what the remote's own commits, runs and verdicts lead to, and what `roots` do.

        Raises:
            RemoteIncompleteError: A directory is missing, so that what is in it is not known.
            IntegrityError: What has to be followed is damaged here.
        """
        with self._reporter.task("following references", unit="objects") as task:
            self._followed.reach(roots)
            commits: list[bytes] = []
            for record in self.indexes.records(self._metadata):
                if record.kind in _ROOTS:
                    self._followed.reach_record(*record, NEEDED)
                    task.advance()
                if record.kind == RecordKind.COMMIT:
                    commits.append(record.digest)
        self._check_whole(commits)
        self._add(RecordKey(*record) for record in self._followed.records)

    def keep(self, packs: Iterable[PackId]) -> None:
        """Makes needed what the records of some packs name, which stay whatever is needed."""
        for pack in packs:
            records = self.indexes.records([pack])
            if pack in self._metadata:
                for record in records:
                    self._followed.reach_record(*record, NEEDED)
            self._add(base for record in records for base in self._bases.get(record, ()))
        self._add(RecordKey(*record) for record in self._followed.records)

    def _add(self, records: Iterable[RecordKey]) -> None:
        new = set(records) - self.records
        while new:
            self.records |= new
            new = {base for record in new for base in self._bases.get(record, ())} - self.records

    def _check_whole(self, commits: Iterable[bytes]) -> None:
        trees = set(self._followed.trees)
        for digest in commits:
            commit = self._store.read_object(CommitId(digest))
            if isinstance(commit, Commit):
                trees |= {entry.id for entry in commit.paths if isinstance(entry.id, TreeId)}
        for tree in sorted(trees):
            if not self._store.has_tree(tree):
                raise RemoteIncompleteError(self._url, tree)
