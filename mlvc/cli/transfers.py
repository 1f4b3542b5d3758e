"""What push, fetch and pull have in common on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlvc.cli.render import plural, size

if TYPE_CHECKING:
    from mlvc.verbs.plans import Plan

__all__ = ["DryRun", "Jobs", "RemoteName", "plan_json", "plan_lines"]

_MOST_JOBS = 64

RemoteName = Annotated[
    str | None, typer.Option("--remote", metavar="NAME", help="Which remote; by default the default one.")
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        max=_MOST_JOBS,
        help="Make so many requests at once; each may take 64 MB of memory.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Tell what would be moved, and change nothing, here or there.")
]


def plan_json(plan: Plan) -> dict[str, Any]:
    """Returns a plan as JSON."""
    return {
        "dry_run": True,
        "url": plan.url,
        "packs": plan.packs,
        "records": plan.records,
        "bytes": plan.size_bytes,
        "unknown_directories": plan.unknown_directories,
    }


def plan_lines(plan: Plan, verb: str, preposition: str) -> Iterator[str]:
    """Returns a plan as text, such as `would push 2 packs, 13 records, 5 MB, to URL`."""
    yield (
        f"would {verb} {plural(plan.packs, 'pack')}, {plural(plan.records, 'record')}, {size(plan.size_bytes)}, "
        f"{preposition} {plan.url}"
    )
    if plan.unknown_directories:
        yield f"and what is in directories that `mlvc fetch` brings: {plan.unknown_directories:,}"
