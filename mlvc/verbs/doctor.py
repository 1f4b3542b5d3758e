"""`mlvc doctor`: what would make the next run hard to repeat, told before it costs hours.

Looks at the work tree, the locked environment and the last run's record; executes nothing of the work tree but git.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from shlex import quote
from typing import TypeVar

from mlvc.code.snapshot import looks_secret
from mlvc.errors import IntegrityError, MlvcError, NotFoundError
from mlvc.model.ids import EnvironmentId, RunId
from mlvc.model.lock import Lock
from mlvc.model.names import encode_name
from mlvc.model.objects import Distribution, Environment, Run
from mlvc.repo import LOCK_NAME, SETTINGS_NAME, Repo
from mlvc.repro.profile import select_variables
from mlvc.verbs.closure import Closure
from mlvc.verbs.determinism import conduct
from mlvc.verbs.finding import SEVERITIES, Finding, facts_of
from mlvc.verbs.leaks import name_credential
from mlvc.verbs.naming import some_of
from mlvc.verbs.outgoing import default_remotes, find_unsent, name_places
from mlvc.verbs.r_scripts import find_in_r
from mlvc.verbs.sources import Sources
from mlvc.verbs.status import StatusResult, status

__all__ = ["DoctorResult", "doctor"]

_Answer = TypeVar("_Answer")
_NEWEST = 5
# Sources that stand for no secret, whatever they are called: `id_map.py`, `.env.example`.
_HARMLESS = (".example", ".md", ".py", ".pyi", ".rst", ".sample", ".template")


@dataclass(frozen=True, slots=True)
class DoctorResult:
    """What was found.

    Attributes:
        findings: The gravest first.
        run: The last run, which some of them are about; None where none is recorded, or the index cannot be asked.
    """

    findings: tuple[Finding, ...]
    run: RunId | None

    @property
    def is_ok(self) -> bool:
        """Whether there is no error."""
        return all(finding.severity != "error" for finding in self.findings)


def doctor(repo: Repo) -> DoctorResult:
    """Looks for what would make the next run hard to repeat; changes nothing.

    Reads the code once, and asks the default remote as the pre-push hook does: in most cases without the network.
    An index that cannot be asked, or a damaged object, is a finding of its own, and hides only what it would tell.

    Raises:
        LockConflictError: A merge left conflict marks in the lock.
        FileUnreadableError: A tracked file cannot be read.
        UsageError: A variable that would be recorded is not UTF-8.
    """
    lock, findings = repo.read_lock(), list[Finding]()
    run = _ask(findings, lambda: _last_run(repo))
    code = Sources(repo, lock)
    now = _ask(findings, lambda: status(repo))
    findings += [
        *_credentials(repo, code, run),
        *_uncommitted_code(code),
        *([] if now is None else _uncommitted_data(now)),
        *_unsent(repo, lock, run),
        *(_ask(findings, lambda: list(_packages(repo, lock, now, run, code))) or ()),
        *conduct(repo, lock, run, code),
        *find_in_r(code.r_looks),
    ]
    unique = sorted(dict.fromkeys(findings), key=lambda finding: SEVERITIES.index(finding.severity))
    return DoctorResult(tuple(unique), None if run is None else run.id)


def _ask(findings: list[Finding], question: Callable[[], _Answer]) -> _Answer | None:
    """Returns the answer; None where something could not be read, which becomes a finding with what mends it."""
    from mlvc.index.errors import INDEX_ERRORS  # noqa: PLC0415  # loads the index's library, which others need not

    try:
        return question()
    except INDEX_ERRORS as exc:
        message = f"{exc.message}; so the last run is not looked at"
        findings.append(Finding("error", "index", message, exc.hint or "mlvc index rebuild"))
    except NotFoundError as exc:
        findings.append(Finding("error", "not-here", exc.message, "mlvc pull"))
    except IntegrityError as exc:
        findings.append(Finding("error", "damaged", exc.message, exc.hint or "mlvc fsck --repair"))
    return None


def _last_run(repo: Repo) -> Run | None:
    """Returns the newest run whose record is here; a colleague's is of no use unless it was fetched."""
    for row in repo.index_for_work().run_rows(limit=_NEWEST):
        if repo.store.has_object(row.id):
            found = repo.store.read_object(row.id)
            return found if isinstance(found, Run) else None
    return None


# ------------------------------------------------------------------------------------------- what is recorded


def _credentials(repo: Repo, code: Sources, run: Run | None) -> Iterator[Finding]:
    for path, line, kind in code.credentials:
        yield Finding(
            "error",
            "credential",
            f"{encode_name(path)}:{line} holds what looks like {kind}, and code is recorded",
            "take it out, revoke it, and hand it over with `mlvc run --secret NAME`",
        )
    holding = {path for path, _, _ in code.credentials}
    for path in code.files:
        if (
            looks_secret(path)
            and not path.endswith(tuple(map(str.encode, _HARMLESS)))
            and path not in holding
        ):
            name = encode_name(path)
            yield Finding(
                "warning",
                "credential",
                f"{name} is named like a secret, and would be recorded with the code",
                f"git rm --cached {quote(name)}, and let git ignore it",
            )
    for name, value in sorted(select_variables(repo.environment, {}).items()):
        held = name_credential(value)
        if held is not None:
            yield Finding(
                "error",
                "credential",
                f"the variable {name} holds what looks like {held}, and would be recorded",
                f"unset {name}, or hand it over with `mlvc run --secret {name}`",
            )
    if run is not None:
        recorded = [*(("its command", argument) for argument in run.argv), *run.variables.items()]
        for where, text in recorded:
            found = name_credential(text)
            if found is not None:
                yield Finding(
                    "error",
                    "credential",
                    f"the last run {run.id.short} recorded what looks like {found}, in {where}",
                    "revoke it, and hand it over with `mlvc run --secret NAME`",
                )


def _uncommitted_code(code: Sources) -> Iterator[Finding]:
    ours = {LOCK_NAME, SETTINGS_NAME, b".gitignore"}
    changed = [encode_name(path) for path in code.changed if path not in ours]
    if changed:
        yield Finding(
            "warning",
            "uncommitted-code",
            f"no git commit has this code: {some_of(changed)}",
            'git add -A && mlvc commit -m "…"',
        )


def _uncommitted_data(now: StatusResult) -> Iterator[Finding]:
    if now.changes:
        names = [encode_name(change.path) for change in now.changes]
        yield Finding(
            "warning",
            "uncommitted-data",
            f"differs from mlvc.lock: {some_of(names)}",
            "mlvc add PATH; or mlvc checkout -- PATH, after mlvc pull if it is not here",
        )
    if now.staged:
        names = [item.path for item in now.staged]
        yield Finding(
            "warning",
            "uncommitted-data",
            f"in mlvc.lock and in no commit: {some_of(names)}",
            'mlvc commit -m "…"',
        )


def _unsent(repo: Repo, lock: Lock, run: Run | None) -> Iterator[Finding]:
    data = [*lock.entries.values(), *(() if run is None else run.inputs)]
    closure = Closure(repo)
    closure.add_paths(data)
    if not closure.needed:
        return
    try:
        remotes = default_remotes(repo)
        if not remotes:
            names = some_of(list(dict.fromkeys(entry.name for entry in data)))
            yield Finding(
                "warning",
                "not-on-remote",
                f"there is no remote: {names} is in this clone alone",
                "mlvc remote add NAME URL, then mlvc push",
            )
            return
        unsent = find_unsent(repo, remotes, closure.needed)
        lost = {
            object_id: place
            for object_id, place in unsent.items()
            if repo.store.lacking(repo.store.records_of(object_id))
        }
    except MlvcError as exc:
        yield Finding(
            "warning",
            "not-on-remote",
            f"whether the data is on a remote cannot be told: {exc.message}",
            exc.hint or "mlvc verify --remote",
        )
        return
    if lost:
        yield Finding(
            "error",
            "not-on-remote",
            f"neither here nor on a remote: {name_places(lost)}",
            "mlvc push, in a clone that has it",
        )
    kept = {object_id: place for object_id, place in unsent.items() if object_id not in lost}
    if kept:
        yield Finding("warning", "not-on-remote", f"on no remote: {name_places(kept)}", "mlvc push")


# -------------------------------------------------------------------------------------------- the environment


def _packages(
    repo: Repo, lock: Lock, now: StatusResult | None, run: Run | None, code: Sources
) -> Iterator[Finding]:
    environment = _environment(repo, lock.environment or (None if run is None else run.environment))
    if environment is None:
        if code.looks:
            yield Finding("hint", "unpinned", "mlvc.lock names no environment", "mlvc env lock")
        return
    if now is not None and now.drift:
        names = now.drift.sentences()
        yield Finding(
            "warning", "unpinned", f"the environment is not the locked one: {some_of(names)}", "mlvc env lock"
        )
    for item in environment.distributions:
        yield from _package(item)
    if environment.unowned is not None:
        yield Finding(
            "hint",
            "unpinned",
            "some installed files belong to no package; they are recorded as they are",
            "install them as a package",
        )


def _environment(repo: Repo, environment_id: EnvironmentId | None) -> Environment | None:
    if environment_id is None:
        return None
    try:
        found = repo.store.read_object(environment_id)
    except NotFoundError:
        return None
    return found if isinstance(found, Environment) else None


def _package(item: Distribution) -> Iterator[Finding]:
    name = f"{item.name} {item.version}"
    # A record may be a stranger's, and a fix is typed into a shell.
    again = f"pip install --force-reinstall {quote(f'{item.name}=={item.version}')} && mlvc env lock"
    if item.editable is not None:
        # What lies in the repository is recorded with the code, as its own commit says.
        if item.editable_tree is not None:
            yield Finding(
                "warning",
                "editable-install",
                f"{name} is an editable install of {item.editable}, which no commit here pins",
                f"pip install {quote(item.editable)}",
            )
        return
    if item.wheel is None:
        yield Finding(
            "error",
            "no-wheel",
            f"{name} was recorded without a wheel, so it cannot be installed again",
            again,
        )
        return
    if not item.recorded:
        yield Finding(
            "warning",
            "no-wheel",
            f"{name} has no RECORD, so which files are its own is a guess",
            again,
        )
    altered = [*item.modified, *item.missing]
    if altered:
        yield Finding(
            "warning",
            "unpinned",
            f"{name} is not as it was published: {some_of(altered)}",
            again,
        )
    if item.origin:
        url = facts_of(item.origin).get("url", "elsewhere")
        yield Finding(
            "hint",
            "unpinned",
            f"{name} came from {url}, and from no package index",
            "nothing, if the wheel that is recorded is enough; else install a released version",
        )
