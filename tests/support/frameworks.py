"""The environment with the machine-learning frameworks, in which tests train real models."""

import os
import subprocess
from pathlib import Path

__all__ = ["FrameworksError", "find_frameworks"]

_IMPORTS = "import joblib, lightgbm, onnx, pandas, pyarrow, safetensors, sklearn, torch, xgboost"


class FrameworksError(Exception):
    """There is no such environment here; the message says why."""


def find_frameworks() -> Path:
    """Returns the interpreter that MLVC_TESTS_FRAMEWORKS names, after it imported all of them."""
    name = os.environ.get("MLVC_TESTS_FRAMEWORKS")
    if not name:
        raise FrameworksError("MLVC_TESTS_FRAMEWORKS names no interpreter; tests/run.sh makes one")
    done = subprocess.run([name, "-c", _IMPORTS], check=False, capture_output=True, text=True)
    if done.returncode:
        raise FrameworksError(f"{name} lacks a framework: {done.stderr.strip().rpartition(os.linesep)[2]}")
    return Path(name)
