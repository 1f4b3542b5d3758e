"""What a training script imports: `mlvc.log_param`, `mlvc.log_metric` and `mlvc.step`.

Standard library only. `mlvc run` and `mlvc repro` put a copy of this file on the path of the command as the module
`mlvc`, so the script's environment needs no mlvc. Outside a run the functions do nothing.

The values go to the file that `MLVC_LOG` names, one JSON object a line: {"kind","name","value","step"}.
The steps go to the file that `MLVC_STEPS` names; `runtime/steps.py`, which is loaded at the first one, says how.
"""

from __future__ import annotations

import os
from typing import Any, Union

__all__ = ["log_metric", "log_param", "step"]

# This file runs in the user's interpreter, which may be older than the `X | Y` form of a type.
Scalar = Union[None, bool, int, float, str]

_HERE = os.path.dirname(os.path.abspath(__file__))
# In the package, and in the directory that a run puts on the path.
_SCRIPTS = (os.path.join(_HERE, "runtime"), os.path.join(os.path.dirname(_HERE), "_mlvc"))
_steps: Any = None


def _append(kind: str, name: str, value: Scalar, step: float | None) -> None:
    path = os.environ.get("MLVC_LOG")
    if not path:
        return
    import json  # noqa: PLC0415  # most who import mlvc log nothing, git's hooks among them

    line = json.dumps({"kind": kind, "name": str(name), "value": _plain(value), "step": _plain(step)}) + "\n"
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


def log_metric(name: str, value: Scalar, step: float | None = None) -> None:
    """Records a metric of the run; the last value of a name is the run's, and all of them are its course over steps.

    Without `step` a value counts on from the ones before it.
    """
    _append("metric", name, value, step)


def step(
    number: int,
    *,
    model: object = None,
    batch: object = None,
    loss: object = None,
    always: bool = False,
) -> None:
    """Notes where a training stands, so that `mlvc repro` can tell where another one parted from it.

    Digests are taken at the steps 0, 1, 2, 4, 8, ...; a call for any other step costs a microsecond. It changes no
    random state, and a value that cannot be read is noted as such and never fails the program.

    Args:
        number: Of the step; 0 before the first.
        model: Its parameters: a torch or Keras model, a fitted estimator, or arrays and tensors in lists and
            dictionaries, such as `{"model": model, "optimizer": optimizer}`.
        batch: What the step learned from, likewise.
        loss: A number.
        always: Notes this step whatever its number is, as at the end of an epoch.
    """
    path = os.environ.get("MLVC_STEPS")
    number = int(number)
    if not path or not (always or (number >= 0 and number & (number - 1) == 0)):
        return
    _load_steps().note(path, number, {"batch": batch, "loss": loss, "model": model})


def _load_steps() -> Any:  # noqa: ANN401  # a module that is loaded by its path
    global _steps  # noqa: PLW0603  # loaded once
    if _steps is None:
        # Most programs never come here, and importing mlvc must cost them nothing.
        import importlib.util  # noqa: PLC0415

        directory = next(path for path in _SCRIPTS if os.path.exists(os.path.join(path, "steps.py")))
        spec = importlib.util.spec_from_file_location("_mlvc_steps", os.path.join(directory, "steps.py"))
        assert spec is not None and spec.loader is not None  # noqa: S101, PT018  # for the type checker
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        _steps = module
    return _steps
