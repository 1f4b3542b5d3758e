"""Parameters and metrics of a run: read from files and from what the script logged.

Every value is kept as its JSON text, so that no number is ever printed in another way than it was read.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Iterable
from pathlib import Path

from mlvc.errors import MlvcError
from mlvc.model.names import encode_name

__all__ = ["MOST_BYTES", "ValuesUnreadableError", "decode_values", "read_log", "read_values"]

MOST_BYTES = 16 << 20
_MOST_DEPTH = 32


class ValuesUnreadableError(MlvcError):
    """A file of parameters or metrics is no JSON, YAML or TOML, or holds no table of values."""

    code = "values-unreadable"


def _text(value: object) -> str:
    """Returns the JSON text of a value; what JSON has no number for becomes a string."""
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(repr(value))
    return json.dumps(value, ensure_ascii=False, default=str)


def _flatten(prefix: str, value: object, depth: int) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict) and depth < _MOST_DEPTH:
        for key, item in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else str(key), item, depth + 1)
    else:
        yield prefix, _text(value)


def read_values(path: Path) -> dict[str, str]:
    """Returns the values of a JSON, YAML or TOML file by dotted name, each as its JSON text.

    Args:
        path: The suffix decides the format; see `decode_values`.

    Raises:
        ValuesUnreadableError: The file is missing, too large, of another format, or no table.
    """
    name = os.fsencode(path)
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as exc:
        raise ValuesUnreadableError(f"cannot read {encode_name(name)}: {exc.strerror}") from exc
    return decode_values(data, name)


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


def read_log(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the parameters and the metrics that `mlvc.log_param` and `mlvc.log_metric` wrote to `path`.

    The last value of a name counts. A line that is not whole, because the command was killed, is left out.
    """
    logged: dict[str, dict[str, str]] = {"param": {}, "metric": {}}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        match record:
            case {"kind": "param" | "metric" as kind, "name": str(name), "value": value}:
                logged[kind][name] = _text(value)
            case _:
                continue
    return logged["param"], logged["metric"]
