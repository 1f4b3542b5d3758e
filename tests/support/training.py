"""A repository in which the frameworks' environment was captured and rebuilt once, for all tests of a session.

A test works in a linked worktree of it, with the same store: the environment takes 1.3 GB, and most of a minute.
"""

import fcntl
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.command import Mlvc

__all__ = ["Training", "confirmed", "make_repository"]


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def make_repository(folder: Path, python: Path) -> Path:
    """Makes the repository at `folder`, where no other process of the tests has done so, and returns it."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            folder.mkdir()
            _git(folder, "init", "--quiet", "--initial-branch=main")
            _git(folder, "config", "user.name", "Test User")
            _git(folder, "config", "user.email", "test@example.org")
            (folder / "train.py").write_text("open('out.txt', 'w').write('made')\n")
            run = Mlvc(cwd=folder)
            run("init")
            run("run", "-o", "out.txt", "--", str(python), "train.py", timeout_s=600)
            run("repro", "out.txt", "--engine", "bubblewrap", timeout_s=600)
            _git(folder, "add", "-A")
            _git(folder, "commit", "--quiet", "-m", "An environment")
    return folder


class Training:
    """A worktree of its own in which a script is recorded and reproduced.

    Attributes:
        folder: The worktree.
        python: The frameworks' interpreter.
        run: Runs mlvc there.
    """

    def __init__(self, repository: Path, folder: Path, python: Path) -> None:
        _git(repository, "worktree", "add", "--quiet", "--detach", os.fspath(folder))
        self.folder, self.python = folder, python
        self.run = Mlvc(cwd=folder)

    def record(
        self,
        script: str,
        *options: str,
        outputs: tuple[str, ...],
        env: Mapping[str, str | None] | None = None,
    ) -> str:
        """Trains, and returns the id of the run."""
        (self.folder / "train.py").write_text(script)
        named = [word for name in outputs for word in ("-o", name)]
        command = (
            "run",
            "--json",
            *named,
            *options,
            "--",
            os.fspath(self.python),
            "-W",
            "ignore",
            "train.py",
        )
        return str(self.run(*command, env=env or {}, timeout_s=600).json()["id"])

    def why(
        self, target: str, *options: str, check: int | bool = 1, env: Mapping[str, str | None] | None = None
    ) -> dict[str, Any]:
        """Reproduces one run and returns what was found out, with all experiments."""
        command = ("repro", target, "--engine", "bubblewrap", "--diagnose", "full", "--json", *options)
        found = self.run(*command, check=check, env=env or {}, timeout_s=900).json()["runs"]
        return dict(found[0])


def confirmed(found: Mapping[str, Any]) -> list[str]:
    """Returns the causes that an experiment showed."""
    return [item["cause"] for item in found["diagnosis"] if item["status"] == "confirmed"]
