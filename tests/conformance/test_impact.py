"""What data reached, what changed where, and what trees hold: compared with a walk through all objects."""

import random

import pytest

from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Commit
from mlvc.model.tree import Kind, TreeEntry
from mlvc.ports import RecordKind
from tests.support.index_project import data


class Files:
    """Directories of a project, changed a little for each version."""

    def __init__(self, project, chance):
        self.project, self.chance = project, chance
        self.contents = {
            f"d{number % 3}/{'x' * (number % 2)}{number}": f"first {number}" for number in range(12)
        }

    def change(self):
        for name in self.chance.sample(sorted(self.contents), 2):
            self.contents[name] = f"content {self.chance.randint(0, 8)}"
        if self.chance.random() < 0.3:
            del self.contents[self.chance.choice(sorted(self.contents))]
        self.contents[f"new/{self.chance.randint(0, 4)}%"] = f"content {self.chance.randint(0, 8)}"

    def tracked(self, path, run=None):
        with self.project.store.writer() as writer:
            directories = {}
            for name, content in self.contents.items():
                directory, _, leaf = name.partition("/")
                blob = BlobId.of(content.encode())
                directories.setdefault(directory, []).append(TreeEntry(leaf.encode(), Kind.FILE, blob, 1))
            entries = [
                TreeEntry(
                    name.encode(),
                    Kind.DIRECTORY,
                    writer.add_tree(sorted(below, key=lambda item: item.name)),
                    0,
                )
                for name, below in sorted(directories.items())
            ]
            tree = writer.add_tree(entries)
        return TrackedPath(path.encode(), Kind.DIRECTORY, tree, len(self.contents), 1, run)


@pytest.fixture
def history(project):
    """Twenty commits in two lines with merges, and runs that read directories and what others made."""
    chance = random.Random(3)
    files, commits, made = Files(project, chance), [], []
    for number in range(20):
        files.change()
        folder = files.tracked(chance.choice(["data", "more"]))
        inputs = [folder, *chance.sample(made, min(len(made), chance.randint(0, 1)))]
        output = data("model", f"model {chance.randint(0, 12)} {number // 4}")
        run = project.run([*{item.path: item for item in inputs}.values()], [output])
        made.append(output)
        parents = chance.sample(commits, min(len(commits), chance.choice([1, 1, 2])))
        before = (
            {} if not parents else {item.path: item for item in project.store.read_object(parents[0]).paths}
        )
        tracked = {**before, folder.path: folder, b"model": data("model", output.name, run=run)}
        tracked[b"model"] = TrackedPath(b"model", Kind.FILE, output.id, 1, 1, run)
        if chance.random() < 0.2:
            tracked.pop(b"more", None)
        commit = Commit(
            f"{number:040x}", None, tuple(tracked[path] for path in sorted(tracked)), parents=tuple(parents)
        )
        commits.append(project.add(commit))
        if chance.random() < 0.5:
            project.catch_up()
    project.catch_up()
    return project


def below(store, object_id):
    found = {object_id}
    if isinstance(object_id, TreeId):
        for entry in store.read_tree(object_id):
            found |= below(store, entry.id)
    return found


def reached_by_hand(store, start):
    """Returns the runs, and the commits with their paths, that some data reached: by going through all objects."""
    runs = [store.read_object(item) for item in store.iter_object_ids(RecordKind.RUN)]
    commits = {item: store.read_object(item) for item in store.iter_object_ids(RecordKind.COMMIT)}
    bad, found = {start}, set()
    while True:
        new = {run.id for run in runs if any(below(store, entry.id) & bad for entry in run.inputs)} - found
        if not new:
            break
        found |= new
        bad |= {entry.id for run in runs if run.id in new for entry in run.outputs}
    paths = {
        (commit_id, entry.name)
        for commit_id, commit in commits.items()
        for entry in commit.paths
        if below(store, entry.id) & bad
    }
    return found, paths


def test_impact_of_every_file(history):
    """Of each content that was ever anywhere: through directories, runs and commits."""
    store, index = history.store, history.index
    runs = [store.read_object(item) for item in store.iter_object_ids(RecordKind.RUN)]
    contents = {item for run in runs for entry in run.inputs for item in below(store, entry.id)}

    for content in sorted(contents, key=str):
        found = index.impact(history.reporter, data=[content])

        assert reached_by_hand(store, content) == (
            {row.id for row in found.runs},
            {(row.commit, row.path) for row in found.paths},
        )
    assert len(contents) > 30


def test_impact_after_a_rebuild(history):
    """Trees are taken in again, and the answers stay."""
    content = BlobId.of(b"content 3")
    before = history.index.impact(history.reporter, data=[content])

    history.index.rebuild(history.reporter)

    assert before == history.index.impact(history.reporter, data=[content])
    assert before.runs


def test_a_version_of_a_directory_costs_what_changed(project):
    """One file of a thousand: a row for the file and one for each directory above it."""
    files = Files(project, random.Random(1))
    files.contents = {f"d{number % 10}/{number}": str(number) for number in range(1_000)}
    project.run([files.tracked("data")])
    project.catch_up().impact(project.reporter, data=[BlobId.of(b"0")])
    before = project.index.counts()
    files.contents["d7/7"] = "changed"
    project.run([files.tracked("data")])
    project.catch_up().impact(project.reporter, data=[BlobId.of(b"0")])
    after = project.index.counts()

    assert (2, 2) == tuple(after[name] - before[name] for name in ("trees", "tree_entries"))


def test_directories_wait_to_be_read(project):
    """Each that is named and not known is noted once, and read once; what is not here stays noted."""
    files = Files(project, random.Random(1))
    first, gone = files.tracked("data"), data("gone", kind=Kind.DIRECTORY)
    project.run([first], [gone])
    project.run([first, files.tracked("same")])
    before = project.catch_up().counts()

    project.index.impact(project.reporter, data=[BlobId.of(b"x")])
    project.add(Commit("a" * 40, None, (first, gone)))

    assert 2 == before["unread_trees"]
    assert 1 == project.catch_up().counts()["unread_trees"]


def test_a_commit_costs_what_changed(project):
    """However many paths are tracked, and however many commits there are."""
    paths = {name: data(name) for name in (f"p{number}" for number in range(500))}
    parents = ()
    for number in range(5):
        paths["p3"] = data("p3", f"version {number}")
        parents = (project.add(Commit(f"{number:040x}", None, tuple(paths.values()), parents=parents)),)
        project.catch_up()

    assert 500 + 4 == project.index.counts()["commit_changes"]


def test_trees_that_are_not_here(project):
    """Are said to be missing; what else is known is told."""
    gone = data("gone", kind=Kind.DIRECTORY)
    run_id = project.run([gone, data("x")])

    found = project.catch_up().impact(project.reporter, data=[BlobId.of(b"x")])

    assert [run_id] == [row.id for row in found.runs]
    assert ["1 directories are not here, so files below them are not found: see `mlvc fetch`"] == (
        project.reporter.warnings
    )
