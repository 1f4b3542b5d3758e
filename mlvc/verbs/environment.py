"""`mlvc env lock|show|diff|sync`: capture the environment, list it, name the drift, rebuild it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mlvc.env.drift import Drift, compare
from mlvc.env.probe import find_interpreter
from mlvc.env.rebuild import sync
from mlvc.env.resolve import Unresolved, resolve_public
from mlvc.errors import NotFoundError
from mlvc.model.ids import EnvironmentId
from mlvc.model.names import encode_name
from mlvc.model.objects import Environment, Run
from mlvc.repo import Repo
from mlvc.verbs.captured import capture_environment
from mlvc.verbs.target import resolve_target

__all__ = [
    "EnvDiffResult",
    "EnvLockResult",
    "EnvShowResult",
    "EnvSyncResult",
    "diff",
    "lock",
    "show",
    "synchronise",
]


class NoEnvironmentError(NotFoundError):
    """Nothing was captured yet, or no interpreter was found."""

    code = "no-environment"


@dataclass(frozen=True, slots=True)
class EnvLockResult:
    """What was captured.

    Attributes:
        id: Of the environment.
        environment: The environment.
        changed: Whether the lock named another one before.
        unresolved: With `resolve`, the distributions without a public wheel that agrees file by file.
    """

    id: EnvironmentId
    environment: Environment
    changed: bool
    unresolved: tuple[Unresolved, ...] = ()


@dataclass(frozen=True, slots=True)
class EnvShowResult:
    """One stored environment."""

    id: EnvironmentId
    environment: Environment


@dataclass(frozen=True, slots=True)
class EnvDiffResult:
    """How the present environment differs from the locked one."""

    recorded: EnvironmentId
    drift: Drift


@dataclass(frozen=True, slots=True)
class EnvSyncResult:
    """Where the environment was rebuilt."""

    id: EnvironmentId
    directory: Path


def lock(repo: Repo, *, resolve: bool = False) -> EnvLockResult:
    """Captures the project's environment, stores its wheels, and names it in `mlvc.lock`.

    Args:
        repo: The repository.
        resolve: Whether to look up the public wheel of each distribution, which needs the network.

    Raises:
        NoEnvironmentError: There is no interpreter.
    """
    python = _interpreter(repo)
    unresolved: tuple[Unresolved, ...] = ()
    with repo.editing():
        with repo.store.writer() as writer:
            environment = capture_environment(repo, python, writer)
            if resolve:
                writer.flush()
                resolution = resolve_public(environment, reader=repo.store, reporter=repo.reporter)
                environment, unresolved = resolution.environment, resolution.unresolved
                writer.add_object(environment)
        before = repo.read_lock()
        environment_id = environment.id
        if before.environment != environment_id:
            repo.write_lock(before._replace(environment=environment_id))
    return EnvLockResult(environment_id, environment, before.environment != environment_id, unresolved)


def show(repo: Repo, target: str | None = None) -> EnvShowResult:
    """Returns the environment of a run, commit, revision or environment id; by default the lock's.

    Raises:
        NoEnvironmentError: The target names none.
    """
    environment_id = _environment_id(repo, target)
    value = repo.store.read_object(environment_id)
    if not isinstance(value, Environment):
        raise NoEnvironmentError(f"{environment_id} is no environment")
    return EnvShowResult(environment_id, value)


def diff(repo: Repo, target: str | None = None) -> EnvDiffResult:
    """Compares the environment that is installed now with a recorded one, by default the lock's."""
    recorded = show(repo, target)
    with repo.store.writer() as writer:
        present = capture_environment(repo, _interpreter(repo), writer)
    return EnvDiffResult(recorded.id, compare(recorded.environment, present))


def synchronise(repo: Repo, directory: Path, target: str | None = None) -> EnvSyncResult:
    """Rebuilds a recorded environment as a virtual environment in `directory`, from stored wheels alone."""
    recorded = show(repo, target)
    sync(recorded.environment, directory, reader=repo.store, project=repo.root, reporter=repo.reporter)
    return EnvSyncResult(recorded.id, directory)


def _interpreter(repo: Repo) -> Path:
    python = find_interpreter(
        configured=repo.config.env_python,
        virtual_env=repo.environment.get("VIRTUAL_ENV"),
        project=repo.root,
        path=repo.environment.get("PATH", os.defpath),
    )
    if python is None:
        raise NoEnvironmentError(
            f"no Python was found for {encode_name(os.fsencode(repo.root))}",
            hint="make a virtual environment in .venv, or set env.python in your own configuration",
        )
    return python


def _environment_id(repo: Repo, target: str | None) -> EnvironmentId:
    if target is None:
        environment_id = repo.read_lock().environment
        if environment_id is None:
            raise NoEnvironmentError("mlvc.lock names no environment", hint="run `mlvc env lock`")
        return environment_id
    found = resolve_target(repo, target)
    if isinstance(found, Environment):
        return found.id
    if isinstance(found, Run) and found.environment is not None:
        return found.environment
    environment_id = getattr(found, "environment", None)
    if environment_id is None:
        raise NoEnvironmentError(f"{target} has no environment")
    return EnvironmentId(environment_id.digest)
