"""Reads what is installed from the metadata in site-packages, and executes nothing.

Format: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass

__all__ = [
    "Installed",
    "InstalledFile",
    "iter_files",
    "normalise",
    "read_entry_scripts",
    "read_files",
    "read_installed",
    "read_origin",
    "read_unrecorded_files",
    "read_wheel_metadata",
    "site_prefix",
]

_SITE = re.compile(r"(?P<prefix>/.*?)/lib(?:64)?/(?:python|pypy)[\d.t]*/(?:site|dist)-packages")


@dataclass(frozen=True, slots=True)
class Installed:
    """One installed distribution.

    Attributes:
        name: As its metadata spells it.
        version: Likewise.
        site: The site-packages directory it stands in.
        info: Its `.dist-info` directory, or its `.egg-info` directory or file.
    """

    name: str
    version: str
    site: str
    info: str

    @property
    def is_legacy(self) -> bool:
        """Whether it has an `.egg-info`, which knows no `RECORD`."""
        return self.info.endswith(".egg-info")


@dataclass(frozen=True, slots=True)
class InstalledFile:
    """One file that belongs to a distribution.

    Attributes:
        path: Absolute; it may not exist.
        recorded: The path as `RECORD` has it.
        digest: `ALGORITHM=BASE64` as `RECORD` has it; empty where it has none.
    """

    path: str
    recorded: str
    digest: str = ""


def normalise(name: str) -> str:
    """Returns the name under which spellings of one distribution are equal."""
    return re.sub(r"[-_.]+", "-", name).lower()


def site_prefix(site: str, default: str) -> str:
    """Returns the prefix that a site-packages directory belongs to: `/x` for `/x/lib/python3.11/site-packages`."""
    match = _SITE.fullmatch(site)
    return match["prefix"] if match else default


def read_installed(sites: Iterable[str]) -> dict[str, Installed]:
    """Returns what is installed, by normalised name and sorted; an earlier directory hides the same name in a later.

    A directory that is missing, and metadata that names no distribution, count as nothing.
    """
    found: dict[str, Installed] = {}
    for site in sites:
        for installed in _iter_site(site):
            found.setdefault(normalise(installed.name), installed)
    return dict(sorted(found.items()))


def _iter_site(site: str) -> Iterator[Installed]:
    try:
        names = sorted(os.listdir(site))
    except OSError:
        return
    # Where both kinds of metadata exist, importlib.metadata prefers neither; pip writes only the newer.
    for suffix, metadata in ((".dist-info", "METADATA"), (".egg-info", "PKG-INFO")):
        for name in names:
            # pip renames what it is about to delete to a name that starts with a tilde.
            if not name.endswith(suffix) or name.startswith("~"):
                continue
            info = os.path.join(site, name)
            yield from _read_info(site, info, metadata)
    for name in names:
        if name.endswith(".egg-link"):
            yield from _iter_linked(os.path.join(site, name))


def _read_info(site: str, info: str, metadata: str) -> Iterator[Installed]:
    headers = _read_headers(os.path.join(info, metadata) if os.path.isdir(info) else info)
    if headers.get("name") and headers.get("version"):
        yield Installed(headers["name"], headers["version"], site, info)


def _iter_linked(link: str) -> Iterator[Installed]:
    """Yields what an `.egg-link`, the older form of an editable install, points to."""
    try:
        with open(link, encoding="utf-8", errors="surrogateescape") as file:
            directory = os.path.normpath(file.readline().strip())
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        if name.endswith(".egg-info"):
            yield from _read_info(directory, os.path.join(directory, name), "PKG-INFO")


def _read_headers(path: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                key, colon, value = line.partition(":")
                if not line.strip():
                    break
                if colon and not line[0].isspace():
                    headers.setdefault(key.strip().lower(), value.strip())
    except OSError:
        return {}
    return headers


def _read_text(installed: Installed, name: str) -> str | None:
    try:
        with open(os.path.join(installed.info, name), encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return None


def read_files(installed: Installed) -> Sequence[InstalledFile] | None:
    """Returns the files that belong to a distribution, in the order of `RECORD`; None where it has no `RECORD`."""
    record = None if installed.is_legacy else _read_text(installed, "RECORD")
    if record is None:
        return None
    files: dict[str, InstalledFile] = {}
    for row in csv.reader(record.splitlines()):
        if row and row[0]:
            path = os.path.normpath(os.path.join(installed.site, row[0]))
            files.setdefault(path, InstalledFile(path, row[0], row[1] if len(row) > 1 else ""))
    return list(files.values())


def read_unrecorded_files(installed: Installed) -> Sequence[InstalledFile]:
    """Returns the files of a distribution without `RECORD`, as far as its other metadata tells.

    `installed-files.txt` where pip left one; else everything below the names in `top_level.txt`.
    """
    paths: set[str] = set()
    listed = _read_text(installed, "installed-files.txt")
    if listed is not None:
        paths.update(
            os.path.normpath(os.path.join(installed.info, line)) for line in listed.splitlines() if line
        )
    else:
        for name in (_read_text(installed, "top_level.txt") or installed.name.replace("-", "_")).split():
            paths.update(_iter_module(installed.site, name))
    paths.update(iter_files(installed.info) if os.path.isdir(installed.info) else [installed.info])
    return [InstalledFile(path, os.path.relpath(path, installed.site)) for path in sorted(paths)]


def _iter_module(site: str, name: str) -> Iterator[str]:
    if not re.fullmatch(r"\w+(/\w+)*", name):
        return
    package = os.path.join(site, name)
    if os.path.isdir(package):
        yield from iter_files(package)
    parent, stem = os.path.split(package)
    if os.path.isdir(parent):
        for entry in os.scandir(parent):
            if entry.is_file() and (
                entry.name == f"{stem}.py"
                or (entry.name.startswith(f"{stem}.") and entry.name.endswith(".so"))
            ):
                yield entry.path


def iter_files(directory: str) -> Iterator[str]:
    """Yields the files below a directory, byte code aside."""
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (os.path.join(folder, name) for name in names)


def read_entry_scripts(installed: Installed) -> frozenset[str]:
    """Returns the names of the scripts that an installer makes from the entry points."""
    text = _read_text(installed, "entry_points.txt")
    parser = ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep the case
    try:
        parser.read_string(text or "")
    except ConfigError:
        return frozenset()
    sections = [section for section in ("console_scripts", "gui_scripts") if parser.has_section(section)]
    return frozenset(name for section in sections for name in parser.options(section))


def read_wheel_metadata(installed: Installed) -> tuple[bool, tuple[str, ...]]:
    """Returns whether the wheel it came from was pure, and that wheel's tags; no tags where nothing tells."""
    pure, tags = True, []
    for line in (_read_text(installed, "WHEEL") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() == "tag" and value.count("-") >= 2:
            tags.append(value.strip())
        elif key.strip().lower() == "root-is-purelib":
            pure = value.strip().lower() == "true"
    return pure, tuple(tags)


def read_origin(installed: Installed) -> dict[str, object]:
    """Returns `direct_url.json`: where a distribution that is from no index came from; empty for the others."""
    try:
        value = json.loads(_read_text(installed, "direct_url.json") or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
