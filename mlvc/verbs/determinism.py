"""What would make a run's numbers its own: what the last run's record tells, and what the sources hint at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from shlex import quote

from mlvc.model.lock import Lock
from mlvc.model.names import decode_name, encode_name
from mlvc.model.objects import Run
from mlvc.repo import Repo
from mlvc.repro.execute import usable_cpus
from mlvc.repro.pins import OVERRIDDEN
from mlvc.repro.profile import THREAD_VARIABLES, pins, select_variables
from mlvc.verbs.finding import Finding, facts_of
from mlvc.verbs.naming import some_of
from mlvc.verbs.seeding import GLOBAL_GENERATORS, Look, Place
from mlvc.verbs.sources import NOTEBOOK, Sources, is_data

__all__ = ["conduct"]

_MOST_READS = 20
_THREADS = (*THREAD_VARIABLES, "*_NUM_THREADS")


def conduct(repo: Repo, lock: Lock, run: Run | None, code: Sources) -> Iterator[Finding]:
    """Yields what the next run would do otherwise each time, as far as the last one and the sources tell."""
    yield from _threads(repo, run)
    if run is not None:
        yield from _drawn_by(run)
        yield from _determinism_of(run)
        yield from _undeclared(run, lock, code)
    yield from _unseeded(code.looks, run)
    yield from _switched_off(code.looks, run)


def _threads(repo: Repo, run: Run | None) -> Iterator[Finding]:
    cores = usable_cpus()
    found: dict[str, str] = {}
    if run is not None and run.threads > cores:
        found[f"--threads of the last run {run.id.short}"] = str(run.threads)
    # What the usual profile pins does not matter; the last run's may be another.
    profile = "none" if run is not None and run.profile == "none" else "strict"
    asked = select_variables(repo.environment, {}, pinned=pins(profile, threads=1))
    found |= {
        name: value
        for name, value in asked.items()
        if any(fnmatchcase(name, pattern) for pattern in _THREADS)
        and value.isdecimal()
        and int(value) > cores
    }
    for name, value in sorted(found.items()):
        yield Finding(
            "warning",
            "threads",
            f"{name} asks for {value} threads, and {cores} cores may be used here",
            f"mlvc run --threads {cores}" if name.startswith("--") else f"export {name}={cores}",
        )


# ----------------------------------------------------------------------------------------------- the last run


def _drawn_by(run: Run) -> Iterator[Finding]:
    for name, facts in _generators(run).items():
        if facts.get("drawn_unseeded") and name in GLOBAL_GENERATORS:
            yield Finding(
                "warning",
                "unseeded-generator",
                f"the last run {run.id.short} drew from {GLOBAL_GENERATORS[name]} before it was seeded",
                "mlvc run --seed N",
            )


def _generators(run: Run) -> Mapping[str, Mapping[str, object]]:
    found = facts_of(run.effective.get("random", ""))
    return {name: facts for name, facts in found.items() if isinstance(facts, dict)}


def _determinism_of(run: Run) -> Iterator[Finding]:
    if run.profile == "none":
        yield Finding(
            "warning",
            "not-deterministic",
            f"the last run {run.id.short} pinned nothing (--profile none)",
            "mlvc run --profile strict",
        )
    for name, verdict in facts_of(run.effective.get("pins", "")).items():
        state, _, why = str(verdict).partition(": ")
        if state == OVERRIDDEN:
            yield Finding(
                "warning",
                "not-deterministic",
                f"the last run {run.id.short} did not keep {name}: {why}",
                "leave it to the profile, or choose it with `mlvc run --env`",
            )


def _undeclared(run: Run, lock: Lock, code: Sources) -> Iterator[Finding]:
    known = set(code.files)
    found = [
        name
        for name in run.observed.undeclared
        if (path := decode_name(name)) not in known and not is_data(path, lock)
    ]
    for name in found[:_MOST_READS]:
        outside = name.startswith("/")
        yield Finding(
            "warning",
            "undeclared-read",
            f"the last run {run.id.short} read {name}, which it did not declare",
            "bring it into the repository, then mlvc run -i PATH"
            if outside
            else f"mlvc run -i {quote(name)}",
        )
    if len(found) > _MOST_READS:
        yield Finding(
            "warning",
            "undeclared-read",
            f"the last run {run.id.short} read {len(found) - _MOST_READS} more files that it did not declare",
            f"mlvc show {run.id.short}",
        )


# ---------------------------------------------------------------------------------------------- the sources


def _unseeded(looks: Mapping[bytes, Look], run: Run | None) -> Iterator[Finding]:
    """Yields one hint for each file and generator; one that a source seeds, or the notebook itself, is seeded."""
    seeded = _seeded_by(run)
    for path, look in looks.items():
        if not _is_notebook(path):
            seeded |= look.seeds
    for path, look in looks.items():
        by_generator: dict[str | None, list[Place]] = {}
        for place in look.draws:
            if place.generator not in seeded | look.seeds:
                by_generator.setdefault(place.generator, []).append(place)
        for generator, places in by_generator.items():
            more = f" (and {len(places) - 1} more there)" if len(places) > 1 else ""
            where = f"{_where(path, places[0])}: {places[0].what}"
            if generator is None:
                yield Finding(
                    "hint",
                    "unseeded-generator",
                    f"{where} gets no seed{more}",
                    "give it a seed; --seed does not reach it",
                )
            else:
                yield Finding(
                    "hint",
                    "unseeded-generator",
                    f"{where} draws from {GLOBAL_GENERATORS[generator]}, which nothing seeds{more}",
                    "mlvc run --seed N",
                )


def _is_notebook(path: bytes) -> bool:
    """Returns whether it is one: it is executed for itself, so what it seeds says nothing about other files."""
    return path.endswith(NOTEBOOK.encode())


def _where(path: bytes, place: Place) -> str:
    return (
        f"{encode_name(path)}, cell {place.line}"
        if _is_notebook(path)
        else f"{encode_name(path)}:{place.line}"
    )


def _seeded_by(run: Run | None) -> set[str]:
    """Returns the global generators that were in order in the last run."""
    if run is None:
        return set()
    if run.seed is not None:
        return set(GLOBAL_GENERATORS)
    return {name for name, facts in _generators(run).items() if not facts.get("drawn_unseeded", True)}


def _switched_off(looks: Mapping[bytes, Look], run: Run | None) -> Iterator[Finding]:
    for path, look in looks.items():
        for place in look.undoes:
            yield Finding(
                "hint",
                "not-deterministic",
                f"{_where(path, place)}: {place.what} undoes what the profile asks of torch",
                "take the line out",
            )
    is_settled = run is None or run.profile != "none" or any(look.settles_torch for look in looks.values())
    users = [encode_name(path) for path, look in looks.items() if look.imports_torch]
    if users and not is_settled:
        yield Finding(
            "hint",
            "not-deterministic",
            f"torch may choose algorithms that do not repeat: {some_of(users)}",
            "mlvc run --profile strict, or torch.use_deterministic_algorithms(True)",
        )
