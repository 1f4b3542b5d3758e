"""The index of one project: what it knows, and how it comes to know it."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, Table, func, select

from mlvc import fsio
from mlvc.index import schema
from mlvc.index.answers import (
    CommitChanges,
    CommitRow,
    DistributionRow,
    Impact,
    Lineage,
    PathRow,
    RunEntry,
    RunRow,
    VerdictRow,
)
from mlvc.index.commits import all_changes, all_commits, commits_by_sha, paths_holding
from mlvc.index.impact import data_beginning, impact
from mlvc.index.intake import batches, delete_objects, delete_orphans, find_known, note_pack, take_in, taken
from mlvc.index.lineage import trace
from mlvc.index.runs import name_number, runs_by_id, runs_where, runs_with, verdicts_of
from mlvc.index.sqlite import SqliteFile
from mlvc.index.storage import MANY, Database
from mlvc.index.table import entries_where, versions_in
from mlvc.index.trees import forget_trees, take_in_trees
from mlvc.index.versions import environments_with, parse_specifier
from mlvc.model.ids import BlobId, CommitId, EnvironmentId, ObjectId, PackId, PlanId, RunId, TreeId

if TYPE_CHECKING:
    from pathlib import Path

    from mlvc.ports import ObjectCatalog, Reporter

__all__ = ["MetadataIndex", "open_index"]


def open_index(path: Path, url: str | None, store: ObjectCatalog, project_id: str) -> MetadataIndex:
    """Returns the index on the server at `url`, or without one in the file at `path`; neither is opened yet.

    Raises:
        UsageError: `url` is no address of a PostgreSQL database.
        PostgresMissingError: The library for it is not installed.
    """
    if url is None:
        return MetadataIndex(SqliteFile(path), store, project_id)
    from mlvc.index.postgres import PostgresDatabase  # noqa: PLC0415  # what few have should cost nobody else

    return MetadataIndex(PostgresDatabase(url), store, project_id)


class MetadataIndex:
    """Answers questions about the objects of one store; everything in it can be made again from them.

    It knows what `catch_up` has seen. Any number of processes may have it open, and catch up, at once.

    Attributes:
        place: The file, or the server's address without the password.
    """

    def __init__(self, database: Database, store: ObjectCatalog, project_id: str) -> None:
        """Describes an index; its tables are made, or their version checked, at the first use.

        Args:
            database: Where the rows are.
            store: Where the objects are.
            project_id: Whose rows to read and write; others' are left alone.
        """
        self.place = database.place
        self._database = database
        self._store = store
        self._project = project_id

    def catch_up(self, reporter: Reporter) -> None:
        """Takes in the objects of packs that were not seen yet.

        What another process takes in at the same time is written once. Cheap when there is nothing new.

        Raises:
            IntegrityError: An object or the index is damaged.
            IndexBusyError: Another process kept writing.
        """
        with self._database.reading() as connection:
            known = {
                PackId.parse(text)
                for text in connection.scalars(select(schema.packs.c.id).where(self._own(schema.packs)))
            }
        self._take_in(self._database, known, reporter)

    def rebuild(self, reporter: Reporter) -> None:
        """Makes every row of the store's objects anew; those of trees with the first question about a file.

        A file is replaced by a new one, whatever it is, and questions are answered from the old one meanwhile; a
        second rebuild waits for the first. On a server, which holds what other repositories know too, nothing else is
        touched.

        Raises:
            IntegrityError: An object is damaged; the old rows are still there.
        """
        if not isinstance(self._database, SqliteFile):
            with self._database.writing() as connection:
                delete_orphans(connection)
                forget_trees(connection, self._store, self._project)
            self._take_in(self._database, frozenset(), reporter, is_anew=True)
            return
        path = self._database.path
        with (
            fsio.translate_os_errors(f"rebuild {path}"),
            fsio.file_lock(
                path.with_name(path.name + ".rebuild"), on_wait=lambda: reporter.note("waiting for a rebuild")
            ),
        ):
            new = SqliteFile(path.with_name(path.name + ".new"))
            new.remove()
            self._take_in(new, frozenset(), reporter)
            self._database.replace_with(new)

    def counts(self) -> dict[str, int]:
        """Returns the number of rows in each table, by the table's name."""
        with self._database.reading() as connection:
            return {
                table.name: connection.scalar(self._counting(table)) or 0
                for table in schema.METADATA.sorted_tables
                if table is not schema.schema_versions
            }

    def _counting(self, table: Table) -> Select[Any]:
        query = select(func.count()).select_from(table)
        if table not in schema.OWNERS:
            return query.where(self._own(table))
        owner, column = schema.OWNERS[table]
        return query.where(table.c[column].in_(select(owner.c.number).where(self._own(owner))))

    def commit_for_sha(self, sha: str) -> CommitId | None:
        """Returns the mlvc commit that links to a git commit."""
        found = self.commits_for_shas([sha]).get(sha)
        return None if found is None else found.id

    def commits_for_shas(self, shas: Collection[str]) -> Mapping[str, CommitRow]:
        """Returns the mlvc commits that link to git commits, by SHA; a git commit without one is not there."""
        with self._database.reading() as connection:
            return commits_by_sha(connection, self._project, shas)

    def commits(self) -> Sequence[CommitRow]:
        """Returns all commits, the newest first."""
        with self._database.reading() as connection:
            return all_commits(connection, self._project)

    def changes(self, paths: Collection[str] | None = None) -> Mapping[CommitId, CommitChanges]:
        """Returns what each commit changed.

        Args:
            paths: Only what it changed at these tracked paths, in text form; None for all.
        """
        with self._database.reading() as connection:
            return all_changes(connection, self._project, paths)

    def run_rows(
        self, *, name: str | None = None, status: str | None = None, limit: int | None = None
    ) -> Sequence[RunRow]:
        """Returns runs, the newest first.

        Args:
            name: Only those of that name.
            status: Only those that ended so.
            limit: At most so many.
        """
        wanted = []
        if name is not None:
            wanted.append(schema.runs.c.name_number == name_number(self._project, name))
        if status is not None:
            wanted.append(schema.runs.c.status == status)
        return self._runs(*wanted, limit=limit)

    def run_table(
        self,
        *,
        where: str | None = None,
        name: str | None = None,
        status: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
    ) -> Sequence[RunEntry]:
        """Returns runs with their values and latest verdicts; by default, and among equals, the newest first.

        Args:
            where: An expression that must hold; see docs/reference/expressions.md.
            name: Only those of that name.
            status: Only those that ended so.
            sort: A field to sort by; with `-` before it, the largest comes first.
            limit: At most so many.

        Raises:
            ExpressionError: `where` or `sort` cannot be read.
        """
        wanted = []
        if name is not None:
            wanted.append(schema.runs.c.name_number == name_number(self._project, name))
        if status is not None:
            wanted.append(schema.runs.c.status == status)
        with self._database.reading() as connection:
            return entries_where(connection, self._project, *wanted, expression=where, sort=sort, limit=limit)

    def versions_of(self, package: str) -> Mapping[str, str]:
        """Returns the version of a distribution in each environment that has it, by the environment's id as text."""
        with self._database.reading() as connection:
            return versions_in(connection, self._project, package)

    def pythons(self) -> Mapping[str, str]:
        """Returns the interpreter's version in each environment, by the environment's id as text."""
        table = schema.environments
        with self._database.reading() as connection:
            rows = connection.execute(select(table.c.id, table.c.python).where(self._own(table)))
            return {row.id: row.python for row in rows}

    def runs_by_output(self, data_id: BlobId | TreeId) -> Sequence[RunId]:
        """Returns the runs that made the data, the newest first."""
        with self._database.reading() as connection:
            return runs_with(connection, self._project, schema.run_outputs, data_id)

    def runs_by_input(self, data_id: BlobId | TreeId) -> Sequence[RunId]:
        """Returns the runs that read the data, the newest first."""
        with self._database.reading() as connection:
            return runs_with(connection, self._project, schema.run_inputs, data_id)

    def runs_by_plan(self, plan: PlanId, *, status: str | None = None) -> Sequence[RunId]:
        """Returns the runs of a plan, the newest first; only those that ended as `status` says, if given."""
        wanted = [schema.runs.c.plan == str(plan)]
        if status is not None:
            wanted.append(schema.runs.c.status == status)
        return [row.id for row in self._runs(*wanted)]

    def verdicts_of(self, run: RunId) -> Sequence[VerdictRow]:
        """Returns the reproductions of a run, the newest first."""
        with self._database.reading() as connection:
            return verdicts_of(connection, self._project, run)

    def paths_with_id(self, data_id: BlobId | TreeId) -> Sequence[PathRow]:
        """Returns where commits track exactly this data, sorted by path."""
        with self._database.reading() as connection:
            return paths_holding(connection, self._project, [data_id])

    def paths_with_ids(self, data_ids: Collection[str]) -> Sequence[PathRow]:
        """Returns where commits track exactly one of the data, given as text; sorted by path."""
        with self._database.reading() as connection:
            return paths_holding(connection, self._project, sorted(data_ids))

    def environments_with(self, package: str, specifier: str = "") -> Sequence[DistributionRow]:
        """Returns the environments in which a distribution has a version, sorted by environment.

        Args:
            package: Its name, spelt in any way.
            specifier: Which versions, as PEP 440 writes it: `<1.1`; empty for all.

        Raises:
            UsageError: `specifier` is none.
        """
        versions = parse_specifier(specifier)
        with self._database.reading() as connection:
            return environments_with(connection, self._project, package, versions)

    def impact(
        self, reporter: Reporter, *, data: Collection[ObjectId] = (), runs: Collection[RunId] = ()
    ) -> Impact:
        """Returns everything that some data and some runs reached: runs, what they made, and where commits track it.

        The first call reads every tracked directory; later ones what is new of them.

        Raises:
            IntegrityError: A tree is damaged.
        """
        self._take_in_trees(reporter)
        with self._database.reading() as connection:
            return impact(
                connection, self._project, [str(each) for each in data], [str(each) for each in runs]
            )

    def find_data(self, reporter: Reporter, digits: str) -> Sequence[str]:
        """Returns the ids of the blobs and trees that begin so, as text, at most two of them."""
        self._take_in_trees(reporter)
        with self._database.reading() as connection:
            return data_beginning(connection, self._project, digits)

    def runs_in_environments(self, environments: Collection[EnvironmentId]) -> Sequence[RunRow]:
        """Returns the runs that ran in one of the environments, the newest first."""
        found: list[RunRow] = []
        for batch in batches([str(environment) for environment in environments]):
            found += self._runs(schema.runs.c.environment.in_(batch))
        return sorted(found, key=lambda row: row.started, reverse=True)

    def _take_in_trees(self, reporter: Reporter) -> None:
        absent = take_in_trees(self._database, self._store, self._project, reporter)
        if absent:
            reporter.warn(
                f"{absent} directories are not here, so files below them are not found: see `mlvc fetch`"
            )

    def lineage(self, targets: Sequence[BlobId | TreeId]) -> Lineage:
        """Returns what the targets were made from, all the way up, and what was made from them, all the way down."""
        with self._database.reading() as connection:
            run_ids, edges = trace(connection, self._project, targets)
            runs = runs_by_id(connection, self._project, run_ids)
        # A run may read a directory where it then makes a file, and ids of blobs and trees do not compare.
        ordered = sorted(edges, key=lambda edge: (edge.run, edge.path, edge.made, str(edge.data)))
        return Lineage(tuple(runs), tuple(ordered))

    def _take_in(
        self, database: Database, known: Container[PackId], reporter: Reporter, *, is_anew: bool = False
    ) -> None:
        taken_in, looked_at = 0, 0
        with reporter.task("indexing", unit="objects") as task:
            for pack, object_ids in self._store.iter_new_objects(known):
                pending = list(batches(object_ids))
                while True:
                    batch = pending.pop(0) if pending else []
                    new = batch if is_anew else self._unknown(database, batch)
                    # Objects are read before the transaction begins, so that writers wait for the inserts only.
                    objects = [taken(self._store, object_id) for object_id in new]
                    with database.writing() as connection:
                        if is_anew:
                            delete_objects(connection, self._project, new)
                        take_in(connection, self._project, objects)
                        if not pending:
                            # Last: whoever stops before begins this pack again, and writes nothing twice.
                            note_pack(connection, self._project, pack, len(object_ids))
                    task.advance(len(batch))
                    taken_in += len(new)
                    if taken_in - looked_at >= max(looked_at, MANY):
                        database.update_statistics()
                        looked_at = taken_in
                    if not pending:
                        break

    def _unknown(self, database: Database, object_ids: Collection[ObjectId]) -> list[ObjectId]:
        if not object_ids:
            return []
        with database.reading() as connection:
            known = find_known(connection, self._project, object_ids)
        return [object_id for object_id in object_ids if object_id not in known]

    def _own(self, table: Table) -> ColumnElement[bool]:
        return table.c.project == self._project

    def _runs(self, *wanted: ColumnElement[bool], limit: int | None = None) -> list[RunRow]:
        with self._database.reading() as connection:
            return runs_where(connection, self._project, *wanted, limit=limit)
