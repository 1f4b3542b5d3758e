"""`mlvc compare`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from mlvc.cli.framework import make_command
from mlvc.cli.plot import Picture, as_svg, plot
from mlvc.cli.raster import as_png
from mlvc.cli.render import plural, table
from mlvc.cli.repository import open_repository
from mlvc.cli.session import session_of
from mlvc.errors import UsageError
from mlvc.fsio import atomic_write, translate_os_errors
from mlvc.verbs.compare import CompareResult, compare

__all__ = ["command"]

_WIDEST = 32


@make_command(
    "compare",
    "mlvc compare train models/model.joblib",
    "mlvc compare baseline candidate --plot metrics.svg",
    "mlvc compare baseline candidate --plot metrics.png",
)
def command(
    context: typer.Context,
    targets: Annotated[
        list[str], typer.Argument(metavar="RUN RUN…", help="Runs by name or id, or what one run made.")
    ],
    plot_path: Annotated[
        str | None,
        typer.Option(
            "--plot", metavar="FILE", help="Draw the metrics over their steps or the runs: .svg or .png."
        ),
    ] = None,
) -> None:
    """Shows what differs between runs.

    Code, data, environment, parameters and metrics, in each section what differs first; what is the same is counted.
    With --json, every line, and the metrics over steps.
    """
    session = session_of(context)
    drawn = None if plot_path is None else _drawing(plot_path)
    result = compare(open_repository(session), targets)
    if plot_path is not None and drawn is not None:
        picture = drawn(_picture(result))
        with translate_os_errors(f"write {plot_path}"):
            atomic_write(Path(plot_path), picture)
    session.answer(lambda: _json(result), _lines(result))


def _drawing(path: str) -> Callable[[Picture], bytes]:
    drawing = {".svg": as_svg, ".png": as_png}.get(Path(path).suffix.lower())
    if drawing is None:
        raise UsageError(
            f"the picture is SVG or PNG, and {path} ends in something else", hint="--plot metrics.svg"
        )
    return drawing


def _picture(result: CompareResult) -> Picture:
    names = sorted(
        {name for run in result.runs for name in run.metrics}
        | {name for each in result.series for name in each}
    )
    metrics = {name: result.metric(name) for name in names}
    courses = {
        name: [each[name].points() if name in each else [] for each in result.series]
        for name in names
        if any(name in each for each in result.series)
    }
    told = {
        name: values
        for name, values in metrics.items()
        if name in courses or any(value is not None for value in values)
    }
    return plot([run.name or run.id.short for run in result.runs], told, courses)


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
        "series": [
            {name: {"steps": list(each.steps), "values": list(each.values)} for name, each in run.items()}
            for run in result.series
        ],
    }
