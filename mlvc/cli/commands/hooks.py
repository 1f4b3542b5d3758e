"""`mlvc hooks`."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from mlvc.cli.framework import Group, make_command
from mlvc.cli.repository import open_repository
from mlvc.cli.session import Session, session_of
from mlvc.verbs import hooks

__all__ = ["command"]


@make_command("install", "mlvc hooks install")
def _install(context: typer.Context) -> None:
    """Puts the git hooks in place; hooks that are there are kept and run first.

    Sets up the merge driver of mlvc.lock too, which a fresh clone lacks.
    """
    session = session_of(context)
    _answer(session, hooks.install(open_repository(session)))


@make_command("uninstall", "mlvc hooks uninstall")
def _uninstall(context: typer.Context) -> None:
    """Takes the git hooks away, and brings back those that were there before."""
    session = session_of(context)
    _answer(session, hooks.uninstall(open_repository(session)))


@make_command("status", "mlvc hooks status")
def _status(context: typer.Context) -> None:
    """Lists the git hooks: installed, not executable, absent, or somebody else's."""
    session = session_of(context)
    _answer(session, hooks.status(open_repository(session)))


def _answer(session: Session, states: Sequence[hooks.HookState]) -> None:
    session.answer(
        lambda: {
            "hooks": [{"name": item.name, "state": item.state, "chained": item.chained} for item in states]
        },
        [f"{item.name}  {item.state}{', after the one before' if item.chained else ''}" for item in states],
    )


command = Group("hooks", "Guards git: data, lock and commits stay together.", [_install, _uninstall, _status])
