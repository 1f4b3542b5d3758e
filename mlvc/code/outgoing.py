"""Asks git which versions of a file a push is about to send: four children, however many refs and commits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mlvc.code.child import GitError, git_said, run_git
from mlvc.code.objects import find_objects

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OutgoingRef", "outgoing_versions"]


class OutgoingRef(NamedTuple):
    """One line of what git tells a pre-push hook; zeros stand for a ref that is not there.

    Attributes:
        local: What is pushed: the name of a commit or tag.
        remote: The SHA that the other side has now, which need not be known here.
    """

    local: str
    remote: str


def outgoing_versions(
    root: Path, refs: Iterable[OutgoingRef], git_remote: str, path: bytes
) -> Sequence[tuple[str, bytes]]:
    """Returns the versions of `path` that commits bring which the other side lacks, each with its commit.

    What is pushed and no commit, such as a deleted branch or a tag of a file, brings none. The start of a shallow
    clone counts as new unless a tracking branch has it.

    Args:
        root: The top of the work tree.
        refs: What is pushed.
        git_remote: The name of git's remote, whose tracking branches tell what it had at last.
        path: Of the file.

    Raises:
        GitError: Git cannot walk the commits, or not read one.
    """
    pushed = [ref for ref in refs if ref.local.strip("0")]
    starts = _commits(root, [ref.local for ref in pushed])
    if not starts:
        return []
    # Those that were never fetched are not known here.
    known = _commits(root, [ref.remote for ref in pushed if ref.remote.strip("0")])
    done = run_git(
        root,
        "rev-list",
        "--stdin",
        "--full-history",
        "--not",
        f"--remotes={git_remote}",
        "--",
        path,
        stdin="".join([*(f"{sha}\n" for sha in starts), *(f"^{sha}\n" for sha in known)]).encode(),
    )
    if done.returncode != 0:
        raise GitError(f"git rev-list failed: {git_said(done)}")
    commits = done.stdout.decode().split()
    found = find_objects(root, [f"{sha}:{path.decode()}" for sha in commits], with_content=True)
    return [
        (sha, item.content)
        for sha, item in zip(commits, found, strict=True)
        if item is not None and item.kind == "blob"
    ]


def _commits(root: Path, names: Sequence[str]) -> Sequence[str]:
    """Returns the commits that names or tags lead to, as far as they do and are here."""
    found = find_objects(root, [f"{name}^{{commit}}" for name in names])
    return [item.sha for item in found if item is not None]
