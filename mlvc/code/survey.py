"""Asks git which files are code, and which of them differ from HEAD: two children for a repository, whatever its size.

Submodules are asked in the same way, so that their files and their edits are the project's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlvc.code.child import GitError, git_names

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Survey", "survey"]

_SUBMODULE_MODE = b"160000"
_UNBORN = b"(initial)"
# How many fields of `git status --porcelain=v2` stand before the path, by the kind of entry.
_CHANGED, _UNMERGED, _UNTRACKED = b"1", b"u", b"?"
_FIELDS_BEFORE_PATH = {_CHANGED: 8, _UNMERGED: 10, _UNTRACKED: 1}


@dataclass(slots=True)
class Survey:
    """What git says about a work tree; paths are relative to its top.

    Attributes:
        sha: HEAD's commit; None on an unborn branch.
        tracked: Files in git's index, those of submodules too; one that was deleted is still among them.
        untracked: Files that git neither tracks nor ignores; a path that ends in `/` is another repository.
        changed: Paths whose work tree or index differs from HEAD, without the untracked ones.
        absent_submodules: Submodules that are not checked out.
    """

    sha: str | None = None
    tracked: set[bytes] = field(default_factory=set)
    untracked: set[bytes] = field(default_factory=set)
    changed: set[bytes] = field(default_factory=set)
    absent_submodules: set[bytes] = field(default_factory=set)


def survey(root: Path) -> Survey:
    """Returns what git says about the work tree at `root`; changes nothing, not even git's index.

    Raises:
        GitError: Git cannot read the repository.
    """
    found = Survey()
    _read_status(root, found)
    for item in git_names(root, "ls-files", "-z", "--stage"):
        facts, _, path = item.partition(b"\t")
        if not facts.startswith(_SUBMODULE_MODE):
            found.tracked.add(path)
            continue
        submodule = root / os.fsdecode(path)
        # Without this file git would answer for the repository around it.
        if os.path.lexists(submodule / ".git"):
            _merge(found, path, survey(submodule))
        else:
            found.absent_submodules.add(path)
    return found


def _read_status(root: Path, found: Survey) -> None:
    # Edits inside a submodule are found when that is surveyed; here counts only which commit it is at.
    options = (
        "--branch",
        "--untracked-files=all",
        "--no-renames",
        "--no-ahead-behind",
        "--ignore-submodules=dirty",
    )
    for item in git_names(root, "status", "--porcelain=v2", "-z", *options):
        kind, _, rest = item.partition(b" ")
        if kind == b"#":
            name, _, value = rest.partition(b" ")
            if name == b"branch.oid" and value != _UNBORN:
                found.sha = value.decode()
        elif kind in _FIELDS_BEFORE_PATH:
            path = item.split(b" ", _FIELDS_BEFORE_PATH[kind])[-1]
            (found.untracked if kind == _UNTRACKED else found.changed).add(path)
        else:
            raise GitError(f"git status says something unknown: {item[:80]!r}")


def _merge(found: Survey, path: bytes, inner: Survey) -> None:
    for ours, theirs in (
        (found.tracked, inner.tracked),
        (found.untracked, inner.untracked),
        (found.changed, inner.changed),
        (found.absent_submodules, inner.absent_submodules),
    ):
        ours.update(path + b"/" + name for name in theirs)
