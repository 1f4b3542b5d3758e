"""What differs between a recorded environment and what is installed now, from metadata alone; executes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlvc.env.cache import EnvironmentCache
from mlvc.env.distributions import normalise, read_installed
from mlvc.model.names import decode_name
from mlvc.model.objects import Environment

__all__ = ["Change", "Drift", "Present", "compare", "read_present"]

_LIBRARIES = ("lib", "lib64")


@dataclass(frozen=True, slots=True)
class Present:
    """What metadata tells of an environment.

    Attributes:
        python: The version of the interpreter; None where no metadata tells.
        versions: The name as spelt, and the version, of every distribution, by normalised name.
    """

    python: str | None
    versions: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """A distribution that is another now."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Drift:
    """How an environment differs from the recorded one; falsy where it does not.

    Attributes:
        added: Installed now and not recorded, as `name==version`.
        removed: Recorded and not installed now, as `name==version`.
        changed: Another version; or, between two captures, the same version with other contents.
        interpreter: The recorded interpreter and the present one, where they differ.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[Change, ...] = ()
    interpreter: Change | None = None

    def __bool__(self) -> bool:
        """Returns whether anything differs."""
        return bool(self.added or self.removed or self.changed or self.interpreter)

    def sentences(self) -> list[str]:
        """Returns each difference in a few words, for a person."""
        moved = [*self.changed, *([self.interpreter] if self.interpreter else [])]
        return [
            *(f"{item.name} {item.before} → {item.after}" for item in moved),
            *(f"{item} is not locked" for item in self.added),
            *(f"{item} is not installed" for item in self.removed),
        ]


def read_present(python: Path, *, project: Path, cache_dir: Path) -> Present | None:
    """Returns what is installed for an interpreter, reading metadata alone.

    Args:
        python: The interpreter, as `find_interpreter` returned it.
        project: The work tree.
        cache_dir: Where `capture` keeps its cache, which knows the directories of an interpreter.

    Returns:
        None where nothing tells which directories the interpreter reads.
    """
    python = Path(os.path.abspath(python))
    prefix = python.parent.parent
    settings = _read_settings(prefix / "pyvenv.cfg")
    version = settings.get("version_info") or settings.get("version")
    last = EnvironmentCache(cache_dir, python, Path(os.path.realpath(project))).load()
    if last is not None:
        sites = last.sites
        is_same = _is_same_interpreter(python, last.environment)
        version = version or (last.environment.interpreter.version if is_same else None)
    else:
        sites = _guess_sites(prefix if settings else python.resolve().parent.parent)
    if not sites:
        return None
    found = read_installed(sites)
    return Present(_plain_version(version), {name: (item.name, item.version) for name, item in found.items()})


def _is_same_interpreter(python: Path, environment: Environment) -> bool:
    return os.fsencode(os.path.realpath(python)) == decode_name(environment.interpreter.real_executable)


def _read_settings(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}


def _plain_version(version: str | None) -> str | None:
    """Returns `3.11.7` for what virtual environment makers write, among others `3.11.7.final.0`."""
    return None if version is None else ".".join(version.split(".")[:3])


def _guess_sites(prefix: Path) -> tuple[str, ...]:
    return tuple(
        str(site)
        for library in _LIBRARIES
        if not (prefix / library).is_symlink()
        for site in sorted((prefix / library).glob("*/*-packages"))
        if site.name in {"site-packages", "dist-packages"} and site.parent.name.startswith(("python", "pypy"))
    )


def compare(recorded: Environment, present: Environment | Present) -> Drift:
    """Returns how `present` differs from `recorded`; of a capture the contents count too, of metadata the versions."""
    before = {normalise(item.name): item for item in recorded.distributions}
    if isinstance(present, Environment):
        after = {normalise(item.name): (item.name, item.version) for item in present.distributions}
        contents = {
            normalise(item.name): (item.wheel_sha256, item.editable) for item in present.distributions
        }
        python: str | None = _interpreter_name(present)
    else:
        after, contents, python = dict(present.versions), {}, present.python
    changed: list[Change] = []
    for name, item in before.items():
        if name not in after:
            continue
        version = after[name][1]
        if version != item.version:
            changed.append(Change(item.name, item.version, version))
        elif name in contents and contents[name] != (item.wheel_sha256, item.editable):
            changed.append(Change(item.name, item.version, f"{version} with other files"))
    was = _interpreter_name(recorded) if isinstance(present, Environment) else recorded.interpreter.version
    return Drift(
        tuple(f"{after[name][0]}=={after[name][1]}" for name in sorted(after.keys() - before.keys())),
        tuple(
            f"{before[name].name}=={before[name].version}" for name in sorted(before.keys() - after.keys())
        ),
        tuple(changed),
        Change("python", was, python) if python is not None and python != was else None,
    )


def _interpreter_name(environment: Environment) -> str:
    """Returns the version, and the build where it takes that to tell two apart."""
    return f"{environment.interpreter.version} ({environment.interpreter.build})"
