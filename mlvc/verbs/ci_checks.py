"""What `mlvc ci` asks before it executes anything: the lock, its records, and whether environments can be installed."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from shlex import quote

from mlvc.env.distributions import normalise
from mlvc.errors import FormatError, NotFoundError, VersionError
from mlvc.model.ids import EnvironmentId, RunId
from mlvc.model.lock import Lock, LockConflictError
from mlvc.model.names import decode_name, encode_name
from mlvc.model.objects import Environment, Run
from mlvc.repo import LOCK_NAME, SETTINGS_NAME, Repo
from mlvc.repro.host import host_facts

__all__ = ["Check", "Problem", "check_environments", "check_lock", "check_records"]

_SYSTEM_PYTHON = "/usr/"
_OURS = (LOCK_NAME, SETTINGS_NAME)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the answer of a check is no.

    Attributes:
        kind: In kebab-case.
        message: A sentence that names the thing.
        fix: The next step; None where nobody knows one.
    """

    kind: str
    message: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One question of `mlvc ci`; the answer is yes where there is no problem."""

    name: str
    problems: tuple[Problem, ...]
    detail: str = ""


def check_lock(repo: Repo) -> tuple[Check, Lock | None]:
    """Tells whether lock and work tree are what HEAD has, and whether git and mlvc track different files.

    Needs no record and no remote. Data that is not here is no problem, as in every fresh clone; data that is here and
    differs from the lock is one.

    Returns:
        The answer, and the lock; None where it cannot be read.
    """
    try:
        lock = repo.read_lock()
    except (LockConflictError, FormatError, VersionError) as exc:
        return Check("lock", (Problem(exc.code, exc.message, exc.hint),)), None
    return Check("lock", tuple(_lock_problems(repo, lock)), f"{len(lock.entries)} tracked"), lock


def _lock_problems(repo: Repo, lock: Lock) -> Iterator[Problem]:
    head = repo.code.head_sha()
    if head is None:
        yield Problem("uncommitted", "there is no commit yet", "mlvc commit -m MSG")
        return
    if repo.code.read_file(head, LOCK_NAME) is None:
        yield Problem(
            "uncommitted", "HEAD has no mlvc.lock", "git add mlvc.lock mlvc.toml && mlvc commit -m MSG"
        )
    elif lock != repo.lock_at(head):
        yield Problem("uncommitted", "mlvc.lock is not what HEAD has", "mlvc commit -m MSG")
    changed = set(repo.code.changed_files()) - set(repo.code.untracked_files())
    for path in sorted(changed.difference(_OURS)):
        name = encode_name(path)
        yield Problem(
            "uncommitted", f"{name} is not what HEAD has", f"git add {quote(name)} && mlvc commit -m MSG"
        )
    for path, entry in sorted(lock.entries.items()):
        if repo.code.tracked_below(path):
            yield Problem(
                "tracked-twice",
                f"git tracks files of {entry.name}, which mlvc.lock tracks",
                f"git rm -r --cached {quote(entry.name)}",
            )
        if repo.worktree.exists(path):
            # A directory may be here in part, as after `mlvc pull PATH`: only what is here can differ.
            for change in repo.worktree.differences(entry):
                if change.change != "deleted":
                    yield Problem(
                        "unsaved",
                        f"{change.name} differs from mlvc.lock",
                        f"mlvc add {quote(entry.name)}, or mlvc checkout --force -- {quote(entry.name)}",
                    )


def check_records(repo: Repo, lock: Lock) -> tuple[Check, Mapping[RunId, Run]]:
    """Tells whether each line of the lock that names a run is what the record of that run says.

    Returns:
        The answer, and the runs whose records are here.
    """
    problems: list[Problem] = []
    runs: dict[RunId, Run] = {}
    for entry in lock.entries.values():
        if entry.run is None:
            continue
        again = f"record it again: mlvc run -o {quote(entry.name)} -- CMD"
        run = runs.get(entry.run)
        if run is None:
            try:
                found = repo.store.read_object(entry.run)
            except NotFoundError:
                message = f"the run {entry.run.short} that made {entry.name} is recorded nowhere"
                problems.append(Problem("not-recorded", message, "mlvc push, in the clone that made it"))
                continue
            if not isinstance(found, Run):
                continue
            run = runs[entry.run] = found
        made = {output.path: output.id for output in run.outputs}
        if made.get(entry.path) != entry.id:
            message = (
                f"mlvc.lock says that the run {entry.run.short} made {entry.name}, and its record does not"
            )
            problems.append(Problem("not-its-output", message, again))
        elif run.status != "finished":
            message = f"the run {entry.run.short} that made {entry.name} {run.status}"
            problems.append(Problem("not-finished", message, again))
    return Check("records", tuple(problems), f"{len(runs)} recorded"), runs


def check_environments(repo: Repo, wanted: Iterable[EnvironmentId]) -> Check:
    """Tells whether environments could be installed on a machine like this; asks their records, not their wheels.

    That the wheels are on the remote is another question. What the engine's base or sandbox lacks shows in the
    preflight of a reproduction, which takes the engine.
    """
    machine = host_facts()["machine"]
    problems: dict[Problem, None] = {}
    count = 0
    for environment_id in dict.fromkeys(wanted):
        try:
            found = repo.store.read_object(environment_id)
        except NotFoundError:
            message = f"the environment {environment_id.short} is recorded nowhere"
            problems[Problem("not-recorded", message, "mlvc env lock, then mlvc push")] = None
            continue
        if isinstance(found, Environment):
            count += 1
            problems |= dict.fromkeys(_environment_problems(found, machine))
    return Check("environment", tuple(problems), f"{count} recorded")


def _environment_problems(environment: Environment, machine: str) -> Iterator[Problem]:
    recorded = environment.platform.get("machine", machine)
    if recorded != machine:
        yield Problem(
            "other-platform",
            f"the environment was captured on {recorded}, and this machine is {machine}",
            f"a runner with {recorded}",
        )
    interpreter = environment.interpreter
    if interpreter.tree is None and not _is_system(interpreter.real_executable):
        yield Problem(
            "no-interpreter",
            f"Python {interpreter.version} was captured without its files, from {interpreter.real_executable}",
            "mlvc env lock",
        )
    seen: dict[str, str] = {}
    for item in environment.distributions:
        again = f"pip install --force-reinstall {quote(f'{item.name}=={item.version}')} && mlvc env lock"
        name = normalise(item.name)
        if name in seen:
            message = f"{item.name} is installed twice: {seen[name]} and {item.version}"
            yield Problem("installed-twice", message, again)
        seen[name] = item.version
        if item.editable is None:
            if item.wheel is None:
                message = f"{item.name} {item.version} was captured without a wheel"
                yield Problem("no-wheel", message, again)
        elif posixpath.isabs(decode_name(item.editable)) and item.editable_tree is None:
            message = (
                f"{item.name} {item.version} is an editable install of {item.editable}, which is not recorded"
            )
            yield Problem("no-wheel", message, f"pip install {quote(item.editable)} && mlvc env lock")


def _is_system(executable: str) -> bool:
    return executable.startswith(_SYSTEM_PYTHON)
