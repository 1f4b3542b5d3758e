"""`mlvc clone`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural, size
from mlvc.cli.session import session_of
from mlvc.model.names import encode_name
from mlvc.verbs.clone import Data, clone

__all__ = ["command"]


@make_command(
    "clone",
    "mlvc clone https://example.org/team/model.git",
    "mlvc clone --data lock https://example.org/team/model.git elsewhere",
)
def command(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="What `git clone` takes.")],
    directory: Annotated[
        str | None, typer.Argument(metavar="[DIR]", help="Where to; by default the name in the URL.")
    ] = None,
    data: Annotated[
        Data,
        typer.Option(
            help="Bring no data yet; what mlvc.lock needs, as `mlvc pull` does; or that of all revisions and runs."
        ),
    ] = Data.NONE,
) -> None:
    """Clones a git repository, with the records of its data.

    Then `mlvc pull` brings the data, or --data does at once. The remote is that of mlvc.toml; a project without one is
    cloned without records. Git asks for passwords as it always does. A clone that fails leaves no directory behind.
    """
    session = session_of(context)
    result = clone(
        url, directory, data, cwd=Path.cwd(), reporter=session.reporter(), environment=session.environment
    )
    fetched, root = result.fetched, encode_name(os.fsencode(result.root))
    session.answer(
        lambda: {
            "root": root,
            "url": result.url,
            "remote": None if fetched is None else fetched.url,
            "packs": 0 if fetched is None else fetched.packs,
            "bytes": 0 if fetched is None else fetched.size_bytes,
            "written": result.files,
        },
        [
            f"cloned {result.url} into {root}",
            *(
                [f"fetched {plural(fetched.packs, 'pack')}, {size(fetched.size_bytes)}, from {fetched.url}"]
                if fetched is not None
                else []
            ),
            *([f"{plural(result.files, 'file')} written"] if result.files else []),
        ],
    )
    if fetched is None:
        session.tell(f"next: in it, {result.way}, because there is no remote yet; then `mlvc pull`")
    elif data is Data.NONE:
        session.tell("next: in it, `mlvc pull`")
