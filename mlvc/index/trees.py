"""What lies in tracked directories: which trees hold a file, directly or further down.

A tree keeps only the entries that its base has not, or not so; the base is the tree that stood there before it.
So a version of a directory costs what changed in it. Trees are read by the first question about a file, not before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select, union

from mlvc.index import schema
from mlvc.index.intake import batches, next_number
from mlvc.model.ids import ObjectId, TreeId
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from mlvc.index.storage import Database
    from mlvc.ports import ObjectCatalog, Reporter

__all__ = ["holders_of", "take_in_trees"]

_Told = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class _Place:
    """A tree, and where it was seen tracked."""

    tree: TreeId
    path_number: int


def take_in_trees(database: Database, store: ObjectCatalog, project: str, reporter: Reporter) -> int:
    """Takes in every tree that a commit or a run names and that was not seen yet; returns how many are not here.

    Raises:
        IntegrityError: A tree is damaged.
    """
    with database.reading() as connection:
        unread = _unread(connection, project)
    absent = 0
    with reporter.task("indexing directories", total=len(unread), unit="objects") as task:
        for place in unread:
            task.advance()
            if not store.has_tree(place.tree):
                absent += 1
                continue
            with database.reading() as connection:
                base = _latest_at(connection, project, place.path_number)
                known = _known(connection, project)
            told = dict(_told(store, place.tree, base, known))
            with database.writing() as connection:
                _write(connection, project, place, told)
    return absent


def holders_of(connection: Connection, project: str, data_ids: Collection[str]) -> set[str]:
    """Returns the trees that hold one of the data, in themselves or further down."""
    found: set[str] = set()
    frontier = set(data_ids)
    while frontier:
        frontier = {
            tree for batch in batches(frontier) for tree in _holding(connection, project, batch)
        } - found
        found |= frontier
    return found


def _holding(connection: Connection, project: str, children: Collection[str]) -> Iterator[str]:
    trees, entries = schema.trees, schema.tree_entries
    held = (
        select(trees.c.id, entries.c.name)
        .join(trees, trees.c.number == entries.c.tree_number)
        .where(trees.c.project == project, entries.c.child.in_(children))
        .cte("held", recursive=True)
    )
    later, entry = trees.alias("later"), entries.alias("entry")
    is_changed = (
        select(entry.c.tree_number)
        .where(entry.c.tree_number == later.c.number, entry.c.name == held.c.name)
        .exists()
    )
    held = held.union_all(
        select(later.c.id, held.c.name)
        .join(later, later.c.base == held.c.id)
        .where(later.c.project == project, ~is_changed)
    )
    yield from connection.scalars(select(held.c.id).distinct())


def _unread(connection: Connection, project: str) -> list[_Place]:
    """Returns the directories that are named somewhere and not known, in the order in which they came up."""
    commits, runs, trees = schema.commits, schema.runs, schema.trees
    queries = []
    for table, owner, own in (
        (schema.commit_changes, commits, "commit_number"),
        (schema.run_inputs, runs, "run_number"),
        (schema.run_outputs, runs, "run_number"),
    ):
        is_known = (
            select(trees.c.id).where(trees.c.project == project, trees.c.id == table.c.data_id).exists()
        )
        moment = owner.c.time if owner is commits else owner.c.started
        queries.append(
            select(table.c.data_id, table.c.path_number, moment.label("moment"))
            .join(owner, owner.c.number == table.c[own])
            .where(owner.c.project == project, table.c.kind == Kind.DIRECTORY.word, ~is_known)
        )
    found = union(*queries).subquery()
    query = (
        select(found.c.data_id, func.min(found.c.path_number), func.min(found.c.moment).label("first"))
        .group_by(found.c.data_id)
        .order_by("first", found.c.data_id)
    )
    return [_Place(TreeId.parse(data_id), path) for data_id, path, _ in connection.execute(query)]


def _latest_at(connection: Connection, project: str, path_number: int) -> TreeId | None:
    trees = schema.trees
    query = (
        select(trees.c.id)
        .where(trees.c.project == project, trees.c.path_number == path_number)
        .order_by(trees.c.number.desc())
        .limit(1)
    )
    text = connection.scalar(query)
    return None if text is None else TreeId.parse(text)


def _known(connection: Connection, project: str) -> set[str]:
    return set(connection.scalars(select(schema.trees.c.id).where(schema.trees.c.project == project)))


def _told(
    store: ObjectCatalog, tree: TreeId, base: TreeId | None, known: Collection[str]
) -> Iterator[tuple[TreeId, tuple[TreeId | None, _Told]]]:
    """Yields each tree here that is not known, with its base and what it tells against that."""
    pending, seen = [(tree, base)], set(known)
    while pending:
        current, before = pending.pop()
        if str(current) in seen or not store.has_tree(current):
            continue
        seen.add(str(current))
        if before is not None and (
            before == current or str(before) not in known or not store.has_tree(before)
        ):
            before = None
        old = {} if before is None else _children(store, before)
        new = _children(store, current)
        told: _Told = {name: str(child) for name, child in new.items() if old.get(name) != child}
        told.update((name, None) for name in old.keys() - new.keys())
        yield current, (before, told)
        for name in told:
            child, earlier = new.get(name), old.get(name)
            if isinstance(child, TreeId):
                pending.append((child, earlier if isinstance(earlier, TreeId) else None))


def _children(store: ObjectCatalog, tree: TreeId) -> Mapping[str, ObjectId]:
    return {encode_name(entry.name): entry.id for entry in store.read_tree(tree)}


def _write(
    connection: Connection, project: str, place: _Place, told: Mapping[TreeId, tuple[TreeId | None, _Told]]
) -> None:
    known = _known(connection, project)  # Another process may have been faster.
    number = next_number(connection, schema.trees)
    trees, entries = [], []
    for tree, (base, changes) in told.items():
        if str(tree) in known:
            continue
        trees.append(
            {
                "number": number,
                "project": project,
                "id": str(tree),
                "base": None if base is None else str(base),
                "path_number": place.path_number if tree == place.tree else None,
            }
        )
        entries += [{"tree_number": number, "name": name, "child": child} for name, child in changes.items()]
        number += 1
    if trees:
        connection.execute(insert(schema.trees), trees)
    if entries:
        connection.execute(insert(schema.tree_entries), entries)
