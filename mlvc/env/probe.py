"""Finds the interpreter that an environment belongs to, and asks it what it is.

Finding is path logic alone and executes nothing; `describe` and `freeze` execute the interpreter.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from uv import find_uv_bin

from mlvc.env.credentials import strip_credentials
from mlvc.errors import MlvcError
from mlvc.model.names import encode_name

__all__ = [
    "Description",
    "InterpreterFailedError",
    "UvMissingError",
    "describe",
    "find_interpreter",
    "find_python",
    "find_uv",
    "freeze",
    "is_python",
]

_PYTHON_NAME = re.compile(r"(python|pypy)(\d+(\.\d+)?t?)?")
_FIRST_LINES_BYTES = 4096
# What a wheel's installer writes where the path of the interpreter is too long, or has a space, for a first line.
_SHELL_TRAMPOLINE = re.compile(rb"""\A#!/bin/sh\n'''exec' (?:"([^"\n]+)"|'([^'\n]+)'|(\S+)) "\$0" "\$@"\n""")
_MARK = "mlvc-describe:"
_TIMEOUT_S = 120


class InterpreterFailedError(MlvcError):
    """A Python could not be run, or did not answer as one."""

    code = "interpreter-failed"


class UvMissingError(MlvcError):
    """The program `uv` is not where its package puts it."""

    code = "no-uv"


@dataclass(frozen=True, slots=True)
class Description:
    """What an interpreter says of itself.

    Attributes:
        executable: `sys.executable`.
        real_executable: The same with links resolved.
        version: For example `3.11.7`.
        implementation: For example `cpython`.
        build: `sys.version`.
        prefix: `sys.prefix`.
        base_prefix: `sys.base_prefix`.
        soabi: The tag of its extension modules.
        sites: Where packages may be installed, in the order of `sys.path`; some may not exist.
        stdlib: The directory of the standard library.
        has_pip: Whether it can import pip.
        platform: `system`, `machine`, `libc`, `tag`.
    """

    executable: str
    real_executable: str
    version: str
    implementation: str
    build: str
    prefix: str
    base_prefix: str
    soabi: str
    sites: tuple[str, ...]
    stdlib: str
    has_pip: bool
    platform: dict[str, str]


def find_interpreter(
    *, configured: str | None, virtual_env: str | None, project: Path, path: str
) -> Path | None:
    """Returns the interpreter of a project: the first of these that exists.

    Args:
        configured: The setting `env.python`; relative to `project`. If given, nothing else is tried.
        virtual_env: The value of `$VIRTUAL_ENV`.
        project: The work tree; its `.venv` comes next.
        path: A search path, where `python` and then `python3` are looked for.
    """
    if configured:
        return _executable(project / configured)
    for directory in (virtual_env, project / ".venv"):
        found = _executable(Path(directory) / "bin" / "python") if directory else None
        if found is not None:
            return found
    for name in ("python", "python3"):
        found_name = shutil.which(name, path=path)
        if found_name is not None:
            return Path(os.path.abspath(found_name))
    return None


def find_python(command: str, *, path: str, directory: Path) -> Path | None:
    """Returns the interpreter that a command runs on: itself, or the one that its first line names; else None.

    Args:
        command: `argv[0]`.
        path: The search path of the command.
        directory: The working directory of the command.
    """
    if "/" in command:
        found = _executable(directory / command)
    else:
        name = shutil.which(command, path=path)
        found = None if name is None else Path(os.path.abspath(directory / name))
    if found is None or is_python(found):
        return found
    return _interpreter_of_script(found, path)


def is_python(path: Path) -> bool:
    """Returns whether an executable is a Python, judged by its name: `python`, `python3`, `python3.12t`, `pypy3`.

    A version manager's stand-in of that name is one too: it ends in a Python.
    """
    return _PYTHON_NAME.fullmatch(path.name) is not None


def _interpreter_of_script(script: Path, path: str) -> Path | None:
    try:
        with script.open("rb") as file:
            start = file.read(_FIRST_LINES_BYTES)
    except OSError:
        return None
    trampoline = _SHELL_TRAMPOLINE.match(start)
    if trampoline is not None:
        words = [os.fsdecode(next(group for group in trampoline.groups() if group))]
    elif start.startswith(b"#!"):
        words = os.fsdecode(start[2:].split(b"\n", 1)[0]).split()
    else:
        return None
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if not words:
        return None
    found = shutil.which(words[0], path=path)
    python = None if found is None else Path(os.path.abspath(found))
    return python if python is not None and is_python(python) else None


def _executable(path: Path) -> Path | None:
    # Not resolved: the link bin/python of a virtual environment is what makes it one.
    return Path(os.path.abspath(path)) if path.is_file() and os.access(path, os.X_OK) else None


def find_uv() -> Path:
    """Returns the program `uv`.

    Raises:
        UvMissingError: Its package is damaged.
    """
    try:
        return Path(find_uv_bin())
    except FileNotFoundError as exc:
        raise UvMissingError(
            "the program `uv` is not installed", hint="pip install --force-reinstall uv"
        ) from exc


def describe(python: Path) -> Description:
    """Runs the interpreter once and returns what it says of itself.

    It runs as the user's own command would find it, except that `PYTHON*` variables do not count.

    Raises:
        InterpreterFailedError: It cannot be run, or gives no answer.
    """
    script = resources.files("mlvc").joinpath("runtime/describe.py").read_bytes()
    output = _run([str(python), "-E", "-B", "-"], script, python)
    answer = output.rpartition(_MARK)[2].partition("\n")[0]
    try:
        value = json.loads(answer)
        return Description(**{**value, "sites": tuple(value["sites"])})
    except (ValueError, TypeError, KeyError) as exc:
        raise InterpreterFailedError(f"{_name(python)} does not answer as a Python") from exc


def freeze(python: Path, *, has_pip: bool) -> str:
    """Returns the output of `pip freeze` of that interpreter (without pip, of `uv pip freeze`), free of credentials.

    Raises:
        InterpreterFailedError: It failed.
    """
    if has_pip:
        command = [
            str(python),
            "-E",
            "-B",
            "-m",
            "pip",
            "--isolated",
            "--disable-pip-version-check",
            "freeze",
        ]
    else:
        command = [str(find_uv()), "--no-config", "--offline", "pip", "freeze", "--python", str(python)]
    return strip_credentials(_run(command, b"", python))


def _run(command: list[str], stdin: bytes, python: Path) -> str:
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_S,
            # `-` and `-m` put the working directory on sys.path: nothing of the project may be imported from there.
            cwd="/",
        )
    except OSError as exc:
        raise InterpreterFailedError(f"{_name(python)} cannot be run: {exc.strerror}") from exc
    except subprocess.TimeoutExpired as exc:
        raise InterpreterFailedError(f"{_name(python)} gave no answer within {_TIMEOUT_S} s") from exc
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [
            f"exit status {done.returncode}"
        ]
        raise InterpreterFailedError(f"{_name(python)} fails: {lines[-1]}")
    return done.stdout.decode("utf-8", "surrogateescape")


def _name(python: Path) -> str:
    return encode_name(os.fsencode(python))
