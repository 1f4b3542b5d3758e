"""`mlvc ci`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mlvc.cli.ci_answer import ci_json, ci_lines, ci_status
from mlvc.cli.framework import make_command
from mlvc.cli.github import tell_github
from mlvc.cli.report import check_report_name, write_report
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.cli.workers import choose_workers
from mlvc.verbs.ci import CiOptions, ci

__all__ = ["command"]

_STATUS = {"passed": 0, "failed": 1, "incomplete": 2}


@make_command(
    "ci",
    "mlvc ci",
    "mlvc ci --since origin/main --report comment.md --report junit.xml",
    "mlvc ci --shard 1/4 --budget 90m --max-cost 20 --jobs 2",
    "mlvc ci models/model.joblib --fresh",
)
def command(
    context: typer.Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET]...",
            help="Runs, commits, revisions or tracked paths; by default the runs that made what the lock tracks.",
        ),
    ] = None,
    *,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="REV", help="Only runs that changed, or that read what did, since the merge base."
        ),
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only the runs of this job, the I-th of N.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Begin no run that would end later: 90s, 20m or 2h from now."),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0.0,
            help="Begin no run that would cost more: CPU and GPU hours by ci.cpu_hour, ci.gpu_hour.",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Execute so many runs at a time, each on its own CPUs.")
    ] = 1,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Execute also what is proven already, on a machine of this class."),
    ] = False,
    engine: Annotated[
        Literal["auto", "docker", "bubblewrap", "none"],
        typer.Option(help="What isolates the command; auto takes Docker where it answers and has the base."),
    ] = "auto",
    accept: Annotated[
        Literal["identical", "equivalent", "close"],
        typer.Option(metavar="VERDICT", help="Exit 0 if every output is at least that good."),
    ] = "identical",
    reports: Annotated[
        list[Path] | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write a report: .html, .json, .md for a comment, or .xml for JUnit. Repeatable.",
        ),
    ] = None,
) -> None:
    """Checks a revision as a pipeline does: lock, remote, records, environment, then its runs.

    Brings only records, and what the runs need that are executed; a fresh clone is enough.
    A run whose code, data or environment is another one now is executed with these in their place.
    Exit 1 if anything is not as it should be, 2 if a run could not be executed.
    """
    session = session_of(context)
    for path in reports or ():
        check_report_name(path)

    def drop(data: bytes, *, is_error: bool) -> None:
        """The verdict keeps the log; a person sees it only on demand."""

    options = CiOptions(
        tuple(targets or ()),
        since,
        shard,
        budget,
        max_cost,
        jobs,
        fresh=fresh,
        engine=engine,
        accept=accept,
    )
    log = session.stream(to_stderr=True) if session.verbose else drop
    with choose_workers(jobs, None) as workers:
        result = ci(open_repository(session), options, log, workers)
    answer = ci_json(result, accept)
    for path in reports or ():
        write_report(path, answer)
    tell_github(session.environment, answer, session.stderr)
    session.answer(lambda: answer, ci_lines(result))
    if result.not_executed and not session.json:
        first = result.not_executed[0].error
        session.fail(first.code, first.message, first.hint)
    raise typer.Exit(_STATUS[ci_status(result)])
