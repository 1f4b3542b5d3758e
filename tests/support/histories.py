"""A made-up history in a real git repository: branches, merges, runs over shared data, packages, names of models.

What is in it follows from a seed. Git is fed by one process, and the objects are written straight into the store.
"""

import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlvc.model.ids import CommitId, EnvironmentId, PlanId, RunId, TreeId
from mlvc.model.lock import Lock, TrackedPath, encode_lock
from mlvc.model.objects import Code, Commit, Distribution, Environment, Run, Verdict
from mlvc.model.tree import Kind, TreeEntry
from mlvc.repo import Repo
from mlvc.verbs.tag import tag
from tests.support.index_project import INTERPRETER
from tests.support.reporter import RecordingReporter

__all__ = ["Planned", "make_history"]

_PATHS = (b"data", b"model", b"extra % 'x'", "ü/deep".encode())
_CONTENTS = 9
"""So few that the same bytes come up in several places."""


@dataclass
class Planned:
    """A git commit that is to be.

    Attributes:
        parents: Places in the list of all.
        lock: What it tracks.
        is_recorded: Whether it gets an mlvc commit.
        sha: What git calls it, once it is there.
    """

    parents: tuple[int, ...]
    lock: dict[bytes, TrackedPath]
    is_recorded: bool = True
    sha: str = ""


@dataclass
class _Maker:
    repo: Repo
    chance: random.Random
    environments: list[EnvironmentId] = field(default_factory=list)
    known: list[TrackedPath] = field(default_factory=list)

    def add(self, value: Any) -> Any:
        """Adds an object; now and then the index sees what there is so far."""
        with self.repo.store.writer() as writer:
            object_id = writer.add_object(value)
        if self.chance.random() < 0.1:
            self.repo.index.catch_up(self.repo.reporter)
        return object_id

    def data(self, path: bytes, run: RunId | None = None) -> TrackedPath:
        """Returns a file, or a directory with a file and another directory; the bytes are stored."""
        number = self.chance.randrange(_CONTENTS)
        with self.repo.store.writer() as writer:
            blobs = [writer.add_blob(b"content %d" % (number + each)) for each in range(2)]
            if path != b"data" and self.chance.random() < 0.6:
                return self._keep(TrackedPath(path, Kind.FILE, blobs[0], 1, 9, run))
            below = writer.add_tree([TreeEntry("ä".encode(), Kind.FILE, blobs[0], 9)])
            entries = [TreeEntry(b"a", Kind.FILE, blobs[1], 9), TreeEntry(b"sub", Kind.DIRECTORY, below, 9)]
            return self._keep(TrackedPath(path, Kind.DIRECTORY, writer.add_tree(entries), 2, 18, run))

    def _keep(self, entry: TrackedPath) -> TrackedPath:
        self.known.append(entry)
        return entry

    def run(self, number: int, at: Planned) -> tuple[RunId, list[TrackedPath]]:
        """Adds a run that reads what a commit tracks or what was somewhere else before, with its verdicts."""
        chance = self.chance
        pool = [*at.lock.values(), *self.known]
        inputs = {entry.path: entry for entry in chance.sample(pool, min(len(pool), chance.randint(0, 2)))}
        paths = chance.sample([b"model", b"extra % 'x'", b"report"], chance.randint(1, 2))
        outputs = [self.data(path) for path in paths]
        run_id = self.add(
            Run(
                PlanId.of(b""),
                ("python", "train.py", str(number)),
                "",
                "/project",
                Code(
                    f"{number:040x}", dirty=chance.random() < 0.5, tree=TreeId.of(b"code %d" % (number % 3))
                ),
                inputs=tuple(
                    TrackedPath(each.path, each.kind, each.id, each.files, each.size_bytes)
                    for _, each in sorted(inputs.items())
                ),
                outputs=tuple(sorted(outputs, key=lambda entry: entry.path)),
                environment=chance.choice([None, *self.environments]),
                params={"depth": str(chance.randint(1, 3)), f"only {number}": '"x"'},
                metrics={"mae": str(chance.randint(1, 20) / 2)},
                name=chance.choice([None, "train", f"run-{number}"]),
                started=f"2024-01-{number + 1:02}T00:00:00.000000+00:00",
            ).with_plan()
        )
        for day in range(chance.randint(0, 2)):
            verdict = chance.choice(["identical", "different"])
            self.add(Verdict(run_id, verdict, started=f"2024-02-0{day + 1}T00:00:00.000000+00:00"))
        return run_id, outputs


def make_history(root: Path, environment: dict[str, str], seed: int, commits: int = 16) -> list[Planned]:
    """Fills an empty git repository; the last commit is checked out, with `mlvc.lock`, on the branch main.

    Some git commits have no mlvc commit. Names of models are given to commits, and one alias moves.
    """
    (root / "mlvc.toml").write_text(f'[project]\nid = "{seed:032x}"\n')
    repo = Repo.open(root, reporter=RecordingReporter(), environment=environment)
    maker = _Maker(repo, random.Random(seed))
    chance = maker.chance
    for number in range(3):
        packages = (Distribution("Big_Data", f"1.{number}"), Distribution("other", "2.0"))
        maker.environments.append(
            maker.add(Environment(INTERPRETER, {}, str(number), packages[: chance.randint(1, 2)]))
        )
    planned: list[Planned] = [Planned((), {b"data": maker.data(b"data")})]
    for number in range(1, commits):
        planned.append(_next(maker, planned, number))
    _write_git(root, planned)
    _record(maker, planned)
    for name, at in (("churn@1.0", 2), ("churn@1.1", -3), ("all@1", 5)):
        _name(repo, name, planned[at])
    for at in (3, -1):
        _name(repo, "churn#production", planned[at])
    return planned


def _next(maker: _Maker, planned: list[Planned], number: int) -> Planned:
    """Returns a commit after one or two earlier ones, with something of each or something new."""
    chance = maker.chance
    last = len(planned) - 1
    parents = [last if chance.random() < 0.6 else chance.randint(0, last)]
    if chance.random() < 0.35:
        parents.append(chance.randint(0, last))
    before = [planned[parent].lock for parent in dict.fromkeys(parents)]
    lock = dict(before[0])
    for other in before[1:]:
        for path in {*lock, *other}:
            chosen = chance.choice([lock, other]).get(path)
            if chosen is None:
                lock.pop(path, None)
            else:
                lock[path] = chosen
    result = Planned(tuple(dict.fromkeys(parents)), lock, chance.random() < 0.9)
    run_id, outputs = maker.run(number, result)
    for entry in outputs:
        if entry.path in _PATHS and chance.random() < 0.7:
            lock[entry.path] = TrackedPath(
                entry.path, entry.kind, entry.id, entry.files, entry.size_bytes, run_id
            )
    for path in (b"data", "ü/deep".encode()):
        if chance.random() < 0.3:
            lock[path] = maker.data(path)
    if len(lock) > 2 and chance.random() < 0.2:
        del lock[chance.choice(sorted(lock))]
    return result


def _write_git(root: Path, planned: list[Planned]) -> None:
    lines = [b"feature done"]
    for number, each in enumerate(planned):
        who = b"T <t@e> %d +0000" % (1_700_000_000 + number * 60)
        lines += [b"commit refs/heads/main", b"mark :%d" % (number + 1), b"committer " + who]
        message = b"commit %d" % number
        lines += [b"data %d" % len(message), message]
        for word, parent in zip((b"from", b"merge"), each.parents, strict=False):
            lines.append(b"%s :%d" % (word, parent + 1))
        if not each.parents:
            toml = (root / "mlvc.toml").read_bytes()
            lines += [b"M 100644 inline mlvc.toml", b"data %d" % len(toml), toml]
        lock = encode_lock(Lock(each.lock))
        lines += [b"M 100644 inline mlvc.lock", b"data %d" % len(lock), lock]
    marks = root / ".git" / "marks"
    stream = b"\n".join([*lines, b"done", b""])
    subprocess.run(
        ["git", "fast-import", "--quiet", "--force", f"--export-marks={marks}"],
        cwd=root,
        input=stream,
        check=True,
    )
    shas = dict(line.split() for line in marks.read_text().splitlines())
    for number, each in enumerate(planned):
        each.sha = shas[f":{number + 1}"]
    subprocess.run(["git", "checkout", "--quiet", "--force", "main"], cwd=root, check=True)


def _record(maker: _Maker, planned: list[Planned]) -> None:
    """Adds the mlvc commits, each with those of its parents that have one."""
    ids: dict[int, CommitId] = {}
    for number, each in enumerate(planned):
        if not each.is_recorded:
            continue
        info = maker.repo.code.info(each.sha)
        ids[number] = maker.add(
            Commit(
                each.sha,
                None,
                tuple(each.lock[path] for path in sorted(each.lock)),
                maker.chance.choice([None, *maker.environments]),
                tuple(ids[parent] for parent in each.parents if parent in ids),
                info.author,
                info.time,
                info.message,
            )
        )


def _name(repo: Repo, name: str, at: Planned) -> None:
    path = "model" if b"model" in at.lock and not name.startswith("all") else None
    tag(repo, name, at.sha, path=path)
