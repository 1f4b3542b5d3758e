"""What git still leads to: every commit that a reference, a reflog or an unfinished operation names, and its files.

Reads more than git would need to: any word of a state file that could be a commit counts as one.
"""

from __future__ import annotations

import contextlib
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
_TREES_AT_ONCE = 256


def linked_worktrees(common_dir: Path) -> Sequence[tuple[Path, Path]]:
    """Returns the git directory and the root of each linked worktree that git knows, whether or not it is there.

    Raises:
        GitError: Git refuses the repository.
    """
    git_names(common_dir, "worktree", "list", "--porcelain", "-z")
    found = []
    with translate_os_errors(f"list {common_dir / 'worktrees'}"):
        for entry in sorted(_entries(common_dir / "worktrees"), key=lambda entry: entry.name):
            # It names the `.git` file of the worktree; git keeps it up to date.
            git_dir = Path(entry.path)
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
        FileUnreadableError: A state file, a directory of references or a reflog cannot be read.
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
    """Yields the contents of each version of a file, at the top, that commits or trees have, each once.

    Raises:
        GitError: Git cannot read one, or cannot tell whether it is there.
    """
    holders = list(holders)
    asked = _lines([holder + b":" + path for holder in holders])
    found = _run(
        common_dir, "cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=asked
    ).splitlines()
    # Git also says so of a file that is there, and it or its tree cannot be read.
    missing = [
        holder for holder, line in zip(holders, found, strict=True) if line.rpartition(b" ")[2] == b"missing"
    ]
    _check_absent(common_dir, missing, path)
    blobs = {line.split()[0] for line in found if line.endswith(b" blob")}
    yield from _contents(common_dir, sorted(blobs))


def _check_absent(common_dir: Path, holders: Sequence[bytes], path: bytes) -> None:
    asked = _lines([holder + b"^{tree}" for holder in holders])
    found = _run(
        common_dir, "cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=asked
    ).splitlines()
    trees = set()
    for holder, line in zip(holders, found, strict=True):
        name, _, kind = line.partition(b" ")
        if kind != b"tree":
            raise GitError(f"git cannot read the tree of {holder.decode()}", hint="see `git fsck`")
        trees.add(name)
    ordered = sorted(trees)
    for start in range(0, len(ordered), _TREES_AT_ONCE):
        some = ordered[start : start + _TREES_AT_ONCE]
        for tree, data in zip(some, _contents(common_dir, some, b"tree"), strict=True):
            if path in _names_in_tree(data, len(tree) // 2):
                raise GitError(
                    f"git cannot read {os.fsdecode(path)} of the tree {tree.decode()}", hint="see `git fsck`"
                )


def _names_in_tree(data: bytes, id_bytes: int) -> Iterator[bytes]:
    """Yields the names in one of git's trees: each entry is `MODE NAME`, NUL, and an id in binary form."""
    offset = 0
    while offset < len(data):
        end = data.index(b"\0", offset)
        yield data[offset:end].partition(b" ")[2]
        offset = end + 1 + id_bytes


def staged_versions(root: Path, path: bytes) -> Iterator[bytes]:
    """Yields the contents of a file in a worktree's index; of one that is not merged, each side.

    Raises:
        GitError: Git cannot read it.
    """
    lines = git_names(root, "--literal-pathspecs", "ls-files", "--stage", "-z", "--", path)
    yield from _contents(root, sorted({line.split()[1] for line in lines}))


def _contents(directory: Path, objects: Sequence[bytes], kind: bytes = b"blob") -> Iterator[bytes]:
    data = _run(directory, "cat-file", "--batch", stdin=_lines(objects))
    offset = 0
    for wanted in objects:
        end = data.index(b"\n", offset)
        name, found, *size = data[offset:end].split()
        if name != wanted or found != kind:
            raise GitError(f"git cannot read {wanted.decode()} of {directory}", hint="see `git fsck`")
        start = end + 1
        yield data[start : start + int(size[0])]
        offset = start + int(size[0]) + 1


def _words(git_dir: Path) -> Iterator[bytes]:
    with translate_os_errors(f"read {git_dir}"):
        paths = [entry.path for entry in _entries(git_dir) if entry.name.isupper() and entry.is_file()]
        for name in _STATE_DIRECTORIES:
            paths += _files_below(git_dir / name)
        for path in paths:
            # What git has deleted or packed since, it tells of itself.
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                yield from _SHA.findall(file.read(_STATE_BYTES))
        # Git reads them, and passes over those that it may not read.
        for path in _files_below(git_dir / "logs"):
            with contextlib.suppress(FileNotFoundError), open(path, "rb"):
                pass


def _files_below(directory: Path | str) -> Iterator[str]:
    """Yields the files in and below a directory; unlike `Path.rglob`, fails where one cannot be listed."""
    for entry in _entries(directory):
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(entry.path)
        elif entry.is_file():
            yield entry.path


def _entries(directory: Path | str) -> list[os.DirEntry[str]]:
    """Returns what is in a directory; nothing where there is none, and only then."""
    try:
        with os.scandir(directory) as found:
            return list(found)
    except FileNotFoundError:
        return []


def _lines(items: Iterable[bytes]) -> bytes:
    return b"".join(item + b"\n" for item in items)


def _run(directory: Path, *arguments: str, stdin: bytes) -> bytes:
    done = run_git(directory, *arguments, stdin=stdin)
    if done.returncode != 0:
        raise GitError(f"git {arguments[0]} failed in {directory}: {git_said(done)}", hint="see `git fsck`")
    return done.stdout
