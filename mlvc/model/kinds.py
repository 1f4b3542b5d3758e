"""What a record of a pack is. A module of its own: every reader of the store needs it, and hooks wait for those."""

from __future__ import annotations

import enum

__all__ = ["RecordKind"]


class RecordKind(enum.IntEnum):
    """What a record of a pack is; a kind of an index entry. Chunks are data, the rest is metadata."""

    CHUNK = 1
    TREE_CHUNK = 2
    RECIPE = 3
    TREE = 4
    COMMIT = 5
    RUN = 6
    ENVIRONMENT = 7
    VERDICT = 8

    @property
    def is_data(self) -> bool:
        """Whether records of this kind go into data packs."""
        return self is RecordKind.CHUNK
