"""Opens the repository that a command works on."""

from __future__ import annotations

from pathlib import Path

from mlvc.cli.session import Session
from mlvc.repo import Repo

__all__ = ["open_repository"]


def open_repository(session: Session, *, may_lack_settings: bool = False) -> Repo:
    """Returns the repository around the present directory.

    Args:
        session: This call.
        may_lack_settings: As of `Repo.open`.

    Raises:
        MlvcError: There is none, or it cannot be read.
    """
    return Repo.open(
        Path.cwd(),
        reporter=session.reporter(),
        environment=session.environment,
        may_lack_settings=may_lack_settings,
    )
