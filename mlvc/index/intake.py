"""Writes the rows of objects, each object once, whoever else has it.

Every transaction here excludes other writers, so that what was looked up in it stays true until it ends: which objects
are known, and which number a text has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import delete, func, insert, select

from mlvc.index import schema
from mlvc.index.rows import Name, Row, key_text, plain, rows_of
from mlvc.model.ids import CommitId, EnvironmentId, ObjectId, RunId, VerdictId
from mlvc.model.objects import Commit
from mlvc.model.tree import Kind

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

    from mlvc.model.ids import PackId
    from mlvc.ports import ObjectCatalog

__all__ = [
    "TABLES",
    "Taken",
    "batches",
    "delete_objects",
    "delete_orphans",
    "find_known",
    "next_number",
    "note_pack",
    "number_names",
    "take_in",
    "taken",
]

_BATCH = 500
"""Values in one query; SQLite took 999 for a long time."""

TABLES: Mapping[type[ObjectId], Table] = {
    CommitId: schema.commits,
    RunId: schema.runs,
    EnvironmentId: schema.environments,
    VerdictId: schema.verdicts,
}
_NUMBER_COLUMNS = {table: column for table, (_, column) in schema.OWNERS.items()}
_DATA_TABLES = {schema.commit_changes, schema.run_inputs, schema.run_outputs}
_CHILDREN: Mapping[Table, tuple[tuple[Table, str], ...]] = {
    schema.environments: ((schema.distributions, "environment"),),
    schema.verdicts: ((schema.verdict_outputs, "verdict_id"),),
    schema.runs: tuple((t, column) for t, (owner, column) in schema.OWNERS.items() if owner is schema.runs),
    schema.commits: tuple(
        (t, column) for t, (owner, column) in schema.OWNERS.items() if owner is schema.commits
    ),
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Taken:
    """An object to take in.

    Attributes:
        id: Its id.
        rows: What `rows_of` says of it.
    """

    id: ObjectId
    rows: tuple[tuple[Table, Row], ...]


def taken(store: ObjectCatalog, object_id: ObjectId) -> Taken:
    """Reads an object, and a commit's first parent if that is there.

    Raises:
        IntegrityError: One of them is damaged.
    """
    value = store.read_object(object_id)
    base = None
    if isinstance(value, Commit) and value.parents and store.has_object(value.parents[0]):
        parent = store.read_object(value.parents[0])
        base = parent if isinstance(parent, Commit) else None
    return Taken(object_id, tuple(rows_of(object_id, value, base)))


def batches(values: Collection[T]) -> Iterator[list[T]]:
    """Yields the values, no more at a time than fit into one query."""
    ordered = list(values)
    for start in range(0, len(ordered), _BATCH):
        yield ordered[start : start + _BATCH]


def find_known(connection: Connection, project: str, object_ids: Collection[ObjectId]) -> set[ObjectId]:
    """Returns those of the objects that have rows."""
    by_type: dict[type[ObjectId], dict[str, ObjectId]] = defaultdict(dict)
    for object_id in object_ids:
        by_type[type(object_id)][str(object_id)] = object_id
    known: set[ObjectId] = set()
    for id_type, by_text in by_type.items():
        table = TABLES[id_type]
        for batch in batches(by_text):
            query = select(table.c.id).where(table.c.project == project, table.c.id.in_(batch))
            known.update(by_text[text] for text in connection.scalars(query))
    return known


def take_in(connection: Connection, project: str, objects: Sequence[Taken]) -> None:
    """Writes the rows of those objects that have none yet; `connection` excludes other writers."""
    known = find_known(connection, project, [item.id for item in objects])
    new = list({item.id: item for item in objects if item.id not in known}.values())
    rows: dict[Table, list[Row]] = defaultdict(list)
    numbers = {table: next_number(connection, table) for table in (schema.runs, schema.commits)}
    for item in new:
        head = TABLES[type(item.id)]
        for table, row in item.rows:
            if table is head and head in numbers:
                numbers[head] += 1
                row["number"] = numbers[head] - 1
            if table in _NUMBER_COLUMNS:
                row[_NUMBER_COLUMNS[table]] = numbers[head] - 1
            else:
                row["project"] = project
            rows[table].append(row)
    rows[schema.unread_trees] = _unread_trees(connection, project, new)
    wanted = {
        value.text
        for found in rows.values()
        for row in found
        for value in row.values()
        if type(value) is Name
    }
    by_name = number_names(connection, project, wanted)
    for table, found in rows.items():
        if found:
            connection.execute(insert(table), [_values(row, by_name) for row in found])


def _unread_trees(connection: Connection, project: str, objects: Sequence[Taken]) -> list[Row]:
    """Returns a row for each directory that an object names and whose tree is not known; see `mlvc.index.trees`."""
    found: dict[str, Row] = {}
    for item in objects:
        head = item.rows[0][1]
        for table, row in item.rows:
            if table in _DATA_TABLES and row["kind"] == Kind.DIRECTORY.word:
                tree, moment = (
                    str(row["data_id"]),
                    head["time" if table is schema.commit_changes else "started"],
                )
                named = {"project": project, "id": tree, "path_number": row["path_number"], "moment": moment}
                found.setdefault(tree, named)
    for table in (schema.trees, schema.unread_trees):
        for batch in batches(found):
            query = select(table.c.id).where(table.c.project == project, table.c.id.in_(batch))
            for known in connection.scalars(query).all():
                del found[known]
    return list(found.values())


def _values(row: Row, by_name: Mapping[str, int]) -> dict[str, str | int | float | None]:
    return {
        column: by_name[value.text]
        if isinstance(value, Name)
        else plain(value)
        if isinstance(value, str) and "\0" in value
        else value
        for column, value in row.items()
    }


def next_number(connection: Connection, table: Table) -> int:
    """Returns the first number that no row of a table has; `connection` excludes other writers."""
    return (connection.scalar(select(func.max(table.c.number))) or 0) + 1


def number_names(connection: Connection, project: str, texts: Collection[str]) -> dict[str, int]:
    """Returns the number of each text; those that had none get one. `connection` excludes other writers."""
    table = schema.names
    keys = {text: key_text(text) for text in texts}
    found: dict[str, int] = {}
    for batch in batches(set(keys.values())):
        query = select(table.c.key, table.c.number).where(table.c.project == project, table.c.key.in_(batch))
        found.update((row.key, row.number) for row in connection.execute(query))
    new = {key: text for text, key in sorted(keys.items()) if key not in found}
    if new:
        first = next_number(connection, table)
        rows = [
            {"number": number, "project": project, "key": key, "name": plain(text)}
            for number, (key, text) in enumerate(new.items(), first)
        ]
        connection.execute(insert(table), rows)
        found.update((key, number) for number, key in enumerate(new, first))
    return {text: found[key] for text, key in keys.items()}


def delete_objects(connection: Connection, project: str, object_ids: Collection[ObjectId]) -> None:
    """Deletes the rows of objects, so that they can be written anew; `connection` excludes other writers."""
    by_table: dict[Table, list[str]] = defaultdict(list)
    for object_id in object_ids:
        by_table[TABLES[type(object_id)]].append(str(object_id))
    for table, texts in by_table.items():
        for batch in batches(texts):
            own = (table.c.project == project, table.c.id.in_(batch))
            for child, column in _CHILDREN[table]:
                if child in schema.OWNERS:
                    inside = select(table.c.number).where(*own)
                    connection.execute(delete(child).where(child.c[column].in_(inside)))
                else:
                    connection.execute(
                        delete(child).where(child.c.project == project, child.c[column].in_(batch))
                    )
            connection.execute(delete(table).where(*own))


def delete_orphans(connection: Connection) -> None:
    """Deletes what is about runs, commits and trees that are gone; their numbers are given again.

    `connection` excludes other writers.
    """
    for table, (owner, column) in schema.OWNERS.items():
        has_owner = select(owner.c.number).where(owner.c.number == table.c[column]).exists()
        connection.execute(delete(table).where(~has_owner))


def note_pack(connection: Connection, project: str, pack: PackId, objects: int) -> None:
    """Takes note that all objects of a pack are in the index; `connection` excludes other writers."""
    table = schema.packs
    own = (table.c.project == project, table.c.id == str(pack))
    if connection.scalar(select(func.count()).select_from(table).where(*own)) == 0:
        connection.execute(insert(table).values(project=project, id=str(pack), objects=objects))
