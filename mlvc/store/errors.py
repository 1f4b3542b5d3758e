"""What can be wrong with a store, told apart: missing, damaged, of an unknown version, too large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlvc.errors import IntegrityError, MlvcError, NotFoundError, VersionError

if TYPE_CHECKING:
    from pathlib import Path

    from mlvc.model.ids import ObjectId

__all__ = [
    "BlobTooLargeError",
    "DamagedFileError",
    "NotAStoreError",
    "ObjectDamagedError",
    "ObjectMissingError",
    "UnknownFormatError",
]

_FSCK_HINT = "`mlvc fsck` names everything that is damaged, and `mlvc fsck --repair` mends what it can"


class ObjectMissingError(NotFoundError):
    """An object is in no pack of the store.

    Attributes:
        object_id: The id that was asked for; its type says of what kind.
    """

    code = "object-missing"

    def __init__(self, object_id: ObjectId) -> None:
        super().__init__(
            f"the {object_id.noun} {object_id} is not in the store",
            hint="get it from a remote, or see `mlvc fsck`",
        )
        self.object_id = object_id


class DamagedFileError(IntegrityError):
    """A pack, its index or the store's format file holds other bytes than were written.

    Attributes:
        path: The damaged file.
    """

    code = "damaged-file"

    def __init__(self, path: Path, what: str, *, hint: str = _FSCK_HINT) -> None:
        super().__init__(f"{path} is damaged: {what}", hint=hint)
        self.path = path


class ObjectDamagedError(IntegrityError):
    """The stored bytes of an object are intact records that do not make the object its id names.

    Attributes:
        object_id: The object.
    """

    code = "damaged-object"

    def __init__(self, object_id: ObjectId, what: str) -> None:
        super().__init__(
            f"the {object_id.noun} {object_id} is damaged: {what}",
            hint=_FSCK_HINT,
        )
        self.object_id = object_id


class UnknownFormatError(VersionError):
    """A file of the store was written in a format that this mlvc does not read.

    Attributes:
        path: The file.
    """

    code = "unknown-store-version"

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"this mlvc does not know {what} of {path}", hint="install a newer mlvc")
        self.path = path


class NotAStoreError(NotFoundError):
    """A directory that should be a store holds no format file.

    Attributes:
        path: The directory.
    """

    code = "no-store"

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is no store: it holds no `format` file", hint="run `mlvc init`")
        self.path = path


class BlobTooLargeError(MlvcError):
    """A blob, or another object, is larger than the caller can take.

    Attributes:
        object_id: The object.
        size_bytes: Its length.
        limit_bytes: What the caller can take.
    """

    code = "too-large"

    def __init__(self, object_id: ObjectId, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"the {object_id.noun} {object_id} has {size_bytes} bytes, more than the {limit_bytes} that fit here"
        )
        self.object_id = object_id
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
