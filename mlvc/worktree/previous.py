"""What stood at a path before: new contents may resemble it, and then take little room."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from mlvc.errors import NotFoundError
from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.tree import TreeEntry
from mlvc.worktree.trees import as_tree_entry

if TYPE_CHECKING:
    from mlvc.ports import ObjectReader

__all__ = ["Previous"]


class Previous:
    """The earlier version of a file or directory, as far as it is at hand; trees are read when they are needed."""

    def __init__(self, store: ObjectReader, find: Callable[[], TreeEntry | None]) -> None:
        self._store = store
        self._find = find

    @classmethod
    def of(cls, store: ObjectReader, tracked: TrackedPath | None) -> Previous:
        """Returns the earlier version of a tracked path; None where there was none."""
        return cls(store, lambda: None if tracked is None else as_tree_entry(tracked))

    @cached_property
    def _entry(self) -> TreeEntry | None:
        return self._find()

    def blob(self) -> BlobId | None:
        """Returns its contents, if it was a file."""
        return self._entry.id if self._entry is not None and isinstance(self._entry.id, BlobId) else None

    def child(self, name: str) -> Previous:
        """Returns what had that name in it."""
        return Previous(self._store, lambda: self._children.get(os.fsencode(name)))

    @cached_property
    def _children(self) -> Mapping[bytes, TreeEntry]:
        if self._entry is None or not isinstance(self._entry.id, TreeId):
            return {}
        try:
            return {entry.name: entry for entry in self._store.read_tree(self._entry.id)}
        except NotFoundError:
            # It was never fetched; nothing depends on it.
            return {}
