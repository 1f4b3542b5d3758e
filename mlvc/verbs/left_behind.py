"""What the hooks guard on a branch without `mlvc.toml`, where git no longer ignores the data that another one tracks.

`git switch --orphan` leaves all that git ignored where it is, and takes `.gitignore` away. Nothing here moves a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from shlex import quote

from mlvc.code.child import git_names
from mlvc.code.objects import find_objects
from mlvc.model.names import encode_name
from mlvc.repo import LOCK_NAME, SETTINGS_NAME, Repo
from mlvc.verbs.hook_commit import UNFINISHED_MERGE, CommitUnfitError, staged_data
from mlvc.verbs.naming import some_of, typed
from mlvc.worktree.ignore import ignore_lines

__all__ = ["check_bare_branch", "tell_left_behind"]

_NAMED = 5
_MOST_BRANCHES = 50


def check_bare_branch(repo: Repo, index: Mapping[str, str]) -> None:
    """Refuses a commit that would take data into git for the first time, on a branch without `mlvc.toml`.

    That is what mlvc brought into this work tree, and what is data by its name or size. What git tracks there already
    is git's: a branch from before mlvc may hold data of its own.

    Args:
        repo: The repository, opened without settings.
        index: As of `hook_commit.check_commit`.

    Raises:
        CommitUnfitError: With the commands that lead out.
    """
    tracked = repo.brought().entries
    data = list(staged_data(repo, index, "A", tracked))
    if not data or next(find_objects(repo.root, [UNFINISHED_MERGE])) is not None:
        return
    # A tracked directory stands for all below it.
    roots = list(dict.fromkeys(_root(path, tracked) for path in data))
    steps = [f"`git rm -r --cached {typed(repo, roots[:_NAMED])}` leaves it out", *_ways_to_track(repo)]
    raise CommitUnfitError(
        f"data would go into git, on a branch without mlvc.toml: {some_of([encode_name(path) for path in roots])}",
        hint="; ".join(steps),
    )


def tell_left_behind(repo: Repo) -> None:
    """Warns of data that mlvc brought, and that git would now take with `git add -A`; usually there is none."""
    tracked = repo.brought().entries
    there = [path for path in tracked if repo.view.exists(path)]
    if not there:
        return
    # Whatever ignores it, it is out of danger; and so is what this branch itself has in git.
    options = ("--others", "--exclude-standard", "--directory", "-z")
    listed = git_names(repo.root, "--literal-pathspecs", "ls-files", *options, "--", *there)
    roots = dict.fromkeys(_root(path.rstrip(b"/"), tracked) for path in listed)
    if roots:
        names = some_of([encode_name(path) for path in roots])
        ways = "".join(f"; {way}" for way in _ways_to_track(repo))
        repo.reporter.warn(
            f"data stands here that this branch neither tracks nor ignores: {names}; "
            f"`git add -A` would take it into git{ways}"
        )


def _root(path: bytes, tracked: Mapping[bytes, object]) -> bytes:
    """Returns the tracked path that a file belongs to, or itself."""
    parent = path
    while parent and parent not in tracked:
        parent = parent.rpartition(b"/")[0]
    return parent or path


def _ways_to_track(repo: Repo) -> Sequence[str]:
    """Returns what makes this a branch with data; nothing where no branch shows how."""
    refs = git_names(
        repo.root,
        "for-each-ref",
        f"--count={_MOST_BRANCHES}",
        "--sort=-committerdate",
        "--format=%(refname:short)%00",
        "refs/heads",
        "refs/remotes",
    )
    branches = [os.fsdecode(ref.lstrip(b"\n")) for ref in refs]
    settings = find_objects(repo.root, [f"{branch}:{os.fsdecode(SETTINGS_NAME)}" for branch in branches])
    branch = next((name for name, found in zip(branches, settings, strict=True) if found is not None), None)
    if branch is None:
        return []
    names = [SETTINGS_NAME, LOCK_NAME, *ignore_lines(repo.brought().entries)]
    found = find_objects(repo.root, [f"{branch}:{os.fsdecode(name)}" for name in names])
    there = [name for name, item in zip(names, found, strict=True) if item is not None]
    return [f"`git checkout {quote(branch)} -- {typed(repo, there)}` has mlvc track it here, too"]
