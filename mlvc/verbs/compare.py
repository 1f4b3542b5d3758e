"""`mlvc compare`: what differs between runs: code, data, environment, parameters, metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from mlvc.errors import NotFoundError, UsageError
from mlvc.model.objects import Environment, Run
from mlvc.model.series import MOST_SERIES_BYTES, Series, decode_series
from mlvc.repo import Repo
from mlvc.verbs.target import resolve_target, runs_of_target

__all__ = ["CompareResult", "Difference", "compare"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One line.

    Attributes:
        section: `code`, `data`, `environment`, `params`, `metrics`, `steps` (of the metrics) or `run`.
        name: What is compared.
        values: One for each run, as text; None where the run has none.
    """

    section: str
    name: str
    values: tuple[str | None, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs do not agree."""
        return len(set(self.values)) > 1


@dataclass(frozen=True, slots=True)
class CompareResult:
    """What was compared.

    Attributes:
        runs: The runs.
        lines: In each section, those that differ first.
        series: For each run, its metrics over steps; empty where it has none, or where they are not here.
    """

    runs: tuple[Run, ...]
    lines: tuple[Difference, ...]
    series: tuple[Mapping[str, Series], ...]

    def metric(self, name: str) -> tuple[float | None, ...]:
        """Returns a metric of each run as a number; None where it is none."""
        return tuple(_number(run.metrics.get(name)) for run in self.runs)


def compare(repo: Repo, targets: Sequence[str]) -> CompareResult:
    """Compares what is recorded of two runs or more.

    Args:
        repo: The repository.
        targets: Runs by id, start of an id or name; or tracked paths and revisions that one run made.

    Raises:
        UsageError: There are fewer than two, or a target stands for several runs.
        TargetMissingError: Nothing has that name.
        IntegrityError: A record, or its metrics over steps, are damaged.
    """
    if len(targets) < 2:
        raise UsageError("it takes two runs to compare", hint="mlvc compare RUN RUN")
    runs = tuple(_run(repo, target) for target in targets)
    packages = [_packages(repo, run) for run in runs]
    series = tuple(_series(repo, run) for run in runs)
    sections: dict[str, Sequence[Mapping[str, str]]] = {
        "code": [_code(run) for run in runs],
        "data": [_data(run) for run in runs],
        "environment": packages,
        "params": [run.params for run in runs],
        "metrics": [run.metrics for run in runs],
        "steps": [_courses(each) for each in series],
        "run": [_facts(run) for run in runs],
    }
    lines = [line for section, values in sections.items() for line in _lines(section, values)]
    return CompareResult(runs, tuple(lines), series)


def _run(repo: Repo, target: str) -> Run:
    try:
        value = resolve_target(repo, target)
    except NotFoundError:
        value = None
    if isinstance(value, Run):
        return value
    runs = runs_of_target(repo, target)
    if len(runs) != 1:
        raise UsageError(f"{target} stands for {len(runs)} runs", hint="name one of them; see `mlvc runs`")
    return runs[0]


def _lines(section: str, values: Sequence[Mapping[str, str]]) -> Iterator[Difference]:
    names = dict.fromkeys(name for each in values for name in each)
    lines = [Difference(section, name, tuple(each.get(name) for each in values)) for name in names]
    return iter(sorted(lines, key=lambda line: not line.differs))


def _code(run: Run) -> Mapping[str, str]:
    return {
        "sha": run.code.sha or "",
        "tree": str(run.code.tree),
        "uncommitted changes": "yes" if run.code.dirty else "no",
        "command": " ".join(run.argv),
    }


def _data(run: Run) -> Mapping[str, str]:
    told: Iterable[tuple[str, str]] = [
        *((f"input {entry.name}", str(entry.id)) for entry in run.inputs),
        *((f"output {entry.name}", str(entry.id)) for entry in run.outputs),
    ]
    return dict(told)


def _series(repo: Repo, run: Run) -> Mapping[str, Series]:
    if run.series is None:
        return {}
    try:
        return decode_series(repo.store.read_blob(run.series, limit_bytes=MOST_SERIES_BYTES))
    except NotFoundError:
        repo.reporter.warn(f"the metrics of run {run.id.short} over steps are not here: `mlvc fetch --data`")
        return {}


def _courses(series: Mapping[str, Series]) -> Mapping[str, str]:
    """Returns how each metric went."""
    told: dict[str, str] = {}
    for name, each in series.items():
        told[f"{name}: steps"] = str(len(each.steps))
        known = [
            (float(value), value, step)
            for step, value in zip(each.steps, each.values, strict=True)
            if value != "nan"
        ]
        if known:
            for word, (_, value, step) in (
                ("lowest", min(known, key=lambda point: point[0])),
                ("highest", max(known, key=lambda point: point[0])),
            ):
                told[f"{name}: {word}"] = f"{value} at {step}"
    return told


def _packages(repo: Repo, run: Run) -> Mapping[str, str]:
    if run.environment is None or not repo.store.has_object(run.environment):
        return {}
    value = repo.store.read_object(run.environment)
    if not isinstance(value, Environment):
        return {}
    versions = {canonicalize_name(item.name): item.version for item in value.distributions}
    return {"id": str(run.environment), "python": value.interpreter.version, **dict(sorted(versions.items()))}


def _facts(run: Run) -> Mapping[str, str]:
    return {
        "name": run.name or "",
        "status": run.status,
        "started": run.started,
        "duration_ms": str(run.duration_ms),
        "profile": run.profile,
        "threads": str(run.threads),
        "seed": "" if run.seed is None else str(run.seed),
        "engine": run.engine,
        **{f"host {key}": value for key, value in sorted(run.host.items())},
        **{f"variable {key}": value for key, value in sorted(run.variables.items())},
    }


def _number(text: str | None) -> float | None:
    try:
        value = json.loads(text or "null")
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except (ValueError, OverflowError, RecursionError):
        return None
