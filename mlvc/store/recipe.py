"""The format of recipes: which chunks, in which order, make a blob or the encoding of a large tree.

All integers are little-endian.

    offset  size  field
    0       8     magic "MLVCRCPE"
    8       2     version, 1
    10      2     zero
    12      4     number of chunks n, at least 1
    16      8     length of the whole in bytes
    24      36 n  chunks: id (32), length (4)

The record that holds a recipe carries the id of the whole, and in `part` the kind of the chunks.
Format page: docs/format/recipe.md
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from mlvc.errors import FormatError, VersionError
from mlvc.model.kinds import RecordKind
from mlvc.store.pack import MAX_CHUNK_BYTES, MAX_TREE_BYTES, most_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_RECIPE_CHUNKS", "Recipe", "RecipeBuilder"]

_MAGIC = b"MLVCRCPE"
_VERSION = 1
_HEADER = struct.Struct("<8sH2xIQ")
_CHUNK = struct.Struct("<32sI")
_LENGTH = struct.Struct("<32xI")
MAX_RECIPE_CHUNKS = (most_bytes(RecordKind.RECIPE) - _HEADER.size) // _CHUNK.size


class RecipeBuilder:
    """Collects the chunks of one blob or tree: 36 bytes of memory for each.

    Attributes:
        size_bytes: The length of the whole so far.
    """

    def __init__(self) -> None:
        self._chunks = bytearray()
        self.size_bytes = 0

    def append(self, digest: bytes, length: int) -> None:
        """Adds the next chunk."""
        self._chunks += _CHUNK.pack(digest, length)
        self.size_bytes += length

    def __len__(self) -> int:
        """Returns the number of chunks."""
        return len(self._chunks) // _CHUNK.size

    def encode(self) -> bytes:
        """Returns the recipe's encoding."""
        return _HEADER.pack(_MAGIC, _VERSION, len(self), self.size_bytes) + self._chunks


class Recipe:
    """A decoded recipe, read in place.

    Attributes:
        size_bytes: The length of the whole.
    """

    def __init__(self, data: bytes, part: int = RecordKind.CHUNK) -> None:
        """Checks all of `data`.

        Args:
            data: The encoding.
            part: The kind of its chunks.

        Raises:
            FormatError: It is no recipe, or contradicts itself.
            VersionError: The version is not known.
        """
        if len(data) < _HEADER.size or not data.startswith(_MAGIC):
            raise FormatError("not a recipe: the magic is wrong")
        _, version, count, self.size_bytes = _HEADER.unpack_from(data)
        if version != _VERSION:
            raise VersionError(f"this mlvc does not know version {version} of the recipe format")
        if data[10:12] != b"\0\0" or not count or len(data) != _HEADER.size + count * _CHUNK.size:
            raise FormatError("a recipe is cut short, or has bytes that mean nothing")
        self._chunks = memoryview(data)[_HEADER.size :]
        total = 0
        for (length,) in _LENGTH.iter_unpack(self._chunks):
            if not 0 < length <= MAX_CHUNK_BYTES:
                raise FormatError("a recipe names a chunk of a length that none has")
            total += length
        if total != self.size_bytes:
            raise FormatError("the chunks of a recipe do not make its length")
        if part == RecordKind.TREE_CHUNK and total > MAX_TREE_BYTES:
            raise FormatError(
                f"a tree says that it has {total:,} bytes, and none has more than {MAX_TREE_BYTES:,}"
            )

    def chunks(self) -> Iterator[tuple[bytes, int]]:
        """Yields the id and the length of each chunk, in order."""
        return _CHUNK.iter_unpack(self._chunks)
