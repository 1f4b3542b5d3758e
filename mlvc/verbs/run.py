"""`mlvc run`, the first half: captures everything that determines a command's result, before the command starts.

An error here means that the command did not run (exit 125). The second half is `recording.py`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlvc import fsio
from mlvc.engines.host import HostEngine
from mlvc.env.probe import find_interpreter, find_python
from mlvc.errors import MlvcError, UsageError
from mlvc.model.ids import PlanId, RunId
from mlvc.model.lock import TrackedPath
from mlvc.model.names import decode_name, encode_name
from mlvc.model.objects import Environment, Run
from mlvc.ports import Engine, ObjectWriter
from mlvc.repo import Repo
from mlvc.repro.host import host_facts
from mlvc.repro.observed import Inside
from mlvc.repro.profile import digest_rest, pins, refuse_secrets, select_variables, unset
from mlvc.repro.values import read_values
from mlvc.verbs.add import GitTracksError, tracked_parent
from mlvc.verbs.captured import capture_environment
from mlvc.verbs.gpus import find_gpus
from mlvc.verbs.left_out import check_ignores
from mlvc.verbs.numerics import numpy_dispatch
from mlvc.worktree.ignore import add_ignore, ignore_lines

__all__ = ["InputMissingError", "Prepared", "RunOptions", "prepare"]

_KEY_BYTES = 32


class InputMissingError(MlvcError):
    """A declared input does not exist."""

    code = "input-missing"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked for.

    Attributes:
        argv: The command.
        name: What to call the run.
        inputs: Paths as typed, relative to the caller's directory.
        outputs: Likewise.
        params_files: Files to read parameters from, before the command.
        metrics_files: Files to read metrics from, after the command.
        variables: Variables to set and record.
        secrets: Names of the caller's variables to pass on and never record.
        profile: `strict`, `portable` or `none`.
        threads: Number of threads to pin; None for the machine's cores.
        seed: What to seed the generators with; None seeds nothing.
        engine: `none`, `bubblewrap` or `docker`.
        cached: Whether a successful run of the same plan may stand in for this one.
        strict_inputs: Whether a run that read undeclared files counts as failed.
        verify: Whether to execute the command a second time and compare.
    """

    argv: tuple[str, ...]
    name: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    params_files: tuple[str, ...] = ()
    metrics_files: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    profile: str = "strict"
    threads: int | None = None
    seed: int | None = None
    engine: str = "none"
    cached: bool = False
    strict_inputs: bool = False
    verify: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to start.

    Attributes:
        run: What is known before the start, with its plan.
        environment: The captured environment, where the command is a Python.
        output_paths: Repository-relative paths of the declared outputs.
        options: What was asked for.
        ignored: Those of them that `.gitignore` names only because of this run.
        before: What stood at the outputs; it is in the store.
        engine: What executes the command, and for Docker on which image.
        cached: A recorded run whose outputs stand in, if `--cached` found one.
    """

    run: Run
    environment: Environment | None
    output_paths: tuple[bytes, ...]
    options: RunOptions
    ignored: tuple[bytes, ...]
    before: Mapping[bytes, TrackedPath]
    engine: Engine
    cached: Run | None = None


def prepare(repo: Repo, options: RunOptions) -> Prepared:
    """Captures code, inputs and environment, and secures what the command is about to overwrite.

    Raises:
        MlvcError: The run cannot start: a missing input, an output that git tracks, an unreadable file, ...
    """
    if not options.argv:
        raise UsageError("no command was given", hint="mlvc run -i DATA -o MODEL -- python train.py")
    refuse_secrets(options.variables)
    for name in options.secrets:
        if name not in repo.environment:
            raise UsageError(
                f"--secret {name}: there is no such variable", hint=f"set and export {name} first"
            )
    lock = repo.read_lock()
    input_paths = _unique(repo.path_of(argument) for argument in options.inputs)
    output_paths = _unique(repo.path_of(argument) for argument in options.outputs)
    _check_paths(repo, input_paths, output_paths)
    directory = os.fsencode(os.path.realpath(repo.cwd))[
        len(os.fsencode(os.path.realpath(repo.root))) :
    ].lstrip(b"/")
    threads = _threads(options)
    with repo.editing(), repo.store.writer() as writer:
        inputs = tuple(repo.worktree.capture(path, writer) for path in input_paths)
        # Promise 5: what the command may overwrite must be in an object before it starts.
        before = repo.worktree.save_existing(output_paths, writer)
        # Before the code is captured, of which `.gitignore` is a part: the same command again is the same plan.
        ignored = _ignore(repo, output_paths, lock.entries)
        code = repo.code.capture(
            writer,
            untracked=repo.config.code_untracked,
            exclude=[*lock.entries.keys(), *input_paths, *output_paths],
            own_lines=ignore_lines([*lock.entries.keys(), *output_paths]),
        )
        environment = _environment(repo, options.argv[0], writer)
    params = {}
    for name in options.params_files:
        params.update(read_values(repo.cwd / name))
    inputs = tuple(entry._replace(run=_made_by(entry, lock.entries)) for entry in inputs)
    gpus = find_gpus(repo)
    _warn_of_links(repo, options.argv, environment)
    pinned = _pins(repo, options, threads, code.sha, environment)
    run = Run(
        plan=PlanId(bytes(32)),
        argv=tuple(encode_name(os.fsencode(argument)) for argument in options.argv),
        directory=encode_name(directory),
        project=encode_name(os.fsencode(os.path.realpath(repo.root))),
        code=code,
        inputs=inputs,
        # Until the command ends, every declared output counts as missing: the plan needs their names only.
        missing_outputs=tuple(encode_name(path) for path in output_paths),
        environment=None if environment is None else environment.id,
        engine=options.engine,
        variables=select_variables(
            repo.environment, options.variables, pinned=[*pinned, *unset(options.profile)]
        ),
        other_variables=_other_variables(repo, options, pinned),
        secrets=options.secrets,
        profile=options.profile,
        pins=pinned,
        threads=threads if options.profile != "none" else 0,
        seed=options.seed,
        params=params,
        params_files=options.params_files,
        metrics_files=options.metrics_files,
        host={**host_facts(), **gpus.facts()},
        # Until the command ends and says whether it used them.
        gpus=gpus.names,
        name=options.name,
        author=repo.code.author(),
    )
    engine: Engine = HostEngine()
    if options.engine != "none":
        from mlvc.verbs.workshop import choose_engine  # noqa: PLC0415  # 20 ms that others need not pay

        engine, base = choose_engine(repo, options.engine, run)
        run = dataclasses.replace(run, base=base)
    run = run.with_plan()
    cached = _cached(repo, run, output_paths) if options.cached else None
    return Prepared(run, environment, output_paths, options, ignored, before, engine, cached)


def _ignore(
    repo: Repo, output_paths: Sequence[bytes], tracked: Mapping[bytes, TrackedPath]
) -> tuple[bytes, ...]:
    """Makes the directories of the outputs, and git ignore the outputs; returns those that it did not ignore before."""
    check_ignores(repo, [path for path in output_paths if not tracked_parent(path, tracked)])
    for path in output_paths:
        # A reproduction makes them too: git keeps no empty directories.
        (repo.root / os.fsdecode(path)).parent.mkdir(parents=True, exist_ok=True)
    return tuple(
        path for path in output_paths if not tracked_parent(path, tracked) and add_ignore(repo.root, path)
    )


def _cached(repo: Repo, run: Run, output_paths: Sequence[bytes]) -> Run | None:
    """Returns a finished run of the same plan and outputs; None, with a warning, where the index cannot be asked."""
    from mlvc.index.errors import INDEX_ERRORS  # noqa: PLC0415  # loads the index's library, which others need not

    try:
        candidates = repo.index_for_work().runs_by_plan(run.plan, status="finished")
    except INDEX_ERRORS as exc:
        repo.reporter.warn(f"{exc.message}; so the command is executed (see `mlvc index rebuild`)")
        return None
    for candidate_id in candidates:
        if not repo.store.has_object(candidate_id):
            continue  # A colleague's, which is not fetched.
        candidate = repo.store.read_object(candidate_id)
        if isinstance(candidate, Run) and {entry.path for entry in candidate.outputs} == set(output_paths):
            return candidate
    return None


def _environment(repo: Repo, command: str, writer: ObjectWriter) -> Environment | None:
    """Captures the environment of the Python that the command is, or else of the project's virtual environment.

    A shell script calls the Python of the environment that it finds active; a Python that is merely somewhere on the
    PATH is not captured for a command that may never call it.
    """
    python = find_python(
        command, path=repo.environment.get("PATH", os.defpath), directory=repo.cwd
    ) or find_interpreter(
        configured=repo.config.env_python,
        virtual_env=repo.environment.get("VIRTUAL_ENV"),
        project=repo.root,
        path="",
    )
    if python is None:
        return None
    return capture_environment(repo, python, writer)


def _pins(
    repo: Repo, options: RunOptions, threads: int, sha: str | None, environment: Environment | None
) -> dict[str, str]:
    """Returns what the profile pins, without what `--env` sets to something else."""
    asked: dict[str, Collection[str]] = {}
    if options.profile == "portable" and environment is not None:
        asked["numpy_dispatch"] = numpy_dispatch(repo, environment)
    pinned = pins(
        options.profile,
        threads=threads,
        seed=options.seed,
        source_date_epoch=None if sha is None else repo.code.commit_time_s(sha),
        **asked,
    )
    return {name: value for name, value in pinned.items() if name not in options.variables}


def _other_variables(repo: Repo, options: RunOptions, pinned: Mapping[str, str]) -> dict[str, str]:
    if options.engine != "none":
        return {}
    path = repo.common_dir / "variables-key"
    key = fsio.read_if_there(path)
    if key is None:
        key = os.urandom(_KEY_BYTES)
        fsio.atomic_write(path, key)
        path.chmod(0o600)
    recorded = {**select_variables(repo.environment, options.variables), **pinned}
    return digest_rest(repo.environment, [*recorded, *options.secrets], key)


def _warn_of_links(repo: Repo, argv: Sequence[str], environment: Environment | None) -> None:
    """Says which arguments lead into the project by a link, as from a home directory that is one.

    The rebuilt environment stands at the recorded one's path, by whatever name that is known.
    """
    own = () if environment is None else (os.fsdecode(decode_name(environment.interpreter.prefix)) + "/",)
    inside = Inside(os.fsencode(os.path.realpath(repo.root)))
    for argument in argv:
        path = argument if argument.startswith("/") else argument.partition("=")[2]
        there = os.fsdecode(inside(os.fsencode(path))) if path.startswith("/") else path
        if path != there and os.path.lexists(there) and not path.startswith(own):
            repo.reporter.warn(
                f"{path} leads into the project by a link, which a reproduction does not have: write {there}, or a"
                " relative path"
            )


def _threads(options: RunOptions) -> int:
    if options.profile == "none":
        return 0
    if options.threads is not None:
        return options.threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_paths(repo: Repo, inputs: Sequence[bytes], outputs: Sequence[bytes]) -> None:
    for path in inputs:
        if not repo.worktree.exists(path):
            raise InputMissingError(f"the input {encode_name(path)} does not exist")
    for path in outputs:
        if path in inputs:
            raise UsageError(f"{encode_name(path)} is named as input and as output")
        in_git = repo.code.tracked_below(path)
        if in_git:
            raise GitTracksError(path, in_git)


def _made_by(entry: TrackedPath, tracked: Mapping[bytes, TrackedPath]) -> RunId | None:
    known = tracked.get(entry.path)
    return known.run if known is not None and known.id == entry.id else None


def _unique(paths: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(paths))
