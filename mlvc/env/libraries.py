"""Which shared libraries an environment takes from the system, and which glibc it needs at least."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mlvc.env.elf import read_elf

__all__ = [
    "Libraries",
    "glibc_version",
    "is_loadable",
    "parse_version",
    "read_libraries",
    "system_library_names",
]

_GLIBC = re.compile(r"GLIBC_(\d+(?:\.\d+)+)")
# Part of glibc itself, whose version is recorded instead.
_GLIBC_PARTS = re.compile(
    r"(ld-linux.*|libc|libm|libmvec|libdl|libpthread|librt|libutil|libresolv|libanl|libcrypt|libnsl|libBrokenLocale)"
    r"\.so(\.\d+)*"
)
# Modules for a person at a terminal or a display: no recorded command needs them, and small images lack what they need.
_INTERACTIVE = re.compile(r"(_tkinter|readline|_curses|_curses_panel|_dbm|_gdbm|nis)\.")
_CONF = Path("/etc/ld.so.conf")
_USUAL_DIRECTORIES = ("/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib")


@dataclass(frozen=True, slots=True)
class Libraries:
    """What some files need, and what they bring.

    Attributes:
        needed: Libraries that they name.
        brought: Libraries that they are.
        versions: The glibc versions that they ask for.
    """

    needed: frozenset[str] = field(default_factory=frozenset)
    brought: frozenset[str] = field(default_factory=frozenset)
    versions: frozenset[str] = field(default_factory=frozenset)

    def __or__(self, other: Libraries) -> Libraries:
        """Returns both together."""
        return Libraries(
            self.needed | other.needed, self.brought | other.brought, self.versions | other.versions
        )

    def from_system(self, present: frozenset[str]) -> tuple[str, ...]:
        """Returns the libraries that are needed, not brought along, and present in the system.

        One that is nowhere cannot have been used: a driver's library on a machine without the device, for example.
        """
        outside = (self.needed - self.brought) & present
        return tuple(sorted(name for name in outside if not _GLIBC_PARTS.fullmatch(name)))

    @property
    def glibc(self) -> str:
        """The highest glibc version; empty where none is asked for."""
        return max(self.versions, key=parse_version, default="")


def is_loadable(name: str, *, is_executable: bool) -> bool:
    """Returns whether a file is worth a look for what it needs."""
    return (is_executable or ".so" in name) and not _INTERACTIVE.match(name)


def read_libraries(paths: Iterable[str]) -> Libraries:
    """Returns what these files need and bring; those that are no ELF files count as nothing."""
    needed: set[str] = set()
    brought: set[str] = set()
    versions: set[str] = set()
    for path in paths:
        if ".so" in os.path.basename(path):
            brought.add(os.path.basename(path))
        elf = read_elf(path)
        if elf is not None:
            needed.update(elf.needed)
            brought.update({elf.soname} - {""})
            versions.update(match[1] for match in map(_GLIBC.fullmatch, elf.versions) if match)
    return Libraries(frozenset(needed), frozenset(brought), frozenset(versions))


def parse_version(version: str) -> tuple[int, ...]:
    """Returns a dotted version as numbers, so that 2.9 comes before 2.17."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def glibc_version(libc: str) -> str:
    """Returns the version in a text such as `glibc 2.36`; empty where it is another library."""
    name, _, version = libc.strip().partition(" ")
    return version if name == "glibc" else ""


def system_library_names() -> frozenset[str]:
    """Returns the names of the libraries that this machine's dynamic linker finds."""
    names: set[str] = set()
    for directory in _linker_directories():
        try:
            names.update(name for name in os.listdir(directory) if ".so" in name)
        except OSError:
            continue
    return frozenset(names)


def _linker_directories() -> list[str]:
    directories = [*_USUAL_DIRECTORIES]
    pending = [_CONF]
    seen: set[Path] = set()
    while pending:
        path = pending.pop()
        if path in seen:
            continue
        seen.add(path)
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            words = line.partition("#")[0].split()
            if words[:1] == ["include"]:
                pending += [found for word in words[1:] for found in Path("/").glob(word.lstrip("/"))]
            else:
                directories += words
    return directories
