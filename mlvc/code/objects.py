"""Asks git about many of its objects at once: one child, however many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    root: Path, names: Sequence[str], *, with_content: bool = False
) -> Iterator[GitObject | None]:
    """Yields an object for each name, in their order; None for one that git does not have.

    Args:
        root: The top of the work tree.
        names: As git takes them; no newlines.
        with_content: Whether to read the objects too.

    Raises:
        GitError: Git cannot read one.
    """
    mode = "--batch" if with_content else "--batch-check"
    done = run_git(root, "cat-file", mode, stdin="".join(f"{name}\n" for name in names).encode())
    if done.returncode != 0:
        raise GitError(f"git cat-file failed: {git_said(done)}")
    start = 0
    for name in names:
        end = done.stdout.index(b"\n", start)
        line = done.stdout[start:end].decode()
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
