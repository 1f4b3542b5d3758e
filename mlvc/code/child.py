"""Runs git as a child process, for what must be fast or what GitPython has no word for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from mlvc.errors import MlvcError

__all__ = ["GitError", "GitMissingError", "run_git"]


class GitError(MlvcError):
    """Git refused; the message holds what it said."""

    code = "git"


class GitMissingError(MlvcError):
    """There is no git on this machine."""

    code = "git-missing"


def run_git(
    directory: Path,
    *arguments: str | bytes,
    environment: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Runs git to its end and returns its status and both outputs; a failure is the caller's to judge.

    Args:
        directory: Where to run it.
        arguments: Without `git`.
        environment: Variables to add to the process's own.
        stdin: What to feed it.

    Raises:
        GitMissingError: There is no git.
    """
    # `env` keeps the caller's variables (HOME, SSH_AUTH_SOCK, a hook's GIT_INDEX_FILE) without reading them here.
    settings = {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", **(environment or {})}
    command = ["env", *(f"{name}={value}" for name, value in settings.items()), "git", *arguments]
    try:
        done = subprocess.run(command, cwd=directory, input=stdin, capture_output=True, check=False)
    except FileNotFoundError as exc:
        if not os.path.isdir(directory):
            raise GitError(f"{directory} is not a directory") from exc
        raise GitMissingError("git was not found", hint="install git") from exc
    if done.returncode == 127:
        raise GitMissingError("git was not found", hint="install git")
    return done
