"""`mlvc impact`: everything that a bad file, dataset or package release reached."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlvc.errors import NotFoundError, UsageError
from mlvc.model.ids import BlobId, CommitId, ObjectId, RunId, TreeId
from mlvc.model.objects import Commit, Run
from mlvc.model.tree import Kind
from mlvc.repo import Repo
from mlvc.verbs.absent import note_absent_records
from mlvc.verbs.tag import Named, find_named, named_tags
from mlvc.verbs.target import find_tracked, resolve_target

if TYPE_CHECKING:
    from mlvc.index.answers import PathRow, RunRow

__all__ = ["ImpactMissingError", "ImpactResult", "impact"]

_ID = re.compile(r"(?:b3:)?([0-9a-f]{8,64})…?")
# A `~` alone begins no comparison, and goes on with a revision: HEAD~1.
_PACKAGE = re.compile(r"([A-Za-z0-9][\w.-]*?)\s*((?:(?:[<>=!]|~=).*)?)", re.DOTALL)


class ImpactMissingError(NotFoundError):
    """Nothing that is tracked or was installed has that name."""

    code = "impact-missing"


@dataclass(frozen=True, slots=True)
class ImpactResult:
    """What something reached.

    Attributes:
        target: What was asked for: an id, or packages as `NAME VERSION`.
        runs: Every run that used it or something made of it, the oldest first.
        paths: Where commits track something of it.
        commits: Those commits, with their git commits.
        names: Versions of models and datasets among it, then aliases.
    """

    target: tuple[str, ...]
    runs: tuple[RunRow, ...]
    paths: tuple[PathRow, ...]
    commits: tuple[tuple[CommitId, str], ...]
    names: tuple[Named, ...]


def impact(repo: Repo, what: str) -> ImpactResult:
    """Returns what a path, an id, a run or a package reached, all the way down and across commits.

    Args:
        repo: The repository.
        what: A tracked path or a file below one, as it is now; the name of a model or dataset; the id of data, or its
            start; a run or a commit; or a package with or without versions: `pandas<1.1`.

    Raises:
        ImpactMissingError: Nothing is called so.
        UsageError: Several ids start so, or the versions cannot be read.
    """
    repo.index.catch_up(repo.reporter)
    note_absent_records(repo)
    data, runs, target = _start(repo, what)
    found = repo.index.impact(repo.reporter, data=data, runs=runs)
    shas = {row.commit: "" for row in found.paths}
    shas = {row.id: row.code_sha for row in repo.index.commits() if row.id in shas}
    reached = {(shas.get(row.commit), row.path) for row in found.paths}
    commits = {sha for sha, _ in reached}
    names = [
        each
        for each in named_tags(repo)
        if ((each.tag.sha, each.path) in reached if each.path else each.tag.sha in commits)
    ]
    return ImpactResult(
        target,
        found.runs,
        found.paths,
        tuple(shas.items()),
        tuple(sorted(names, key=lambda each: (each.is_alias, each.name))),
    )


def _start(repo: Repo, what: str) -> tuple[list[ObjectId], list[RunId], tuple[str, ...]]:
    found = _at_path(repo, what)
    if found is None and (named := find_named(repo, what)) is not None:
        found = named.id
    if found is not None:
        return [found], [], (str(found),)
    match = _ID.fullmatch(what)
    if match is not None:
        known = repo.index.find_data(repo.reporter, match[1])
        if len(known) > 1:
            raise UsageError(f"{what} is the start of several ids", hint="give more digits")
        if known:
            return [BlobId.parse(known[0])], [], (known[0],)
    package = _PACKAGE.fullmatch(what)
    if package is not None:
        rows = repo.index.environments_with(package[1], package[2])
        if rows:
            runs = repo.index.runs_in_environments({row.environment for row in rows})
            return [], [run.id for run in runs], tuple(sorted({f"{row.name} {row.version}" for row in rows}))
        if package[2]:
            raise ImpactMissingError(f"no recorded environment has {what[:80]}", hint="see `mlvc env show`")
    try:
        value = resolve_target(repo, what)
    except NotFoundError as exc:
        raise ImpactMissingError(
            f"{exc.message}, and no package of that name was installed",
            hint="give a path, an id, or a package such as 'pandas<1.1'",
        ) from exc
    if isinstance(value, Run):
        return [], [value.id], (str(value.id),)
    if isinstance(value, Commit):
        return [entry.id for entry in value.paths], [], (str(value.id),)
    raise ImpactMissingError(f"{what} is neither data nor a run nor a commit nor a package")


def _at_path(repo: Repo, what: str) -> BlobId | TreeId | None:
    """Returns what the lock has at a path, or in the tree of a directory that it tracks above it."""
    entry = find_tracked(repo, what)
    if entry is None:
        return None
    rest = repo.path_of(what)[len(entry.path) :].strip(b"/")
    found, kind = entry.id, entry.kind
    for name in rest.split(b"/") if rest else []:
        if kind is not Kind.DIRECTORY or not isinstance(found, TreeId):
            return None
        below = next((item for item in repo.store.read_tree(found) if item.name == name), None)
        if below is None:
            return None
        found, kind = below.id, below.kind
    return found
