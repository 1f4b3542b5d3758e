"""What to execute in the place of a recorded run, to find out what makes the difference: what is here now, or a run."""

from __future__ import annotations

import dataclasses

from mlvc.env.probe import find_python
from mlvc.errors import UsageError
from mlvc.model.ids import EnvironmentId
from mlvc.model.lock import Lock
from mlvc.model.names import decode_name
from mlvc.model.objects import Environment, Run
from mlvc.ports import ObjectWriter
from mlvc.repo import Repo
from mlvc.repro.host import host_facts
from mlvc.repro.profile import is_numeric, select_variables
from mlvc.verbs.captured import capture_environment
from mlvc.verbs.locate import find_entry
from mlvc.verbs.target import TargetMissingError, runs_of_target

__all__ = ["LOCK", "WORK", "find_recipe", "locked_environment"]

WORK = "work"
"""The name of the work tree as it is, where a run could stand."""
LOCK = "lock"
"""The name of the work tree's code with the data and environment of `mlvc.lock`, which need not be in the work tree."""


def find_recipe(repo: Repo, run: Run, name: str) -> Run:
    """Returns what makes the outputs of `run` otherwise: with its outputs declared, and everything else as it is there.

    Raises:
        TargetMissingError: There is no such run, or an input is not there.
        UsageError: The name stands for several runs.
        MlvcError: The work tree or its environment cannot be captured.
    """
    if name == WORK:
        found = _present(repo, run)
    elif name == LOCK:
        found = _locked(repo, run)
    else:
        runs = runs_of_target(repo, name)
        if len(runs) != 1:
            raise UsageError(f"{name} stands for {len(runs)} runs", hint="name one of them by its id")
        found = runs[0]
    return dataclasses.replace(found, outputs=run.outputs, missing_outputs=run.missing_outputs)


def _present(repo: Repo, run: Run) -> Run:
    """Captures the work tree, its inputs and its environment as `mlvc run` would with the recorded command."""
    with repo.store.writer() as writer:
        outputs = [*(entry.path for entry in run.outputs), *map(decode_name, run.missing_outputs)]
        inputs = [entry.path for entry in run.inputs]
        missing = [entry.name for entry in run.inputs if not repo.worktree.exists(entry.path)]
        if missing:
            raise TargetMissingError(
                f"the input {missing[0]} is not in the work tree", hint="bring it: mlvc checkout"
            )
        code = repo.code.capture(
            writer,
            untracked=repo.config.code_untracked,
            exclude=[*repo.read_lock().entries, *inputs, *outputs],
        )
        recipe = dataclasses.replace(
            run,
            code=code,
            inputs=tuple(repo.worktree.capture(path, writer) for path in inputs),
            variables=_variables(repo, run),
            host=host_facts(),
        )
        return _with_environment(repo, recipe, writer)


def _locked(repo: Repo, run: Run) -> Run:
    """Returns the run with the code that git tracks now and the lock's data and environment; all else as recorded."""
    lock = repo.read_lock()
    with repo.store.writer() as writer:
        inputs = []
        for entry in run.inputs:
            found = find_entry(repo.store, lock, entry.path)
            if found is None and not repo.worktree.exists(entry.path):
                raise TargetMissingError(
                    f"the input {entry.name} is neither in mlvc.lock nor in the work tree",
                    hint="track it: `mlvc add`",
                )
            inputs.append(repo.worktree.capture(entry.path, writer) if found is None else found)
        outputs = [*(entry.path for entry in run.outputs), *map(decode_name, run.missing_outputs)]
        code = repo.code.capture(
            writer,
            untracked="none",
            exclude=[*lock.entries, *(entry.path for entry in run.inputs), *outputs],
        )
        environment = locked_environment(repo, lock, run)
        return dataclasses.replace(run, code=code, inputs=tuple(inputs), environment=environment)


def locked_environment(repo: Repo, lock: Lock, run: Run) -> EnvironmentId | None:
    """Returns the lock's environment where it was captured in the place of the run's, else the run's own.

    A project may have several; the lock names the one that was captured last.
    """
    if run.environment is None or lock.environment is None:
        return run.environment
    places = []
    for environment_id in (run.environment, lock.environment):
        found = repo.store.read_object(environment_id)
        places.append(found.interpreter.prefix if isinstance(found, Environment) else None)
    return lock.environment if places[0] == places[1] else run.environment


def _variables(repo: Repo, run: Run) -> dict[str, str]:
    """Returns the numeric variables of the caller, and of the record those that the user declared."""
    declared = {name: value for name, value in run.variables.items() if not is_numeric(name)}
    return select_variables(repo.environment, declared, pinned=run.pins)


def _with_environment(repo: Repo, run: Run, writer: ObjectWriter) -> Run:
    """Captures what is installed now where the recorded interpreter was; keeps the recorded one where nothing is."""
    if run.environment is None:
        return run
    environment = repo.store.read_object(run.environment)
    executable = environment.interpreter.executable  # type: ignore[attr-defined]
    python = find_python(executable, path="", directory=repo.root)
    if python is None:
        repo.reporter.warn(f"there is no {executable} any more, so the recorded environment is used")
        return run
    return dataclasses.replace(run, environment=capture_environment(repo, python, writer).id)
