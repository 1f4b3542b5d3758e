"""`mlvc commit`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import object_json, plural
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.verbs.commit import commit

__all__ = ["command"]


@make_command("commit", 'mlvc commit -m "Second month of data"', 'mlvc commit -a -m "Cleaned labels"')
def command(
    context: typer.Context,
    *,
    message: Annotated[
        str, typer.Option("-m", "--message", metavar="MSG", help="The message.", show_default=False)
    ],
    all_: Annotated[bool, typer.Option("-a", "--all", help="Add changed tracked paths first.")] = False,
) -> None:
    """Commits the lock and the staged code, as one step.

    Makes the git commit of mlvc.lock, .gitignore and whatever is staged in git, and the data commit that links to it.
    """
    session = session_of(context)
    result = commit(open_repository(session), message, add_changed=all_)
    record = result.commit
    session.answer(
        lambda: object_json(record),
        [
            *(f"added {entry.name}  {entry.id.short}" for entry in result.added),
            f"commit {result.id.short}  code {record.code_sha[:12]}  {plural(len(record.paths), 'tracked path')}",
        ],
    )
