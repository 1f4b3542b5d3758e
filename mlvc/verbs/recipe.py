"""What to execute in the place of a recorded run, to find out what makes the difference: the work tree or a run."""

from __future__ import annotations

import dataclasses

from mlvc.env.probe import find_python
from mlvc.errors import UsageError
from mlvc.model.names import decode_name
from mlvc.model.objects import Run
from mlvc.ports import ObjectWriter
from mlvc.repo import Repo
from mlvc.repro.host import host_facts
from mlvc.repro.profile import is_numeric, select_variables
from mlvc.verbs.captured import capture_environment
from mlvc.verbs.target import TargetMissingError, runs_of_target

__all__ = ["WORK", "find_recipe"]

WORK = "work"
"""The name of the work tree as it is, where a run could stand."""


def find_recipe(repo: Repo, run: Run, name: str) -> Run:
    """Returns what makes the outputs of `run` otherwise: with its outputs declared, and everything else as it is there.

    Raises:
        TargetMissingError: There is no such run, or an input is not in the work tree.
        UsageError: The name stands for several runs.
        MlvcError: The work tree or its environment cannot be captured.
    """
    if name == WORK:
        found = _present(repo, run)
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
