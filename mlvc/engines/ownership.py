"""Lends directories of root to the ordinary user that a container runs as."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["lent"]


@contextlib.contextmanager
def lent(directories: Sequence[Path], uid: int, gid: int) -> Iterator[None]:
    """Gives `directories` and all below them to `uid` and `gid` for a while; links are not followed.

    Afterwards everything has its former owner again, and what was made meanwhile is the caller's.
    Nothing happens where the caller is not root: a caller with ids of its own runs the container under them.
    """
    if os.getuid() != 0 or uid == 0:
        yield
        return
    owners: dict[bytes, tuple[int, int]] = {}
    for path in _iter_below(directories):
        facts = os.lstat(path)
        owners[path] = facts.st_uid, facts.st_gid
        os.lchown(path, uid, gid)
    try:
        yield
    finally:
        for path in _iter_below(directories):
            # Nothing runs there any more, so a name cannot become a link between this walk and the change.
            os.lchown(path, *owners.get(path, (0, 0)))


def _iter_below(directories: Sequence[Path]) -> Iterator[bytes]:
    for top in directories:
        yield os.fsencode(top)
        for folder, folders, files in os.walk(os.fsencode(top)):
            for name in [*folders, *files]:
                yield os.path.join(folder, name)
