"""`mlvc repro`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.github import tell_github
from mlvc.cli.records import verdict_lines
from mlvc.cli.remedy import find_remedy
from mlvc.cli.report import check_report_name, write_report
from mlvc.cli.repository import open_repository
from mlvc.cli.reproduced import result_json, unproven_text
from mlvc.cli.session import session_of
from mlvc.cli.workers import choose_workers
from mlvc.model.objects import VERDICTS
from mlvc.verbs.repro import Reproduced, ReproOptions, ReproResult, reproduce

__all__ = ["command"]


@make_command(
    "repro",
    "mlvc repro models/model.joblib",
    "mlvc repro models/model.joblib --upstream --jobs 2",
    "mlvc repro HEAD --engine bubblewrap --report verdict.html --report verdict.xml",
    "mlvc repro models/model.joblib --diagnose full --vary all",
    "mlvc repro models/model.joblib --against work",
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
    engine: Annotated[
        Literal["auto", "docker", "bubblewrap", "none"],
        typer.Option(help="What isolates the command; auto takes Docker where it answers and has the base."),
    ] = "auto",
    times: Annotated[int, typer.Option(metavar="N", min=1, help="Execute each run so often.")] = 1,
    diagnose: Annotated[
        Literal["off", "cheap", "full"],
        typer.Option(help="How to look for causes where outputs differ; full makes experiments."),
    ] = "cheap",
    budget: Annotated[
        str,
        typer.Option(metavar="N", help="How many more executions, or seconds as in 300s, a run may cost."),
    ] = "20",
    vary: Annotated[
        str,
        typer.Option(
            metavar="KINDS",
            help="Whether it reproduces elsewhere: hash-seed, threads, cpu, order, time, harmless, or all.",
        ),
    ] = "",
    against: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Execute this instead: another run, work for the work tree, or lock for its code on the lock's data.",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0.0,
            max=1.0,
            help="The largest norm-wise relative error that is `close`, for every type of number.",
        ),
    ] = None,
    accept: Annotated[
        Literal["identical", "equivalent", "close"],
        typer.Option(metavar="VERDICT", help="Exit 0 if every output is at least that good."),
    ] = "identical",
    upstream: Annotated[
        bool,
        typer.Option("--upstream", help="Execute the runs that made the inputs too, all the way up."),
    ] = False,
    jobs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Execute so many runs at a time, each on its own CPUs.")
    ] = 1,
    executor: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Execute the runs on a Dask cluster: tcp://HOST:PORT."),
    ] = None,
    reports: Annotated[
        list[Path] | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write a report: .html, .json, .md, or .xml for JUnit. Repeatable.",
        ),
    ] = None,
) -> None:
    """Runs a record again in isolation, and compares the outputs.

    Code, inputs and environment come from the record alone, without network.
    Every run gets the recorded inputs, also where a run upstream gave others.
    Exit 0 only if every output is identical, or as good as --accept says, also where something was varied.
    With -v the command's own output is shown on stderr.
    """
    session = session_of(context)
    for path in reports or ():
        check_report_name(path)

    def drop(data: bytes, *, is_error: bool) -> None:
        """The verdict keeps the log; a person sees it only on demand."""

    with choose_workers(jobs, executor) as workers:
        result = reproduce(
            open_repository(session),
            ReproOptions(
                tuple(targets or ()),
                engine=engine,
                times=times,
                diagnose=diagnose,
                budget=budget,
                vary=vary,
                accept=accept,
                against=against,
                tolerance=tolerance,
                upstream=upstream,
            ),
            session.stream(to_stderr=True) if session.verbose else drop,
            workers,
        )
    answer = result_json(result, accept)
    for path in reports or ():
        write_report(path, answer)
    tell_github(session.environment, answer, session.stderr)
    session.answer(lambda: answer, _all_lines(result))
    if result.not_executed:
        if not session.json:
            for missed in result.not_executed:
                session.fail(
                    missed.error.code, f"run {missed.run.id.short}: {missed.error.message}", missed.error.hint
                )
        raise typer.Exit(2)
    raise typer.Exit(0 if _is_as_good(result, accept) else 1)


def _is_as_good(result: ReproResult, accept: str) -> bool:
    """Whether everything is as good as that, also where something was varied; what was not tried is no failure."""
    good = VERDICTS[: VERDICTS.index(accept) + 1]
    varied = (item for run in result.runs for item in run.verdict.variations)
    return result.verdict in good and all(item.verdict in {*good, ""} for item in varied)


def _all_lines(result: ReproResult) -> Iterator[str]:
    for item in result.runs:
        yield from _lines(item)
    yield result.verdict


def _lines(told: Reproduced) -> Iterator[str]:
    first, *rest = verdict_lines(told.verdict, remedy=lambda cause: find_remedy(told.run, cause))
    yield f"run {told.run.id.short}{'' if told.run.name is None else ' ' + told.run.name}: {first}"
    yield from rest
    for item in told.unproven:
        yield f"  stands on {item.path}, which was not reproduced: {unproven_text(item.verdict)}, run {item.run.short}"
