"""Zip archives, and what is one: npz, torch checkpoints, wheels.

Two archives are equivalent if their members hold the same bytes under the same names: time stamps, the version of the
header, the order and the compression are the writer's, not the content's. A torch checkpoint names its top directory
after the file it was saved to, so an archive that differs only in the name of its single top directory is equivalent.

Archives come from a command that is not trusted: nothing is written, and every size is checked before it is used.
Format: PKWARE APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

__all__ = ["ArchiveComparison", "compare_archives", "is_archive"]

_FIRST_BYTES = (b"PK\x03\x04", b"PK\x05\x06")
_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_LONGEST_COMMENT = 0xFFFF
_MOST_DIRECTORY_BYTES = 64 << 20
_MOST_MEMBERS = 100_000
_MOST_UNPACKED_BYTES = 16 << 30
_PIECE_BYTES = 1 << 20
_NAMED = 5
# What a damaged or hostile archive makes the standard library raise.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    UnicodeError,
    ValueError,
    struct.error,
)


class _UnreadableError(Exception):
    """The archive is damaged, or over a limit; the message says which."""


@dataclass(frozen=True, slots=True)
class ArchiveComparison:
    """Whether two archives hold the same, and in one line what does not."""

    equivalent: bool
    detail: str


def is_archive(start: bytes) -> bool:
    """Returns whether a file that begins with `start` (4 bytes) says it is a zip archive."""
    return start.startswith(_FIRST_BYTES)


def compare_archives(recorded: IO[bytes], reproduced: IO[bytes]) -> ArchiveComparison:
    """Compares two archives member by member; reads both once, in pieces.

    Args:
        recorded: Seekable.
        reproduced: Seekable.
    """
    try:
        before, after = _digests(recorded), _digests(reproduced)
    except _UnreadableError as exc:
        return ArchiveComparison(equivalent=False, detail=str(exc))
    if before == after:
        return ArchiveComparison(
            equivalent=True, detail="same members; only the archive's own headers differ"
        )
    if _without_top(before) is not None and _without_top(before) == _without_top(after):
        return ArchiveComparison(equivalent=True, detail="same members below another top directory")
    return ArchiveComparison(equivalent=False, detail=_difference(before, after))


def _check_directory(file: IO[bytes]) -> None:
    """Refuses a central directory that would not fit into memory, before the standard library reads it."""
    size_bytes = file.seek(0, 2)
    tail_bytes = min(size_bytes, _END.size + _LONGEST_COMMENT)
    file.seek(size_bytes - tail_bytes)
    tail = file.read(tail_bytes)
    at = tail.rfind(_END_MAGIC)
    if at < 0 or len(tail) - at < _END.size:
        raise _UnreadableError("the archive has no end record")
    _, _, _, _, _, directory_bytes, _, _ = _END.unpack_from(tail, at)
    if directory_bytes == 0xFFFFFFFF:
        # ZIP64 keeps the real size elsewhere; the directory cannot be larger than the file that holds it.
        directory_bytes = size_bytes
    if directory_bytes > _MOST_DIRECTORY_BYTES:
        raise _UnreadableError("the archive's directory is too large to compare")


def _digests(file: IO[bytes]) -> Mapping[str, str]:
    """Returns a digest of each member's unpacked bytes by its name.

    Raises:
        _UnreadableError: Damaged, encrypted, ambiguous, or over a limit.
    """
    _check_directory(file)
    digests: dict[str, str] = {}
    left_bytes = _MOST_UNPACKED_BYTES
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS:
                raise _UnreadableError(f"the archive has over {_MOST_MEMBERS:,} members")
            for member in members:
                if member.filename in digests:
                    raise _UnreadableError(f"the archive holds {member.filename!r} twice")
                digest = hashlib.blake2b(digest_size=32)
                with archive.open(member) as stream:
                    while piece := stream.read(_PIECE_BYTES):
                        left_bytes -= len(piece)
                        if left_bytes < 0:
                            raise _UnreadableError("the archive unpacks to over 16 GB")
                        digest.update(piece)
                digests[member.filename] = digest.hexdigest()
    except _UNREADABLE as exc:
        raise _UnreadableError(f"the archive cannot be read: {exc}") from exc
    return digests


def _without_top(digests: Mapping[str, str]) -> dict[str, str] | None:
    """Returns the members without their one common top directory; None where there is none."""
    tops = {name.partition("/")[0] for name in digests}
    if len(tops) != 1 or not all("/" in name for name in digests):
        return None
    return {name.partition("/")[2]: digest for name, digest in digests.items()}


def _difference(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    parts = []
    for word, names in (
        ("differ", sorted(name for name in before.keys() & after.keys() if before[name] != after[name])),
        ("are gone", sorted(before.keys() - after.keys())),
        ("are new", sorted(after.keys() - before.keys())),
    ):
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            parts.append(f"members that {word}: {', '.join(map(repr, names[:_NAMED]))}{more}")
    return "; ".join(parts)
