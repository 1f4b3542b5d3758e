"""Runs mlvc in a process of its own, as a user does."""

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Result:
    """What a finished command left: its exit status and both streams as text."""

    argv: tuple[str, ...]
    exit: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Returns stdout as the one JSON document that it must be; NaN, which Python would read, is none."""
        try:
            return json.loads(self.stdout, parse_constant=refuse)
        except ValueError as error:
            raise AssertionError(f"stdout of {self.argv} is no JSON: {error}\n{self}") from error

    def __str__(self) -> str:
        return (
            f"{' '.join(self.argv)}\nexit {self.exit}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )


def refuse(constant: str) -> NoReturn:
    """Takes a constant that JSON has not."""
    raise ValueError(f"{constant} is no JSON")


@dataclass(frozen=True)
class Mlvc:
    """Calls `python -m mlvc` in one directory.

    `check` is the exit status that the call must have, True for 0, or False for any.
    `env` is laid over the environment; a value of None takes a variable away.
    """

    cwd: Path

    def __call__(
        self,
        *args: str | os.PathLike[str],
        cwd: str | os.PathLike[str] | None = None,
        check: bool | int = True,
        env: Mapping[str, str | None] | None = None,
        stdin: str | None = None,
        timeout_s: float = 150,
    ) -> Result:
        argv = ("mlvc", *(os.fspath(arg) for arg in args))
        done = subprocess.run(
            [sys.executable, "-m", *argv],
            cwd=cwd or self.cwd,
            env=child_environment(env or {}),
            input=stdin if stdin is not None else "",
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=timeout_s,
            check=False,
        )
        result = Result(argv, done.returncode, done.stdout, done.stderr)
        wanted = {True: 0, False: None}[check] if isinstance(check, bool) else check
        assert wanted is None or result.exit == wanted, str(result)
        return result


def child_environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Returns this process's environment with the changes, for a child that can import mlvc."""
    environment = dict(os.environ)
    try:
        importlib.metadata.distribution("mlvc")
    except importlib.metadata.PackageNotFoundError:
        environment["PYTHONPATH"] = str(ROOT)
    for name, value in changes.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    return environment
