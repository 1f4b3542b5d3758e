"""`mlvc trust`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.trust import forget_trust, trust

__all__ = ["command"]


@make_command("trust", "mlvc trust", "mlvc trust --forget")
def command(
    context: typer.Context,
    *,
    forget: Annotated[
        bool, typer.Option("--forget", help="Trust nothing any more, of any branch of this repository.")
    ] = False,
) -> None:
    """Lets settings of mlvc.toml take effect that came with a branch.

    These decide what is executed and where your data goes: env.python, index.url, remote.endpoint, store.path. It
    shows them.
    Trusted is exactly what stands there now: when one of them changes, they have no effect until you trust them again.
    In your own settings they need no trust.
    """
    session = session_of(context)
    repo = open_repository(session)
    if forget:
        count = forget_trust(repo)
        session.answer(
            lambda: {"forgotten": count}, [f"forgot {plural(count, 'version')} of the settings of mlvc.toml"]
        )
        return
    result = trust(repo)
    lines = [f"{name} = {value}" for name, value in result.settings.items()]
    session.answer(
        lambda: {"settings": dict(result.settings), "new": result.is_new},
        [*lines, "trusted, until one of them changes"] if lines else ["mlvc.toml sets nothing that needs it"],
    )
