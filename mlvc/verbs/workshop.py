"""Hands the rooms to a reproduction, and chooses the engine that it runs in."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from mlvc.engines.bubblewrap import BubblewrapEngine
from mlvc.engines.docker import DockerEngine
from mlvc.engines.errors import BaseMissingError, EngineUnavailableError
from mlvc.engines.host import HostEngine
from mlvc.env.rebuild import BuiltEnvironment, build, missing_system_libraries
from mlvc.errors import UsageError
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Base, Environment, Run
from mlvc.ports import Engine, Execution, ObjectWriter
from mlvc.repo import Repo
from mlvc.repro.execute import Workshop
from mlvc.repro.runtime_files import lay_runtime
from mlvc.verbs.comparing import policy_of
from mlvc.verbs.gpus import find_gpus
from mlvc.verbs.numerics import fingerprint
from mlvc.verbs.undeclared import digest_undeclared
from mlvc.worktree.worktree import Worktree

__all__ = ["base_reference", "choose_engine", "find_system_engine", "open_workshop"]


def open_workshop(repo: Repo, writer: ObjectWriter, *, tolerance: float | None = None) -> Workshop:
    """Returns what an isolated execution uses of the repository's rooms.

    Args:
        repo: The repository.
        writer: Where outputs and log go.
        tolerance: A bound for rounding, in place of those of the settings.
    """
    environments = repo.common_dir / "environments"

    def build_environment(
        environment: Environment, engine: Engine, base: Base | None, project: str
    ) -> BuiltEnvironment:
        return build(
            environment,
            reader=repo.store,
            engine=engine,
            base=base,
            directory=environments,
            project=project,
            reporter=repo.reporter,
        )

    def build_trial(
        directory: Path, environment: Environment, engine: Engine, base: Base | None, project: str
    ) -> BuiltEnvironment:
        interpreters = directory / "interpreters"
        if not interpreters.is_symlink():
            (environments / "interpreters").mkdir(parents=True, exist_ok=True)
            interpreters.symlink_to(environments / "interpreters")
        return build(
            environment,
            reader=repo.store,
            engine=engine,
            base=base,
            directory=directory,
            project=project,
            reporter=repo.reporter,
            is_compiled=False,
        )

    def capture_output(project: Path, path: bytes, into: ObjectWriter) -> TrackedPath:
        # A worktree of its own: its stat cache lies beside the throw-away project and goes with it.
        return Worktree(project, project.parent, repo.store, repo.reporter).capture(path, into)

    def capture_present(path: bytes, into: ObjectWriter) -> TrackedPath | None:
        return repo.worktree.capture(path, into) if repo.worktree.exists(path) else None

    def compute_fingerprint(run: Run, engine: Engine, where: Execution) -> Mapping[str, str]:
        environment = None if run.environment is None else repo.store.read_object(run.environment)
        return (
            fingerprint(repo, environment, run, engine, where) if isinstance(environment, Environment) else {}
        )

    return Workshop(
        reader=repo.store,
        writer=writer,
        export=repo.worktree.export,
        capture_output=capture_output,
        build_environment=build_environment,
        missing_libraries=functools.partial(missing_system_libraries, cache_dir=repo.common_dir / "cache"),
        work_dir=repo.common_dir / "tmp",
        runtime=lay_runtime(repo.common_dir / "runtime"),
        clock=repo.clock,
        reporter=repo.reporter,
        policy=policy_of(repo.config, tolerance),
        gpus=find_gpus(repo).names,
        capture_present=capture_present,
        build_trial=build_trial,
        fingerprint=compute_fingerprint,
        digest_present=lambda names: digest_undeclared(names, repo.root),
    )


def find_system_engine() -> Engine | None:
    """Returns an engine that isolates a command on this machine's own system directories, if one works here."""
    engine = BubblewrapEngine()
    return engine if engine.check() is None else None


def choose_engine(repo: Repo, wanted: str, run: Run) -> tuple[Engine, Base | None]:
    """Returns the engine and, for Docker, the image.

    `auto` takes Docker only if it answers and the image is local or can be pulled, otherwise bubblewrap, and says
    which in one line.

    Raises:
        EngineUnavailableError: What was asked for does not work here.
        BaseMissingError: Docker was asked for by name and has no base image.
    """
    docker = DockerEngine(repo.environment.get("DOCKER_HOST"))
    match wanted:
        case "none":
            repo.reporter.warn("the engine `none` isolates nothing; the verdict says so")
            return HostEngine(), None
        case "docker":
            _require(docker)
            return docker, docker.resolve_base(base_reference(repo, run))
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
    in_short = "no Docker engine answers"
    if why_not is None:
        reference = base_reference(repo, run)
        try:
            base = docker.resolve_base(reference)
        except BaseMissingError as exc:
            why_not, in_short = exc.message, f"Docker has no {reference}"
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
    repo.reporter.note(f"engine: bubblewrap, on this system's own files ({in_short})")
    return bubblewrap, None


def _require(engine: Engine) -> None:
    why_not = engine.check()
    if why_not is not None:
        raise EngineUnavailableError(
            f"the engine {engine.name} does not work here: {why_not}",
            hint="--engine auto takes one that does",
        )


def base_reference(repo: Repo, run: Run) -> str:
    """Returns the recorded image, else the one of the settings, else the official one of the recorded Python."""
    if run.base is not None:
        return run.base.digest or run.base.image_id
    if repo.config.image_base is not None:
        return repo.config.image_base
    version = "3"
    if run.environment is not None:
        environment = repo.store.read_object(run.environment)
        if isinstance(environment, Environment):
            version = ".".join(environment.interpreter.version.split(".")[:2])
    return f"python:{version}-slim"
