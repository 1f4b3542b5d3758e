"""What git still leads to: every commit that a reference, a reflog or an unfinished operation names, and its files.

Reads more than git would need to: any word of a state file that could be a commit counts as one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mlvc.code.child import GitError, git_names, git_said, run_git
from mlvc.fsio import translate_os_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["commits_of", "linked_worktrees", "staged_versions", "versions_of"]

_SHA = re.compile(rb"\b[0-9a-f]{7,64}\b")
_STATE_DIRECTORIES = ("rebase-merge", "rebase-apply", "sequencer", "refs")
_STATE_BYTES = 1 << 26


def linked_worktrees(common_dir: Path) -> Sequence[tuple[Path, Path]]:
    """Returns the git directory and the root of each linked worktree that git knows, whether or not it is there.

    Raises:
        GitError: Git refuses the repository.
    """
    git_names(common_dir, "worktree", "list", "--porcelain", "-z")
    found = []
    with translate_os_errors(f"list {common_dir / 'worktrees'}"):
        if (common_dir / "worktrees").is_dir():
            for git_dir in sorted((common_dir / "worktrees").iterdir()):
                # It names the `.git` file of the worktree; git keeps it up to date.
                link = os.fsdecode((git_dir / "gitdir").read_bytes().removesuffix(b"\n"))
                found.append((git_dir, Path(os.path.join(git_dir, link)).parent))
    return found


def commits_of(common_dir: Path, git_dirs: Iterable[Path]) -> tuple[Sequence[str], Sequence[bytes]]:
    """Returns the commits that anything leads to, and the other objects (trees) that state files name.

    Args:
        common_dir: The git directory that all worktrees share.
        git_dirs: Those of the worktrees.

    Raises:
        GitError: Git cannot tell; nothing may be concluded then.
        FileUnreadableError: A state file cannot be read.
    """
    words = sorted({word for git_dir in git_dirs for word in _words(git_dir)})
    tips, others = [], []
    done = _run(common_dir, "cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=_lines(words))
    for line in done.splitlines():
        name, _, kind = line.partition(b" ")
        if kind in {b"commit", b"tag"}:
            tips.append(name)
        elif kind == b"tree":
            others.append(name)
    shas = _run(common_dir, "rev-list", "--all", "--reflog", "--stdin", stdin=_lines(tips))
    return shas.decode().split(), others


def versions_of(common_dir: Path, holders: Iterable[bytes], path: bytes) -> Iterator[bytes]:
    """Yields the contents of each version of a file that commits or trees have, each once.

    Raises:
        GitError: Git cannot read one.
    """
    asked = _lines([holder + b":" + path for holder in holders])
    found = _run(common_dir, "cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=asked)
    blobs = {line.split()[0] for line in found.splitlines() if line.endswith(b" blob")}
    yield from _contents(common_dir, sorted(blobs))


def staged_versions(root: Path, path: bytes) -> Iterator[bytes]:
    """Yields the contents of a file in a worktree's index; of one that is not merged, each side.

    Raises:
        GitError: Git cannot read it.
    """
    lines = git_names(root, "--literal-pathspecs", "ls-files", "--stage", "-z", "--", path)
    yield from _contents(root, sorted({line.split()[1] for line in lines}))


def _contents(directory: Path, blobs: Sequence[bytes]) -> Iterator[bytes]:
    data = _run(directory, "cat-file", "--batch", stdin=_lines(blobs))
    offset = 0
    for blob in blobs:
        end = data.index(b"\n", offset)
        name, kind, *size = data[offset:end].split()
        if name != blob or kind != b"blob":
            raise GitError(f"git cannot read {blob.decode()} of {directory}", hint="see `git fsck`")
        start = end + 1
        yield data[start : start + int(size[0])]
        offset = start + int(size[0]) + 1


def _words(git_dir: Path) -> Iterator[bytes]:
    with translate_os_errors(f"read {git_dir}"):
        paths = [path for path in git_dir.iterdir() if path.is_file() and path.name.isupper()]
        for name in _STATE_DIRECTORIES:
            paths += (path for path in (git_dir / name).rglob("*") if path.is_file())
        for path in paths:
            with path.open("rb") as file:
                yield from _SHA.findall(file.read(_STATE_BYTES))


def _lines(items: Iterable[bytes]) -> bytes:
    return b"".join(item + b"\n" for item in items)


def _run(directory: Path, *arguments: str, stdin: bytes) -> bytes:
    done = run_git(directory, *arguments, stdin=stdin)
    if done.returncode != 0:
        raise GitError(f"git {arguments[0]} failed in {directory}: {git_said(done)}", hint="see `git fsck`")
    return done.stdout
