"""Rebuilds an environment from the store as a virtual environment on this machine."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from mlvc.env.probe import InterpreterFailedError, describe, find_uv
from mlvc.env.wheelhouse import (
    REQUIREMENTS,
    check_wheels,
    finish_environment,
    interpreter_path,
    lay_interpreter,
    lay_wheels,
)
from mlvc.errors import MlvcError, UsageError
from mlvc.model.names import decode_name, encode_name
from mlvc.model.objects import Environment
from mlvc.ports import ObjectReader, Reporter

__all__ = [
    "INSTALL_OPTIONS",
    "MESSAGE_LINES",
    "UV_OPTIONS",
    "VENV_OPTIONS",
    "EnvironmentBuildError",
    "InterpreterMismatchError",
    "sync",
    "system_candidates",
]

UV_OPTIONS = ("--no-config", "--offline", "--no-cache", "--no-progress", "--no-python-downloads")
VENV_OPTIONS = ("--no-project", "--allow-existing")
INSTALL_OPTIONS = ("--no-index", "--no-deps", "--require-hashes", "--link-mode", "copy")
MESSAGE_LINES = 6


class EnvironmentBuildError(MlvcError):
    """An environment could not be rebuilt."""

    code = "environment-build-failed"


class InterpreterMismatchError(MlvcError):
    """The base has another Python than the recorded one."""

    code = "interpreter-mismatch"


def system_candidates(environment: Environment) -> list[str]:
    """Returns where a base may have the recorded interpreter; the official Python images keep it in /usr/local."""
    recorded = os.fsdecode(decode_name(environment.interpreter.real_executable))
    name = "python" + ".".join(environment.interpreter.version.split(".")[:2])
    return list(dict.fromkeys((recorded, f"/usr/local/bin/{name}", f"/usr/bin/{name}")))


def sync(
    environment: Environment, directory: Path, *, reader: ObjectReader, project: Path, reporter: Reporter
) -> None:
    """Makes a virtual environment on this machine match a recorded one: other packages in it are removed.

    Args:
        environment: What to rebuild.
        directory: The virtual environment; made if missing.
        reader: Has the wheels and trees.
        project: The work tree, which editable installs point into.
        reporter: Told of progress.

    Raises:
        UsageError: The directory is something else, or has another Python.
        WheelMissingError: A wheel or tree is not in the store.
        InterpreterMismatchError: This machine lacks the recorded Python, and it was not captured.
        EnvironmentBuildError: uv refused something.
    """
    directory = Path(os.path.abspath(directory))
    check_wheels(environment, reader)
    _check_directory(environment, directory)
    python = _host_interpreter(environment, directory, reader, reporter)
    with tempfile.TemporaryDirectory(prefix="mlvc-") as temporary:
        wheels = Path(temporary) / "wheels"
        lay_wheels(environment, reader, wheels, reporter)
        with reporter.task("rebuilding the environment", unit="steps"):
            _run_uv("venv", *VENV_OPTIONS, "--python", str(python), str(directory))
            _run_uv(
                *("pip", "install", "--exact", "--reinstall", *INSTALL_OPTIONS),
                *("--python", str(directory / "bin" / "python"), "--find-links", str(wheels)),
                *("-r", str(wheels / REQUIREMENTS)),
            )
    finish_environment(environment, reader, directory, str(project))


def _check_directory(environment: Environment, directory: Path) -> None:
    name = encode_name(os.fsencode(directory))
    if not directory.is_dir():
        if directory.exists():
            raise UsageError(f"{name} is no directory")
        return
    python = directory / "bin" / "python"
    if (directory / "pyvenv.cfg").is_file() and python.exists():
        version = describe(python).version
        if version != environment.interpreter.version:
            raise UsageError(
                f"{name} has Python {version}, and the environment was recorded with"
                f" {environment.interpreter.version}",
                hint="remove the directory, or name another",
            )
    elif any(directory.iterdir()):
        raise UsageError(f"{name} is no virtual environment", hint="name a new directory")


def _host_interpreter(
    environment: Environment, directory: Path, reader: ObjectReader, reporter: Reporter
) -> Path:
    """Returns the recorded interpreter: where it was, or in the system, or from the store."""
    seen: list[str] = []
    for path in map(Path, system_candidates(environment)):
        if not path.is_file():
            continue
        try:
            found = describe(path)
        except InterpreterFailedError:
            continue
        if found.version == environment.interpreter.version:
            return path
        seen.append(f"{path} is Python {found.version}")
    tree = environment.interpreter.tree
    if tree is None:
        raise InterpreterMismatchError(
            f"the environment was recorded with Python {environment.interpreter.version}, and this machine has "
            + ("; ".join(seen) or "none of that series"),
            hint=f"install Python {environment.interpreter.version}",
        )
    files = lay_interpreter(tree, reader, directory / "interpreter", reporter)
    return files / interpreter_path(environment)


def _run_uv(*arguments: str) -> None:
    command = [str(find_uv()), *UV_OPTIONS, *arguments]
    # Nothing of the caller's environment: a variable could name an index, or another interpreter.
    done = subprocess.run(command, capture_output=True, check=False, env={"PATH": os.defpath})
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()[-MESSAGE_LINES:]
        raise EnvironmentBuildError("the environment could not be rebuilt:\n" + "\n".join(lines))
