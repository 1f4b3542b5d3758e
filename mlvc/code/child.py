"""Runs git as a child process: what must be fast, and what runs the user's hooks."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mlvc.errors import MlvcError
from mlvc.model.names import encode_name

__all__ = [
    "GitError",
    "GitMissingError",
    "GitObject",
    "git_environment",
    "git_names",
    "git_objects",
    "git_said",
    "run_git",
]

_OBJECT = re.compile(rb"[0-9a-f]{40,64} [a-z]+ \d+")

# Git sets these for its hooks, and a submodule or another worktree must not inherit them: the directory alone says
# which repository is meant. `git rev-parse --local-env-vars` lists them; `-c` settings and pathspecs stay out of it.
_OF_ONE_REPOSITORY = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)

# Readers must not take `index.lock` away from the user's own git. Messages are English, because a few are understood.
_FOR_READING = {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
# A hook is the user's program: it keeps the user's character set, and only git's own messages change.
_FOR_HOOKS = {"LANGUAGE": "en"}


class GitError(MlvcError):
    """Git refused; the message holds what it said."""

    code = "git"


class GitMissingError(MlvcError):
    """There is no git on this machine."""

    code = "git-missing"

    def __init__(self) -> None:
        super().__init__("git was not found", hint="install git, or put it on the PATH")


def git_environment(
    environment: Mapping[str, str] | None = None, *, runs_hooks: bool = False
) -> Mapping[str, str]:
    """Returns the variables that git is to have; see `run_git`."""
    inherited = os.environ.copy()  # noqa: TID251  # handed on to git, which the user has set up by it; nothing is read
    for name in _OF_ONE_REPOSITORY:
        inherited.pop(name, None)
    return {**inherited, **(_FOR_HOOKS if runs_hooks else _FOR_READING), **(environment or {})}


def run_git(
    directory: Path,
    *arguments: str | bytes,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    runs_hooks: bool = False,
) -> subprocess.CompletedProcess[bytes]:
    """Runs git to its end and returns its status and both outputs; a failure is the caller's to judge.

    Args:
        directory: Which repository; what a hook's environment says about that is ignored.
        arguments: Without `git`.
        environment: Variables to add to the process's own.
        stdin: What to feed it.
        runs_hooks: Whether the user's programs run below it, which need the user's locale.

    Raises:
        GitMissingError: There is no git.
        GitError: `directory` is none, or an argument holds a NUL or is longer than the system takes.
    """
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=directory,
            env=git_environment(environment, runs_hooks=runs_hooks),
            input=stdin,
            capture_output=True,
            check=False,
        )
    except (FileNotFoundError, NotADirectoryError) as exc:
        if directory.is_dir():
            raise GitMissingError from exc
        raise GitError(f"{encode_name(os.fsencode(directory))} is not a directory") from exc
    except ValueError as exc:
        raise GitError(f"an argument for git cannot be passed on: {exc}") from exc
    except OSError as exc:
        raise GitError(f"git cannot be started: {exc.strerror}") from exc


def git_names(directory: Path, *arguments: str | bytes) -> list[bytes]:
    """Returns the NUL-separated items that a git command with `-z` prints.

    Raises:
        GitError: It failed.
    """
    done = run_git(directory, *arguments)
    if done.returncode != 0:
        command = next(os.fsdecode(item) for item in arguments if os.fsencode(item)[:1] != b"-")
        raise GitError(f"git {command} failed: {git_said(done)}")
    return done.stdout.split(b"\0")[:-1]


class GitObject(NamedTuple):
    """An object of git's."""

    sha: str
    kind: bytes
    data: bytes


def git_objects(directory: Path, names: Sequence[bytes]) -> list[GitObject | None]:
    """Returns the object that each name stands for, or None; names hold no newline. Costs one git child for all.

    Raises:
        GitError: Git cannot read one of them.
    """
    done = run_git(directory, "cat-file", "--batch", stdin=b"".join(name + b"\n" for name in names))
    if done.returncode != 0:
        raise GitError(f"git cat-file failed: {git_said(done)}")
    said, start = done.stdout, 0
    objects: list[GitObject | None] = []
    while start < len(said):
        line, _, _ = said[start:].partition(b"\n")
        start += len(line) + 1
        if _OBJECT.fullmatch(line) is None:
            objects.append(None)
            continue
        sha, kind, size = line.split(b" ")
        objects.append(GitObject(sha.decode(), kind, said[start : start + int(size)]))
        start += int(size) + 1
    if len(objects) != len(names):
        raise GitError(f"git cat-file answered {len(objects)} of {len(names)} questions")
    return objects


def git_said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Returns what a failed git told the person, for a message of ours."""
    said = done.stderr.strip() or done.stdout.strip()
    return said.decode("utf-8", "replace") or f"exit status {done.returncode}"
