"""`mlvc gc`."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural, size
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.errors import UsageError
from mlvc.model.names import encode_name
from mlvc.verbs.gc import GcResult, forget_repository, gc
from mlvc.verbs.remote_gc import RemoteGcResult, gc_remote

__all__ = ["command"]


@make_command("gc", "mlvc gc --dry-run", "mlvc gc", "mlvc gc --remote --dry-run")
def command(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="With --remote: which one; else the default one.")
    ] = None,
    *,
    remote: Annotated[
        bool, typer.Option("--remote", help="Delete from a remote what nothing there needs.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be deleted, and change nothing.")
    ] = False,
    forget: Annotated[
        str | None,
        typer.Option(
            "--forget",
            metavar="PATH",
            help="Forget a repository that is gone, so that it blocks no gc; deletes nothing.",
        ),
    ] = None,
) -> None:
    """Deletes what nothing has needed for the keep period.

    Needed is what any branch, tag, stash, reflog, lock or journal of any repository that uses the store leads to.
    What a gc finds unneeded for the first time is only noted; a gc after the keep period (gc.keep_days) deletes it.

    On a remote, needed is what any commit, run or verdict there leads to. What is older than the keep period and not
    needed is listed there; a gc a week later deletes it.
    """
    session = session_of(context)
    if name is not None and not remote:
        raise UsageError("a name needs --remote", hint=f"mlvc gc --remote {name}")
    repo = open_repository(session)
    if remote:
        if forget is not None:
            raise UsageError("--forget is about the store here", hint="leave --remote away")
        far = gc_remote(repo, name, dry_run=dry_run)
        session.answer(lambda: _remote_json(far), _remote_lines(far))
        return
    if forget is not None:
        forgotten = forget_repository(repo, forget)
        session.answer(
            lambda: {"forgotten": encode_name(bytes(forgotten.path)), "worktrees": forgotten.worktrees},
            [f"forgot {encode_name(bytes(forgotten.path))}"],
        )
        return
    result = gc(repo, dry_run=dry_run)
    session.answer(lambda: _json(result), _lines(result))
    if result.collected.is_put_off:
        session.tell(
            "nothing was deleted, because another mlvc command is using the store; repeat when it has ended"
        )


def _date(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()


def _remote_lines(result: RemoteGcResult) -> Iterator[str]:
    found = result.collected
    verb = "deleted" if found.step == "deleted" else "condemned"
    if found.step == "condemned" and result.is_dry_run:
        verb = "would condemn"
    yield from (f"{verb} {file}" for file in found.files)
    yield from (f"spared {file}: it is needed again" for file in found.spared)
    until = _date(found.until_s)
    match found.step:
        case "deleted":
            yield f"freed {size(found.freed_bytes)} on {result.url}"
        case "nothing":
            yield f"nothing to delete on {result.url}"
        case _ if until is None:
            yield f"would free {size(found.freed_bytes)} on {result.url}, a week after it is condemned"
        case _:
            yield f"{size(found.freed_bytes)} on {result.url} go with the next gc after {until[:10]}"


def _remote_json(result: RemoteGcResult) -> dict[str, Any]:
    found = result.collected
    return {
        "dry_run": result.is_dry_run,
        "url": result.url,
        "step": found.step,
        "files": list(found.files),
        "freed_bytes": found.freed_bytes,
        "spared": list(found.spared),
        "until": _date(found.until_s),
        "keep_days": result.keep_days,
    }


def _until(result: GcResult) -> str | None:
    return _date(result.collected.kept_until_s)


def _lines(result: GcResult) -> Iterator[str]:
    found = result.collected
    for item in found.removed:
        yield f"{'would delete' if result.is_dry_run else 'deleted'} {item.noun} {item.short}"
    verb = "would free" if result.is_dry_run else "freed"
    yield (
        f"{verb} {size(found.freed_bytes)}: {plural(found.removed_records, 'record')} in "
        f"{plural(found.packs_deleted, 'pack')}"
    )
    if found.duplicate_bytes:
        yield f"{verb} {size(found.duplicate_bytes)} that several packs held"
    until = _until(result)
    if found.kept_bytes:
        first = "" if until is None else f"; the first of it may go on {until[:10]}"
        yield f"kept {size(found.kept_bytes)} for the keep period of {plural(result.keep_days, 'day')} alone{first}"
    if found.stuck_bytes:
        yield f"kept {size(found.stuck_bytes)} that would go, in packs that hold mostly what is needed"
    yield f"needed {size(found.needed_bytes)}, by {plural(len(result.repositories), 'work tree')}"


def _json(result: GcResult) -> dict[str, Any]:
    found = result.collected
    return {
        "dry_run": result.is_dry_run,
        "put_off": found.is_put_off,
        "freed_bytes": found.freed_bytes,
        "duplicate_bytes": found.duplicate_bytes,
        "kept_bytes": found.kept_bytes,
        "kept_until": _until(result),
        "stuck_bytes": found.stuck_bytes,
        "needed_bytes": found.needed_bytes,
        "removed": [str(item) for item in found.removed],
        "removed_records": found.removed_records,
        "packs_deleted": found.packs_deleted,
        "packs_written": found.packs_written,
        "keep_days": result.keep_days,
        "repositories": [encode_name(bytes(path)) for path in result.repositories],
    }
