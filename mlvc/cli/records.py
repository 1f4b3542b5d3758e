"""Commits, runs, environments and verdicts as text for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from mlvc.cli.render import command_line, indented, plural, size, table
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Cause, Commit, Environment, Run, StoredObject, Verdict

__all__ = ["environment_lines", "record_lines", "tracked_lines", "verdict_lines"]


def record_lines(value: StoredObject) -> Iterator[str]:
    """Yields the lines of a stored object of any type."""
    match value:
        case Commit():
            yield from _commit(value)
        case Run():
            yield from _run(value)
        case Environment():
            yield from environment_lines(value)
        case Verdict():
            yield f"verdict      {value.id}"
            yield f"run          {value.run}"
            yield from verdict_lines(value)


def tracked_lines(entries: Iterable[TrackedPath]) -> Iterator[str]:
    """Yields a line for each entry, in columns."""
    rows = [
        (entry.name, entry.id.short, plural(entry.files, "file"), size(entry.size_bytes)) for entry in entries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _commit(commit: Commit) -> Iterator[str]:
    yield f"commit       {commit.id}"
    yield f"code         {commit.code_sha}"
    for parent in commit.parents:
        yield f"parent       {parent}"
    yield f"author       {commit.author}"
    yield f"time         {commit.time}"
    if commit.environment is not None:
        yield f"environment  {commit.environment}"
    yield ""
    yield from indented(commit.message.splitlines(), "    ")
    yield ""
    yield from tracked_lines(commit.paths)


def _run(run: Run) -> Iterator[str]:
    yield f"run          {run.id}"
    if run.name is not None:
        yield f"name         {run.name}"
    yield f"plan         {run.plan}"
    yield f"status       {run.status}, exit {run.exit_code}"
    yield f"started      {run.started}, took {run.duration_ms / 1000:.1f} s"
    yield f"command      {command_line(run.argv)}"
    yield f"directory    {run.directory or '.'}"
    edited = ", with uncommitted changes" if run.code.dirty else ""
    yield f"code         {run.code.sha or 'no commit yet'}{edited}, tree {run.code.tree.short}"
    if run.environment is not None:
        yield f"environment  {run.environment}"
    yield f"engine       {run.engine}{'' if run.base is None else ' on ' + run.base.reference}"
    threads = f", {plural(run.threads, 'thread')}" if run.threads else ""
    seed = "" if run.seed is None else f", seed {run.seed}"
    yield f"profile      {run.profile}{threads}{seed}"
    for heading, values in (("params", run.params), ("metrics", run.metrics), ("variables", run.variables)):
        yield from _values(heading, values)
    for heading, entries in (("inputs", run.inputs), ("outputs", run.outputs)):
        if entries:
            yield heading
            yield from tracked_lines(entries)
    for heading, names in (
        ("missing outputs", run.missing_outputs),
        ("read but not declared", run.observed.undeclared),
        ("connected to", run.observed.connections),
        ("left out of the code", run.code.omitted),
    ):
        yield from _names(heading, names)


def _values(heading: str, values: Mapping[str, str]) -> Iterator[str]:
    if values:
        yield heading
        for name, value in sorted(values.items()):
            yield f"  {name} = {value}"


def _names(heading: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        yield heading
        yield from indented(name.replace("\t", ": ") for name in names)


def environment_lines(environment: Environment) -> Iterator[str]:
    """Yields the interpreter, the platform and every distribution."""
    interpreter = environment.interpreter
    yield f"environment  {environment.id}"
    yield f"python       {interpreter.implementation} {interpreter.version}, {interpreter.executable}"
    yield f"platform     {' '.join(environment.platform.values())}"
    if environment.glibc:
        yield f"needs        glibc {environment.glibc}"
    yield ""
    yield from table(
        ("distribution", "version", "wheel", "size", "notes"),
        [
            (
                item.name,
                item.version,
                "-" if item.wheel is None else item.wheel.short,
                "-" if item.wheel is None else size(item.wheel_bytes),
                _notes(len(item.modified), len(item.missing), item.editable, recorded=item.recorded),
            )
            for item in environment.distributions
        ],
    )


def _notes(modified: int, missing: int, editable: str | None, *, recorded: bool) -> str:
    notes = []
    if editable is not None:
        notes.append(f"editable in {editable or '.'}")
    if modified:
        notes.append(f"{plural(modified, 'file')} modified")
    if missing:
        notes.append(f"{plural(missing, 'file')} missing")
    if not recorded:
        notes.append("no RECORD")
    return ", ".join(notes)


def verdict_lines(
    verdict: Verdict, *, remedy: Callable[[Cause], str | None] = lambda _: None
) -> Iterator[str]:
    """Yields the verdict, each output's, the causes and their remedies, the variations, and what else was written."""
    where = verdict.engine if verdict.isolated else f"{verdict.engine}, not isolated"
    base = "" if verdict.base is None else f" on {verdict.base.reference}"
    yield f"{verdict.verdict}, exit {verdict.exit_code}, {verdict.duration_ms / 1000:.1f} s ({where}{base})"
    yield from indented(
        table(
            ("output", "verdict", "recorded", "reproduced", ""),
            [
                (item.path, item.verdict, _short(item.recorded), _short(item.reproduced), item.detail)
                for item in verdict.outputs
            ],
        )
    )
    for cause in verdict.diagnosis:
        yield f"  {cause.status} cause: {cause.cause}: {cause.detail}"
        if cause.experiment:
            yield f"    {cause.experiment}"
        fix = cause.fix or (remedy(cause) if cause.status == "confirmed" else None)
        if fix:
            yield f"    fix: {fix}"
    for item in verdict.variations:
        yield f"  varied {item.factor}: {item.verdict or 'not tried'}: {item.detail}"
    if verdict.reruns:
        yield f"  {plural(verdict.reruns, 'more execution')} for causes and variations"
    for name in verdict.extra_files:
        yield f"  also written: {name}"


def _short(text: str | None) -> str:
    return "-" if text is None else text.removeprefix("b3:")[:12]
