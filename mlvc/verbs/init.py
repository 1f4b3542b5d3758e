"""`mlvc init`: starts tracking data in a git repository; harmless where that was done before."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlvc import fsio
from mlvc.code.child import GitError, git_said, run_git
from mlvc.code.repository import CodeRepository
from mlvc.model.lock import Lock, encode_lock
from mlvc.model.names import encode_name
from mlvc.ports import Reporter
from mlvc.repo import (
    LOCK_NAME,
    SETTINGS_NAME,
    NotInitialisedError,
    Repo,
    check_not_left_out,
    find_deleted,
)
from mlvc.verbs.merge import set_up_driver

__all__ = ["InitResult", "init"]

_PROJECT_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class InitResult:
    """What was made.

    Attributes:
        root: The top of the work tree.
        project_id: From `mlvc.toml`, new or as it was.
        created: The files of the work tree that are new, in text form.
    """

    root: Path
    project_id: str
    created: tuple[str, ...]


def init(start: Path, *, git: bool, reporter: Reporter, environment: Mapping[str, str]) -> InitResult:
    """Writes `mlvc.toml` and `mlvc.lock` where they are missing, makes the store, and sets up the merge driver.

    Args:
        start: A directory of the work tree.
        git: Whether to make a git repository of `start` first.
        reporter: As of `Repo.open`.
        environment: As of `Repo.open`.

    Raises:
        NotAGitRepositoryError: `start` lies in no git repository, and `git` is off.
        FormatError: There is a `mlvc.toml` that cannot be read.
        SparseCheckoutError: There is one, which git keeps out of the work tree.
        NotInitialisedError: HEAD has one, which is not in the work tree.
    """
    if git:
        made = run_git(start, "init", "--quiet")
        if made.returncode != 0:
            raise GitError(f"git init failed: {git_said(made)}")
    code = CodeRepository.open(start)
    root = code.root
    files = {
        SETTINGS_NAME: f'[project]\nid = "{secrets.token_hex(_PROJECT_ID_BYTES)}"\n'.encode(),
        LOCK_NAME: encode_lock(Lock()),
    }
    missing = [name for name in files if not os.path.lexists(root / os.fsdecode(name))]
    if missing:
        check_not_left_out(code)
        deleted = find_deleted(code)
        if deleted:
            # New ones would be another project, in which nothing is tracked.
            raise NotInitialisedError(
                f"{encode_name(os.fsencode(root))} has no {' and no '.join(deleted)}, and HEAD has",
                hint=f"git checkout HEAD -- {' '.join(deleted)}",
            )
    for name in missing:
        path = root / os.fsdecode(name)
        with fsio.translate_os_errors(f"write {path}"):
            fsio.atomic_write(path, files[name])
    repo = Repo.open(start, reporter=reporter, environment=environment)
    repo.read_lock()
    _ = repo.store  # Opening it makes it.
    set_up_driver(repo.code)
    return InitResult(root, repo.config.project_id, tuple(map(os.fsdecode, missing)))
