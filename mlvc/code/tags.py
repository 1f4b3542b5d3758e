"""Annotated git tags: names that travel with git, each with who gave it, when, and a message."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlvc.code.child import GitError, git_said, run_git
from mlvc.errors import UsageError

__all__ = ["Tag", "TagExistsError", "TagNameError", "list_tags", "make_tag"]

_ATOMS = (
    "%(refname:strip=2)",
    "%(*objectname)",
    "%(*objecttype)",
    "%(taggername) %(taggeremail)",
    "%(taggerdate:unix)",
    "%(contents)",
)


class TagExistsError(UsageError):
    """Git has a tag of that name."""

    code = "tag-exists"


class TagNameError(UsageError):
    """Git allows no tag of that name."""

    code = "tag-name"


@dataclass(frozen=True, slots=True)
class Tag:
    """One annotated tag on a commit.

    Attributes:
        name: Without `refs/tags/`.
        sha: The git commit.
        tagger: `Name <mail>`.
        time: UTC, ISO 8601; of a date that no calendar has, the beginning of 1970.
        message: The whole message.
    """

    name: str
    sha: str
    tagger: str
    time: str
    message: str


def list_tags(root: Path) -> Sequence[Tag]:
    """Returns the annotated tags on commits, sorted by name; costs one git child.

    Raises:
        GitError: Git refused.
    """
    done = run_git(
        root,
        "for-each-ref",
        "--format=" + "".join(f"{atom}%00" for atom in _ATOMS),
        "--sort=refname",
        "refs/tags",
    )
    if done.returncode != 0:
        raise GitError(f"git cannot list the tags: {git_said(done)}")
    parts = done.stdout.decode("utf-8", "replace").split("\0")
    tags = []
    for start in range(0, len(parts) - len(_ATOMS), len(_ATOMS)):
        name, sha, kind, tagger, seconds, message = parts[start : start + len(_ATOMS)]
        if kind == "commit":
            tags.append(Tag(name.lstrip("\n"), sha, tagger, _time(seconds), message.rstrip("\n")))
    return tags


def _time(seconds: str) -> str:
    try:
        moment = datetime.datetime.fromtimestamp(int(seconds or 0), datetime.UTC)
    except (OSError, OverflowError, ValueError):
        moment = datetime.datetime.fromtimestamp(0, datetime.UTC)
    return moment.isoformat()


def make_tag(root: Path, name: str, sha: str, message: str, *, move: bool = False) -> None:
    """Makes an annotated tag, or with `move` puts it in the place of the one of that name.

    Raises:
        TagNameError: Git allows no such name.
        TagExistsError: There is one, and `move` was not asked for.
        GitError: Git refused for another reason.
    """
    if run_git(root, "check-ref-format", f"refs/tags/{name}").returncode != 0 or name.startswith("-"):
        raise TagNameError(
            f"git allows no tag called {name[:80]!r}", hint="use letters, digits, `.`, `_` and `-`"
        )
    if not move and run_git(root, "rev-parse", "--verify", "--quiet", f"refs/tags/{name}").returncode == 0:
        raise TagExistsError(f"there is a tag {name}", hint="give the next version; see `mlvc models`")
    options = ["--annotate", *(["--force"] if move else []), "--cleanup=verbatim", "--file=-"]
    done = run_git(root, "tag", *options, "--", name, sha, stdin=message.encode("utf-8", "surrogateescape"))
    if done.returncode != 0:
        raise GitError(f"git cannot make the tag {name}: {git_said(done)}")
