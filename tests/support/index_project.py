"""A store with an index over it, and objects to put in."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import select

from mlvc.index import schema
from mlvc.index.database import MetadataIndex
from mlvc.index.sqlite import SqliteFile
from mlvc.index.storage import Database
from mlvc.model.ids import BlobId, PlanId, RunId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import (
    Code,
    Commit,
    Distribution,
    Environment,
    Interpreter,
    OutputVerdict,
    Run,
    StoredObject,
    Verdict,
)
from mlvc.model.tree import Kind
from mlvc.store.local import LocalStore
from tests.support.reporter import RecordingReporter

__all__ = ["INTERPRETER", "TABLES", "Project", "data", "everything"]

TABLES = [table.name for table in schema.METADATA.sorted_tables if table is not schema.schema_versions]
INTERPRETER = Interpreter(
    "/v/bin/python", "/usr/bin/python3.11", "3.11.7", "cpython", "3.11.7 (main)", "/v", "/usr"
)


def data(
    name: str, content: str | None = None, *, kind: Kind = Kind.FILE, run: RunId | None = None
) -> TrackedPath:
    """A tracked path; its content is what it is called, unless said otherwise."""
    digest = (content or name).encode()
    entry_id: BlobId | TreeId = TreeId.of(digest) if kind is Kind.DIRECTORY else BlobId.of(digest)
    return TrackedPath(name.encode(), kind, entry_id, 1, len(digest), run)


class Project:
    """A store with an index over it; each `add` is a pack of its own."""

    def __init__(
        self,
        directory: Path,
        project_id: str = "project",
        database: Database | None = None,
        url: str | None = None,
    ) -> None:
        self.directory = directory
        self.store = LocalStore.create(directory / "store")
        self.database: Database = database or SqliteFile(directory / "index.db")
        self.url = url
        self.index = self.index_of(project_id)
        self.reporter = RecordingReporter()
        self._days = itertools.count(1)

    def index_of(self, project_id: str) -> MetadataIndex:
        return MetadataIndex(self.database, self.store, project_id)

    def add(self, *objects: StoredObject) -> Any:
        with self.store.writer() as writer:
            ids = [writer.add_object(value) for value in objects]
        return ids[0] if len(ids) == 1 else ids

    def run(
        self, inputs: Iterable[TrackedPath] = (), outputs: Iterable[TrackedPath] = (), **fields: Any
    ) -> Any:
        """Adds a run; each starts a day after the one before."""
        run = Run(
            plan=PlanId.of(b""),
            argv=fields.pop("argv", ("python", "train.py")),
            directory="",
            project="/project",
            code=Code("c" * 40, dirty=False, tree=TreeId.of(b"code")),
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            **{"started": f"2024-01-{next(self._days):02}T00:00:00.000000+00:00", **fields},
        ).with_plan()
        return self.add(run)

    def catch_up(self) -> MetadataIndex:
        self.index.catch_up(self.reporter)
        return self.index

    def add_one_of_each(self) -> tuple[Any, ...]:
        """Adds an environment, a run, a commit and a verdict with every list of theirs filled."""
        environment = Environment(
            INTERPRETER,
            {"system": "Linux"},
            "a==1\n",
            (Distribution("Py_YAML", "6.0", wheel=BlobId.of(b"wheel")), Distribution("local", "1.0+cpu")),
        )
        environment_id = self.add(environment)
        run_id = self.run(
            [data("in", kind=Kind.DIRECTORY)],
            [data("out %")],
            environment=environment_id,
            params={"lr": "0.1", "name": '"x"'},
            metrics={"auc": "0.9", "nan": "NaN"},
            name="train",
            seed=7,
            host={"cpu": "x"},
        )
        first = Commit("a" * 40, None, (), time="2024-01-01T00:00:00+00:00", message="ä")
        second = Commit(
            "b" * 40,
            TreeId.of(b"code"),
            (data("in", kind=Kind.DIRECTORY), data("out", run=run_id)),
            environment_id,
            (first.id,),
            "T <t@e>",
            "2024-01-02T00:00:00+00:00",
            "second",
        )
        verdict = Verdict(run_id, "different", (OutputVerdict("out", "different", "b3:1", None, "why"),))
        self.add(first, second)
        self.add(verdict)
        return environment_id, run_id, first.id, second.id, verdict.id


def everything(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Returns every row of every table but those about trees, with the texts that its numbers stand for."""
    with database.reading() as connection:
        numbered = select(schema.names.c.number, schema.names.c.name)
        names = {row.number: row.name for row in connection.execute(numbered)}
        owners = {
            owner: {row.number: row.id for row in connection.execute(select(owner.c.number, owner.c.id))}
            for owner in (schema.runs, schema.commits)
        }
        about_trees = {schema.trees, schema.tree_entries, schema.unread_trees}
        found: dict[str, list[dict[str, Any]]] = {}
        for table in schema.METADATA.sorted_tables:
            if table in {schema.schema_versions, schema.names, *about_trees}:
                continue
            owner, own = schema.OWNERS.get(table, (schema.runs, None))
            rows = []
            for row in connection.execute(select(table)).mappings():
                told: dict[str, Any] = {
                    key: value for key, value in row.items() if key != "number" or "id" not in row
                }
                for key, value in told.items():
                    if key == own:
                        told[key] = owners[owner][value]
                    elif key.endswith("_number") and value is not None:
                        told[key] = names[value]
                rows.append(told)
            found[table.name] = sorted(rows, key=repr)
    return found
