"""What `mlvc run` finds out about a command that has ended: pins that were not in force, files that nobody declared."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence

from mlvc.errors import MlvcError
from mlvc.model.ids import TreeId
from mlvc.model.names import decode_name
from mlvc.model.objects import Environment, Run
from mlvc.model.tree import Kind
from mlvc.ports import ObjectReader
from mlvc.repo import Repo
from mlvc.repro.observed import Known
from mlvc.repro.pins import IGNORED, OVERRIDDEN, PinIgnoredError, judge
from mlvc.repro.trace import Trace
from mlvc.verbs.run import Prepared

__all__ = ["UndeclaredInputsError", "effective", "refusals", "refuse", "uses_gpu", "warn", "what_is_known"]

_MOST_LISTED = 10


class UndeclaredInputsError(MlvcError):
    """A command read files that nobody declared, and was run with `--strict-inputs`."""

    code = "undeclared-inputs"


def what_is_known(repo: Repo, prepared: Prepared) -> Known:
    """Returns what explains the files that a command opened."""
    home = repo.environment.get("HOME")
    return Known(
        project=os.fsencode(os.path.realpath(repo.root)),
        homes=[os.fsencode(name) for name in (home, os.path.realpath(home))] if home else [],
        declared=[
            *(entry.path for entry in prepared.run.inputs),
            *prepared.output_paths,
            *repo.read_lock().entries,
        ],
        code=frozenset(_code_files(repo.store, prepared.run)),
        environment=_environment_directories(prepared.environment),
        own=[os.fsencode(repo.common_dir)],
    )


def effective(trace: Trace, run: Run) -> dict[str, str]:
    """Returns what was in force in the main process, and under `pins` what became of each pin in any of them.

    Variables that the caller set are judged too: that a library ignores one is worth knowing.
    """
    judged = judge({**run.variables, **run.pins}, trace.reports)
    return {**trace.effective, **({"pins": json.dumps(judged, sort_keys=True)} if judged else {})}


def uses_gpu(trace: Trace) -> bool:
    """Returns whether a process had loaded the library of a GPU's driver."""
    return any(os.path.basename(path).startswith(b"libcuda.so") for path in trace.libraries)


def refusals(run: Run, *, strict_inputs: bool) -> Sequence[MlvcError]:
    """Returns why a command that ended well is recorded as failed all the same; usually nothing."""
    found: list[MlvcError] = []
    ignored = {name: why for name, why in _judged(run, IGNORED).items() if name in run.pins}
    if ignored:
        listed = "\n".join(f"  {name}={run.pins[name]}: {why}" for name, why in ignored.items())
        found.append(
            PinIgnoredError(
                f"the profile {run.profile} was not in force, so the run is recorded as failed:\n{listed}",
                hint="set the variable to what holds with --env NAME=VALUE, or use another profile",
            )
        )
    if strict_inputs and run.observed.undeclared:
        found.append(
            UndeclaredInputsError(
                "the command read files that are not declared, so the run is recorded as failed:\n"
                + _declarations(run),
                hint="declare them with -i, track them, or commit them",
            )
        )
    return found


def refuse(run: Run, *, strict_inputs: bool) -> None:
    """Raises the first of `refusals`, if there is one."""
    for error in refusals(run, strict_inputs=strict_inputs):
        raise error


def warn(repo: Repo, run: Run) -> None:
    """Tells what makes the record less than it could be."""
    for entry in run.changed_inputs:
        repo.reporter.warn(f"the input {entry.name} changed while the command ran")
    for name in run.missing_outputs:
        repo.reporter.warn(f"the command did not write the output {name}")
    if run.observed.undeclared:
        repo.reporter.warn(
            f"read but not declared, so a reproduction will not have them:\n{_declarations(run)}"
        )
    asked = {**run.variables, **run.pins}
    for name, why in _judged(run, OVERRIDDEN).items():
        repo.reporter.warn(f"the command did not keep {name}={asked[name]}: {why}")
    for name, why in _judged(run, IGNORED).items():
        # A pin that was ignored is an error, unless the command failed anyway.
        if run.exit_code != 0 or name not in run.pins:
            repo.reporter.warn(f"{name}={asked[name]} was not in force: {why}")
    if run.unstable_outputs:
        listed = "\n".join(f"  {name}" for name in run.unstable_outputs[:_MOST_LISTED])
        repo.reporter.warn(f"executed again, the command did not make the same bytes:\n{listed}")
    if run.code.omitted:
        names = "\n".join(f"  {item.replace(chr(9), ': ')}" for item in run.code.omitted[:_MOST_LISTED])
        repo.reporter.note(f"untracked files left out of the recorded code:\n{names}")


def _judged(run: Run, state: str) -> dict[str, str]:
    """Returns the pins and variables in a state, each with why."""
    judged: dict[str, str] = json.loads(run.effective.get("pins", "{}"))
    return {
        name: verdict.partition(": ")[2]
        for name, verdict in judged.items()
        if verdict.partition(":")[0] == state
    }


def _declarations(run: Run) -> str:
    """Returns the option that declares each undeclared file, or for one outside what else to do."""
    lines = [
        f"  {name}  (outside the repository: bring it in first)" if name.startswith("/") else f"  -i {name}"
        for name in run.observed.undeclared[:_MOST_LISTED]
    ]
    more = len(run.observed.undeclared) - _MOST_LISTED
    return "\n".join([*lines, *([f"  and {more} more"] if more > 0 else [])])


def _code_files(reader: ObjectReader, run: Run) -> Iterator[bytes]:
    pending = [(b"", run.code.tree)]
    while pending:
        prefix, tree = pending.pop()
        for entry in reader.read_tree(tree):
            if entry.kind is Kind.DIRECTORY:
                pending.append((prefix + entry.name + b"/", TreeId(entry.id.digest)))
            else:
                yield prefix + entry.name


def _environment_directories(environment: Environment | None) -> tuple[bytes, ...]:
    if environment is None:
        return ()
    interpreter = environment.interpreter
    return (decode_name(interpreter.prefix), decode_name(interpreter.base_prefix))
