"""Which kind of record holds which type of id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlvc.model.ids import BlobId, CommitId, EnvironmentId, ObjectId, RunId, TreeId, VerdictId
from mlvc.model.kinds import RecordKind

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KIND_OF", "OBJECT_ID_TYPES", "WHOLE_KIND_OF"]

OBJECT_ID_TYPES: Mapping[RecordKind, type[ObjectId]] = {
    RecordKind.COMMIT: CommitId,
    RecordKind.RUN: RunId,
    RecordKind.ENVIRONMENT: EnvironmentId,
    RecordKind.VERDICT: VerdictId,
}
"""The small objects, which a reader lists and finds by prefix."""

KIND_OF: Mapping[type[ObjectId], RecordKind] = {id_type: kind for kind, id_type in OBJECT_ID_TYPES.items()}

WHOLE_KIND_OF: Mapping[type[ObjectId], RecordKind] = {
    BlobId: RecordKind.CHUNK,
    TreeId: RecordKind.TREE,
    **KIND_OF,
}
"""That of an object that is one record; a blob or tree may also be pieces and a recipe."""
