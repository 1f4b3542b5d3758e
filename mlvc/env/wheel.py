"""Repacks an installed distribution as a wheel, byte for byte the same each time.

The wheel holds what is on disk, whatever `RECORD` says; where the two differ, the file is named.
Left out is what an installer adds: byte code, `INSTALLER`, `REQUESTED`, `direct_url.json`, scripts made from entry
points. A script's first line is turned back into the wheel's `#!python`.

Format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mlvc import fsio
from mlvc.env.archive import Archive
from mlvc.env.distributions import (
    Installed,
    InstalledFile,
    normalise,
    read_entry_scripts,
    read_wheel_metadata,
    site_prefix,
)
from mlvc.errors import MlvcError
from mlvc.model.ids import BlobId
from mlvc.model.names import encode_name
from mlvc.ports import ObjectWriter

__all__ = ["Member", "PackedWheel", "WheelPlan", "pack_wheel", "plan_wheel"]

_LEFT_OUT = frozenset(
    {
        "INSTALLER",
        "RECORD",
        "RECORD.jws",
        "RECORD.p7s",
        "REQUESTED",
        "direct_url.json",
        "installed-files.txt",
        "uv_build.json",
        "uv_cache.json",
    }
)
# The metadata of the older form: a directory with this file, or the file alone.
_METADATA_NAMES = {"PKG-INFO": "METADATA", "": "METADATA"}
_SHEBANG = re.compile(rb"\A#!(?:[^\n]*[/ ])?(pythonw?|pypy)[\d.t]*(?=[ \r\n]|\Z)[^\n]*")
_TRAMPOLINE = re.compile(rb"""\A#!/bin/sh\n'''exec' [^\n]* "\$0" "\$@"\n' '''""")
_HEADERS = re.compile(r"include/(?:site/)?(?:python|pypy)[\d.t]+/(?P<name>[^/]+)/(?P<rest>.+)")
_KNOWN_DIGESTS = frozenset({"sha256", "sha384", "sha512"})
# A file of up to this size is read once and held; a larger one is read twice, to know its checksum beforehand.
_HELD_BYTES = 4 << 20
_PIECE_BYTES = 1 << 20


class FileChangedError(MlvcError):
    """An installed file changed while it was being packed."""

    code = "changed-while-packing"


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a wheel.

    Attributes:
        name: Its name in the archive.
        file: The installed file.
        data: Its bytes, where they are not those of the installed file.
    """

    name: str
    file: InstalledFile | None
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class WheelPlan:
    """What a wheel will hold.

    Attributes:
        name: The wheel's file name.
        record: The archive name of its `RECORD`.
        members: In the order of the archive, without `RECORD`.
        missing: Files that `RECORD` names and that do not exist, in text form.
        unpacked: Files that no wheel can hold, because they lie outside the prefix, in text form.
    """

    name: str
    record: str
    members: tuple[Member, ...]
    missing: tuple[str, ...]
    unpacked: tuple[str, ...] = ()


@dataclass(slots=True)
class PackedWheel:
    """The stored wheel."""

    blob: BlobId
    sha256: str
    size_bytes: int
    modified: tuple[str, ...]


def plan_wheel(
    installed: Installed,
    files: Sequence[InstalledFile],
    *,
    default_prefix: str,
    fallback_tag: str,
    only_metadata: bool = False,
) -> WheelPlan:
    """Returns what the wheel of an installed distribution holds; looks at names and existence, reads no contents.

    Args:
        installed: Which one.
        files: Its files.
        default_prefix: The prefix of a site-packages directory whose path does not tell.
        fallback_tag: The tag where the distribution has none and holds extension modules.
        only_metadata: Whether to leave out everything else, as for an editable install.
    """
    wheel_name = f"{re.sub(r'[^A-Za-z0-9]+', '_', installed.name)}-{installed.version.replace('-', '_')}"
    stem = wheel_name if installed.is_legacy else os.path.basename(installed.info).removesuffix(".dist-info")
    members: dict[str, Member] = {}
    missing: list[str] = []
    unpacked: list[str] = []
    layout = _Layout(
        installed, site_prefix(installed.site, default_prefix), stem, read_entry_scripts(installed)
    )
    for file in files:
        if "__pycache__" in file.path.split("/"):
            continue
        is_metadata = file.path == installed.info or file.path.startswith(installed.info + "/")
        if only_metadata and not is_metadata:
            continue
        if not os.path.isfile(file.path):
            missing.append(encode_name(os.fsencode(file.recorded)))
            continue
        target = layout.target(file.path)
        if target is None:
            unpacked.append(encode_name(os.fsencode(file.recorded)))
        elif target:
            members.setdefault(target, Member(target, file, _rewritten(file.path, target)))
    pure, tags = read_wheel_metadata(installed)
    if not tags:
        pure = not any(re.search(r"\.so(\.|$)", member) for member in members)
        tags = ("py3-none-any",) if pure else (fallback_tag,)
        wheel = _metadata_text(tags, is_pure=pure)
        members[f"{stem}.dist-info/WHEEL"] = Member(f"{stem}.dist-info/WHEEL", None, wheel)
    ordered = sorted(members.values(), key=lambda member: (f"{stem}.dist-info/" in member.name, member.name))
    return WheelPlan(
        f"{wheel_name}-{_compress(tags)}.whl",
        f"{stem}.dist-info/RECORD",
        tuple(ordered),
        tuple(missing),
        tuple(unpacked),
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where an installed path goes in the wheel."""

    installed: Installed
    prefix: str
    stem: str
    entry_scripts: frozenset[str]

    def target(self, path: str) -> str | None:
        """Returns the archive name; empty where the file is left out; None where it lies outside the prefix."""
        info, site, top = self.installed.info, self.installed.site, self.prefix.rstrip("/")
        if path == info or path.startswith(info + "/"):
            name = _METADATA_NAMES.get(path[len(info) + 1 :], path[len(info) + 1 :])
            return "" if name in _LEFT_OUT else f"{self.stem}.dist-info/{name}"
        if path.startswith(site + "/"):
            return path[len(site) + 1 :]
        return self._data_target(path[len(top) + 1 :]) if path.startswith(top + "/") else None

    def _data_target(self, below: str) -> str:
        folder, _, name = below.partition("/")
        if folder == "bin":
            return "" if name in self.entry_scripts else f"{self.stem}.data/scripts/{name}"
        headers = _HEADERS.fullmatch(below)
        if headers and normalise(headers["name"]) == normalise(self.installed.name):
            return f"{self.stem}.data/headers/{headers['rest']}"
        return f"{self.stem}.data/data/{below}"


def _rewritten(path: str, target: str) -> bytes | None:
    """Returns a script with the first line that wheels have, or None where it stays as it is."""
    if ".data/scripts/" not in target:
        return None
    with fsio.translate_os_errors(f"read {encode_name(os.fsencode(path))}"), open(path, "rb") as file:
        if file.read(2) != b"#!":
            return None
        data = b"#!" + file.read()
    for pattern in (_TRAMPOLINE, _SHEBANG):
        rewritten, count = pattern.subn(b"#!python", data, count=1)
        if count:
            return rewritten
    return None


def _metadata_text(tags: Sequence[str], *, is_pure: bool) -> bytes:
    lines = ["Wheel-Version: 1.0", "Generator: mlvc", f"Root-Is-Purelib: {str(is_pure).lower()}"]
    return "".join(line + "\n" for line in [*lines, *(f"Tag: {tag}" for tag in tags)]).encode()


def _compress(tags: Sequence[str]) -> str:
    """Returns a set of tags as one: each part lists its alternatives."""
    parts = zip(*(tag.split("-", 2) for tag in tags), strict=True)
    return "-".join(".".join(sorted({item for text in part for item in text.split(".")})) for part in parts)


@dataclass(slots=True)
class _Stream:
    """The bytes of the wheel as a `ports.ByteSource`, hashed as they pass."""

    pieces: Iterator[bytes]
    sha256: hashlib._Hash = field(default_factory=hashlib.sha256)
    rest: memoryview = field(default_factory=lambda: memoryview(b""))

    def read(self, size: int, /) -> bytes:
        while not self.rest:
            piece = next(self.pieces, None)
            if piece is None:
                return b""
            self.sha256.update(piece)
            self.rest = memoryview(piece)
        data, self.rest = bytes(self.rest[:size]), self.rest[size:]
        return data


def pack_wheel(plan: WheelPlan, writer: ObjectWriter) -> PackedWheel:
    """Stores the wheel, checking every file against `RECORD` on the way; memory does not grow with its size.

    Raises:
        FileChangedError: A file changed meanwhile.
        FileUnreadableError: A file could not be read.
    """
    modified: list[str] = []
    stream = _Stream(_iter_wheel(plan, modified))
    with fsio.translate_os_errors(f"read the files of {plan.name}"):
        blob, size_bytes = writer.add_stream(stream)
    return PackedWheel(blob, stream.sha256.hexdigest(), size_bytes, tuple(sorted(modified)))


def _iter_wheel(plan: WheelPlan, modified: list[str]) -> Iterator[bytes]:
    archive = Archive()
    rows: list[str] = []
    for member in plan.members:
        digest = hashlib.sha256()
        size = 0
        for piece in _iter_member(archive, member, modified):
            header, data = piece
            if header:
                yield header
            if data:
                digest.update(data)
                size += len(data)
                yield data
        rows.append(f"{_quote(member.name)},sha256={_encode(digest.digest())},{size}\n")
    rows.append(f"{_quote(plan.record)},,\n")
    yield archive.member(plan.record, "".join(rows).encode("utf-8", "surrogateescape"))
    yield from archive.end()


def _iter_member(archive: Archive, member: Member, modified: list[str]) -> Iterator[tuple[bytes, bytes]]:
    """Yields pairs of archive structure and contents."""
    if member.file is None:
        data = member.data or b""
        yield archive.header(member.name, zlib.crc32(data), len(data)), data
        archive.advance(len(data))
        return
    with open(member.file.path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        is_executable = bool(status.st_mode & stat.S_IXUSR)
        if status.st_size <= _HELD_BYTES or member.data is not None:
            on_disk = file.read()
            _check(member.file, _digests(member.file, on_disk), modified)
            data = on_disk if member.data is None else member.data
            yield archive.header(member.name, zlib.crc32(data), len(data), is_executable=is_executable), data
            archive.advance(len(data))
            return
        crc, size, digests = 0, 0, _digests(member.file)
        for piece in iter(lambda: file.read(_PIECE_BYTES), b""):
            crc, size = zlib.crc32(piece, crc), size + len(piece)
            for digest in digests:
                digest.update(piece)
        _check(member.file, digests, modified)
        yield archive.header(member.name, crc, size, is_executable=is_executable), b""
        file.seek(0)
        again = 0
        for piece in iter(lambda: file.read(_PIECE_BYTES), b""):
            again = zlib.crc32(piece, again)
            archive.advance(len(piece))
            size -= len(piece)
            yield b"", piece
        if again != crc or size != 0:
            raise FileChangedError(
                f"{encode_name(os.fsencode(member.file.path))} changed while it was being packed",
                hint="repeat when nothing is being installed",
            )


def _digests(file: InstalledFile, data: bytes = b"") -> list[hashlib._Hash]:
    """Returns the hash that `RECORD` has of a file, fed with `data`; none where it has none that we know."""
    algorithm = file.digest.partition("=")[0]
    return [hashlib.new(algorithm, data)] if algorithm in _KNOWN_DIGESTS else []


def _check(file: InstalledFile, digests: list[hashlib._Hash], modified: list[str]) -> None:
    recorded = file.digest.partition("=")[2].rstrip("=")
    if any(_encode(digest.digest()) != recorded for digest in digests):
        modified.append(encode_name(os.fsencode(file.recorded)))


def _encode(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set('",\r\n') else name
