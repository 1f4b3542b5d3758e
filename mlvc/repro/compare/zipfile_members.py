"""Zip archives, `.npz` and torch's checkpoints among them: compared member by member.

The time, versions, flags, compression and order that the archive keeps about a member do not count. Of a torch
checkpoint neither does the first directory, which is the name of the file that was saved first.
Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from itertools import zip_longest
from typing import BinaryIO

from mlvc.repro.compare.comparison import Comparison, iter_pieces, shown

__all__ = ["MAGIC", "compare_zip"]

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")

_MOST_MEMBERS = 100_000
_MOST_DIRECTORY_BYTES = 64 << 20
_MOST_UNPACKED_BYTES = 64 << 30
_MOST_NAMED = 3
# LZMA is left out: a few bytes of it can ask for gigabytes of memory.
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2}

_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_MOST_COMMENT_BYTES = 0xFFFF

# What `zipfile` and the decompressors raise over damaged or hostile archives.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class _UnfitError(Exception):
    """An archive that is not compared: over a limit, encrypted or ambiguous."""


def compare_zip(recorded: BinaryIO, reproduced: BinaryIO) -> Comparison:
    """Compares two archives whose bytes differ. Memory does not grow with their contents."""
    try:
        _check_directory(recorded)
        _check_directory(reproduced)
        with zipfile.ZipFile(recorded) as before, zipfile.ZipFile(reproduced) as after:
            return _compare(before, after)
    except _UnfitError as exc:
        return Comparison("uncomparable", f"the bytes differ, and {exc}")
    except _UNREADABLE as exc:
        return Comparison(
            "uncomparable", f"the bytes differ, and the archive cannot be read: {shown(str(exc))}"
        )


def _check_directory(file: BinaryIO) -> None:
    """Refuses an archive whose table of members is larger than memory should hold, before it is read.

    Raises:
        _UnfitError: It is.
        ValueError: The file has no such table.
    """
    end = file.seek(0, 2)
    tail_start = max(0, end - _END.size - _MOST_COMMENT_BYTES)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(_END_MAGIC)
    if at < 0 or at + _END.size > len(tail):
        raise ValueError("it has no end record")
    members, directory_bytes = _END.unpack_from(tail, at)[4:6]
    locator_at = tail_start + at - _END64_LOCATOR.size
    if locator_at >= 0:
        file.seek(locator_at)
        magic, _, offset, _ = _END64_LOCATOR.unpack(file.read(_END64_LOCATOR.size))
        if magic == b"PK\x06\x07":
            file.seek(offset)
            fields = _END64.unpack(file.read(_END64.size))
            members, directory_bytes = fields[7], fields[8]
    if members > _MOST_MEMBERS or directory_bytes > _MOST_DIRECTORY_BYTES:
        raise _UnfitError(f"the archive has {members} members, too many to compare")


def _members(archive: zipfile.ZipFile, root: str) -> Mapping[str, zipfile.ZipInfo]:
    """Returns the members by name below `root`.

    Raises:
        _UnfitError: A name stands twice, so that readers may differ on what it holds; a member is encrypted; or the
            contents are too large.
    """
    infos = archive.infolist()
    members = {info.filename.removeprefix(root): info for info in infos}
    if len(members) != len(infos) or len(infos) > _MOST_MEMBERS:
        raise _UnfitError("the archive names a member twice")
    if any(info.flag_bits & 1 for info in infos):
        raise _UnfitError("the archive is encrypted")
    if not {info.compress_type for info in infos} <= _METHODS:
        raise _UnfitError("the archive is compressed in a way that is not unpacked here")
    if sum(info.file_size for info in infos) > _MOST_UNPACKED_BYTES:
        raise _UnfitError("the archive unpacks to more than 64 GiB")
    if root:
        # A digest of the other records, names included.
        members.pop(".data/serialization_id", None)
    return members


def _torch_root(archive: zipfile.ZipFile) -> str:
    """Returns the one top directory of a torch checkpoint with its slash; empty for any other archive."""
    names = archive.namelist()
    roots = {name.partition("/")[0] for name in names}
    if len(roots) != 1:
        return ""
    root = f"{roots.pop()}/"
    return root if {f"{root}data.pkl", f"{root}version"} <= set(names) else ""


def _compare(before: zipfile.ZipFile, after: zipfile.ZipFile) -> Comparison:
    roots = _torch_root(before), _torch_root(after)
    if not all(roots):
        roots = "", ""
    left, right = _members(before, roots[0]), _members(after, roots[1])
    differences = [f"{shown(name)} is missing" for name in left if name not in right]
    differences += [f"{shown(name)} is new" for name in right if name not in left]
    for name in left:
        if name in right and not _is_same(before, left[name], after, right[name]):
            differences.append(f"{shown(name)} differs")
    if differences:
        more = f" and {len(differences) - _MOST_NAMED} more" if len(differences) > _MOST_NAMED else ""
        return Comparison("different", "; ".join(differences[:_MOST_NAMED]) + more)
    if roots[0] != roots[1]:
        return Comparison(
            "equivalent", f"the same members, below {shown(roots[1])} instead of {shown(roots[0])}"
        )
    return Comparison("equivalent", "the same members; only the archive's headers or order differ")


def _is_same(
    before: zipfile.ZipFile, left: zipfile.ZipInfo, after: zipfile.ZipFile, right: zipfile.ZipInfo
) -> bool:
    if left.file_size != right.file_size:
        return False
    with before.open(left) as one, after.open(right) as other:
        # Both yield full pieces until their last one, so equal contents are cut equally.
        return all(a == b for a, b in zip_longest(iter_pieces(one), iter_pieces(other)))
