"""Plays the machines of GitHub Actions and GitLab CI: runs a job's shell steps as they do, and nothing else.

What an action does is played by its name: checkout, setup-python, cache and upload-artifact. A step, an expression or
a key that is not known here is an error, so that nothing in a template is passed over.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from tests.support.command import ROOT

__all__ = ["BASH", "Done", "Machine", "run_github", "run_gitlab", "run_shell"]

LOCAL_ACTION = "./hooks"
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_PINNED = re.compile(r"actions/([a-z-]+(?:/[a-z]+)?)@[0-9a-f]{40}")
_STEP_KEYS = {"name", "if", "uses", "with", "run", "shell", "env"}
# What GitHub makes of `shell: bash`, and near enough to what GitLab's runner does.
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")


@dataclass(frozen=True)
class Machine:
    """A machine with Python and git, on which a job begins in an empty directory.

    Attributes:
        folder: Where the job works and leaves its artifacts.
        origin: The repository that it is about.
        variables: The environment of every step.
        secrets: What `secrets.NAME` stands for.
        cache: A directory that outlives the machine.
        base: The branch that a pull request goes to; empty for a push.
    """

    folder: Path
    origin: Path
    variables: Mapping[str, str]
    cache: Path
    secrets: Mapping[str, str] = field(default_factory=dict)
    base: str = ""

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def check_out(self) -> None:
        """Brings the whole history, and one commit on no branch, as both systems do with a depth of 0."""
        self.workspace.mkdir(parents=True)
        for arguments in (
            ["init", "--quiet"],
            ["remote", "add", "origin", self.origin.as_uri()],
            ["fetch", "--quiet", "origin", "+refs/heads/*:refs/remotes/origin/*", "HEAD"],
            ["-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", self.head()],
        ):
            subprocess.run(["git", *arguments], cwd=self.workspace, check=True)

    def head(self) -> str:
        command = ["git", "rev-parse", "HEAD"]
        return subprocess.run(
            command, cwd=self.origin, check=True, capture_output=True, text=True
        ).stdout.strip()

    def restore(self, paths: Sequence[str], keys: Sequence[str]) -> None:
        """Brings the newest cache whose key begins with the first of `keys` for which there is one."""
        kept = sorted(self.cache.glob("*"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        found = [folder for key in keys for folder in kept if folder.name.startswith(key)]
        for number, path in enumerate(paths if found else ()):
            if (found[0] / str(number)).exists():
                shutil.copytree(found[0] / str(number), self.workspace / path, symlinks=True)

    def keep(self, paths: Sequence[str], key: str) -> None:
        """Keeps what is at `paths`; a key that is there already stays as it is."""
        folder = self.cache / key
        if folder.exists():
            return
        folder.mkdir(parents=True)
        for number, path in enumerate(paths):
            # What a job had no need to make is not there.
            if (self.workspace / path).exists():
                shutil.copytree(self.workspace / path, folder / str(number), symlinks=True)

    def upload(self, paths: Sequence[str]) -> None:
        self.artifacts.mkdir(exist_ok=True)
        for path in paths:
            if (self.workspace / path).exists():
                shutil.copy(self.workspace / path, self.artifacts / path)

    def shell(
        self, script: str, variables: Mapping[str, str], cwd: Path, bash: Sequence[str] = BASH
    ) -> tuple[int, str]:
        """Runs a script from a file and returns its exit status and what it printed."""
        file = self.folder / "step.sh"
        file.write_text(script + "\n")
        done = subprocess.run(
            [*bash, file],
            cwd=cwd,
            env={**self.variables, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout


@dataclass
class Done:
    """How a job ended.

    Attributes:
        statuses: The exit status of each shell step that ran, by its name.
        log: What all of them printed.
        summary: What the job wrote into its summary.
    """

    statuses: dict[str, int] = field(default_factory=dict)
    log: str = ""
    summary: str = ""

    @property
    def status(self) -> int:
        """The first that is not 0; that one decides about the job."""
        return next((status for status in self.statuses.values() if status), 0)


def run_shell(machine: Machine, script: str, variables: Mapping[str, str]) -> Done:
    """Runs a script in an empty directory; it brings the repository itself, into `project`."""
    machine.folder.mkdir(parents=True, exist_ok=True)
    status, log = machine.shell(script, variables, machine.folder, ["bash"])
    return Done({"script": status}, log)


def run_gitlab(machine: Machine, template: Mapping[str, Any]) -> Done:
    """Runs the one job of a template: `before_script` and `script` in one shell, which ends at the first failure."""
    ((_, job),) = template.items()
    assert {"image", "timeout", "rules", "variables", "cache", "before_script", "script", "artifacts"} == set(
        job
    )
    assert "0" == job["variables"]["GIT_DEPTH"]
    machine.check_out()
    paths, key = job["cache"]["paths"], job["cache"]["key"]["prefix"]
    machine.restore(paths, [key])
    script = "\n".join([*job["before_script"], *job["script"]])
    done = Done()
    status, done.log = machine.shell(script, {"GITLAB_CI": "true", **job["variables"]}, machine.workspace)
    done.statuses["script"] = status
    assert "always" == job["artifacts"]["when"] == job["cache"]["when"]
    # This system writes over the cache that it has.
    shutil.rmtree(machine.cache / key, ignore_errors=True)
    machine.keep(paths, key)
    machine.upload([*job["artifacts"]["paths"], *job["artifacts"]["reports"].values()])
    return done


def run_github(machine: Machine, workflow: Mapping[str, Any]) -> Done:
    """Runs the one job of a workflow, step by step; after a failure only the steps that say `always()`."""
    ((_, job),) = workflow["jobs"].items()
    assert {"runs-on", "timeout-minutes", "env", "steps"} == set(job)
    assert {"run": {"shell": "bash"}} == workflow["defaults"]
    summary = machine.folder / "summary"
    summary.parent.mkdir(parents=True, exist_ok=True)
    summary.touch()
    given = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(machine.workspace),
        "GITHUB_STEP_SUMMARY": str(summary),
        **{name: _expand(machine, value) for name, value in job["env"].items()},
    }
    done = Done()
    _run_steps(machine, job["steps"], given, {}, done)
    done.summary = summary.read_text()
    return done


def _run_steps(
    machine: Machine,
    steps: Sequence[Mapping[str, Any]],
    given: Mapping[str, str],
    inputs: Mapping[str, str],
    done: Done,
) -> None:
    """Runs steps in order; after a failure only those that say `always()`. `./` is the composite action of mlvc."""
    for step in steps:
        assert set(step) <= _STEP_KEYS, step
        assert step.get("if") in {None, "always()"}
        if done.status and "if" not in step:
            continue
        if "run" in step:
            own = {name: _expand(machine, value, inputs) for name, value in step.get("env", {}).items()}
            script = _expand(machine, step["run"], inputs)
            status, log = machine.shell(script, {**given, **own}, machine.workspace)
            done.statuses[step["name"]] = status
            done.log += log
            continue
        options = step.get("with", {})
        if step["uses"] == LOCAL_ACTION:
            _run_action(machine, options, given, done)
            continue
        match = _PINNED.fullmatch(step["uses"])
        assert match, f"not pinned by commit: {step['uses']}"
        match match[1]:
            case "checkout":
                assert 0 == options["fetch-depth"]
                machine.check_out()
            case "setup-python":
                assert "PATH" in machine.variables
            case "cache/restore":
                keys = [options["key"], *options["restore-keys"].splitlines()]
                machine.restore(options["path"].split(), [_expand(machine, key, inputs) for key in keys])
            case "cache/save":
                assert "always()" == step["if"]
                machine.keep(options["path"].split(), _expand(machine, options["key"], inputs))
            case "upload-artifact":
                machine.upload(options["path"].split())
            case name:
                raise AssertionError(f"this machine has no action {name}")


def _run_action(machine: Machine, options: Mapping[str, str], given: Mapping[str, str], done: Done) -> None:
    """Runs the composite action of `hooks/`."""
    action = yaml.safe_load((ROOT / "hooks" / "action.yml").read_text())
    assert "composite" == action["runs"]["using"]
    assert set(options) <= set(action["inputs"])
    steps = action["runs"]["steps"]
    # GitHub refuses a composite step that names no shell.
    assert all(("run" in step) == (step.get("shell") == "bash") for step in steps)
    inputs = {name: item["default"] for name, item in action["inputs"].items()}
    inputs |= {name: _expand(machine, value) for name, value in options.items()}
    _run_steps(machine, steps, {**given, "GITHUB_ACTION_PATH": str(ROOT / "hooks")}, inputs, done)


def _expand(machine: Machine, text: str, inputs: Mapping[str, str] = MappingProxyType({})) -> str:
    def value(match: re.Match[str]) -> str:
        known = {
            "runner.os": "Linux",
            "runner.arch": "X64",
            "github.base_ref": machine.base,
            **{f"inputs.{name}": value for name, value in inputs.items()},
            **{f"secrets.{name}": secret for name, secret in machine.secrets.items()},
        }
        hashed = re.fullmatch(r"hashFiles\('([\w./*]+)'\)", match[1])
        if hashed:
            digest = hashlib.sha256()
            for path in sorted(machine.workspace.glob(hashed[1])):
                digest.update(hashlib.sha256(path.read_bytes()).digest())
            return digest.hexdigest()
        return known[match[1]]

    return _EXPRESSION.sub(value, os.fspath(text))
