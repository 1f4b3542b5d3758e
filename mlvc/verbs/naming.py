"""How things are named to a person. A module of its own, because hooks need no more."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlvc.repo import Repo

__all__ = ["some_of", "typed"]

_NAMED = 5


def some_of(names: Sequence[str]) -> str:
    """Returns the first of some names, and how many more there are, for a person."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def typed(repo: Repo, paths: Iterable[bytes]) -> str:
    """Returns paths as a person types them, in the directory that `repo.cwd` says."""
    return " ".join(_word(os.path.relpath(repo.root / os.fsdecode(path), repo.cwd)) for path in paths)


def _word(path: str) -> str:
    from shlex import quote  # noqa: PLC0415  # a hook that has nothing to tell names no files

    path = f"./{path}" if path.startswith("-") else path
    if path.isprintable():
        return quote(path)
    # Bash and zsh read this, and a terminal shows it as it is.
    plain = (
        chr(byte) if chr(byte).isalnum() and byte < 0x80 else f"\\{byte:03o}" for byte in os.fsencode(path)
    )
    return f"$'{''.join(plain)}'"
