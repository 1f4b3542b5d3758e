"""`mlvc checkout`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlvc.cli.framework import after_dashes, make_command
from mlvc.cli.render import plural, tracked_json
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.errors import UsageError
from mlvc.model.names import encode_name
from mlvc.verbs.checkout import CheckoutResult, checkout

__all__ = ["command"]


@make_command(
    "checkout", "mlvc checkout", "mlvc checkout HEAD~1", "mlvc checkout v1.0 -- data", paths_after_dashes=True
)
def command(
    context: typer.Context,
    rev: Annotated[
        str | None, typer.Argument(metavar="[REV]", help="A git revision; without it, mlvc.lock as it is.")
    ] = None,
    *,
    ours: Annotated[
        bool, typer.Option("--ours", help="After a merge with conflicts: take the present side of the paths.")
    ] = False,
    theirs: Annotated[
        bool, typer.Option("--theirs", help="Likewise the side that is merged in; without paths, everywhere.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite changed data files too; they are stored first.")
    ] = False,
) -> None:
    """Makes the files match the lock, or a revision.

    With a revision, git moves to it and the data follows. With paths, only those are brought, and the code stays.
    Refuses, before anything is touched, if data that is stored nowhere would be lost.
    """
    session = session_of(context)
    repo, paths = open_repository(session), after_dashes(context)
    if ours or theirs:
        if rev is not None or (ours and theirs):
            raise UsageError(
                "--ours and --theirs take no revision, and exclude each other",
                hint="as in mlvc checkout --theirs -- data",
            )
        from mlvc.verbs.naming import some_of, typed  # noqa: PLC0415  # a checkout in a conflict is rare
        from mlvc.verbs.resolve import files_to_stage, resolve  # noqa: PLC0415  # as above

        _, conflicts = repo.read_conflicts()
        result = CheckoutResult(None, resolve(repo, "ours" if ours else "theirs", paths, force=force))
        _, left = repo.read_conflicts()
        names = some_of([encode_name(item.path) or "the environment" for item in left])
        staged = typed(repo, files_to_stage(repo, conflicts))
        session.tell(f"next: decide {names} too" if left else f"next: `git add {staged}`, then `git commit`")
    else:
        result = checkout(repo, rev, paths=paths, force=force)
    files = result.files
    moved = [] if result.sha is None else [f"code {result.sha[:12]}"]
    counted = f"{plural(files.written, 'file')} written, {files.deleted:,} deleted"
    session.answer(
        lambda: {
            "code_sha": result.sha,
            "written": files.written,
            "deleted": files.deleted,
            "unchanged": files.unchanged,
            "saved": [tracked_json(entry) for entry in files.saved],
        },
        [*moved, counted, *(f"saved {entry.name} as {entry.id}" for entry in files.saved)],
    )
