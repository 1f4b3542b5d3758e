"""`mlvc tag` and `mlvc models`: names of models and datasets, as annotated git tags.

NAME@VERSION is given once; NAME#ALIAS moves. Both are git tags, so git understands them wherever it takes a revision,
and they travel with `git push --tags`. The message's last lines say what the name stands for:

    Mlvc-Path: models/churn.joblib
    Mlvc-Was: 2026-01-31T12:00:00+00:00 SHA       one for each move, the latest first
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlvc.code.tags import Tag, list_tags, make_tag
from mlvc.errors import FormatError, UsageError
from mlvc.model.ids import BlobId, RunId, TreeId
from mlvc.model.lock import Lock, TrackedPath
from mlvc.model.names import decode_name
from mlvc.repo import Repo
from mlvc.verbs.absent import note_absent_records

__all__ = ["Model", "Named", "TagResult", "find_named", "models", "named_tags", "tag"]

_FORM = re.compile(r"(?P<model>[A-Za-z0-9][\w.-]*)(?P<mark>[@#])(?P<label>[A-Za-z0-9][\w.+-]*)")
_PATH, _WAS = "Mlvc-Path: ", "Mlvc-Was: "


@dataclass(frozen=True, slots=True)
class Named:
    """A name that stands for a tracked path at a commit.

    Attributes:
        name: `NAME@VERSION` or `NAME#ALIAS`.
        model: NAME.
        label: The version or the alias.
        is_alias: Whether it can move.
        path: The tracked path, in text form; empty for all that the commit tracks.
        tag: The git tag.
        history: Where an alias was before, the latest first: time and SHA.
    """

    name: str
    model: str
    label: str
    is_alias: bool
    path: str
    tag: Tag
    history: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TagResult:
    """What was named.

    Attributes:
        named: The name.
        entry: What it stands for there; None for all that the commit tracks.
        moved_from: The SHA that an alias was at; None where it is new.
    """

    named: Named
    entry: TrackedPath | None
    moved_from: str | None


@dataclass(frozen=True, slots=True)
class Model:
    """One version, or an alias, with what is known of it.

    Attributes:
        named: The name.
        id: The data; None for all that the commit tracks, and where the path is not tracked there.
        run: The run that made it, if that is known.
        metrics: The run's, JSON texts by name.
        verdict: The run's latest reproduction's.
    """

    named: Named
    id: BlobId | TreeId | None
    run: RunId | None
    metrics: Mapping[str, str]
    verdict: str | None


def tag(repo: Repo, name: str, rev: str = "HEAD", *, path: str | None = None, message: str = "") -> TagResult:
    """Names a tracked path of a commit; an alias that exists moves there, and keeps where it was.

    Args:
        repo: The repository.
        name: `NAME@VERSION` or `NAME#ALIAS`.
        rev: A revision; for an alias also `NAME@VERSION`.
        path: A tracked path; None: that of `rev` where it is such a name, else the only one, else all.
        message: For a person.

    Raises:
        UsageError: `name` has another form, the commit does not track `path`, or `message` has a line of mlvc's.
        TagExistsError: The version exists.
        RevisionMissingError: Git knows no such revision.
    """
    match = _FORM.fullmatch(name)
    if match is None:
        raise UsageError(
            f"{name[:80]!r} is no name for a model",
            hint="write NAME@VERSION or NAME#ALIAS, as in churn@1.4.0",
        )
    if any(line.startswith((_PATH, _WAS)) for line in message.splitlines()):
        raise UsageError(
            f"a line of the message begins with {_PATH}or {_WAS}as mlvc's own do",
            hint="write it in other words",
        )
    sha = repo.code.resolve(rev)
    known = {each.name: each for each in named_tags(repo)}
    lock = repo.lock_at(sha)
    chosen = _path(repo, lock, known.get(rev), path, rev)
    before = known.get(name)
    lines = [] if chosen is None else [_PATH + chosen.name]
    if before is not None and before.is_alias:
        lines += [f"{_WAS}{time} {old}" for time, old in ((before.tag.time, before.tag.sha), *before.history)]
    text = f"{message.strip() or name}\n\n" + "".join(f"{line}\n" for line in lines)
    make_tag(repo.root, name, sha, text, move=match["mark"] == "#")
    made = next(each for each in named_tags(repo) if each.name == name)
    return TagResult(made, chosen, None if before is None else before.tag.sha)


def _path(repo: Repo, lock: Lock, of: Named | None, path: str | None, rev: str) -> TrackedPath | None:
    if path is None and of is not None and of.path:
        return lock.entries.get(decode_name(of.path))
    if path is None:
        return next(iter(lock.entries.values())) if len(lock.entries) == 1 else None
    entry = lock.entries.get(repo.path_of(path))
    if entry is None:
        tracked = ", ".join(item.name for item in list(lock.entries.values())[:10]) or "nothing"
        raise UsageError(f"{rev} does not track {path}", hint=f"it tracks {tracked}")
    return entry


def named_tags(repo: Repo) -> list[Named]:
    """Returns every name of a model or dataset, sorted; costs one git child.

    A tag whose path is none is no name: a stranger wrote it.
    """
    found = []
    for each in list_tags(repo.root):
        match = _FORM.fullmatch(each.name)
        if match is None:
            continue
        path, history = _read(each.message.splitlines())
        try:
            decode_name(path)
        except FormatError:
            continue
        found.append(
            Named(each.name, match["model"], match["label"], match["mark"] == "#", path, each, history)
        )
    return found


def find_named(repo: Repo, text: str) -> TrackedPath | None:
    """Returns the data that a name stands for, with the run that made it.

    None where `text` is no such name, and where it stands for all that a commit tracks.
    """
    if _FORM.fullmatch(text) is None:
        return None
    named = next((each for each in named_tags(repo) if each.name == text and each.path), None)
    return None if named is None else repo.lock_at(named.tag.sha).entries.get(decode_name(named.path))


def _read(lines: Iterable[str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    path, history = "", []
    for line in lines:
        if line.startswith(_PATH):
            path = line.removeprefix(_PATH)
        elif line.startswith(_WAS):
            time, _, sha = line.removeprefix(_WAS).partition(" ")
            history.append((time, sha))
    return path, tuple(history)


def models(repo: Repo, name: str | None = None) -> tuple[Model, ...]:
    """Returns every version and alias, of all models or of one, with its run's metrics and verdict."""
    repo.index.catch_up(repo.reporter)
    named = [each for each in named_tags(repo) if name is None or each.model == name]
    locks = {each.tag.sha: repo.lock_at(each.tag.sha) for each in named}
    note_absent_records(repo, list(locks.values()))
    found = []
    for each in named:
        lock = locks[each.tag.sha]
        entry = lock.entries.get(decode_name(each.path)) if each.path else None
        known = (
            []
            if entry is None or entry.run is None
            else repo.index.run_table(where=f"id = '{entry.run.hex}'")
        )
        metrics = known[0].metrics if known else {}
        found.append(
            Model(
                each,
                None if entry is None else entry.id,
                None if entry is None else entry.run,
                metrics,
                known[0].verdict if known else None,
            )
        )
    return tuple(found)
