"""The index of one project: what it knows, and how it comes to know it."""

from __future__ import annotations

import datetime
import json
from collections import defaultdict
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion
from sqlalchemy import ColumnElement, Select, Table, func, select
from sqlalchemy import Row as SqlRow
from sqlalchemy.dialects.sqlite import insert

from mlvc import fsio
from mlvc.errors import UsageError
from mlvc.index import schema
from mlvc.index.answers import CommitRow, DistributionRow, Lineage, PathRow, RunRow, VerdictRow
from mlvc.index.lineage import trace
from mlvc.index.rows import Row, rows_of
from mlvc.index.sqlite import SqliteFile
from mlvc.model.ids import BlobId, CommitId, EnvironmentId, ObjectId, PackId, PlanId, RunId, TreeId, VerdictId

if TYPE_CHECKING:
    from pathlib import Path

    from mlvc.ports import ObjectCatalog, Reporter

__all__ = ["MetadataIndex"]


class MetadataIndex:
    """Answers questions about the objects of one store; everything in it can be made again from them.

    It knows what `catch_up` has seen. Any number of processes may have it open, and catch up, at once.
    """

    def __init__(self, path: Path, store: ObjectCatalog, project_id: str) -> None:
        """Describes an index; its file is made, or its version checked, at the first use.

        Args:
            path: The database file; files beside it whose names start with its name belong to it.
            store: Where the objects are.
            project_id: Whose rows to read and write; others' are left alone.
        """
        self._file = SqliteFile(path)
        self._store = store
        self._project = project_id

    def catch_up(self, reporter: Reporter) -> None:
        """Takes in the objects of packs that were not seen yet, each pack in one transaction.

        What another process takes in at the same time is written once. Cheap when there is nothing new.

        Raises:
            IntegrityError: An object or the index is damaged.
            IndexBusyError: Another process kept writing.
        """
        with self._file.reading() as connection:
            known = {
                PackId.parse(text)
                for text in connection.scalars(select(schema.packs.c.id).where(self._own(schema.packs)))
            }
        self._take_in(self._file, known, reporter)

    def rebuild(self, reporter: Reporter) -> None:
        """Makes the index anew from the objects, and puts it in the place of the old one, whatever that is.

        Questions are answered from the old one meanwhile. A second rebuild waits for the first.

        Raises:
            IntegrityError: An object is damaged; the old index is still there.
        """
        path = self._file.path
        with (
            fsio.translate_os_errors(f"rebuild {path}"),
            fsio.file_lock(
                path.with_name(path.name + ".rebuild"), on_wait=lambda: reporter.note("waiting for a rebuild")
            ),
        ):
            new = SqliteFile(path.with_name(path.name + ".new"))
            new.remove()
            self._take_in(new, frozenset(), reporter)
            self._file.replace_with(new)

    def counts(self) -> dict[str, int]:
        """Returns the number of rows in each table, by the table's name."""
        with self._file.reading() as connection:
            return {
                table.name: connection.scalar(select(func.count()).select_from(table).where(self._own(table)))
                or 0
                for table in schema.METADATA.sorted_tables
                if table is not schema.schema_versions
            }

    def commit_for_sha(self, sha: str) -> CommitId | None:
        """Returns the mlvc commit that links to a git commit."""
        table = schema.commits
        # The same git commit recorded twice differs only in what was known of it; any rule will do, if it is one.
        found = self._first(
            select(table.c.id).where(table.c.code_sha == sha).order_by(table.c.id).limit(1), table
        )
        return None if found is None else CommitId.parse(found.id)

    def commits(self) -> Sequence[CommitRow]:
        """Returns all commits, the newest first."""
        table, parents = schema.commits, schema.commit_parents
        by_commit: dict[str, list[CommitId]] = defaultdict(list)
        for row in self._all(select(parents).order_by(parents.c.position), parents):
            by_commit[row.commit_id].append(CommitId.parse(row.parent))
        found = [
            CommitRow(
                id=CommitId.parse(row.id),
                code_sha=row.code_sha,
                environment=_environment(row.environment),
                parents=tuple(by_commit[row.id]),
                author=row.author,
                time=row.time,
                message=row.message,
            )
            for row in self._all(select(table).order_by(table.c.id), table)
        ]
        return sorted(found, key=lambda commit: _moment(commit.time), reverse=True)

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
            wanted.append(schema.runs.c.name == name)
        if status is not None:
            wanted.append(schema.runs.c.status == status)
        return self._runs(*wanted, limit=limit)

    def runs_by_output(self, data_id: BlobId | TreeId) -> Sequence[RunId]:
        """Returns the runs that made the data, the newest first."""
        return self._runs_with(schema.run_outputs, data_id)

    def runs_by_input(self, data_id: BlobId | TreeId) -> Sequence[RunId]:
        """Returns the runs that read the data, the newest first."""
        return self._runs_with(schema.run_inputs, data_id)

    def runs_by_plan(self, plan: PlanId, *, status: str | None = None) -> Sequence[RunId]:
        """Returns the runs of a plan, the newest first; only those that ended as `status` says, if given."""
        wanted = [schema.runs.c.plan == str(plan)]
        if status is not None:
            wanted.append(schema.runs.c.status == status)
        return [row.id for row in self._runs(*wanted)]

    def verdicts_of(self, run: RunId) -> Sequence[VerdictRow]:
        """Returns the reproductions of a run, the newest first."""
        table = schema.verdicts
        query = select(table).where(table.c.run_id == str(run)).order_by(table.c.started.desc(), table.c.id)
        return [
            VerdictRow(
                id=VerdictId.parse(row.id),
                run=run,
                verdict=row.verdict,
                engine=row.engine,
                isolated=row.isolated,
                exit_code=row.exit_code,
                started=row.started,
                duration_ms=row.duration_ms,
            )
            for row in self._all(query, table)
        ]

    def paths_with_id(self, data_id: BlobId | TreeId) -> Sequence[PathRow]:
        """Returns where commits track exactly this data, sorted by path."""
        table = schema.commit_paths
        query = select(table).where(table.c.data_id == str(data_id)).order_by(table.c.path, table.c.commit_id)
        return [PathRow(CommitId.parse(row.commit_id), row.path) for row in self._all(query, table)]

    def environments_with(self, package: str, specifier: str = "") -> Sequence[DistributionRow]:
        """Returns the environments in which a distribution has a version, sorted by environment.

        Args:
            package: Its name, spelt in any way.
            specifier: Which versions, as PEP 440 writes it: `<1.1`; empty for all.

        Raises:
            UsageError: `specifier` is none.
        """
        try:
            versions = SpecifierSet(specifier)
        except InvalidSpecifier:
            raise UsageError(
                f"{specifier!r} is no version specifier", hint="write it as in `<1.1` or `>=2,!=2.3`"
            ) from None
        table = schema.distributions
        query = (
            select(table)
            .where(table.c.name == canonicalize_name(package))
            .order_by(table.c.environment, table.c.position)
        )
        return [
            DistributionRow(EnvironmentId.parse(row.environment), row.name, row.version)
            for row in self._all(query, table)
            if _matches(row.version, versions)
        ]

    def lineage(self, targets: Sequence[BlobId | TreeId]) -> Lineage:
        """Returns what the targets were made from, all the way up, and what was made from them, all the way down."""
        with self._file.reading() as connection:
            run_ids, edges = trace(connection, self._project, targets)
        runs = {row.id: row for row in self._runs() if row.id in run_ids}
        return Lineage(
            tuple(sorted(runs.values(), key=lambda row: (row.started, row.id))),
            tuple(sorted(edges)),
        )

    def _take_in(self, file: SqliteFile, known: Container[PackId], reporter: Reporter) -> None:
        with reporter.task("indexing", unit="objects") as task:
            for pack, object_ids in self._store.iter_new_objects(known):
                # Objects are read before the transaction begins, so that other writers wait for the inserts only.
                rows: dict[Table, list[Row]] = defaultdict(list)
                for object_id in object_ids:
                    for table, row in rows_of(object_id, self._store.read_object(object_id)):
                        rows[table].append({"project": self._project, **row})
                    task.advance()
                rows[schema.packs].append(
                    {"project": self._project, "id": str(pack), "objects": len(object_ids)}
                )
                with file.writing() as connection:
                    for table, values in rows.items():
                        connection.execute(insert(table).on_conflict_do_nothing(), values)

    def _own(self, table: Table) -> ColumnElement[bool]:
        return table.c.project == self._project

    def _all(self, query: Select[Any], table: Table) -> Sequence[SqlRow[Any]]:
        with self._file.reading() as connection:
            return connection.execute(query.where(self._own(table))).all()

    def _first(self, query: Select[Any], table: Table) -> SqlRow[Any] | None:
        return next(iter(self._all(query, table)), None)

    def _runs(self, *wanted: ColumnElement[bool], limit: int | None = None) -> list[RunRow]:
        table = schema.runs
        query = select(table).where(*wanted).order_by(table.c.started.desc(), table.c.id).limit(limit)
        return [_run_row(row) for row in self._all(query, table)]

    def _runs_with(self, table: Table, data_id: ObjectId) -> list[RunId]:
        inside = select(table.c.run_id).where(self._own(table), table.c.data_id == str(data_id))
        return [row.id for row in self._runs(schema.runs.c.id.in_(inside))]


def _run_row(row: SqlRow[Any]) -> RunRow:
    return RunRow(
        id=RunId.parse(row.id),
        plan=PlanId.parse(row.plan),
        name=row.name,
        argv=tuple(json.loads(row.argv)),
        directory=row.directory,
        status=row.status,
        exit_code=row.exit_code,
        started=row.started,
        duration_ms=row.duration_ms,
        profile=row.profile,
        threads=row.threads,
        engine=row.engine,
        code_sha=row.code_sha,
        code_tree=TreeId.parse(row.code_tree),
        dirty=row.dirty,
        environment=_environment(row.environment),
    )


def _environment(text: str | None) -> EnvironmentId | None:
    return None if text is None else EnvironmentId.parse(text)


def _moment(text: str) -> datetime.datetime:
    """Returns a commit's time as a moment: authors' offsets differ, so that the texts do not sort."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return datetime.datetime.min.replace(tzinfo=datetime.UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)


def _matches(version: str, versions: SpecifierSet) -> bool:
    try:
        return versions.contains(version, prereleases=True)
    except InvalidVersion:
        return False  # Not every installed distribution has a version that PEP 440 knows.
