"""`mlvc compare`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.graphs import plot_svg
from mlvc.cli.render import plural, table
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.errors import UsageError
from mlvc.fsio import atomic_write, translate_os_errors
from mlvc.verbs.compare import CompareResult, compare

__all__ = ["command"]

_WIDEST = 32


@make_command(
    "compare", "mlvc compare train models/model.joblib", "mlvc compare train train --plot metrics.svg"
)
def command(
    context: typer.Context,
    targets: Annotated[
        list[str], typer.Argument(metavar="RUN RUN…", help="Runs by name or id, or what one run made.")
    ],
    plot: Annotated[
        str | None, typer.Option(metavar="FILE.svg", help="Draw the metrics over the runs, as a picture.")
    ] = None,
) -> None:
    """Shows what differs between runs.

    Code, data, environment, parameters and metrics, in each section what differs first; what is the same is counted.
    With --json, every line.
    """
    session = session_of(context)
    if plot is not None and not plot.endswith(".svg"):
        raise UsageError(f"the picture is SVG, and {plot} ends in something else", hint="--plot metrics.svg")
    result = compare(open_repository(session), targets)
    if plot is not None:
        metrics = {
            name: result.metric(name)
            for name in sorted({name for run in result.runs for name in run.metrics})
        }
        series = {
            name: values for name, values in metrics.items() if any(value is not None for value in values)
        }
        picture = "\n".join(plot_svg([run.name or run.id.short for run in result.runs], series)) + "\n"
        with translate_os_errors(f"write {plot}"):
            atomic_write(Path(plot), picture.encode())
    session.answer(lambda: _json(result), _lines(result))


def _lines(result: CompareResult) -> Iterator[str]:
    differing = [line for line in result.lines if line.differs]
    rows = [(line.section, line.name, *(_shown(value) for value in line.values)) for line in differing]
    yield from table(("", "", *(run.id.short for run in result.runs)), rows)
    same = len(result.lines) - len(differing)
    yield f"{plural(same, 'fact')} the same" if differing else f"no difference in {plural(same, 'fact')}"


def _shown(value: str | None) -> str:
    if value is None:
        return "-"
    value = value.removeprefix("b3:")[:12] if value.startswith("b3:") else value
    return value if len(value) <= _WIDEST else value[: _WIDEST - 1] + "…"


def _json(result: CompareResult) -> dict[str, Any]:
    return {
        "runs": [str(run.id) for run in result.runs],
        "lines": [
            {"section": line.section, "name": line.name, "differs": line.differs, "values": list(line.values)}
            for line in result.lines
        ],
    }
