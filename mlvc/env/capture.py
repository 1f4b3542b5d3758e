"""Captures an environment: interpreter, distributions as wheels, and whatever else its code is made of."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlvc.env.cache import KEEP, CacheEntry, EnvironmentCache, Part, StatTable, Watched, read_stats, sign
from mlvc.env.credentials import strip_credentials
from mlvc.env.distributions import (
    Installed,
    InstalledFile,
    normalise,
    read_files,
    read_installed,
    read_origin,
    read_unrecorded_files,
)
from mlvc.env.editable import Editable, find_editable
from mlvc.env.files import capture_entries, capture_tree
from mlvc.env.libraries import Libraries, is_loadable, read_libraries, system_library_names
from mlvc.env.probe import Description, describe, freeze
from mlvc.env.wheel import pack_wheel, plan_wheel
from mlvc.model.ids import TreeId
from mlvc.model.names import encode_name
from mlvc.model.objects import Distribution, Environment, Interpreter
from mlvc.model.tree import TreeEntry
from mlvc.ports import ObjectReader, ObjectWriter, ProgressTask, Reporter

__all__ = ["capture"]

_INTERPRETER = ""
# The work tree's own commit; the code tree of a run says more.
_EDITABLE_COMMIT = re.compile(r"(?m)^(-e git\+\S+?)@[0-9a-f]{40}(?=#|$)")
# What installers keep beside the packages: the rebuilding installer makes its own.
_INSTALLER_FILES = re.compile(r"easy-install\.pth|_virtualenv\.(py|pth)|.*\.egg-link|__editable__.*|~.*")


def capture(
    python: Path,
    *,
    project: Path,
    reader: ObjectReader,
    writer: ObjectWriter,
    cache_dir: Path,
    reporter: Reporter,
) -> Environment:
    """Stores the wheels and trees of an interpreter's environment and returns the environment, itself not yet stored.

    An environment whose files have the size and times that the last capture saw is not read, and its interpreter not
    run. Where only some distributions changed, only those are packed.

    Args:
        python: The interpreter, as the command names it: the one of a virtual environment is not resolved.
        project: The work tree; editable installs below it belong to the code.
        reader: Tells what is stored already.
        writer: Takes wheels and trees.
        cache_dir: Where the cache is kept; made if missing.
        reporter: Told of progress, and of what cannot be reproduced.

    Raises:
        InterpreterFailedError: The interpreter cannot be run.
        FileChangedError: Something was being installed meanwhile.
        FileUnreadableError: A file could not be read.
    """
    project = Path(os.path.realpath(project))
    python = _settle(Path(os.path.abspath(python)))
    cache = EnvironmentCache(cache_dir, python, project)
    last = cache.load()
    if last is not None:
        table = read_stats(last.watched)
        if sign(table, table) == last.signature and _is_stored(last.environment, reader):
            return last.environment
    started_ns = cache.now_ns()
    with reporter.task("capturing the environment") as progress:
        work = _Capture(python, project, reader, writer, reporter, progress, last)
        entry, table = work.run()
    cache.save(entry, table, started_ns)
    return entry.environment


def _settle(python: Path) -> Path:
    """Returns the interpreter itself where `python` is a version manager's script that chooses one at each call."""
    with python.open("rb") as file:
        is_script = file.read(2) == b"#!"
    return Path(describe(python).executable) if is_script else python


def _is_stored(environment: Environment, reader: ObjectReader) -> bool:
    trees = [environment.interpreter.tree, environment.unowned]
    trees += [distribution.editable_tree for distribution in environment.distributions]
    return all(reader.has_tree(tree) for tree in trees if tree is not None) and all(
        reader.has_blob(distribution.wheel)
        for distribution in environment.distributions
        if distribution.wheel is not None
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """One installed distribution, and what belongs to it."""

    installed: Installed
    files: Sequence[InstalledFile]
    is_recorded: bool
    editable: Editable | None


class _Capture:
    """One capture; `run` is called once."""

    def __init__(
        self,
        python: Path,
        project: Path,
        reader: ObjectReader,
        writer: ObjectWriter,
        reporter: Reporter,
        progress: ProgressTask,
        last: CacheEntry | None,
    ) -> None:
        self._python = python
        self._project = str(project)
        self._reader = reader
        self._writer = writer
        self._reporter = reporter
        self._progress = progress
        self._last_parts: Mapping[str, Part] = {} if last is None else last.parts
        self._last = None if last is None else last.environment
        self._parts: dict[str, Part] = {}

    def run(self) -> tuple[CacheEntry, StatTable]:
        description = describe(self._python)
        found = _find_all(description.sites)
        watched = self._watched(description, found.values())
        # Stat data first, contents later: a file that changes in between is noticed by the next capture.
        table = read_stats(watched)
        self._progress.set_total(len(table))
        interpreter = self._interpreter(description, table)
        distributions = tuple(
            self._distribution(name, item, description, table) for name, item in found.items()
        )
        libraries = Libraries()
        for part in self._parts.values():
            libraries |= part.libraries
        text = freeze(self._python, has_pip=description.has_pip)
        environment = Environment(
            interpreter,
            description.platform,
            _EDITABLE_COMMIT.sub(r"\1", text),
            distributions,
            self._unowned(description.sites, found.values()),
            libraries.from_system(system_library_names()),
            libraries.glibc,
        )
        return CacheEntry(watched, sign(table, table), description.sites, self._parts, environment), table

    def _watched(self, description: Description, found: Iterable[_Found]) -> tuple[Watched, ...]:
        watched: list[Watched] = [("site", site) for site in description.sites]
        watched += [
            ("file", description.real_executable),
            ("file", str(self._python)),
            ("file", os.path.join(description.prefix, "pyvenv.cfg")),
        ]
        if _is_movable(description.base_prefix):
            watched.append(("interpreter", description.base_prefix))
        for item in found:
            watched += [
                ("file", file.path) for file in item.files if not _in_site(file.path, description.sites)
            ]
            if item.editable is not None and not self._is_inside(item.editable.directory):
                watched.append(("editable", item.editable.directory))
        return tuple(dict.fromkeys(watched))

    def _is_inside(self, directory: str) -> bool:
        return directory == self._project or directory.startswith(self._project.rstrip("/") + "/")

    def _interpreter(self, description: Description, table: StatTable) -> Interpreter:
        tree: TreeId | None = None
        below = description.base_prefix.rstrip("/") + "/"
        if _is_movable(description.base_prefix):
            paths = [
                path for path in table if path.startswith(below) and not _in_site(path, description.sites)
            ]
            signature = sign(table, paths)
            last = self._last_parts.get(_INTERPRETER)
            if last is not None and last.signature == signature and self._last is not None:
                tree = self._last.interpreter.tree
            if last is None or tree is None or not self._reader.has_tree(tree):
                tree = self._tree(description.base_prefix, "interpreter")
                last = Part(signature, _read_part(paths, table))
            self._parts[_INTERPRETER] = last
        return Interpreter(
            executable=encode_name(os.fsencode(_usual_name(description))),
            real_executable=encode_name(os.fsencode(description.real_executable)),
            version=description.version,
            implementation=description.implementation,
            build=description.build,
            prefix=encode_name(os.fsencode(description.prefix)),
            base_prefix=encode_name(os.fsencode(description.base_prefix)),
            tree=tree,
            soabi=description.soabi,
        )

    def _distribution(
        self, name: str, found: _Found, description: Description, table: StatTable
    ) -> Distribution:
        paths = [file.path for file in found.files if "__pycache__" not in file.path]
        signature = sign(table, paths)
        last = self._last_parts.get(name)
        if last is not None and last.signature == signature and found.editable is None:
            known = self._known(name)
            if known is not None and known.wheel is not None and self._reader.has_blob(known.wheel):
                self._parts[name] = last
                self._progress.advance(len(paths))
                return known
        self._parts[name] = Part(signature, _read_part(paths, table))
        distribution = self._pack(found, description)
        self._progress.advance(len(paths))
        if found.editable is not None:
            return self._with_editable(distribution, found.editable)
        return distribution

    def _known(self, name: str) -> Distribution | None:
        distributions = () if self._last is None else self._last.distributions
        return next((item for item in distributions if normalise(item.name) == name), None)

    def _pack(self, found: _Found, description: Description) -> Distribution:
        installed = found.installed
        plan = plan_wheel(
            installed,
            found.files,
            default_prefix=description.prefix,
            fallback_tag=_fallback_tag(description),
            only_metadata=found.editable is not None,
        )
        packed = pack_wheel(plan, self._writer)
        if plan.unpacked:
            self._reporter.warn(
                f"{installed.name} installed files outside its environment, which are not captured: "
                + ", ".join(plan.unpacked[:3])
            )
        origin = read_origin(installed)
        return Distribution(
            name=installed.name,
            version=installed.version,
            wheel=packed.blob,
            wheel_name=plan.name,
            wheel_sha256=packed.sha256,
            wheel_bytes=packed.size_bytes,
            modified=packed.modified,
            missing=plan.missing,
            recorded=found.is_recorded,
            origin=strip_credentials(json.dumps(origin, sort_keys=True, ensure_ascii=False))
            if origin
            else "",
        )

    def _with_editable(self, distribution: Distribution, editable: Editable) -> Distribution:
        tree: TreeId | None = None
        shown = os.path.relpath(editable.directory, self._project)
        if not self._is_inside(editable.directory):
            shown = editable.directory
            tree = self._tree(editable.directory, "editable")
        return dataclasses.replace(
            distribution,
            editable=encode_name(os.fsencode(shown)),
            editable_tree=tree,
            editable_paths=tuple(
                encode_name(os.fsencode(os.path.relpath(path, editable.directory))) for path in editable.paths
            ),
        )

    def _unowned(self, sites: Sequence[str], found: Iterable[_Found]) -> TreeId | None:
        """Stores the files in site-packages that no distribution owns; an earlier directory wins."""
        owned = {file.path for item in found for file in item.files}
        infos = {item.installed.info for item in found}
        taken: set[str] = set()
        entries: list[TreeEntry] = []
        for site in sites:

            def keep(path: str, name: str, site: str = site) -> bool:
                if not KEEP["site"](path, name) or path in owned or path in infos:
                    return False
                is_top = os.path.dirname(path) == site
                return not is_top or (name not in taken and not _INSTALLER_FILES.fullmatch(name))

            if os.path.isdir(site):
                entries += capture_entries(site, self._writer, keep=keep, keep_empty=False)
                taken.update(os.listdir(site))
        return self._writer.add_tree(entries) if entries else None

    def _tree(self, directory: str, kind: str) -> TreeId | None:
        captured = capture_tree(directory, self._writer, keep=KEEP[kind], progress=self._progress)
        return None if captured is None else captured[0]


def _find_all(sites: Sequence[str]) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    for name, installed in read_installed(sites).items():
        recorded = read_files(installed)
        files = read_unrecorded_files(installed) if recorded is None else recorded
        found[name] = _Found(installed, files, recorded is not None, find_editable(installed, files, sites))
    return found


def _usual_name(description: Description) -> str:
    """Returns the name of an interpreter that does not depend on which of its links was called."""
    usual = os.path.join(description.prefix, "bin", "python")
    is_same = os.path.realpath(usual) == description.real_executable
    return usual if is_same else description.executable


def _is_movable(base_prefix: str) -> bool:
    """Returns whether an interpreter's own files are captured: a base image has one below `/usr`, and only there."""
    return not (base_prefix + "/").startswith("/usr/") and base_prefix != "/"


def _in_site(path: str, sites: Sequence[str]) -> bool:
    return any(path.startswith(site + "/") for site in sites)


def _read_part(paths: Iterable[str], table: StatTable) -> Libraries:
    return read_libraries(
        path
        for path in paths
        if path in table
        and is_loadable(os.path.basename(path), is_executable=bool(table[path].st_mode & stat.S_IXUSR))
    )


def _fallback_tag(description: Description) -> str:
    """Returns the tag of an extension module that was built for this interpreter."""
    major, minor = description.version.split(".")[:2]
    tag = f"cp{major}{minor}"
    return f"{tag}-{tag}-{re.sub(r'[-.]', '_', description.platform['tag'])}"
