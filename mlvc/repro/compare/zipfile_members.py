"""Zip archives, `.npz` and torch's checkpoints among them: compared member by member.

The time, versions, flags, compression and order that the archive keeps about a member do not count. Of a torch
checkpoint neither does the first directory, which is the name of the file that was saved first.
Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import functools
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest

from mlvc.model.objects import Difference
from mlvc.repro.compare.comparison import UnfitError, iter_pieces, shown
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.nested_comparison import compare_values
from mlvc.repro.compare.pickle_machine import read_pickle
from mlvc.repro.compare.torch_checkpoints import resolve_tensors
from mlvc.repro.compare.windows import Unpacked, Window, WindowFile

__all__ = ["MAGIC", "compare_zip"]

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")

_MOST_MEMBERS = 100_000
_MOST_DIRECTORY_BYTES = 64 << 20
_MOST_UNPACKED_BYTES = 64 << 30
_PICKLE = "data.pkl"
_STORAGES = "data/"
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


_HEADER = struct.Struct("<26xHH")


def compare_zip(left: Window, right: Window, job: Job) -> None:
    """Compares two archives whose bytes differ. Memory does not grow with their contents.

    Raises:
        UnfitError: One is damaged, ambiguous or over a limit.
    """
    try:
        _check_directory(left)
        _check_directory(right)
        with (
            zipfile.ZipFile(WindowFile(left)) as before,
            zipfile.ZipFile(WindowFile(right)) as after,
        ):
            _compare(_Side.of(before, left), _Side.of(after, right), job)
    except _UNREADABLE as exc:
        raise UnfitError(f"the archive cannot be read: {shown(str(exc))}") from exc


def _check_directory(window: Window) -> None:
    """Refuses an archive whose table of members is larger than memory should hold, before it is read.

    Raises:
        UnfitError: It is.
        ValueError: The file has no such table.
    """
    tail_start = max(0, window.size - _END.size - _MOST_COMMENT_BYTES)
    tail = window.read(tail_start, window.size)
    at = tail.rfind(_END_MAGIC)
    if at < 0 or at + _END.size > len(tail):
        raise ValueError("it has no end record")
    members, directory_bytes = _END.unpack_from(tail, at)[4:6]
    locator_at = tail_start + at - _END64_LOCATOR.size
    if locator_at >= 0:
        magic, _, offset, _ = _END64_LOCATOR.unpack(window.read(locator_at, _END64_LOCATOR.size))
        if magic == b"PK\x06\x07":
            fields = _END64.unpack(window.exactly(offset, _END64.size))
            members, directory_bytes = fields[7], fields[8]
    if members > _MOST_MEMBERS or directory_bytes > _MOST_DIRECTORY_BYTES:
        raise UnfitError(f"the archive has {members} members, too many to compare")


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two archives.

    Attributes:
        archive: Its reader.
        window: Its bytes.
        root: The top directory of a torch checkpoint, with its slash; empty for any other archive.
        members: By name below the root.
    """

    archive: zipfile.ZipFile
    window: Window
    root: str
    members: Mapping[str, zipfile.ZipInfo]

    @classmethod
    def of(cls, archive: zipfile.ZipFile, window: Window) -> _Side:
        """Returns an archive that can be compared.

        Raises:
            UnfitError: A name stands twice, so that readers may differ on what it holds; a member is encrypted; or
                the contents are too large.
        """
        infos = archive.infolist()
        root = _torch_root(archive)
        members = {info.filename.removeprefix(root): info for info in infos}
        if len(members) != len(infos) or len(infos) > _MOST_MEMBERS:
            raise UnfitError("the archive names a member twice")
        if any(info.flag_bits & 1 for info in infos):
            raise UnfitError("the archive is encrypted")
        if not {info.compress_type for info in infos} <= _METHODS:
            raise UnfitError("the archive is compressed in a way that is not unpacked here")
        if sum(info.file_size for info in infos) > _MOST_UNPACKED_BYTES:
            raise UnfitError("the archive unpacks to more than 64 GiB")
        if root:
            # A digest of the other records, names included.
            members.pop(".data/serialization_id", None)
        return cls(archive, window, root, members)

    def size_of(self, name: str) -> str:
        """Returns a member's size for a person; empty where there is no such member."""
        return f"{self.members[name].file_size} bytes" if name in self.members else ""

    def unpack(self, name: str, unpacked: Unpacked) -> Window:
        """Returns the bytes of a member; one that is not compressed is not copied."""
        info = self.members[name]
        if info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size:
            name_bytes, extra_bytes = _HEADER.unpack(self.window.exactly(info.header_offset, _HEADER.size))
            start = info.header_offset + _HEADER.size + name_bytes + extra_bytes
            return self.window.part(start, info.file_size)
        with self.archive.open(info) as file:
            return unpacked.add(iter_pieces(file))


def _torch_root(archive: zipfile.ZipFile) -> str:
    """Returns the one top directory of a torch checkpoint with its slash; empty for any other archive."""
    names = archive.namelist()
    roots = {name.partition("/")[0] for name in names}
    if len(roots) != 1:
        return ""
    root = f"{roots.pop()}/"
    return root if {f"{root}data.pkl", f"{root}version"} <= set(names) else ""


def _compare(before: _Side, after: _Side, job: Job) -> None:
    count = len(job.findings)
    is_checkpoint = bool(before.root and after.root)
    if before.root != after.root:
        job.findings.add(
            Difference(
                job.where,
                "container",
                shown(before.root.rstrip("/")),
                shown(after.root.rstrip("/")),
                rule="torch.archive-root",
            )
        )
    changed = []
    for name in [*before.members, *(name for name in after.members if name not in before.members)]:
        if is_checkpoint and (name == _PICKLE or name.startswith(_STORAGES)):
            changed += [] if _is_same(before, after, name) else [name]
        elif name not in before.members or name not in after.members:
            told = before.size_of(name), after.size_of(name)
            job.findings.add(Difference(job.place(_called(name)), "structure", *told))
        elif not _is_same(before, after, name):
            one, other = before.unpack(name, job.unpacked), after.unpack(name, job.unpacked)
            job.compare_inside(one, other, name, job.place(_called(name)))
    if changed:
        _compare_tensors(before, after, job)
    if len(job.findings) == count:
        same_order = list(before.members) == list(after.members)
        rule = "zip.headers" if same_order else "zip.order"
        job.findings.add(Difference(job.where, "container" if same_order else "order", rule=rule))


def _compare_tensors(before: _Side, after: _Side, job: Job) -> None:
    """Compares the two checkpoints by what their tensors hold, whatever their storages are called."""
    values = []
    for side in (before, after):
        order = side.members.get("byteorder")
        if order is not None and side.archive.read(order)[:6] != b"little":
            raise UnfitError("the checkpoint was written by a big-endian machine")
        value, _ = read_pickle(side.unpack(_PICKLE, job.unpacked))

        def find_storage(key: str, side: _Side = side) -> Window:
            name = f"{_STORAGES}{key}"
            if name not in side.members:
                raise UnfitError(f"the storage {shown(key)} is missing")
            return side.unpack(name, job.unpacked)

        resolve_tensors(value, functools.cache(find_storage))
        values.append(value)
    count = len(job.findings)
    compare_values(values[0], values[1], job.findings, root=job.place("$"))
    if len(job.findings) == count:
        job.findings.add(Difference(job.where, "container", rule="torch.storage-keys"))


def _called(name: str) -> str:
    """Returns a member's name in a message; an array of an `.npz` goes by the name that it was saved under."""
    return shown(name.removesuffix(".npy"))


def _is_same(before: _Side, after: _Side, name: str) -> bool:
    left, right = before.members.get(name), after.members.get(name)
    if left is None or right is None or left.file_size != right.file_size:
        return False
    with before.archive.open(left) as one, after.archive.open(right) as other:
        # Both yield full pieces until their last one, so equal contents are cut equally.
        return all(a == b for a, b in zip_longest(iter_pieces(one), iter_pieces(other)))
