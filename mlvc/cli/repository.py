"""Opens the repository that a command works on."""

from __future__ import annotations

from pathlib import Path

from mlvc.cli.session import Session
from mlvc.repo import Repo

__all__ = ["open_repository"]


def open_repository(session: Session) -> Repo:
    """Returns the repository around the present directory.

    Raises:
        MlvcError: There is none, or it cannot be read.
    """
    return Repo.open(Path.cwd(), reporter=session.reporter(), environment=session.environment)
