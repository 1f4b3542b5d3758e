"""The errors that mlvc tells a person about.

This module knows the shape of an error and its exit status; it imports nothing of ours, so that every room may use it.
A specific error lives beside the code that raises it and keeps its facts as typed attributes.

    MlvcError            2  it could not be done
    ├─ UsageError        2  the request itself makes no sense
    ├─ NotFoundError     2  a name or an object that was asked for does not exist
    ├─ IntegrityError    2  stored bytes are not what they should be
    ├─ FormatError       2  bytes that are no valid encoding of what they claim to be
    ├─ VersionError      2  a format version that this mlvc does not know
    └─ UnsavedError      2  going on would overwrite bytes that are stored nowhere else

Missing, unreadable, corrupt and of an unknown version are four errors, and one never turns into another.
"""

from __future__ import annotations

__all__ = [
    "FormatError",
    "IntegrityError",
    "MlvcError",
    "NotFoundError",
    "UnsavedError",
    "UsageError",
    "VersionError",
]


class MlvcError(Exception):
    """Something that could not be done, told in one message and one hint.

    Attributes:
        message: Names the thing that is wrong; one sentence or a few, no full stop after an id.
        hint: The next step for the person, or None where there is none.
        code: A stable kebab-case name, documented in `docs/reference/errors.md`.
    """

    code = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MlvcError):
    """The request itself makes no sense: a bad argument, a path outside the repository."""

    code = "usage"


class NotFoundError(MlvcError):
    """A name, path or object that was asked for does not exist."""

    code = "not-found"


class IntegrityError(MlvcError):
    """Stored bytes are not what their checksum or id says; never swallowed."""

    code = "damaged"


class FormatError(MlvcError):
    """Bytes that are no valid encoding of what they claim to be."""

    code = "bad-format"


class VersionError(MlvcError):
    """A format version that this mlvc does not know."""

    code = "unknown-version"


class UnsavedError(MlvcError):
    """Going on would overwrite or delete bytes that are stored nowhere else."""

    code = "unsaved"
