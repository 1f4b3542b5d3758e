"""Parameters and metrics of a run: read from files and from what the script logged.

Every value is kept as its JSON text, so that no number is ever printed in another way than it was read.
A metric that was given many times has its last value, and its course as a series.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlvc.errors import MlvcError
from mlvc.model.names import encode_name
from mlvc.model.series import Series
from mlvc.repro.series import Gathering

__all__ = [
    "MOST_BYTES",
    "Metrics",
    "ValuesUnreadableError",
    "decode_metrics",
    "decode_values",
    "read_log",
    "read_metrics",
    "read_values",
]

MOST_BYTES = 16 << 20
_MOST_DEPTH = 32
_STEPS = ("step", "global_step", "iteration", "epoch")
"""What the training loops of the known frameworks call the number of a row; the first that is there counts."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a run measured.

    Attributes:
        values: The last value of each metric, as its JSON text.
        series: The metrics that were measured at several steps.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)

    def __or__(self, other: Metrics) -> Metrics:
        """Returns both; where they have the same metric, that of `other`."""
        return Metrics({**self.values, **other.values}, {**self.series, **other.series})


class ValuesUnreadableError(MlvcError):
    """A file of parameters or metrics is no JSON, YAML or TOML, or holds no table of values."""

    code = "values-unreadable"


def _text(value: object) -> str:
    """Returns the JSON text of a value; what JSON has no number for becomes a string."""
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(repr(value))
    return _whole(json.dumps(value, ensure_ascii=False, default=str))


def _whole(text: str) -> str:
    """Returns a text without halves of surrogate pairs, which have no UTF-8 and so no record."""
    return text.encode("utf-8", "replace").decode()


def _flatten(prefix: str, value: object, depth: int) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict) and depth < _MOST_DEPTH:
        for key, item in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else str(key), item, depth + 1)
    else:
        yield _whole(prefix), _text(value)


def read_values(path: Path) -> dict[str, str]:
    """Returns the values of a JSON, YAML or TOML file by dotted name, each as its JSON text.

    Args:
        path: The suffix decides the format; see `decode_values`.

    Raises:
        ValuesUnreadableError: The file is missing, too large, of another format, or no table.
    """
    return decode_values(_read(path), os.fsencode(path))


def read_metrics(path: Path) -> Metrics:
    """Returns the metrics of a file; see `decode_metrics`.

    Raises:
        ValuesUnreadableError: The file is missing, too large, or of another format.
    """
    return decode_metrics(_read(path), os.fsencode(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as exc:
        raise ValuesUnreadableError(f"cannot read {encode_name(os.fsencode(path))}: {exc.strerror}") from exc


def decode_metrics(data: bytes, path: bytes) -> Metrics:
    """Returns the metrics of a file's contents.

    Args:
        data: The contents.
        path: Where they come from. `.csv`, `.tsv`, `.jsonl` and `.ndjson` have a row for each step, and so has a JSON
            list of objects; anything else is read as by `decode_values`.

    Raises:
        ValuesUnreadableError: They are too large, or of another format.
    """
    name = encode_name(path)
    if len(data) > MOST_BYTES:
        raise ValuesUnreadableError(f"{name} is over 16 MB, too large for parameters or metrics")
    suffix = os.path.splitext(path)[1].lower()
    try:
        match suffix:
            case b".csv" | b".tsv":
                return _metrics_of(_cells(data, "," if suffix == b".csv" else "\t"))
            case b".jsonl" | b".ndjson":
                rows: object = [json.loads(line) for line in data.splitlines() if line.strip()]
            case b".toml" | b".yaml" | b".yml":
                rows = None
            case _:
                rows = json.loads(data)
    except (ValueError, RecursionError, csv.Error) as exc:
        raise ValuesUnreadableError(f"{name} cannot be read: {exc}") from exc
    if not isinstance(rows, list):
        return Metrics(decode_values(data, path))
    if not all(isinstance(row, dict) for row in rows):
        raise ValuesUnreadableError(f"{name} holds no table of names and values")
    return _metrics_of(dict(_flatten("", row, 0)) for row in rows)


def _cells(data: bytes, delimiter: str) -> Iterator[Mapping[str, str]]:
    text = data.decode("utf-8-sig")
    for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
        # A column without a name is the row's number, as pandas writes it; an empty cell is no value.
        yield {
            name: _cell(cell) for name, cell in row.items() if name and isinstance(cell, str) and cell.strip()
        }


def _cell(text: str) -> str:
    """Returns the JSON text of a cell: of a number, a truth or a text."""
    text = text.strip()
    try:
        is_plain = isinstance(json.loads(text), bool | int | float)
    except (ValueError, RecursionError):
        is_plain = False
    try:
        # Python reads 1_000 as a number; nobody writes one so into a table.
        number = math.nan if "_" in text else float(text)
    except ValueError:
        return text if is_plain else _text(text)
    return text if is_plain and math.isfinite(number) else _text(text if "_" in text else number)


def _metrics_of(rows: Iterable[Mapping[str, str]]) -> Metrics:
    """Returns the last value of each column, and its course; the column of the steps is none."""
    values: dict[str, str] = {}
    gathering = Gathering()
    for number, row in enumerate(rows):
        column = next((name for name in _STEPS if name in row), None)
        step = str(number) if column is None else row[column]
        for name, value in row.items():
            if name != column:
                values[name] = value
                gathering.add(name, value, step)
    return Metrics(values, gathering.finish())


def decode_values(data: bytes, path: bytes) -> dict[str, str]:
    """Returns the values of a file's contents by dotted name, each as its JSON text.

    Args:
        data: The contents.
        path: Where they come from; anything but `.toml`, `.yaml` and `.yml` is read as JSON.

    Raises:
        ValuesUnreadableError: They are too large, of another format, or no table.
    """
    name = encode_name(path)
    if len(data) > MOST_BYTES:
        raise ValuesUnreadableError(f"{name} is over 16 MB, too large for parameters or metrics")
    try:
        match os.path.splitext(path)[1].lower():
            case b".toml":
                document: object = tomllib.loads(data.decode())
            case b".yaml" | b".yml":
                document = _read_yaml(data)
            case _:
                document = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise ValuesUnreadableError(f"{name} cannot be read: {exc}") from exc
    if not isinstance(document, dict):
        raise ValuesUnreadableError(f"{name} holds no table of names and values")
    return dict(_flatten("", document, 0))


def _read_yaml(data: bytes) -> object:
    # 25 ms that a run without YAML must not pay.
    import yaml  # noqa: PLC0415

    try:
        return yaml.safe_load(data)
    except yaml.YAMLError as exc:
        raise ValueError(str(exc)) from exc


def read_log(path: Path) -> tuple[dict[str, str], Metrics]:
    """Returns the parameters and the metrics that `mlvc.log_param` and `mlvc.log_metric` wrote to `path`.

    The last value of a name counts. A line that is not whole, because the command was killed, is left out.
    """
    params: dict[str, str] = {}
    metrics: dict[str, str] = {}
    gathering = Gathering()
    for line in _lines(path):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        match record:
            case {"kind": "param", "name": str(name), "value": value}:
                params[_whole(name)] = _text(value)
            case {"kind": "metric", "name": str(name), "value": value}:
                name, text, step = _whole(name), _text(value), record.get("step")
                metrics[name] = text
                gathering.add(name, text, None if step is None else _text(step))
            case _:
                continue
    return params, Metrics(metrics, gathering.finish())


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file
    except FileNotFoundError:
        return
