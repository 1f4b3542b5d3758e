"""`mlvc hooks`: puts git hooks in place beside those that are there, and takes them away again."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlvc import fsio
from mlvc.code.child import GitError, git_said, run_git
from mlvc.errors import UsageError
from mlvc.repo import Repo
from mlvc.verbs.merge import set_up_driver

__all__ = ["HOOK_NAMES", "HookExistsError", "HookState", "install", "status", "uninstall"]

HOOK_NAMES = (
    *("pre-commit", "post-commit", "post-checkout", "post-merge", "post-rewrite", "post-applypatch"),
    "pre-push",
)
_MARK = "# Written by `mlvc hooks install`"
_SUFFIX = ".before-mlvc"
_NO_PYTHON = "\npython=\n"


class HookExistsError(UsageError):
    """A hook cannot be moved aside, because one was moved aside before."""

    code = "hook-exists"


@dataclass(frozen=True, slots=True)
class HookState:
    """One hook of git.

    Attributes:
        name: As git calls it.
        state: Whether it is mlvc's own, mlvc's own but passed over by git, somebody else's, or not there.
        chained: Whether a hook that was there before runs first.
    """

    name: str
    state: Literal["installed", "not-executable", "other", "absent"]
    chained: bool


def status(repo: Repo) -> tuple[HookState, ...]:
    """Tells what stands in git's directory of hooks."""
    return tuple(_state(_directory(repo), name) for name in HOOK_NAMES)


def install(repo: Repo) -> tuple[HookState, ...]:
    """Writes the hooks and sets up the merge driver; hooks that are there are moved aside and run first. Idempotent.

    Raises:
        HookExistsError: There is one to move aside, and another that was moved aside before; nothing was changed.
    """
    directory = _directory(repo)
    before = status(repo)
    for item in before:
        if item.state == "other" and item.chained and not _is_same(directory / item.name):
            raise HookExistsError(
                f"{directory / item.name} would take the place of {item.name}{_SUFFIX}",
                hint="make one of the two, then repeat",
            )
    script = _script()
    set_up_driver(repo.code)
    if _is_shared(repo):
        repo.reporter.note(
            f"core.hooksPath is set for all your repositories, so git runs what stands in {directory} in each of "
            "them; where mlvc was never used, mlvc's hooks do nothing"
        )
    with fsio.translate_os_errors(f"write hooks into {directory}"):
        directory.mkdir(parents=True, exist_ok=True)
        for item in before:
            path = directory / item.name
            if item.state == "other":
                fsio.rename(path, _aside(path))
            fsio.atomic_write(path, script, mode=0o777)
            # An older one of mlvc's keeps its mode, and git passes over a hook that cannot be executed.
            mode = path.stat().st_mode
            path.chmod(mode | (mode & 0o444) >> 2)
    return status(repo)


def uninstall(repo: Repo) -> tuple[HookState, ...]:
    """Removes mlvc's hooks and brings back those that were there before."""
    directory = _directory(repo)
    with fsio.translate_os_errors(f"remove hooks from {directory}"):
        for item in status(repo):
            path = directory / item.name
            if item.state == "other":
                continue
            if item.chained:
                fsio.rename(_aside(path), path)
            else:
                path.unlink(missing_ok=True)
    return status(repo)


def _script() -> bytes:
    """Returns the text of every hook; it finds this interpreter, whatever the PATH says then, and tells its absence."""
    package = Path(__file__).resolve().parent.parent
    # In a wheel it lies in the package, in a checkout beside it.
    folder = next((path for path in (package / "hooks", package.parent / "hooks") if path.is_dir()), package)
    with fsio.translate_os_errors(f"read {folder}"):
        text = (folder / "hook.sh").read_text()
    return os.fsencode(text.replace(_NO_PYTHON, f"\npython={shlex.quote(sys.executable)}\n"))


def _directory(repo: Repo) -> Path:
    done = run_git(repo.root, "rev-parse", "--git-path", "hooks")
    if done.returncode != 0:
        raise GitError(f"git does not say where its hooks are: {git_said(done)}")
    return repo.root / os.fsdecode(done.stdout.removesuffix(b"\n"))


def _is_shared(repo: Repo) -> bool:
    """Returns whether the directory of hooks is that of other repositories, too."""
    done = run_git(repo.root, "config", "--show-scope", "--get", "core.hooksPath")
    return done.stdout.partition(b"\t")[0] in {b"global", b"system"}


def _aside(path: Path) -> Path:
    return path.with_name(path.name + _SUFFIX)


def _is_same(path: Path) -> bool:
    """Returns whether a tool wrote its hook again that had been moved aside."""
    with fsio.translate_os_errors(f"read {path}"):
        return path.read_bytes() == _aside(path).read_bytes()


def _state(directory: Path, name: str) -> HookState:
    path = directory / name
    chained = os.path.lexists(_aside(path))
    if not os.path.lexists(path):
        return HookState(name, "absent", chained)
    if not path.is_file() or _MARK.encode() not in path.read_bytes():
        return HookState(name, "other", chained)
    return HookState(name, "installed" if os.access(path, os.X_OK) else "not-executable", chained)
