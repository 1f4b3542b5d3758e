"""Checks whether the bytes of a record are what its entry says: the last check before they count anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from mlvc.errors import FormatError
from mlvc.model.ids import BlobId, ChunkId, ObjectId, TreeId
from mlvc.model.kinds import RecordKind
from mlvc.model.objects import decode_object
from mlvc.model.tree import decode_tree
from mlvc.store.kinds import OBJECT_ID_TYPES
from mlvc.store.pack import check_payload, decode_payload
from mlvc.store.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    import zstandard

    from mlvc.store.pack import Entry

__all__ = ["WHOLE_TYPES", "check_content", "check_record", "no_base", "object_of"]

_ID_TYPES: dict[int, type[ObjectId]] = {
    RecordKind.CHUNK: ChunkId,
    RecordKind.TREE_CHUNK: ChunkId,
    RecordKind.TREE: TreeId,
    **{int(kind): id_type for kind, id_type in OBJECT_ID_TYPES.items()},
}
WHOLE_TYPES: dict[int, type[ObjectId]] = {RecordKind.CHUNK: BlobId, RecordKind.TREE_CHUNK: TreeId}
"""What a recipe makes of chunks of each kind."""


def object_of(kind: int, part: int, digest: bytes) -> ObjectId:
    """Returns the id that a record carries, as its own type; a plain one where the kind is not known."""
    types = WHOLE_TYPES if kind == RecordKind.RECIPE else _ID_TYPES
    return types.get(part if kind == RecordKind.RECIPE else kind, ObjectId)(digest)


def check_content(entry: Entry, data: bytes) -> Recipe | None:
    """Checks decoded bytes by their id, and by whether they can be decoded further.

    Returns:
        The recipe, if it is one: its id is that of the whole blob, so its chunks are still to be checked.

    Raises:
        FormatError: They are other bytes than the id names, or no such thing.
        VersionError: They are of a version that is not known.
    """
    if entry.kind == RecordKind.RECIPE:
        if entry.part not in WHOLE_TYPES:
            raise FormatError("a recipe of no known kind")
        return Recipe(data, entry.part)
    if blake3(data).digest() != entry.digest:
        raise FormatError("the bytes are not those that the id names")
    if entry.kind == RecordKind.TREE:
        decode_tree(data)
    elif entry.kind in OBJECT_ID_TYPES:
        value = decode_object(data)
        if value.id_type is not _ID_TYPES[entry.kind]:
            raise FormatError(f"it is a {value.type_name}")
    return None


def check_record(
    record: bytes,
    entry: Entry,
    decompressor: zstandard.ZstdDecompressor,
    read_base: Callable[[bytes], bytes] | None,
) -> None:
    """Checks a whole record: checksum, header, encoding, and what it holds.

    Args:
        record: Header and payload.
        entry: What its index says of it.
        decompressor: One that no other thread uses.
        read_base: As of `decode_payload`. Without it, a delta's checksum and header are all that is checked.

    Raises:
        FormatError: It is damaged.
        VersionError: It is of a kind, encoding or version that is not known.
    """
    if read_base is not None:
        check_content(entry, decode_payload(record, entry, decompressor, read_base))
    elif entry.base:
        check_payload(record, entry)
    else:
        check_content(entry, decode_payload(record, entry, decompressor, no_base))


def no_base(digest: bytes) -> bytes:
    """Stands for the base of what is no delta."""
    raise AssertionError(digest)  # Only a delta asks.
