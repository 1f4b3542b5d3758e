"""What git, or the `pre-commit` framework in its place, tells a hook."""

from __future__ import annotations

from collections.abc import Sequence

from mlvc.cli.session import Session

__all__ = ["input_lines", "told_by_framework"]


def input_lines(session: Session) -> Sequence[str]:
    """Returns what git says on standard input."""
    return session.stdin.buffer.read().decode("utf-8", "surrogateescape").splitlines()


def told_by_framework(session: Session, *names: str) -> Sequence[str]:
    """Returns what the `pre-commit` framework tells, as far as it does."""
    found = (session.environment.get(f"PRE_COMMIT_{name}") for name in names)
    return [value for value in found if value is not None]
