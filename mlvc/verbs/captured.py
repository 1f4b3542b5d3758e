"""Captures the environment that is installed now, for every verb that needs it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from mlvc.env.capture import capture
from mlvc.model.ids import EnvironmentId
from mlvc.model.objects import Environment
from mlvc.ports import ObjectWriter
from mlvc.repo import Repo

__all__ = ["capture_environment"]


def capture_environment(repo: Repo, python: Path, writer: ObjectWriter) -> Environment:
    """Stores an interpreter's environment and returns it; an unchanged one costs a look at its files.

    What `env lock --resolve` found out about a wheel is kept as long as the wheel is the same, so that the same
    installation has one id.

    Raises:
        MlvcError: As `capture` raises it.
    """
    environment = capture(
        python,
        project=Path(os.path.realpath(repo.root)),
        reader=repo.store,
        writer=writer,
        cache_dir=repo.common_dir / "cache",
        reporter=repo.reporter,
    )
    captured, locked = environment.id, repo.read_lock().environment
    if locked != captured:
        environment = _with_known_origins(environment, _read(repo, locked))
    elif repo.store.has_object(captured):
        # What the lock names has its origins already, and is not encoded once more to be found stored.
        return environment
    writer.add_object(environment)
    return environment


def _read(repo: Repo, locked: EnvironmentId | None) -> Environment | None:
    if locked is None or not repo.store.has_object(locked):
        return None
    value = repo.store.read_object(locked)
    return value if isinstance(value, Environment) else None


def _with_known_origins(environment: Environment, known: Environment | None) -> Environment:
    if known is None:
        return environment
    resolved = {
        item.wheel: item for item in known.distributions if item.wheel is not None and item.public_url
    }
    return dataclasses.replace(
        environment,
        distributions=tuple(
            dataclasses.replace(
                item,
                public_url=resolved[item.wheel].public_url,
                public_sha256=resolved[item.wheel].public_sha256,
            )
            if item.wheel in resolved
            else item
            for item in environment.distributions
        ),
    )
