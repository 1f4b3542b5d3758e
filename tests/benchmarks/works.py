"""The works that are measured: what is prepared, which steps are timed, and in which order.

Every work runs its tools in turn within each repetition, in another order each time, so that a slow minute of the
machine hits all. The data is one tree that is moved to each tool in turn, so that all read the same cached pages.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.benchmarks.measure import CommandError, Sample, census, move_aside, run, stored_bytes, warm
from tests.benchmarks.tools import Place, Tool
from tests.benchmarks.workloads import (
    make_files,
    mutate_files,
    write_changed_region,
    write_csv,
    write_edited_csv,
    write_incompressible,
)

__all__ = [
    "LARGE_BYTES",
    "SEED",
    "Bench",
    "Results",
    "measure_files",
    "measure_large",
    "measure_million",
    "measure_versions",
]

SEED = 20_240_229
_FILES = 100_000
_MILLION = 1_000_000
_MILLION_MEAN_BYTES = 200
LARGE_BYTES = 4 << 30
_CSV_ROWS = 12_000_000
_CHECKPOINT_BYTES = 1 << 30
_CHANGED_SHARE = 0.05


@dataclass
class Results:
    """The samples of each tool in each work, and what failed."""

    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass
class Bench:
    """Where and with what is measured.

    `folder` is emptied by whoever made it, after everything was measured.
    """

    folder: Path
    tools: dict[Tool, tuple[str, ...]]
    scale: float
    repeat: int
    results: Results = field(default_factory=Results)
    wanted: frozenset[str] = frozenset()

    def scaled(self, full: int) -> int:
        return max(1, int(full * self.scale))

    def turns(self, repeat: int, tools: Sequence[Tool] | None = None) -> Iterator[tuple[int, Tool]]:
        """Yields each tool once in each repetition, beginning with another one every time."""
        order = list(self.tools if tools is None else tools)
        for turn in range(repeat):
            shift = turn % max(1, len(order))
            for tool in order[shift:] + order[:shift]:
                yield turn, tool

    def repeats(self, *works: str) -> int:
        """Returns how often a step is done: once if it only prepares what the wanted works need."""
        return self.repeat if self.wanted.intersection(works) else 1

    def discard(self, path: Path) -> None:
        if path.exists():
            move_aside(path, self.folder / "aside")

    def place(self, work: str, tool: Tool) -> Place:
        """Returns a fresh place for a tool, with its empty repository.

        Raises:
            CommandError: the repository could not be made.
        """
        place = Place(self.folder / work / tool.name, tool, self.tools[tool])
        self.discard(place.root)
        place.work.mkdir(parents=True)
        (place.root / "home").mkdir()
        run(place.commands("prepare") or [], place.work, place.environment(os.environ))
        return place

    def run(self, place: Place, step: str, version: str = "v1") -> Sample | None:
        """Runs a step of a tool; None if it has none. What it wrote is on the disk before this returns."""
        commands = place.commands(step, version)
        if commands is None:
            return None
        sample = run(commands, place.work, place.environment(os.environ))
        # The writeback of one is not another's cost.
        subprocess.run(["sync", "-f", place.root], check=True)
        return sample

    def keep(self, work: str, place: Place, sample: Sample | None, stored: int | None = None) -> None:
        """Adds a sample to the results, with what the tool's store now holds unless `stored` is told."""
        if sample is None or work not in self.wanted:
            return
        stored = stored_bytes(place.store) if stored is None else stored
        self.results.samples[work, place.tool.name].append(replace(sample, stored_bytes=stored))
        print(f"{work}: {place.tool.name} {sample.seconds:.2f} s", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def guarded(self, tool: Tool, *works: str) -> Iterator[None]:
        """Writes a command that fails into the results; the tool takes no further part in that work."""
        try:
            yield
        except CommandError as error:
            for work in self.wanted.intersection(works):
                self.results.failures.setdefault((work, tool.name), str(error))
            print(f"{works[0]}: {tool.name} failed: {error}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _lent(tree: Path, place: Place) -> Iterator[None]:
    """Gives a tree to a tool's work tree by renaming it, or a copy to a tool that makes the files its own."""
    if place.tool.shares_files:
        if not place.data.exists():
            subprocess.run(["cp", "-r", tree, place.data], check=True)
            subprocess.run(["sync", "-f", place.data], check=True)
        yield
        return
    tree.rename(place.data)
    try:
        yield
    finally:
        place.data.rename(tree)


_FILES_WORKS = ("add-files", "status", "add-again", "checkout-files", "checkout-changed")


def measure_files(bench: Bench) -> None:
    """add-files, status, add-again, checkout-files and checkout-changed: one tree of many files through all five."""
    _Files(bench).measure()


class _Files:
    """The places of the tools that are still in the race, and the tree that they share."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._tree = bench.folder / "files"
        self._places: dict[Tool, Place] = {}
        self._stored: dict[Tool, tuple[int, int]] = {}
        """Files and bytes of the version that each tool stored last."""
        self._version = 1
        make_files(self._tree, bench.scaled(_FILES), SEED)
        subprocess.run(["sync", "-f", self._tree], check=True)

    def measure(self) -> None:
        wanted = self._bench.wanted
        self._add()
        if "status" in wanted:
            self._status()
        if wanted.intersection(("add-again", "checkout-changed")):
            self._add_again()
        if wanted.intersection(("checkout-files", "checkout-changed")):
            self._checkout()
        if "checkout-changed" in wanted:
            self._switch()

    def _turns(self, repeat: int) -> Iterator[tuple[int, Tool, Place]]:
        for turn, tool in self._bench.turns(repeat, list(self._places)):
            if tool in self._places:
                yield turn, tool, self._places[tool]

    @contextlib.contextmanager
    def _guarded(self, tool: Tool, *works: str) -> Iterator[None]:
        with self._bench.guarded(tool, *works):
            try:
                yield
            except CommandError:
                self._places.pop(tool, None)
                raise

    def _add(self) -> None:
        bench = self._bench
        for _, tool in bench.turns(bench.repeats("add-files")):
            with self._guarded(tool, *_FILES_WORKS):
                place = self._places[tool] = bench.place("files-of", tool)
                with _lent(self._tree, place):
                    warm(place.data)
                    bench.keep("add-files", place, bench.run(place, "add"))
        for _, tool, place in self._turns(1):
            with self._guarded(tool, *_FILES_WORKS[1:]), _lent(self._tree, place):
                self._stored[tool] = census(place.data)
                bench.run(place, "commit", "v1")

    def _status(self) -> None:
        bench = self._bench
        for turn, tool, place in self._turns(bench.repeat + 1):
            with self._guarded(tool, *_FILES_WORKS[1:]), _lent(self._tree, place):
                sample = bench.run(place, "status")
                if turn:  # The first one may still be writing down what it saw.
                    bench.keep("status", place, sample)

    def _add_again(self) -> None:
        bench = self._bench
        for turn in range(bench.repeats("add-again")):
            self._version += 1
            mutate_files(self._tree, SEED + turn)
            for tool, place in self._places.items():
                if tool.shares_files:
                    mutate_files(place.data, SEED + turn)
            subprocess.run(["sync", "-f", self._tree], check=True)
            for _, tool, place in self._turns(1):
                with self._guarded(tool, *_FILES_WORKS[2:]), _lent(self._tree, place):
                    sample = bench.run(place, "again", f"v{self._version}")
                    if sample is not None:
                        bench.keep("add-again", place, sample)
                        self._stored[tool] = census(place.data)
                        bench.run(place, "commit", f"v{self._version}")

    def _checkout(self) -> None:
        bench = self._bench
        for _, tool, place in self._turns(bench.repeats("checkout-files")):
            with self._guarded(tool, *_FILES_WORKS[3:]):
                bench.discard(place.restored)
                warm(place.store)
                sample = bench.run(place, "restore", f"v{self._version}")
                if sample is not None:
                    found = census(place.restored)
                    if found != self._stored[tool]:
                        raise CommandError(f"restored {found} files and bytes, stored {self._stored[tool]}")
                    bench.keep("checkout-files", place, sample)

    def _switch(self) -> None:
        bench = self._bench
        versions = [f"v{self._version - 1}", f"v{self._version}"]
        for turn, tool, place in self._turns(bench.repeat):
            with self._guarded(tool, "checkout-changed"):
                bench.keep("checkout-changed", place, bench.run(place, "switch", versions[turn % 2]))


def measure_large(bench: Bench) -> None:
    """add-large: one incompressible file."""
    tree = bench.folder / "large"
    write_incompressible(tree / "model.bin", bench.scaled(LARGE_BYTES), SEED)
    subprocess.run(["sync", "-f", tree], check=True)
    for _, tool in bench.turns(bench.repeat):
        with bench.guarded(tool, "add-large"):
            place = bench.place("large-of", tool)
            with _lent(tree, place):
                warm(place.data)
                bench.keep("add-large", place, bench.run(place, "add"))
            bench.discard(place.root)
    bench.discard(tree)


def measure_versions(bench: Bench, work: str) -> None:
    """csv and checkpoint: the second version of a file, and what it adds to the store."""
    old, new = bench.folder / f"{work}-1", bench.folder / f"{work}-2"
    new.mkdir()
    if work == "csv":
        rows = bench.scaled(_CSV_ROWS)
        write_csv(old / "table.csv", rows, SEED)
        write_edited_csv(old / "table.csv", new / "table.csv", rows, SEED + 1)
    else:
        write_incompressible(old / "model.bin", bench.scaled(_CHECKPOINT_BYTES), SEED)
        write_changed_region(old / "model.bin", new / "model.bin", _CHANGED_SHARE, SEED + 1)
    subprocess.run(["sync", "-f", new], check=True)
    for _, tool in bench.turns(bench.repeat):
        with bench.guarded(tool, work):
            place = bench.place(f"{work}-of", tool)
            with _lent(old, place):
                bench.run(place, "add")
                bench.run(place, "commit")
            first = stored_bytes(place.store)
            if tool.shares_files:
                bench.discard(place.data)
            with _lent(new, place):
                warm(place.data)
                sample = bench.run(place, "again", "v2")
            if sample is not None:
                added = stored_bytes(place.store) - first
                bench.keep(work, place, replace(sample, base_bytes=first), added)
            bench.discard(place.root)
    bench.discard(old)
    bench.discard(new)


def measure_million(bench: Bench) -> None:
    """million-add, million-status and million-commit: very many small files, and ten changes to them."""
    tree = bench.folder / "million"
    make_files(tree, bench.scaled(_MILLION), SEED, _MILLION_MEAN_BYTES)
    subprocess.run(["sync", "-f", tree], check=True)
    places: dict[Tool, Place] = {}
    tools = [tool for tool in bench.tools if tool.name in {"mlvc", "git", "dvc"}]
    for _, tool in bench.turns(1, tools):
        with bench.guarded(tool, "million-add", "million-status", "million-commit"):
            place = bench.place("million-of", tool)
            with _lent(tree, place):
                bench.keep("million-add", place, bench.run(place, "add"))
                bench.keep("million-status", place, bench.run(place, "status"))
                bench.run(place, "commit")
            places[tool] = place
    mutate_files(tree, SEED, counts=(4, 3, 3), mean_bytes=_MILLION_MEAN_BYTES)
    for tool, place in places.items():
        with bench.guarded(tool, "million-commit"), _lent(tree, place):
            before = stored_bytes(place.store)
            added = bench.run(place, "again", "v2")
            committed = bench.run(place, "commit", "v2")
            if added is not None and committed is not None:
                grown = stored_bytes(place.store) - before
                note = f"{added.written_bytes / 1e6:.2f} MB written by add"
                bench.keep("million-commit", place, replace(committed, note=note), grown)
