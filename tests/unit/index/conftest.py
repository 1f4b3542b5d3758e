import itertools

import pytest

from mlvc.index.database import MetadataIndex
from mlvc.model.ids import BlobId, PlanId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import (
    Code,
    Commit,
    Distribution,
    Environment,
    Interpreter,
    OutputVerdict,
    Run,
    Verdict,
)
from mlvc.model.tree import Kind
from mlvc.store.local import LocalStore
from tests.support.reporter import RecordingReporter

INTERPRETER = Interpreter(
    "/v/bin/python", "/usr/bin/python3.11", "3.11.7", "cpython", "3.11.7 (main)", "/v", "/usr"
)


def data(name, content=None, *, kind=Kind.FILE, run=None):
    """A tracked path; its content is what it is called, unless said otherwise."""
    digest = (content or name).encode()
    entry_id = TreeId.of(digest) if kind is Kind.DIRECTORY else BlobId.of(digest)
    return TrackedPath(name.encode(), kind, entry_id, 1, len(digest), run)


class Project:
    """A store with an index over it; each `add` is a pack of its own."""

    def __init__(self, directory, project_id="project"):
        self.directory = directory
        self.store = LocalStore.create(directory / "store")
        self.index = MetadataIndex(directory / "index.db", self.store, project_id)
        self.reporter = RecordingReporter()
        self._days = itertools.count(1)

    def add(self, *objects):
        with self.store.writer() as writer:
            ids = [writer.add_object(value) for value in objects]
        return ids[0] if len(ids) == 1 else ids

    def run(self, inputs=(), outputs=(), **fields):
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

    def catch_up(self):
        self.index.catch_up(self.reporter)
        return self.index

    def add_one_of_each(self):
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


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)
