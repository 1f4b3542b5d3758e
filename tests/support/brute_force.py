"""Answers to every question by going through all objects of the store and git, without any index."""

import subprocess
from collections.abc import Collection, Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

from mlvc.model.ids import BlobId, CommitId, EnvironmentId, ObjectId, RunId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Commit, Environment, Run, Verdict
from mlvc.ports import ObjectReader, RecordKind

__all__ = ["BruteForce"]


class BruteForce:
    """Everything that a store holds, in memory.

    Attributes:
        store: The store.
        runs: By id.
        commits: By id.
        environments: By id.
    """

    def __init__(self, store: ObjectReader, root: Path) -> None:
        self.store, self._root = store, root
        self.runs: dict[RunId, Run] = self._all(RecordKind.RUN)
        self.commits: dict[CommitId, Commit] = self._all(RecordKind.COMMIT)
        self.environments: dict[EnvironmentId, Environment] = self._all(RecordKind.ENVIRONMENT)
        self._verdicts: list[Verdict] = list(self._all(RecordKind.VERDICT).values())
        self.below = cache(self._below)
        self.git_parents = cache(lambda sha: self.git("rev-parse", f"{sha}^@"))

    def _all(self, kind: RecordKind) -> dict[Any, Any]:
        return {each: self.store.read_object(each) for each in self.store.iter_object_ids(kind)}

    @cached_property
    def by_sha(self) -> dict[str, CommitId]:
        return {commit.code_sha: commit_id for commit_id, commit in self.commits.items()}

    def _below(self, object_id: ObjectId) -> frozenset[ObjectId]:
        """Returns a tree or blob, and all trees and blobs below it."""
        if not isinstance(object_id, TreeId):
            return frozenset({object_id})
        parts = [self.below(entry.id) for entry in self.store.read_tree(object_id)]
        return frozenset({object_id}).union(*parts)

    def git(self, *arguments: str) -> list[str]:
        done = subprocess.run(["git", *arguments], cwd=self._root, capture_output=True, text=True, check=True)
        return done.stdout.split()

    def log(self, rev: str) -> list[CommitId]:
        return [self.by_sha[sha] for sha in self.git("rev-list", rev) if sha in self.by_sha]

    def before(self, sha: str) -> list[CommitId]:
        """Returns the nearest commits before one of git's that have a record; those without one are gone through."""
        return [
            each
            for parent in self.git_parents(sha)
            for each in ([self.by_sha[parent]] if parent in self.by_sha else self.before(parent))
        ]

    def blame(self, entry: TrackedPath, head: str) -> tuple[CommitId | None, RunId | None]:
        """Returns since which commit a path is as the lock has it, and the run that the commit names."""

        def held(commit_id: CommitId) -> TrackedPath | None:
            found = [each for each in self.commits[commit_id].paths if each.path == entry.path]
            return found[0] if found and found[0].id == entry.id else None

        here = [self.by_sha[head]] if head in self.by_sha else self.before(head)
        commit_id = next((each for each in here if held(each)), None)
        if commit_id is None:
            return None, entry.run
        while earlier := [each for each in self.before(self.commits[commit_id].code_sha) if held(each)]:
            commit_id = earlier[0]
        found = held(commit_id)
        return commit_id, entry.run if found is None or found.run is None else found.run

    def lineage(self, data: Collection[ObjectId]) -> tuple[set[RunId], set[ObjectId]]:
        """Returns the runs before and after some data, and the data with all that was made of it."""

        def follow(enter: str, leave: str) -> tuple[set[RunId], set[ObjectId]]:
            runs: set[RunId] = set()
            reached = set(data)
            while True:
                new = {
                    run_id
                    for run_id, run in self.runs.items()
                    if run_id not in runs and any(entry.id in reached for entry in getattr(run, enter))
                }
                if not new:
                    return runs, reached
                runs |= new
                reached |= {entry.id for run_id in new for entry in getattr(self.runs[run_id], leave)}

        above, _ = follow("outputs", "inputs")
        below, made = follow("inputs", "outputs")
        return above | below, made

    def makers(self, data: ObjectId) -> list[RunId]:
        """Returns the runs that made exactly some data, the oldest first."""
        return self.oldest_first(
            run.id for run in self.runs.values() if any(e.id == data for e in run.outputs)
        )

    def readers(self, data: ObjectId) -> list[RunId]:
        return self.oldest_first(
            run.id for run in self.runs.values() if any(e.id == data for e in run.inputs)
        )

    def oldest_first(self, runs: Iterable[RunId]) -> list[RunId]:
        return sorted(runs, key=lambda run_id: (self.runs[run_id].started, run_id))

    def tracking(self, data: Collection[ObjectId]) -> set[tuple[CommitId, str]]:
        """Returns where commits track exactly one of the data."""
        return {
            (commit_id, entry.name)
            for commit_id, commit in self.commits.items()
            for entry in commit.paths
            if entry.id in data
        }

    def impact(
        self, data: Collection[ObjectId], runs: Collection[RunId] = ()
    ) -> tuple[set[RunId], set[tuple[CommitId, str]]]:
        """Returns the runs that read something of what some data and runs reached, and where commits track such."""
        bad, found = set(data), set(runs)
        while True:
            bad |= {entry.id for run_id in found for entry in self.runs[run_id].outputs}
            new = {
                run_id
                for run_id, run in self.runs.items()
                if any(self.below(entry.id) & bad for entry in run.inputs)
            } - found
            if not new:
                break
            found |= new
        return found, {
            (commit_id, entry.name)
            for commit_id, commit in self.commits.items()
            for entry in commit.paths
            if self.below(entry.id) & bad
        }

    def runs_with(self, package: str, specifier: str) -> set[RunId]:
        """Returns the runs in an environment that has one of the versions."""
        wanted = SpecifierSet(specifier)
        return {
            run_id
            for run_id, run in self.runs.items()
            if run.environment is not None
            and any(
                item.name == package and item.version in wanted
                for item in self.environments[run.environment].distributions
            )
        }

    def verdict(self, run_id: RunId) -> str | None:
        """Returns what the latest reproduction of a run said."""
        own = sorted((each for each in self._verdicts if each.run == run_id), key=lambda each: each.started)
        return own[-1].verdict if own else None

    def contents(self) -> set[ObjectId]:
        """Returns every blob and tree that a run or a commit names, and all below."""
        entries = [entry for run in self.runs.values() for entry in (*run.inputs, *run.outputs)]
        entries += [entry for commit in self.commits.values() for entry in commit.paths]
        return {each for entry in entries for each in self.below(entry.id)}

    def blobs(self) -> list[BlobId]:
        return sorted(each for each in self.contents() if isinstance(each, BlobId))
