"""Asks git about many of its objects at once: one child, however many."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mlvc.code.child import GitError, git_said, run_git

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GitObject", "find_objects"]


class GitObject(NamedTuple):
    """What git says of one object.

    Attributes:
        sha: Its id.
        kind: `commit`, `tree`, `blob` or `tag`.
        size_bytes: Its length.
        content: Its bytes, where they were asked for.
    """

    sha: str
    kind: str
    size_bytes: int
    content: bytes


def find_objects(
    root: Path,
    names: Sequence[str],
    *,
    with_content: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Iterator[GitObject | None]:
    """Yields an object for each name, in their order; None for one that git does not have. Costs one git child, if any.

    Args:
        root: The top of the work tree.
        names: As git takes them, `os.fsdecode`d; no newlines.
        with_content: Whether to read the objects too.
        environment: `GIT_INDEX_FILE`, where names are of what stands in another index.

    Raises:
        GitError: Git cannot read one.
    """
    if not names:
        return
    mode = "--batch" if with_content else "--batch-check"
    asked = os.fsencode("".join(f"{name}\n" for name in names))
    done = run_git(root, "cat-file", mode, stdin=asked, environment=environment)
    if done.returncode != 0:
        raise GitError(f"git cat-file failed: {git_said(done)}")
    start = 0
    for name in names:
        end = done.stdout.index(b"\n", start)
        line = os.fsdecode(done.stdout[start:end])
        start = end + 1
        if line == f"{name} missing":
            yield None
            continue
        sha, kind, size = line.split(" ")
        content = b""
        if with_content:
            content = done.stdout[start : start + int(size)]
            start += int(size) + 1
        yield GitObject(sha, kind, int(size), content)
