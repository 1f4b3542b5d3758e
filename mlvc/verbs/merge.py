"""What git calls when both sides of a merge changed `mlvc.lock`, and when it shows how the lock differs."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from mlvc import fsio
from mlvc.code.repository import CodeRepository
from mlvc.errors import MlvcError
from mlvc.model.lock import Lock, decode_lock, encode_conflicts, encode_lock
from mlvc.repo import Repo
from mlvc.worktree.merge import merge_locks

__all__ = ["MergeResult", "hook_command", "merge_lock", "set_up_driver"]

_ATTRIBUTES = (
    b"/mlvc.lock merge=mlvc",
    b"/mlvc.lock diff=mlvc",
    # Both sides of a merge add their lines at the end, which git would call a conflict.
    b".gitignore merge=union",
)

# A driver that could not be started leaves our side as it is, and their lines would be lost without a word: then git
# merges line by line, as on a server. Where mlvc itself found a conflict, its marks are there.
_WITHOUT_MLVC = (
    '{ grep -q "^<<<<<<< " %A && exit 1; '
    'echo "mlvc could not merge mlvc.lock, so git merges it line by line (mlvc hooks install)" >&2; '
    "git merge-file -L ours -L base -L theirs %A %O %B; }"
)


@dataclass(frozen=True, slots=True)
class MergeResult:
    """How a merge of `mlvc.lock` ended.

    Attributes:
        reasons: Why it is not merged, one sentence for each thing; empty when all is merged.
    """

    reasons: tuple[str, ...]


def hook_command() -> str:
    """Returns the start of the shell command by which git reaches this mlvc, whatever the PATH says then.

    Nothing is imported from the directory that git calls it in, which is the work tree: hence `-P`.
    """
    return f"{shlex.quote(sys.executable)} -P -m mlvc.cli.hook"


def set_up_driver(code: CodeRepository) -> None:
    """Makes git call this mlvc to merge and to show `mlvc.lock`, in this repository and all its worktrees; idempotent.

    Raises:
        GitError: Git refused the setting.
    """
    settings = {
        "merge.mlvc.name": "mlvc.lock by path, and directories entry by entry",
        "merge.mlvc.driver": f"{hook_command()} merge-lock %O %A %B %P || {_WITHOUT_MLVC}",
        # Git puts the name of a file behind it, and would show no difference at all if it failed.
        "diff.mlvc.textconv": f'f() {{ {hook_command()} show-lock "$1" 2>/dev/null || cat "$1"; }}; f',
    }
    for key, value in settings.items():
        if code.get_config(key) != value:
            code.set_config(key, value)
    path = code.common_dir / "info" / "attributes"
    with fsio.translate_os_errors(f"write {path}"):
        path.parent.mkdir(exist_ok=True)
        text = fsio.read_if_there(path) or b""
        missing = [line for line in _ATTRIBUTES if line not in text.split(b"\n")]
        if missing:
            start = text if not text or text.endswith(b"\n") else text + b"\n"
            fsio.atomic_write(path, start + b"".join(line + b"\n" for line in missing))


def merge_lock(repo: Repo, base: Path, ours: Path, theirs: Path) -> MergeResult:
    """Merges the lock in `theirs` into that in `ours`, which is replaced.

    What cannot be decided stands there between git's conflict marks, so that no command takes one side for the whole.

    Args:
        repo: Whose store holds the trees.
        base: What both come from; empty where there was none.
        ours: The present side, and the result.
        theirs: The other side.
    """
    with repo.store.in_use():
        return _merge_lock(repo, base, ours, theirs)


def _merge_lock(repo: Repo, base: Path, ours: Path, theirs: Path) -> MergeResult:
    with fsio.translate_os_errors("read the sides of mlvc.lock"):
        before, mine, other = (path.read_bytes() for path in (base, ours, theirs))
    try:
        base_lock, our_lock, their_lock = (
            decode_lock(text) if text else Lock() for text in (before, mine, other)
        )
    except MlvcError as exc:
        text = b"".join([b"<<<<<<< ours\n", _ended(mine), b"=======\n", _ended(other), b">>>>>>> theirs\n"])
        reasons: tuple[str, ...] = (exc.message,)
    else:
        with repo.store.writer() as writer:
            merged = merge_locks(base_lock, our_lock, their_lock, repo.store, writer)
        reasons = merged.reasons
        text = encode_conflicts(merged.lock, merged.conflicts) if reasons else encode_lock(merged.lock)
    with fsio.translate_os_errors(f"write {os.fsdecode(ours)}"):
        fsio.atomic_write(ours, text)
    return MergeResult(reasons)


def _ended(text: bytes) -> bytes:
    return text if not text or text.endswith(b"\n") else text + b"\n"
