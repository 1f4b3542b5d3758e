"""Carries out the experiments that a diagnosis asks for: the reproduction again, with some things changed.

An experiment is executed and compared exactly as the reproduction was. What it stores beside the outputs is dropped;
nothing that it makes is ever named by a lock, a row or a verdict.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mlvc import fsio
from mlvc.env.distributions import normalise
from mlvc.errors import IntegrityError, MlvcError
from mlvc.model.ids import EnvironmentId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.names import decode_name
from mlvc.model.objects import VERDICTS, Environment, Run
from mlvc.model.tree import Kind, TreeEntry
from mlvc.repro.diagnose.factors import Change, ChangeKind, Experiment, Factor, Outcome
from mlvc.repro.diagnose.procedure import BudgetSpentError
from mlvc.repro.diagnose.search import Steps
from mlvc.repro.execute import Tweaks, Workshop, scratch_directory
from mlvc.repro.rerun import Conditions, Rerun, compare_reruns, rerun
from mlvc.worktree.trees import diff_trees, flatten

if TYPE_CHECKING:
    from mlvc.ports import ObjectReader, ObjectWriter

__all__ = ["Budget", "Laboratory", "changed_files", "environment_of"]

_T = TypeVar("_T")

_STILL = (
    b"/bin/sh",
    b"-c",
    # Where addresses cannot be held still, such as in a container, the command runs as ever.
    b'if setarch -R true 2>/dev/null; then exec setarch -R "$@"; fi; exec "$@"',
    b"mlvc",
)


@dataclass(slots=True)
class Budget:
    """How much a search may cost; None is without end.

    Attributes:
        runs: How many more executions.
        seconds: How long, from its start; an execution that has begun is finished.
    """

    runs: int | None = None
    seconds: float | None = None


@dataclass(slots=True)
class Laboratory:
    """One reproduction that is to be explained, and everything to repeat it with.

    Attributes:
        record: What the outputs are compared with.
        recipe: What was executed; the record itself unless that was to be compared with something else.
        shop: The other rooms.
        conditions: What it was executed under.
        first: The reproduction.
        system: Conditions on this machine's own system, if the others name a base image and these work here.
        budget: What the experiments may cost.
        reruns: How many executions there were so far, the reproduction included.
    """

    record: Run
    recipe: Run
    shop: Workshop
    conditions: Conditions
    first: Rerun
    system: Conditions | None
    budget: Budget
    reruns: int = 1
    _made: dict[tuple[Factor, ...], list[Rerun]] = field(default_factory=dict)
    _scratch: Path = field(default_factory=Path)

    def conduct(self, steps: Steps[_T]) -> _T:
        """Makes every experiment that a procedure asks for, until it ends, and returns what it concluded.

        Raises:
            IntegrityError: Stored bytes are damaged.
            DiskFullError: There is no room.
        """
        self._made.setdefault((), [self.first])
        with scratch_directory(self.shop.work_dir) as self._scratch:
            return self._conduct(steps)

    def _conduct(self, steps: Steps[_T]) -> _T:
        began = self.shop.clock.now()
        try:
            experiment = next(steps)
            while True:
                elapsed = (self.shop.clock.now() - began).total_seconds()
                if (self.budget.runs is not None and self.budget.runs < experiment.times) or (
                    self.budget.seconds is not None and elapsed >= self.budget.seconds
                ):
                    steps.throw(BudgetSpentError())
                experiment = steps.send(self._perform(experiment))
        except StopIteration as end:
            result: _T = end.value
            return result

    def _perform(self, experiment: Experiment) -> Outcome:
        made = self._made.setdefault(experiment.factors, [])
        for _ in range(experiment.times):
            self.reruns += 1
            if self.budget.runs is not None:
                self.budget.runs -= 1
            self.shop.reporter.note(f"re-run {self.reruns}: with {experiment.label}")
            try:
                made.append(self._execute(experiment))
            except (IntegrityError, fsio.DiskFullError):
                raise
            except MlvcError as exc:
                return Outcome(self.reruns, refused=exc.message)
        last = made[-1]
        agreement = max(
            (compare_reruns(made[0], other, self.shop) for other in made[1:]),
            key=VERDICTS.index,
            default="identical",
        )
        unchanged = last if not experiment.factors else self.first
        details = [output.detail for output in last.outputs if output.detail]
        return Outcome(
            self.reruns,
            last.verdict,
            agreement,
            compare_reruns(self.first, last, self.shop) if unchanged is self.first else agreement,
            "; ".join(details),
        )

    def _execute(self, experiment: Experiment) -> Rerun:
        changes = [change for factor in experiment.factors for change in factor.changes]
        conditions, tweaks = self.conditions, Tweaks()
        for change in changes:
            if change.kind is ChangeKind.CPUS:
                tweaks = dataclasses.replace(tweaks, cpus=int(change.value))
            elif change.kind is ChangeKind.STILL_ADDRESSES:
                tweaks = dataclasses.replace(tweaks, wrapper=_STILL)
            elif change.kind is ChangeKind.SYSTEM and self.system is not None:
                conditions = self.system
        recipe, shop = self._changed(changes), self.shop
        if recipe.environment != self.recipe.environment and shop.build_trial is not None:
            shop = dataclasses.replace(
                shop, build_environment=functools.partial(shop.build_trial, self._scratch)
            )
        return rerun(self.record, shop, conditions, recipe=recipe, tweaks=tweaks)

    def _changed(self, changes: Iterable[Change]) -> Run:
        """Returns the recipe with everything changed that a run describes; stores the trees that it takes."""
        recipe, reader, writer = self.recipe, self.shop.reader, self.shop.writer
        variables, pinned = dict(recipe.variables), dict(recipe.pins)
        files: dict[ChangeKind, set[bytes]] = {ChangeKind.CODE: set(), ChangeKind.INPUT: set()}
        packages: set[str] = set()
        for change in changes:
            match change.kind:
                case ChangeKind.VARIABLE:
                    pinned[change.name] = change.value
                case ChangeKind.UNSET:
                    variables.pop(change.name, None)
                    pinned.pop(change.name, None)
                case ChangeKind.THREADS:
                    recipe = dataclasses.replace(recipe, threads=int(change.value))
                case ChangeKind.COMMAND:
                    recipe = dataclasses.replace(
                        recipe, argv=self.record.argv, directory=self.record.directory
                    )
                case ChangeKind.PRESENT_INPUT:
                    recipe = self._with_present(recipe, decode_name(change.name))
                case ChangeKind.CODE | ChangeKind.INPUT:
                    files[change.kind].add(decode_name(change.name))
                case ChangeKind.PACKAGE:
                    packages.add(change.name)
                case ChangeKind.INTERPRETER | ChangeKind.UNOWNED:
                    packages.add(f"/{change.kind.name}")
                case _:
                    pass
        recipe = dataclasses.replace(recipe, variables=variables, pins=pinned)
        if packages:
            environment = self._environment(packages)
            recipe = dataclasses.replace(recipe, environment=environment)
        if files[ChangeKind.CODE]:
            tree = _mixed(recipe.code.tree, self.record.code.tree, files[ChangeKind.CODE], reader, writer)
            recipe = dataclasses.replace(recipe, code=dataclasses.replace(recipe.code, tree=tree))
        if files[ChangeKind.INPUT]:
            inputs = _mixed_inputs(recipe, self.record, files[ChangeKind.INPUT], reader, writer)
            recipe = dataclasses.replace(recipe, inputs=inputs)
        writer.flush()
        return recipe

    def _with_present(self, recipe: Run, path: bytes) -> Run:
        entry = self.shop.capture_present(path, self.shop.writer)
        return recipe if entry is None else dataclasses.replace(recipe, inputs=(*recipe.inputs, entry))

    def _environment(self, packages: set[str]) -> EnvironmentId:
        """Stores the present environment with some of the recorded one's parts in it."""
        then, now = (environment_of(run, self.shop.reader) for run in (self.record, self.recipe))
        assert then is not None and now is not None  # noqa: S101, PT018  # or there were no such factors
        kept = [item for item in now.distributions if normalise(item.name) not in packages]
        kept += [item for item in then.distributions if normalise(item.name) in packages]
        mixed = dataclasses.replace(
            now,
            distributions=tuple(sorted(kept, key=lambda item: normalise(item.name))),
            interpreter=then.interpreter
            if f"/{ChangeKind.INTERPRETER.name}" in packages
            else now.interpreter,
            unowned=then.unowned if f"/{ChangeKind.UNOWNED.name}" in packages else now.unowned,
        )
        self.shop.writer.add_object(mixed)
        return mixed.id


def environment_of(run: Run, reader: ObjectReader) -> Environment | None:
    """Returns the environment of a run, if it has one."""
    value = None if run.environment is None else reader.read_object(run.environment)
    return value if isinstance(value, Environment) else None


def changed_files(record: Run, recipe: Run, reader: ObjectReader) -> list[tuple[ChangeKind, bytes]]:
    """Returns each file that differs between the code and between the inputs of two runs; equal trees are not read.

    Raises:
        ObjectMissingError: A tree is not in the store.
    """
    found = [
        (ChangeKind.CODE, change.path.removeprefix(_TOP + b"/"))
        for change in diff_trees(reader, _as_entry(record.code.tree), _as_entry(recipe.code.tree))
    ]
    then, now = ({entry.path: entry for entry in run.inputs} for run in (record, recipe))
    for path in sorted(then.keys() | now.keys()):
        found += [
            (ChangeKind.INPUT, change.path) for change in diff_trees(reader, then.get(path), now.get(path))
        ]
    return found


_TOP = b"code"


def _as_entry(tree: TreeId) -> TrackedPath:
    """Returns a code tree as something tracked, at a path that only stands for its top."""
    return TrackedPath(_TOP, Kind.DIRECTORY, tree, 0, 0)


def _mixed_inputs(
    recipe: Run, record: Run, paths: set[bytes], reader: ObjectReader, writer: ObjectWriter
) -> tuple[TrackedPath, ...]:
    then, now = ({entry.path: entry for entry in run.inputs} for run in (record, recipe))
    result = []
    for path in sorted(then.keys() | now.keys()):
        old, new = then.get(path), now.get(path)
        inside = {item for item in paths if item == path or item.startswith(path + b"/")}
        if not inside:
            chosen = new
        elif (
            old is not None and new is not None and isinstance(old.id, TreeId) and isinstance(new.id, TreeId)
        ):
            below = {item[len(path) + 1 :] for item in inside}
            tree = _mixed(new.id, old.id, below, reader, writer)
            chosen = new._replace(id=tree)
        else:
            chosen = old
        result += [] if chosen is None else [chosen]
    return tuple(result)


def _mixed(
    now: TreeId, then: TreeId, paths: set[bytes], reader: ObjectReader, writer: ObjectWriter
) -> TreeId:
    """Stores a directory with some files of another in it, and returns its id."""
    old, new = (
        {
            path.removeprefix(_TOP + b"/"): entry
            for path, entry in flatten(reader, _as_entry(tree))
            if entry.kind is not Kind.DIRECTORY
        }
        for tree in (then, now)
    )
    chosen = {path: entry for path, entry in new.items() if path not in paths}
    chosen |= {path: old[path] for path in paths if path in old}
    return _write_tree(chosen, writer)


def _write_tree(files: Mapping[bytes, TreeEntry], writer: ObjectWriter) -> TreeId:
    entries: list[TreeEntry] = []
    below: dict[bytes, dict[bytes, TreeEntry]] = {}
    for path, entry in files.items():
        name, slash, rest = path.partition(b"/")
        if slash:
            below.setdefault(name, {})[rest] = entry
        else:
            entries.append(entry._replace(name=name))
    for name, inner in below.items():
        size_bytes = sum(entry.size_bytes for entry in inner.values())
        entries.append(TreeEntry(name, Kind.DIRECTORY, _write_tree(inner, writer), size_bytes))
    return writer.add_tree(sorted(entries, key=lambda entry: entry.name))
