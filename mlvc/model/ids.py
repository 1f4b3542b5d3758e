"""Ids: 32-byte BLAKE3 digests, one type for each kind of thing that is identified.

The text form is `b3:` and 64 lower-case hexadecimal digits; `b3sum FILE` prints the same digits for a blob.
BLAKE3: https://github.com/BLAKE3-team/BLAKE3-specs
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from blake3 import blake3

from mlvc.errors import FormatError

__all__ = [
    "DIGEST_BYTES",
    "BlobId",
    "ChunkId",
    "CommitId",
    "EnvironmentId",
    "ObjectId",
    "PackId",
    "PlanId",
    "RunId",
    "TreeId",
    "VerdictId",
]

DIGEST_BYTES = 32
SHORT_DIGITS = 12
_PREFIX = "b3:"


@dataclass(frozen=True, slots=True, order=True)
class ObjectId:
    """A 32-byte BLAKE3 digest; use one of the subclasses, which never compare equal to each other."""

    digest: bytes

    noun: ClassVar[str] = "object"

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> Self:
        """Returns the id of `data`."""
        return cls(blake3(data).digest())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the id that `text` (`b3:` and 64 digits) names.

        Raises:
            FormatError: `text` has another form.
        """
        digits = text.removeprefix(_PREFIX)
        if len(text) != len(_PREFIX) + 2 * DIGEST_BYTES or digits.strip("0123456789abcdef") or digits == text:
            raise FormatError(f"{text[:80]!r} is not the id of a {cls.noun}")
        return cls(bytes.fromhex(digits))

    @property
    def hex(self) -> str:
        """The 64 hexadecimal digits."""
        return self.digest.hex()

    @property
    def short(self) -> str:
        """The first digits, for a person's eyes only."""
        return self.digest.hex()[:SHORT_DIGITS]

    def __str__(self) -> str:
        """Returns the text form, `b3:` and 64 digits."""
        return _PREFIX + self.digest.hex()


class BlobId(ObjectId):
    """The id of the bytes of one file."""

    __slots__ = ()
    noun = "blob"


class ChunkId(ObjectId):
    """The id of a piece of a blob (or of the encoding of a large tree)."""

    __slots__ = ()
    noun = "chunk"


class TreeId(ObjectId):
    """The id of a directory: the BLAKE3 of its canonical binary encoding."""

    __slots__ = ()
    noun = "tree"


class EnvironmentId(ObjectId):
    """The id of an environment object."""

    __slots__ = ()
    noun = "environment"


class RunId(ObjectId):
    """The id of a run object."""

    __slots__ = ()
    noun = "run"


class PlanId(ObjectId):
    """The id of what determines a run."""

    __slots__ = ()
    noun = "plan"


class CommitId(ObjectId):
    """The id of an mlvc commit object."""

    __slots__ = ()
    noun = "commit"


class VerdictId(ObjectId):
    """The id of a verdict object."""

    __slots__ = ()
    noun = "verdict"


class PackId(ObjectId):
    """The id of a pack: the BLAKE3 of the whole file."""

    __slots__ = ()
    noun = "pack"
