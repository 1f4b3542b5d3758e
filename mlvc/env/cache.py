"""What the last capture saw, so that capturing an unchanged environment again reads no file and runs nothing.

    offset  size  field
    0       8     magic "MLVCENVC"
    8       2     version, little-endian, 1
    10      ...   canonical JSON

It is a cache: a file that is missing, damaged or of another version counts as none.
Format page: docs/format/environment-cache.md
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mlvc import fsio
from mlvc.env.editable import keep_editable_file
from mlvc.env.files import Keep, iter_stats
from mlvc.env.libraries import Libraries
from mlvc.errors import FormatError, VersionError
from mlvc.model.canonical import Json, JsonObject, decode_canonical, encode_canonical
from mlvc.model.objects import Environment

__all__ = ["KEEP", "CacheEntry", "EnvironmentCache", "Part", "StatTable", "Watched", "read_stats", "sign"]

_HEADER = struct.Struct("<8sH")
_MAGIC = b"MLVCENVC"
_VERSION = 1
# The time stamps of a file system advance in ticks of up to 10 ms: a file that was written this close to the moment
# at which it was read may change again without a sign.
_TICK_NS = 20_000_000

StatTable = dict[str, os.stat_result]
Watched = tuple[str, str]
"""A kind, which is a key of `KEEP`, and the directory or file that is watched."""


def keep_site_file(path: str, name: str) -> bool:  # noqa: ARG001  # the shape of a Keep
    """Returns whether something below site-packages counts: all but byte code."""
    return name != "__pycache__"


def keep_interpreter_file(path: str, name: str) -> bool:
    """Returns whether something below an interpreter's prefix belongs to it: no byte code, no installed packages.

    A conda prefix also holds other environments, and the archives that it was installed from.
    """
    if name in {"__pycache__", "site-packages", "dist-packages"}:
        return False
    return name not in {"pkgs", "envs"} or not os.path.isdir(
        os.path.join(os.path.dirname(path), "conda-meta")
    )


KEEP: Mapping[str, Keep] = {
    "site": keep_site_file,
    "interpreter": keep_interpreter_file,
    "editable": keep_editable_file,
}


@dataclass(frozen=True, slots=True)
class Part:
    """One distribution, or the interpreter, as the last capture saw it.

    Attributes:
        signature: Of the stat data of its files.
        libraries: What its files need and bring.
    """

    signature: str
    libraries: Libraries


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """The last capture.

    Attributes:
        watched: What the environment was made from.
        signature: Of the stat data of all of it.
        sites: The site-packages directories.
        parts: By normalised name; the interpreter's under the empty one.
        environment: What was captured.
    """

    watched: tuple[Watched, ...]
    signature: str
    sites: tuple[str, ...]
    parts: Mapping[str, Part]
    environment: Environment


def read_stats(watched: Iterable[Watched]) -> StatTable:
    """Returns the stat data of every watched file; directories below them are walked, byte code left out."""
    table: StatTable = {}
    for kind, path in watched:
        if kind in KEEP:
            table.update(iter_stats(path, KEEP[kind]))
        else:
            try:
                table[path] = os.stat(path)
            except OSError:
                continue
    return table


def sign(table: Mapping[str, os.stat_result], paths: Iterable[str]) -> str:
    """Returns a digest of the stat data of some files; a path without any counts as missing."""
    lines = []
    for path in sorted(paths):
        status = table.get(path)
        lines.append(
            f"{path}\0-\0"
            if status is None
            else f"{path}\0{status.st_mode} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\0"
        )
    # All at once: a call for each of 20,000 files costs as much as the rest.
    return hashlib.blake2b(os.fsencode("".join(lines)), digest_size=32).hexdigest()


class EnvironmentCache:
    """The cache of one interpreter in one project."""

    def __init__(self, directory: Path, python: Path, project: Path) -> None:
        key = hashlib.blake2b(os.fsencode(python) + b"\0" + os.fsencode(project), digest_size=8).hexdigest()
        self._directory = directory
        self._path = directory / f"environment-{key}"

    def load(self) -> CacheEntry | None:
        """Returns the last capture, if there is one that this version of mlvc wrote."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return None
        if len(data) < _HEADER.size or _HEADER.unpack_from(data) != (_MAGIC, _VERSION):
            return None
        try:
            return _decode(decode_canonical(data[_HEADER.size :]))
        except (FormatError, VersionError, KeyError, TypeError, ValueError):
            return None

    def now_ns(self) -> int:
        """Returns the present time as the file system tells it, for comparison with a file's times."""
        with fsio.translate_os_errors(f"write {self._directory}"):
            self._directory.mkdir(parents=True, exist_ok=True)
            mark = self._directory / "environment.lock"
            mark.touch()
            return mark.stat().st_mtime_ns

    def save(self, entry: CacheEntry, table: StatTable, started_ns: int) -> None:
        """Keeps a capture for the next time, unless a file was written just as it was read."""
        if any(status.st_ctime_ns >= started_ns - _TICK_NS for status in table.values()):
            return
        with fsio.translate_os_errors(f"write {self._path}"):
            fsio.atomic_write(self._path, _HEADER.pack(_MAGIC, _VERSION) + encode_canonical(_encode(entry)))


def _encode(entry: CacheEntry) -> JsonObject:
    return {
        "environment": entry.environment.encode().decode(),
        "parts": {
            name: {
                "brought": _sorted(part.libraries.brought),
                "needed": _sorted(part.libraries.needed),
                "signature": part.signature,
                "versions": _sorted(part.libraries.versions),
            }
            for name, part in entry.parts.items()
        },
        "signature": entry.signature,
        "sites": list(entry.sites),
        "watched": [[kind, path] for kind, path in entry.watched],
    }


def _sorted(names: Iterable[str]) -> list[Json]:
    return list[Json](sorted(names))


def _decode(value: JsonObject) -> CacheEntry:
    parts = cast("Mapping[str, Mapping[str, Sequence[str]]]", value["parts"])
    return CacheEntry(
        tuple((kind, path) for kind, path in cast("Sequence[Sequence[str]]", value["watched"])),
        cast("str", value["signature"]),
        tuple(cast("Sequence[str]", value["sites"])),
        {
            name: Part(
                cast("str", part["signature"]),
                Libraries(frozenset(part["needed"]), frozenset(part["brought"]), frozenset(part["versions"])),
            )
            for name, part in parts.items()
        },
        Environment.decode(cast("str", value["environment"]).encode()),
    )
