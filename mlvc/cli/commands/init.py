"""`mlvc init`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.session import session_of
from mlvc.model.names import encode_name
from mlvc.verbs.init import init

__all__ = ["command"]


@make_command("init", "mlvc init", "mlvc init --git")
def command(
    context: typer.Context,
    *,
    git: Annotated[bool, typer.Option("--git", help="Run `git init` first.")] = False,
) -> None:
    """Starts tracking data in a git repository.

    Writes mlvc.toml and mlvc.lock at its top, for git to track, and makes the store inside its git directory.
    Tells git how to merge mlvc.lock; every clone wants that once. Files that are there already stay as they are.
    """
    session = session_of(context)
    result = init(Path.cwd(), git=git, reporter=session.reporter(), environment=session.environment)
    root = encode_name(os.fsencode(result.root))
    session.answer(
        lambda: {"root": root, "project_id": result.project_id, "created": list(result.created)},
        [f"created {name}" for name in result.created]
        or ["nothing to do: this is an mlvc repository already"],
    )
    if result.created:
        session.tell("next: `mlvc add` your data, then `mlvc commit`")
