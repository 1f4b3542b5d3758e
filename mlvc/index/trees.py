"""What lies in tracked directories: which trees hold a file, directly or further down.

A tree keeps only the entries that its base has not, or not so; the base is the tree that stood there before it.
So a version of a directory costs what changed in it. Trees are read by the first question about a file, not before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, literal, select, union_all

from mlvc.index import schema
from mlvc.index.intake import batches, next_number
from mlvc.index.storage import MANY
from mlvc.model.ids import ObjectId, TreeId
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, Select, Table

    from mlvc.index.storage import Database
    from mlvc.ports import ObjectCatalog, Reporter

__all__ = ["forget_trees", "holders_of", "take_in_trees"]

_NAMED_BY = (
    (schema.commit_changes, schema.commits.c.time),
    (schema.run_inputs, schema.runs.c.started),
    (schema.run_outputs, schema.runs.c.started),
)
"""Where directories are named, and when they were."""

_Told = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class _Place:
    """A tree, and where it was seen tracked."""

    tree: TreeId
    path_number: int


def take_in_trees(database: Database, store: ObjectCatalog, project: str, reporter: Reporter) -> int:
    """Takes in every tree that a commit or a run names and that was not seen yet; returns how many are not here.

    Costs what is new, however many trees, commits and runs are known.

    Raises:
        IntegrityError: A tree is damaged.
    """
    with database.reading() as connection:
        unread = _unread(connection, project)
    absent = 0
    with reporter.task("indexing directories", total=len(unread), unit="objects") as task:
        for number, place in enumerate(unread):
            task.advance()
            if number % MANY == MANY - 1:
                database.update_statistics()
            if not store.has_tree(place.tree):
                absent += 1
                continue
            with database.reading() as connection:
                base = _latest_at(connection, project, place.path_number)
                told = _told(connection, store, project, place.tree, base)
            with database.writing() as connection:
                _write(connection, project, place, told)
    return absent


def forget_trees(connection: Connection, store: ObjectCatalog, project: str) -> None:
    """Has the next question read every tree of the store anew; what is known of others stays.

    `connection` excludes other writers.
    """
    trees, entries, unread = schema.trees, schema.tree_entries, schema.unread_trees
    known = connection.scalars(select(trees.c.id).where(trees.c.project == project)).all()
    for batch in batches([text for text in known if store.has_tree(TreeId.parse(text))]):
        own = (trees.c.project == project, trees.c.id.in_(batch))
        connection.execute(
            delete(entries).where(entries.c.tree_number.in_(select(trees.c.number).where(*own)))
        )
        connection.execute(delete(trees).where(*own))
    named = union_all(*(_directories(project, *each) for each in _NAMED_BY)).subquery()
    is_noted = [
        select(table.c.id).where(table.c.project == project, table.c.id == named.c.id).exists()
        for table in (trees, unread)
    ]
    found = (
        select(literal(project), named.c.id, func.min(named.c.path_number), func.min(named.c.moment))
        .where(~is_noted[0], ~is_noted[1])
        .group_by(named.c.id)
    )
    connection.execute(insert(unread).from_select([column.name for column in unread.columns], found))


def _directories(project: str, table: Table, moment: Column[str]) -> Select[tuple[str, int, str]]:
    owner, number = schema.OWNERS[table]
    return (
        select(table.c.data_id.label("id"), table.c.path_number, moment.label("moment"))
        .join(owner, owner.c.number == table.c[number])
        .where(owner.c.project == project, table.c.kind == Kind.DIRECTORY.word)
    )


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
    table = schema.unread_trees
    query = select(table).where(table.c.project == project).order_by(table.c.moment, table.c.id)
    return [_Place(TreeId.parse(row.id), row.path_number) for row in connection.execute(query)]


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


def _known(
    connection: Connection,
    project: str,
    ids: Iterable[TreeId | None],
    column: Column[str] = schema.trees.c.id,
) -> set[TreeId]:
    """Returns those of the trees that were taken in, or stand in another column."""
    table = schema.trees
    texts = {str(each) for each in ids if each is not None}
    return {
        TreeId.parse(text)
        for batch in batches(texts)
        for text in connection.scalars(select(column).where(table.c.project == project, column.in_(batch)))
    }


def _told(
    connection: Connection, store: ObjectCatalog, project: str, tree: TreeId, base: TreeId | None
) -> dict[TreeId, tuple[TreeId | None, _Told]]:
    """Returns each tree here that is not known, with its base and what it tells against that."""
    told: dict[TreeId, tuple[TreeId | None, _Told]] = {}
    pending = [(tree, base)]
    while pending:
        known = _known(connection, project, {each for pair in pending for each in pair})
        # Of a tree that was forgotten others may be told already: told against one of those, both would be lost.
        bases = _known(connection, project, {current for current, _ in pending}, schema.trees.c.base)
        below: list[tuple[TreeId, TreeId | None]] = []
        for current, earlier in pending:
            if current in known or current in told or not store.has_tree(current):
                continue
            before = earlier if earlier in known and current not in bases else None
            if before is not None and not store.has_tree(before):
                before = None
            old = {} if before is None else _children(store, before)
            new = _children(store, current)
            changes: _Told = {name: str(child) for name, child in new.items() if old.get(name) != child}
            changes.update((name, None) for name in old.keys() - new.keys())
            told[current] = (before, changes)
            for name in changes:
                child, stood = new.get(name), old.get(name)
                if isinstance(child, TreeId):
                    below.append((child, stood if isinstance(stood, TreeId) else None))
        pending = below
    return told


def _children(store: ObjectCatalog, tree: TreeId) -> Mapping[str, ObjectId]:
    return {encode_name(entry.name): entry.id for entry in store.read_tree(tree)}


def _write(
    connection: Connection, project: str, place: _Place, told: Mapping[TreeId, tuple[TreeId | None, _Told]]
) -> None:
    known = _known(connection, project, told)  # Another process may have been faster.
    number = next_number(connection, schema.trees)
    trees, entries = [], []
    for tree, (base, changes) in told.items():
        if tree in known:
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
    unread = schema.unread_trees
    connection.execute(delete(unread).where(unread.c.project == project, unread.c.id == str(place.tree)))
