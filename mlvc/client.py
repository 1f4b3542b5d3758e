"""What a training script imports: `mlvc.log_param` and `mlvc.log_metric`.

Standard library only. `mlvc run` and `mlvc repro` put a copy of this file on the path of the command as the module
`mlvc`, so the script's environment needs no mlvc. Outside a run both functions do nothing.

The values go to the file that `MLVC_LOG` names, one JSON object a line: {"kind","name","value","step"}.
"""

from __future__ import annotations

import json
import os
from typing import Union

__all__ = ["log_metric", "log_param"]

# This file runs in the user's interpreter, which may be older than the `X | Y` form of a type.
Scalar = Union[None, bool, int, float, str]


def _append(kind: str, name: str, value: Scalar, step: int | None) -> None:
    path = os.environ.get("MLVC_LOG")
    if not path:
        return
    line = json.dumps({"kind": kind, "name": str(name), "value": _plain(value), "step": step}) + "\n"
    # One write of a whole line with O_APPEND: lines of several processes do not mix.
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def _plain(value: Scalar) -> Scalar:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    item = getattr(value, "item", None)  # NumPy and torch scalars
    return item() if callable(item) else str(value)


def log_param(name: str, value: Scalar) -> None:
    """Records a parameter of the run; a later value of the same name replaces an earlier one."""
    _append("param", name, value, None)


def log_metric(name: str, value: Scalar, step: int | None = None) -> None:
    """Records a metric of the run; the last value of a name is the run's, with `step` the others are its history."""
    _append("metric", name, value, step)
