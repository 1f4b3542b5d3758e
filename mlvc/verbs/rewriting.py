"""Whether git is in the middle of a rebase. A module of its own, because git waits for those who ask."""

from __future__ import annotations

from mlvc import fsio
from mlvc.repo import Repo

__all__ = ["is_rewriting"]

_PICKS = frozenset(
    [b"pick", b"p", b"reword", b"r", b"edit", b"e", b"squash", b"s", b"fixup", b"f", b"merge", b"m"]
)


def is_rewriting(repo: Repo) -> bool:
    """Returns whether a rebase is going on, at whose end git calls post-rewrite: data follows there, once."""
    directory = repo.code.git_dir
    # `git am` works in the same directory, and has a hook for each of its commits.
    if (directory / "rebase-apply" / "rebasing").exists():
        return True
    todo = directory / "rebase-merge" / "git-rebase-todo"
    with fsio.translate_os_errors(f"read {todo}"):
        if not todo.parent.is_dir():
            return False
        # At its start a rebase that will pick nothing is as good as a checkout.
        files = [path for path in (todo, todo.with_name("done")) if path.exists()]
        lines = [line for path in files for line in path.read_bytes().splitlines()]
    return any(line.split(b" ", 1)[0] in _PICKS for line in lines)
