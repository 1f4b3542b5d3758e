"""A CI service's machines in containers: a fresh image with this machine's Python and git, and nothing of mlvc."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from tests.support.engine import TOOL, EngineError
from tests.support.runner import BASH, Machine

__all__ = ["ContainedMachine", "make_runner_image", "started"]

RUNNER_IMAGE = "mlvc-runner:local"
# What git and an encrypted connection need besides programs; those that the machine lacks are left out.
_TREES = ("/usr/share/git-core", "/etc/ssl", "/usr/lib/ssl", "/usr/share/ca-certificates", "/etc/pki")


def make_runner_image() -> str:
    """Returns the name of an image like a CI service's, made of this machine's own files where it is not up to date.

    Raises:
        EngineError: the engine refuses it.
    """
    git = subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True).stdout.strip()
    options: list[str] = ["--program", "/usr/bin/git"]
    for tree in (git, *_TREES):
        options += ["--tree", tree]
    command = [sys.executable, str(TOOL), "build-base", RUNNER_IMAGE, *options]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise EngineError(f"the runner's image could not be made: {built.stderr.strip()}")
    return RUNNER_IMAGE


@contextlib.contextmanager
def started(image: str, folders: Sequence[Path], settings: Mapping[str, Any]) -> Iterator[Any]:
    """Starts a fresh container with this machine's network; at the end it is removed with all that is in it.

    Args:
        image: What it starts from.
        folders: Of this machine, at the same paths in there.
        settings: More of how the engine is to run it, as its API names that.
    """
    client = docker.from_env()
    try:
        host = client.api.create_host_config(
            binds=[f"{folder}:{folder}" for folder in folders], network_mode="host", init=True
        )
        made = client.api.create_container(
            image, ["sleep", "600"], user=f"{os.getuid()}:{os.getgid()}", host_config={**host, **settings}
        )
        container = client.containers.get(made["Id"])
        try:
            container.start()
            yield container
        finally:
            container.remove(force=True)
    finally:
        client.close()


@dataclass(frozen=True)
class ContainedMachine(Machine):
    """A machine whose steps run in a container, and whose actions run beside it, as those of a runner do.

    Attributes:
        container: Where they run; it sees `folder` and `origin` at the same paths.
    """

    container: Any = None

    def shell(
        self, script: str, variables: Mapping[str, str], cwd: Path, bash: Sequence[str] = BASH
    ) -> tuple[int, str]:
        """Runs a script from a file in the container and returns its exit status and what it printed."""
        file = self.folder / "step.sh"
        file.write_text(script + "\n")
        done = self.container.exec_run(
            [*bash, str(file)], environment={**self.variables, **variables}, workdir=str(cwd)
        )
        return done.exit_code, done.output.decode("utf-8", "replace")
