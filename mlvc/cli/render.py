"""What results look like: values as JSON, tables and sizes as text. Pure."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlvc.model.ids import ObjectId
from mlvc.model.lock import Lock, TrackedPath

if TYPE_CHECKING:
    from mlvc.model.objects import Run

__all__ = [
    "as_json",
    "command_line",
    "indented",
    "json_value",
    "lock_lines",
    "object_json",
    "plural",
    "run_json",
    "size",
    "table",
    "tracked_json",
    "visible",
]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_THOUSAND = 1000


def as_json(value: Any) -> Any:  # noqa: ANN401  # any value of the model
    """Returns a value of the model as JSON, with every field, also those that a stored encoding leaves out."""
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, TrackedPath):
        return tracked_json(value)
    if dataclasses.is_dataclass(value):
        return {item.name: as_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    return value


def tracked_json(entry: TrackedPath) -> dict[str, Any]:
    """Returns a tracked path as JSON."""
    return {
        "path": entry.name,
        "id": str(entry.id),
        "kind": entry.kind.word,
        "files": entry.files,
        "bytes": entry.size_bytes,
        "run": None if entry.run is None else str(entry.run),
    }


def object_json(value: Any) -> dict[str, Any]:  # noqa: ANN401  # a commit, run, environment or verdict
    """Returns a stored object as JSON, with its type and id first."""
    if value.type_name == "run":
        return run_json(value)
    return {"type": value.type_name, "id": str(value.id), **as_json(value)}


def run_json(run: Run) -> dict[str, Any]:
    """Returns a run as JSON; what the record keeps as JSON text (parameters, metrics, probes) is opened."""
    opened = {
        name: {key: json_value(text) for key, text in getattr(run, name).items()}
        for name in ("params", "metrics", "effective")
    }
    return {"type": "run", "id": str(run.id), **as_json(run), **opened}


def json_value(text: str) -> Any:  # noqa: ANN401  # any JSON value
    """Returns a value that a record keeps as JSON text; a number that JSON has not, such as NaN, as a text."""
    try:
        return json.loads(text, parse_constant=str, parse_float=_finite)
    except (ValueError, RecursionError):
        return text  # A stranger's record may hold anything.


def _finite(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def command_line(argv: Sequence[str]) -> str:
    """Returns a recorded command as one would type it."""
    return shlex.join(argv)


def size(count: int) -> str:
    """Returns a number of bytes for a person: `12 B`, `3.4 MB`."""
    value, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if value < _THOUSAND or unit == _UNITS[-1]:
            break
        value /= _THOUSAND
    return f"{count} B" if unit == _UNITS[0] else f"{value:.1f} {unit}"


def plural(count: int, noun: str) -> str:
    """Returns `1 file`, `2 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def indented(lines: Iterable[str], by: str = "  ") -> Iterator[str]:
    """Yields the lines, moved to the right."""
    return (by + line for line in lines)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yields the lines of a table whose columns are as wide as they must be; nothing where there are no rows.

    A cell is one line: what breaks lines, or moves the terminal's cursor, becomes `%XX`.
    """
    if not rows:
        return
    lines = [
        [cell if cell.isprintable() else visible(cell, len(cell) * 12) for cell in row]
        for row in (headings, *rows)
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for row in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def lock_lines(lock: Lock) -> Iterator[str]:
    """Yields a line for each tracked path, and one for the environment, as `git diff` shows them to a person."""
    if lock.environment is not None:
        yield f"environment {lock.environment.short}"
    for path in sorted(lock.entries):
        entry = lock.entries[path]
        made = "" if entry.run is None else f", made by run {entry.run.short}"
        yield f"{entry.name}: {plural(entry.files, 'file')}, {size(entry.size_bytes)}, {entry.id.short}{made}"


def visible(text: str, longest: int) -> str:
    """Returns a text of bounded length in one line, in which every character can be seen.

    Characters that break lines, reorder text or cannot be seen become `%XX`.
    """
    shown = "".join(char if char.isprintable() else _escaped(char) for char in text[: longest + 1])
    return shown if len(text) <= longest and len(shown) <= longest else shown[: longest - 1] + "…"


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
