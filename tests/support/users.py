"""Steps of a test that another user takes."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

__all__ = ["GROUP", "USERS", "as_user", "needs_users", "open_way_to"]

GROUP, USERS = 54_321, (61_001, 61_002)

needs_users = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root may become two other users")


def as_user(user: int, step: Callable[[], None], groups: Sequence[int] = (GROUP,)) -> None:
    """Runs a step in a child that is another user, with nothing but the group and a umask of 077.

    Whatever modules it needs must be loaded before: the user may not be able to read this project.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.umask(0o077)
            os.setgroups(groups)
            os.setgid(user)
            os.setuid(user)
            step()
            status = 0
        except BaseException:  # noqa: BLE001  # it must not go on as another pytest
            traceback.print_exc()
        finally:
            os._exit(status)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def open_way_to(directory: Path) -> None:
    """Lets every user pass through the directories of pytest to that of one test."""
    for path in (directory, *directory.parents[:3]):
        path.chmod(0o755)
