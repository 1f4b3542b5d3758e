"""Finds editable installs, and what they put on `sys.path`, without executing their import hooks.

Format: https://packaging.python.org/en/latest/specifications/direct-url/
"""

from __future__ import annotations

import ast
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mlvc.env.distributions import Installed, InstalledFile, read_origin

__all__ = ["Editable", "find_editable", "keep_editable_file"]

_FINDER_SUFFIXES = ("_finder.py", "_editable.py")
_SECRET_SUFFIXES = (".pem", ".key", ".tfstate")
_SECRET_PREFIXES = (".env", "id_", ".netrc", "credentials", ".pypirc")
_NOT_CODE = frozenset({"__pycache__", ".hg", ".svn", ".tox", ".nox", ".venv", "node_modules"})


@dataclass(frozen=True, slots=True)
class Editable:
    """An editable install.

    Attributes:
        directory: The project it points to, absolute, with links resolved.
        paths: Directories that it puts on `sys.path`, absolute.
    """

    directory: str
    paths: tuple[str, ...]


def find_editable(
    installed: Installed, files: Sequence[InstalledFile], sites: Collection[str]
) -> Editable | None:
    """Returns where an editable install points to, or None for an ordinary one."""
    if installed.site not in sites:
        directory = os.path.realpath(installed.site)
        return Editable(directory, (directory,))
    origin = read_origin(installed)
    details, url = origin.get("dir_info"), origin.get("url")
    if not (isinstance(details, dict) and details.get("editable") and isinstance(url, str)):
        return None
    directory = os.path.realpath(unquote(urlsplit(url).path))
    paths = [os.path.realpath(path) for file in files for path in _iter_paths(installed, file.path)]
    if not paths:
        # An import hook of a kind that is not known: the two layouts that projects have.
        source = os.path.join(directory, "src")
        paths = [source, directory] if os.path.isdir(source) else [directory]
    return Editable(directory, tuple(dict.fromkeys(paths)))


def _iter_paths(installed: Installed, path: str) -> Iterator[str]:
    """Yields the directories that a file of an editable install puts on `sys.path`, or that its hook stands for."""
    if os.path.dirname(path) != installed.site or not path.endswith((".pth", *_FINDER_SUFFIXES)):
        return
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError:
        return
    if path.endswith(".pth"):
        for line in text.splitlines():
            if line.strip() and not line.startswith(("#", "import ", "import\t")):
                yield os.path.join(installed.site, line.strip())
    else:
        yield from _iter_mapped(text)


def _iter_mapped(text: str) -> Iterator[str]:
    """Yields the parents of the packages in setuptools' `MAPPING = {"package": "/path/package"}`."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return
    for statement in body:
        targets = (
            [statement.target] if isinstance(statement, ast.AnnAssign) else getattr(statement, "targets", [])
        )
        if not any(isinstance(target, ast.Name) and target.id == "MAPPING" for target in targets):
            continue
        try:
            mapping = ast.literal_eval(statement.value)  # type: ignore[attr-defined]  # both assignments have one
        except ValueError:
            continue
        if isinstance(mapping, dict):
            for name, path in mapping.items():
                yield os.path.normpath(os.path.join(str(path), *[".."] * len(str(name).split("."))))


def keep_editable_file(path: str, name: str) -> bool:
    """Returns whether a file of an editable install outside the repository is captured.

    Not: byte code, other environments, and what looks like a secret.
    """
    if name in _NOT_CODE or name.startswith(_SECRET_PREFIXES) or name.endswith(_SECRET_SUFFIXES):
        return False
    return not os.path.exists(os.path.join(path, "pyvenv.cfg"))
