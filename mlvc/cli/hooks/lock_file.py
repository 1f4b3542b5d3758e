"""What git asks about versions of `mlvc.lock`: to merge them, and to show them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mlvc import fsio
from mlvc.cli.render import lock_lines
from mlvc.cli.repository import open_repository
from mlvc.cli.session import Session
from mlvc.errors import UsageError
from mlvc.model.lock import decode_lock
from mlvc.model.names import encode_name
from mlvc.verbs.merge import merge_lock as merge

__all__ = ["merge_lock", "show_lock"]


def merge_lock(session: Session, arguments: Sequence[str]) -> int:
    """Merges the lock in the third file into that in the second; 1 where something is left to the person."""
    if len(arguments) != 4:
        raise UsageError("merge-lock takes the four arguments %O %A %B %P of a merge driver")
    base, ours, theirs = (Path(argument) for argument in arguments[:3])
    result = merge(open_repository(session), base, ours, theirs)
    for reason in result.reasons:
        session.tell(f"mlvc.lock: {reason}")
    return 1 if result.reasons else 0


def show_lock(session: Session, arguments: Sequence[str]) -> int:
    """Prints a lock as `git diff` shows it."""
    if len(arguments) != 1:
        raise UsageError("show-lock takes the name of a file")
    with fsio.translate_os_errors(f"read {encode_name(os.fsencode(arguments[0]))}"):
        data = Path(arguments[0]).read_bytes()
    session.stdout.writelines(line + "\n" for line in lock_lines(decode_lock(data)))
    return 0
