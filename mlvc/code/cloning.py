"""Clones a git repository through git itself, which asks for passwords and finds keys as it always does."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from mlvc.code.child import GitError, GitMissingError, git_environment
from mlvc.errors import UsageError

__all__ = ["CloneRefusedError", "clone", "default_directory", "without_password"]

_USER = re.compile(r"(https?://)[^/\s]*@", re.IGNORECASE)
_REASONS = ("fatal:", "error:")


class CloneRefusedError(GitError):
    """Git could not clone; the message holds what it said."""

    code = "clone-refused"


def without_password(text: str) -> str:
    """Returns the text with users and passwords taken out of its web addresses; a token may stand for either."""
    return _USER.sub(r"\1", text)


def default_directory(url: str) -> str:
    """Returns the name that git would give to a clone of the URL.

    Raises:
        UsageError: The URL suggests none.
    """
    path = url.rstrip("/").removesuffix("/.git").rstrip("/")
    name = re.split(r"[/:]", path)[-1].removesuffix(".git").removesuffix(".bundle")
    if name in {"", ".", ".."}:
        raise UsageError(
            f"{without_password(url)} suggests no name for the clone", hint="name a directory after the URL"
        )
    return name


def clone(
    url: str, target: Path, *, cwd: Path, environment: Mapping[str, str], tell: Callable[[str], None]
) -> None:
    """Makes a clone with a work tree in a directory that does not exist yet.

    Args:
        url: What git can clone.
        target: The directory; on failure git removes it again.
        cwd: What a relative path as URL starts from.
        environment: Variables for the hooks.
        tell: Told, line by line, what git says on the way, such as where to log in.

    Raises:
        GitMissingError: There is no git.
        CloneRefusedError: Git failed.
    """
    reasons: list[str] = []
    # Git asks for a password on the terminal itself, so none of the three streams needs to be one.
    try:
        child = subprocess.Popen(
            ["git", "clone", "--quiet", "--", url, str(target)],
            cwd=cwd,
            env=git_environment(environment, runs_hooks=True),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError as exc:
        raise GitMissingError from exc
    with child:
        assert child.stderr is not None  # noqa: S101  # it is a pipe
        try:
            for raw in child.stderr:
                line = without_password(raw.decode("utf-8", "replace").rstrip())
                # What follows the reason explains it.
                if reasons or line.startswith(_REASONS):
                    reasons.append(line)
                elif line:
                    tell(line)
        except BaseException:
            child.terminate()
            raise
    if child.returncode != 0:
        said = "\n".join(reasons) or f"exit status {child.returncode}"
        raise CloneRefusedError(
            f"git cannot clone {without_password(url)}: {said}", hint="what does `git ls-remote URL` say?"
        )
