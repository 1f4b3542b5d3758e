"""Which kind of record holds which type of id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlvc.model.ids import CommitId, EnvironmentId, ObjectId, RunId, VerdictId
from mlvc.model.kinds import RecordKind

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KIND_OF", "OBJECT_ID_TYPES"]

OBJECT_ID_TYPES: Mapping[RecordKind, type[ObjectId]] = {
    RecordKind.COMMIT: CommitId,
    RecordKind.RUN: RunId,
    RecordKind.ENVIRONMENT: EnvironmentId,
    RecordKind.VERDICT: VerdictId,
}
"""The small objects, which a reader lists and finds by prefix."""

KIND_OF: Mapping[type[ObjectId], RecordKind] = {id_type: kind for kind, id_type in OBJECT_ID_TYPES.items()}
