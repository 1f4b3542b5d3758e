"""`mlvc run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.render import plural, tracked_json
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.errors import UsageError
from mlvc.model.objects import Run
from mlvc.verbs.recording import execute
from mlvc.verbs.run import RunOptions, prepare
from mlvc.verbs.stdin import describe_waiting

__all__ = ["FAILED_TO_RUN", "command"]

FAILED_TO_RUN = 125


@make_command(
    "run",
    "mlvc run -n train -i data -o models/model.joblib -- python train.py",
    "mlvc run --threads 1 --seed 7 -i data -o model.joblib -- python train.py --fast",
    options_first=True,
    failure_status=FAILED_TO_RUN,
)
def command(
    context: typer.Context,
    argv: Annotated[
        list[str],
        typer.Argument(metavar="-- CMD...", help="The command with its arguments.", show_default=False),
    ],
    *,
    name: Annotated[
        str | None, typer.Option("-n", "--name", metavar="NAME", help="What to call the run.")
    ] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("-i", "--input", metavar="PATH", help="Data that the command reads.")
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option("-o", "--output", metavar="PATH", help="What the command makes; tracked."),
    ] = None,
    params: Annotated[
        list[str] | None,
        typer.Option("--params", metavar="FILE", help="Read parameters from JSON, YAML or TOML."),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="FILE",
            help="Read metrics afterwards, likewise, or from CSV, TSV or JSON lines: a row for each step.",
        ),
    ] = None,
    variables: Annotated[
        list[str] | None, typer.Option("--env", metavar="K=V", help="Set a variable, and record it.")
    ] = None,
    secrets: Annotated[
        list[str] | None,
        typer.Option("--secret", metavar="NAME", help="Pass a variable on, and never record it."),
    ] = None,
    profile: Annotated[
        Literal["strict", "portable", "none"],
        typer.Option(help="What to pin, here and in every reproduction."),
    ] = "strict",
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Threads to pin; by default the machine's cores.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Seed the random generators; by default nothing is seeded."),
    ] = None,
    engine: Annotated[
        Literal["none", "bubblewrap", "docker"],
        typer.Option(help="Where to run it; none is here, as it stands."),
    ] = "none",
    cached: Annotated[
        bool,
        typer.Option("--cached", help="Restore the outputs of a successful run of the same plan instead."),
    ] = False,
    strict_inputs: Annotated[
        bool,
        typer.Option("--strict-inputs", help="Fail if the command reads files that are not declared."),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Execute it twice, and record whether the outputs are the same."),
    ] = False,
) -> None:
    """Runs a command and records everything it depended on.

    The command's output streams through, and its exit status is passed on; 125 means that mlvc itself failed.
    A run that fails is recorded too, and leaves mlvc.lock as it was.
    With --json the command's own output goes to stderr.
    """
    session = session_of(context)
    repo = open_repository(session)
    waiting = describe_waiting(session.stdin_fd)
    if waiting:
        repo.reporter.warn(
            f"the command's standard input is empty, here and in every reproduction: {waiting} is not passed on;"
            " declare it with -i FILE, and let the command open it, as in `-- sh -c 'COMMAND < FILE'`"
        )
    # What is recorded in the end was found, or stored, before the command started.
    with repo.store.in_use():
        prepared = prepare(
            repo,
            RunOptions(
                argv=tuple(argv),
                name=name,
                inputs=tuple(inputs or ()),
                outputs=tuple(outputs or ()),
                params_files=tuple(params or ()),
                metrics_files=tuple(metrics or ()),
                variables=_split(variables or ()),
                secrets=tuple(secrets or ()),
                profile=profile,
                threads=threads,
                seed=seed,
                engine=engine,
                cached=cached,
                strict_inputs=strict_inputs,
                verify=verify,
            ),
        )
        result = execute(repo, prepared, session.stream(to_stderr=session.json))
    record = result.run
    if session.json:
        session.write_json(
            {
                "id": str(record.id),
                "exit_code": result.exit_code,
                "status": record.status,
                "cached": result.cached,
                "outputs": [tracked_json(entry) for entry in record.outputs],
                "missing_outputs": list(record.missing_outputs),
                "repeats": record.repeats,
                "unstable_outputs": list(record.unstable_outputs),
            }
        )
    else:
        # Stdout belongs to the command.
        session.tell(f"restored the outputs of run {record.id.short}" if result.cached else _told(record))
    raise typer.Exit(result.exit_code)


def _told(record: Run) -> str:
    told = f"run {record.id.short} {record.status}, {plural(len(record.outputs), 'output')} recorded"
    return told + (", the same bytes twice" if record.repeats and not record.unstable_outputs else "")


def _split(assignments: Sequence[str]) -> dict[str, str]:
    variables = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not name or not equals:
            raise UsageError(
                f"--env {assignment}: not of the form NAME=VALUE", hint="--env OMP_NUM_THREADS=1"
            )
        variables[name] = value
    return variables
