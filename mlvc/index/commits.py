"""Questions about commits and what they track. Every function asks within the transaction of its `connection`.

A commit's rows tell what changed against its base, which is its first parent; a row without data tells that the path
was tracked no more. What a commit tracks is therefore said by it and the bases before it: for each path, the nearest.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select

from mlvc.index import schema
from mlvc.index.answers import CommitChanges, CommitRow, PathRow
from mlvc.index.intake import batches
from mlvc.index.rows import key_text
from mlvc.model.ids import CommitId, EnvironmentId, ObjectId

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

__all__ = ["all_changes", "all_commits", "commits_by_sha", "paths_holding"]


def commits_by_sha(connection: Connection, project: str, shas: Collection[str]) -> Mapping[str, CommitRow]:
    """Returns the mlvc commits that link to git commits, by SHA."""
    table = schema.commits
    found: dict[str, CommitRow] = {}
    for batch in batches({key_text(sha) for sha in shas}):
        wanted = (table.c.project == project, table.c.code_sha.in_(batch))
        # The same git commit recorded twice differs only in what was known of it; any rule will do.
        found.update((row.code_sha, row) for row in reversed(_commit_rows(connection, *wanted)))
    return found


def all_commits(connection: Connection, project: str) -> Sequence[CommitRow]:
    """Returns all commits, the newest first."""
    found = _commit_rows(connection, schema.commits.c.project == project)
    return sorted(found, key=lambda commit: moment(commit.time), reverse=True)


def _commit_rows(connection: Connection, *wanted: ColumnElement[bool]) -> list[CommitRow]:
    """Returns the commits that fit, by id."""
    table, parents = schema.commits, schema.commit_parents
    rows = connection.execute(select(table).where(*wanted)).all()
    by_commit: dict[int, list[CommitId]] = defaultdict(list)
    for batch in batches([row.number for row in rows]):
        query = select(parents).where(parents.c.commit_number.in_(batch)).order_by(parents.c.position)
        for row in connection.execute(query):
            by_commit[row.commit_number].append(CommitId.parse(row.parent))
    found = [
        CommitRow(
            id=CommitId.parse(row.id),
            code_sha=row.code_sha,
            environment=None if row.environment is None else EnvironmentId.parse(row.environment),
            parents=tuple(by_commit[row.number]),
            author=row.author,
            time=row.time,
            message=row.message,
        )
        for row in rows
    ]
    # Asked for in the query, the order would lead SQLite to go through all commits of the project by id.
    return sorted(found, key=lambda row: row.id)


def all_changes(
    connection: Connection, project: str, paths: Collection[str] | None = None
) -> Mapping[CommitId, CommitChanges]:
    """Returns what each commit changed, or what of it is at one of the paths, in text form."""
    table, changed, parents, names = (
        schema.commits,
        schema.commit_changes,
        schema.commit_parents,
        schema.names,
    )
    by_commit: dict[int, dict[str, tuple[str | None, str | None]]] = defaultdict(dict)
    before: dict[int, list[CommitId]] = defaultdict(list)
    own = table.c.project == project
    query = (
        select(changed.c.commit_number, names.c.name, changed.c.data_id, changed.c.run)
        .join(table, table.c.number == changed.c.commit_number)
        .join(names, names.c.number == changed.c.path_number)
        .where(own)
    )
    keys = None if paths is None else {key_text(path) for path in paths}
    queries = (
        [query]
        if keys is None
        else [query.where(names.c.project == project, names.c.key.in_(batch)) for batch in batches(keys)]
    )
    for each in queries:
        for number, path, data_id, run in connection.execute(each):
            by_commit[number][path] = (data_id, run)
    of_parents = (
        select(parents.c.commit_number, parents.c.parent)
        .join(table, table.c.number == parents.c.commit_number)
        .where(own)
        .order_by(parents.c.position)
    )
    for number, parent in connection.execute(of_parents):
        before[number].append(CommitId.parse(parent))
    return {
        CommitId.parse(row.id): CommitChanges(
            row.code_sha,
            None if row.base is None else CommitId.parse(row.base),
            tuple(before[row.number]),
            by_commit[row.number],
        )
        for row in connection.execute(select(table).where(own))
    }


def paths_holding(
    connection: Connection, project: str, data_ids: Collection[ObjectId | str]
) -> list[PathRow]:
    """Returns where commits track exactly one of the data, sorted by path and commit."""
    commits, changes, names = schema.commits, schema.commit_changes, schema.names
    found: list[PathRow] = []
    for batch in batches([str(data_id) for data_id in data_ids]):
        start = (
            select(commits.c.id, changes.c.path_number)
            .join(commits, commits.c.number == changes.c.commit_number)
            .where(commits.c.project == project, changes.c.data_id.in_(batch))
        )
        held = start.cte("held", recursive=True)
        later, change = commits.alias("later"), changes.alias("change")
        is_changed = (
            select(change.c.commit_number)
            .where(change.c.commit_number == later.c.number, change.c.path_number == held.c.path_number)
            .exists()
        )
        # No path is met twice at one commit: each has one base.
        held = held.union_all(
            select(later.c.id, held.c.path_number)
            .join(later, later.c.base == held.c.id)
            .where(later.c.project == project, ~is_changed)
        )
        query = select(held.c.id, names.c.name).join(names, names.c.number == held.c.path_number)
        found += [PathRow(CommitId.parse(row.id), row.name) for row in connection.execute(query)]
    return sorted(found, key=lambda row: (row.path, row.commit))


def moment(text: str) -> datetime.datetime:
    """Returns a commit's time as a moment: authors' offsets differ, so that the texts do not sort."""
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return datetime.datetime.min.replace(tzinfo=datetime.UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=datetime.UTC)
