"""Runs many commands quickly: one process loads mlvc once, and is forked for each of them.

As a program it is that process: a request a line on standard input, an answer a line on standard output.
"""

from __future__ import annotations

import importlib
import json
import mmap
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from tests.support.command import child_environment
from tests.support.disk_steps import Plan, install

__all__ = ["Outcome", "Zygote", "load", "request_for", "run_forked"]

_TIMEOUT_S = 60.0
_POLL_S = 0.002


@dataclass(frozen=True)
class Outcome:
    """What became of a command.

    Attributes:
        status: Its exit status; minus the signal that ended it; None where it did not end in time.
        stdout: What it wrote there.
        stderr: What it wrote there.
        steps: How many steps it took on the disk.
    """

    status: int | None
    stdout: str
    stderr: str
    steps: int


def request_for(
    cwd: Path, argv: Sequence[str], *, plan: Plan | None = None, forked: bool = False, stdin: str = ""
) -> dict[str, Any]:
    """Returns what `run_forked` needs; see `Zygote.__call__`."""
    return {
        "cwd": str(cwd),
        "argv": list(argv),
        "plan": asdict(plan or Plan()),
        "forked": forked,
        "stdin": stdin,
        "environment": dict(os.environ),
    }


class Zygote:
    """Asks the process that is forked for every command. One at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote"],
            cwd=Path(__file__).resolve().parent.parent.parent,
            env=child_environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __call__(
        self, cwd: Path, *argv: str, plan: Plan | None = None, forked: bool = False, stdin: str = ""
    ) -> Outcome:
        """Runs `mlvc ARGV` to its end.

        Args:
            cwd: Where; only files in the directory around it count as steps.
            argv: The command line.
            plan: What happens to it.
            forked: Whether even a few files are worth several processes.
            stdin: What it is told.
        """
        request = request_for(cwd, argv, plan=plan, forked=forked, stdin=stdin)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def load() -> None:
    """Imports what any command may, so that a command need not."""
    import mlvc  # noqa: PLC0415

    for module in pkgutil.walk_packages(mlvc.__path__, "mlvc."):
        if not module.name.startswith(("mlvc.runtime.", "mlvc.__main__", "mlvc.index.migrations.")):
            importlib.import_module(module.name)


def _be_worth_forking() -> None:
    from mlvc import forks  # noqa: PLC0415
    from mlvc.worktree import ingest, rescan, write_out  # noqa: PLC0415

    changes: list[tuple[Any, Mapping[str, int]]] = [
        (ingest, {"_WORTH_FILES": 1, "_TASK_FILES": 3}),
        (write_out, {"_WORTH_FILES": 1, "_TASK_FILES": 3}),
        (rescan, {"_WORTH_ENTRIES": 1, "_TASK_ENTRIES": 3}),
    ]
    for module, values in changes:
        for name, value in values.items():
            assert hasattr(module, name)
            setattr(module, name, value)
    forks.processors = lambda: 2


def _command(request: Mapping[str, Any], outputs: Sequence[IO[bytes]], counter: mmap.mmap) -> NoReturn:
    """Runs in the forked process."""
    from mlvc.cli.hook import run_hook  # noqa: PLC0415
    from mlvc.cli.main import run_command_line  # noqa: PLC0415
    from mlvc.cli.session import Session  # noqa: PLC0415

    status = 99
    try:
        os.setsid()
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        with tempfile.TemporaryFile() as told:
            told.write(request["stdin"].encode())
            told.seek(0)
            os.dup2(told.fileno(), 0)
        for number, file in enumerate(outputs, start=1):
            os.dup2(file.fileno(), number)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        if request["forked"]:
            _be_worth_forking()
        install(Plan(**request["plan"]), Path(request["cwd"]).parent, counter)
        argv = request["argv"]
        status = run_hook(argv[1:], Session()) if argv[0] == "hook" else run_command_line(argv, Session())
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _wait(pid: int) -> int | None:
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_POLL_S)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def run_forked(request: Mapping[str, Any]) -> Outcome:
    """Runs one command in a process that is forked from this one, which has called `load`."""
    with (
        mmap.mmap(-1, mmap.PAGESIZE) as counter,
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
    ):
        pid = os.fork()
        if pid == 0:
            _command(request, (stdout, stderr), counter)
        status = _wait(pid)
        said = []
        for file in (stdout, stderr):
            file.seek(0)
            said.append(file.read().decode("utf-8", "replace"))
        return Outcome(status, said[0], said[1], int.from_bytes(counter[:8], "little"))


def _serve() -> None:
    load()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(asdict(run_forked(json.loads(line)))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
