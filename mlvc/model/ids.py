"""Ids: 32-byte BLAKE3 digests, one type for each kind of thing that is identified.

The text form is `b3:` and 64 lower-case hexadecimal digits; `b3sum FILE` prints the same digits for a blob.
BLAKE3: https://github.com/BLAKE3-team/BLAKE3-specs
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Never, Self

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


class ObjectId:
    """A 32-byte BLAKE3 digest; use one of the subclasses, which never compare equal to each other.

    Immutable, and ordered by the digest among ids of the same kind.

    Attributes:
        digest: The 32 bytes.
    """

    __slots__ = ("digest",)
    digest: bytes

    noun: ClassVar[str] = "object"

    def __init__(self, digest: bytes) -> None:
        _set_digest(self, digest)

    def __setattr__(self, name: str, value: object) -> Never:
        """Refuses: an id is a key of dictionaries."""
        raise AttributeError(f"an id cannot be changed: {name}")

    def __eq__(self, other: object) -> bool:
        """Returns whether `other` is the id of the same thing."""
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.digest == other.digest

    def __lt__(self, other: Self) -> bool:
        """Returns whether it comes first where ids of one kind are sorted."""
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.digest < other.digest

    def __hash__(self) -> int:
        """Returns a hash by the digest."""
        return hash(self.digest)

    def __reduce__(self) -> tuple[type[Self], tuple[bytes]]:
        """Pickles it by its digest."""
        return type(self), (self.digest,)

    def __repr__(self) -> str:
        """Returns the expression that makes it."""
        return f"{type(self).__name__}({self.digest!r})"

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


_set_digest: Callable[[ObjectId, bytes], None] = ObjectId.__dict__["digest"].__set__
"""Past `__setattr__`, for `__init__`: the slot itself."""


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
