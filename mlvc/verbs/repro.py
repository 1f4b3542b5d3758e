"""`mlvc repro`: rebuilds the closure of recorded runs in an empty place, executes them again, and compares."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlvc.engines.bubblewrap import BubblewrapEngine
from mlvc.engines.docker import DockerEngine
from mlvc.engines.errors import BaseMissingError, EngineUnavailableError
from mlvc.engines.host import HostEngine
from mlvc.errors import MlvcError, UsageError
from mlvc.model.ids import VerdictId
from mlvc.model.objects import VERDICTS, Base, Environment, Run, Verdict
from mlvc.ports import Engine, LogSink
from mlvc.repo import Repo
from mlvc.repro.execute import reproduce as reproduce_run
from mlvc.verbs.target import runs_of_target

__all__ = ["Reproduced", "ReproOptions", "ReproResult", "choose_engine", "reproduce"]


@dataclass(frozen=True, slots=True)
class ReproOptions:
    """What the user asked for.

    Attributes:
        targets: Runs, commits, revisions or tracked paths; empty for the runs that made what the lock tracks.
        engine: `auto`, `docker`, `bubblewrap` or `none`.
        times: How often each run is executed.
        diagnose: Whether to look for causes where a run is not identical.
    """

    targets: tuple[str, ...] = ()
    engine: str = "auto"
    times: int = 1
    diagnose: bool = True


@dataclass(frozen=True, slots=True)
class Reproduced:
    """One reproduction of one run."""

    run: Run
    verdict_id: VerdictId
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ReproResult:
    """All of them.

    Attributes:
        verdict: The worst.
        runs: One for each run and repetition, in the order of execution.
    """

    verdict: str
    runs: tuple[Reproduced, ...]


def reproduce(repo: Repo, options: ReproOptions, log: LogSink) -> ReproResult:
    """Executes each run again, stores a verdict for each, and returns them.

    Raises:
        TargetMissingError: A target is unknown or no run made it.
        EngineUnavailableError: Nothing here can isolate the command.
        MlvcError: A run cannot be started here: a missing object, no base image, too few CPUs, no wheel.
    """
    if options.times < 1:
        raise UsageError("--times must be at least 1")
    targets: tuple[str | None, ...] = options.targets or (None,)
    runs = {run.id: run for target in targets for run in runs_of_target(repo, target)}
    reproduced = []
    for run in runs.values():
        engine, base = choose_engine(repo, options.engine, run)
        for _ in range(options.times):
            reproduced.append(_reproduce_once(repo, run, engine, base, log, diagnose=options.diagnose))
    worst = max((item.verdict.verdict for item in reproduced), key=VERDICTS.index)
    return ReproResult(worst, tuple(reproduced))


def choose_engine(repo: Repo, wanted: str, run: Run) -> tuple[Engine, Base | None]:
    """Returns the engine and, for Docker, the image.

    `auto` takes Docker only if it answers and the image is local or can be pulled, otherwise bubblewrap, and says
    which in one line.

    Raises:
        EngineUnavailableError: What was asked for does not work here.
        BaseMissingError: Docker was asked for by name and has no base image.
    """
    docker = DockerEngine(url=repo.environment.get("DOCKER_HOST"))
    match wanted:
        case "none":
            repo.reporter.warn("the engine `none` isolates nothing; the verdict says so")
            return HostEngine(), None
        case "docker":
            _require(docker)
            return docker, docker.resolve_base(_base_reference(repo, run))
        case "bubblewrap":
            bubblewrap = BubblewrapEngine()
            _require(bubblewrap)
            return bubblewrap, None
        case "auto":
            return _choose_automatically(repo, docker, run)
        case _:
            raise UsageError(f"unknown engine {wanted!r}", hint="one of auto, docker, bubblewrap, none")


def _choose_automatically(repo: Repo, docker: Engine, run: Run) -> tuple[Engine, Base | None]:
    why_not = docker.check()
    if why_not is None:
        reference = _base_reference(repo, run)
        try:
            base = docker.resolve_base(reference)
        except BaseMissingError as exc:
            why_not = exc.message
        else:
            repo.reporter.note(f"engine: docker, on {reference}")
            return docker, base
    bubblewrap = BubblewrapEngine()
    refusal = bubblewrap.check()
    if refusal is not None:
        raise EngineUnavailableError(
            f"nothing here can isolate the command; docker: {why_not}; bubblewrap: {refusal}",
            hint="start a Docker engine, or allow user namespaces; --engine none runs it without isolation",
        )
    repo.reporter.note(f"engine: bubblewrap, on this system's own files ({why_not})")
    return bubblewrap, None


def _require(engine: Engine) -> None:
    why_not = engine.check()
    if why_not is not None:
        raise EngineUnavailableError(f"the engine {engine.name} does not work here: {why_not}")


def _base_reference(repo: Repo, run: Run) -> str:
    if run.base is not None:
        return run.base.digest or run.base.image_id
    if repo.config.image_base is not None:
        return repo.config.image_base
    environment = _environment(repo, run)
    version = "3" if environment is None else ".".join(environment.interpreter.version.split(".")[:2])
    return f"python:{version}-slim"


def _environment(repo: Repo, run: Run) -> Environment | None:
    if run.environment is None:
        return None
    value = repo.store.read_object(run.environment)
    if not isinstance(value, Environment):
        raise NotFoundError(f"{run.environment} is no environment")
    return value
