"""What an experiment may change about an execution, as plain values: `repro/laboratory.py` carries them out.

A factor either puts one thing back to what it was when the run was recorded, or holds one thing still (a clamp), or
changes one thing on purpose (a variation). Pure.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlvc.model.names import encode_name
from mlvc.model.objects import Run
from mlvc.repro.profile import THREAD_VARIABLES, pins

__all__ = ["KINDS", "Change", "ChangeKind", "Experiment", "Factor", "Outcome", "clamps", "variations"]


_MOST_SHOWN = 3


class ChangeKind(enum.Enum):
    """What a change does, and what its name and value mean."""

    VARIABLE = "set the variable of that name to the value"
    UNSET = "unset the variable of that name"
    THREADS = "count as a run of so many threads"
    CPUS = "let the command use so many CPUs"
    STILL_ADDRESSES = "load programs and libraries at the same addresses each time"
    SYSTEM = "use the system directories of this machine instead of a base image"
    INTERPRETER = "use the recorded interpreter"
    PACKAGE = "use the recorded distribution of that normalised name"
    UNOWNED = "use the recorded files that no distribution owns"
    INPUT = "use the recorded bytes at that path of the inputs"
    CODE = "use the recorded bytes at that path of the code"
    COMMAND = "use the recorded command"
    PRESENT_INPUT = "bring what stands at that path of the work tree now"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to change; paths stand in text form."""

    kind: ChangeKind
    name: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Factor:
    """Changes that belong together.

    Attributes:
        cause: The cause that stands if it makes the difference.
        what: What is changed, to follow "with": `numpy 1.26.4 put back`.
        detail: What is not as it was, as the sentence of a finding.
        changes: What to do.
        fix: The line that mends it for good, if there is one.
        is_seen: Whether the difference is on record; one that is not is only tried, and named if it is confirmed.
    """

    cause: str
    what: str
    detail: str
    changes: tuple[Change, ...]
    fix: str = ""
    is_seen: bool = True


@dataclass(frozen=True, slots=True)
class Experiment:
    """One or more executions with some factors applied; none repeats the reproduction as it was."""

    factors: tuple[Factor, ...] = ()
    times: int = 1

    @property
    def label(self) -> str:
        """What it does, to follow "with"."""
        shown = [factor.what for factor in self.factors[:_MOST_SHOWN]]
        more = len(self.factors) - len(shown)
        return (" and ".join(shown) or "nothing changed") + (f" and {more} more" if more else "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an experiment gave.

    Attributes:
        number: The number of its last execution.
        verdict: How its last execution compares with the record.
        agreement: The worst comparison of its executions with one another, and with earlier ones of the same factors.
        unchanged: How its last execution compares with the reproduction in which nothing was changed.
        detail: What differed from that reproduction, for a person.
        refused: Why it could not be made; the comparisons are then empty.
    """

    number: int
    verdict: str = ""
    agreement: str = ""
    unchanged: str = ""
    detail: str = ""
    refused: str = ""


def _set(values: Mapping[str, str]) -> tuple[Change, ...]:
    return tuple(Change(ChangeKind.VARIABLE, name, value) for name, value in values.items())


def _threads(count: int) -> tuple[Change, ...]:
    number = str(count)
    return (
        *_set(dict.fromkeys(THREAD_VARIABLES, number)),
        Change(ChangeKind.THREADS, value=number),
        Change(ChangeKind.CPUS, value=number),
    )


def clamps(run: Run, *, started_s: float, unseeded: Sequence[str] = ()) -> tuple[Factor, ...]:
    """Returns what holds a command still, as far as the run does not hold it already; what is easiest to mend first.

    Args:
        run: What is executed.
        started_s: Where a stopped clock stands, in seconds after 1970.
        unseeded: What the generators are that were seen to be drawn from before they were seeded.
    """
    held = {**run.variables, **run.pins}
    found = []
    if "MLVC_SEED" not in held:
        found.append(
            Factor(
                "unseeded-random",
                "the generators seeded (MLVC_SEED)",
                f"the command draws from {' and '.join(unseeded)}, which nobody seeded before"
                if unseeded
                else "the command draws from a random generator that nobody seeded: `random`, NumPy's or torch's global"
                " one",
                _set({"MLVC_SEED": "0"}),
            )
        )
    found.append(
        Factor(
            "unseeded-random",
            "the system's randomness made repeatable",
            "the command draws from a generator that the operating system seeds",
            _set({"MLVC_ENTROPY": "0"}),
            fix="pass a seed where the generator is made, as in numpy.random.default_rng(0) or random.Random(0)",
        )
    )
    if not held.get("PYTHONHASHSEED", "random").isdigit():
        found.append(
            Factor(
                "hash-seed",
                "the hash seed pinned",
                "the result depends on the order of a set, which Python's hash seed decides",
                _set({"PYTHONHASHSEED": "0"}),
            )
        )
    if held.get("MLVC_DETERMINISTIC") != "1":
        found.append(
            Factor(
                "nondeterministic-operation",
                "deterministic algorithms turned on",
                "an operation of torch is not deterministic, and has a form that is",
                _set({"MLVC_DETERMINISTIC": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}),
            )
        )
    if run.threads != 1:
        found.append(
            Factor(
                "threads",
                "one thread",
                "threads race: the result depends on which of them is first",
                _threads(1),
            )
        )
    return (
        *found,
        Factor(
            "directory-order",
            "directories listed in order",
            "the result depends on the order in which a directory is listed",
            _set({"MLVC_DIRECTORY_ORDER": "sorted"}),
            fix="sort it in the code, as in sorted(os.listdir(directory))",
        ),
        Factor(
            "clock",
            "the clock stopped",
            "the outputs hold the time",
            _set({"MLVC_CLOCK": f"={started_s:.3f}"}),
            fix="write no time into outputs, or the one of SOURCE_DATE_EPOCH",
        ),
        Factor(
            "memory-address",
            "programs loaded at the same addresses",
            "the outputs hold addresses of memory",
            (Change(ChangeKind.STILL_ADDRESSES),),
            fix="keep no id() and no default repr() of an object in what is saved",
        ),
    )


KINDS = ("hash-seed", "threads", "cpu", "order", "time", "harmless")
"""What can be varied, in the order of how often it was measured to change a model."""

_LONG_S = 400 * 24 * 3600


def variations(run: Run, kind: str, *, usable_cpus: int) -> tuple[Factor, ...] | str:
    """Returns the factors of one kind of variation, or why it cannot be tried. `harmless` is many factors.

    Args:
        run: What is varied.
        kind: One of `KINDS`.
        usable_cpus: How many CPUs a command may use here.
    """
    held = {**run.variables, **run.pins}
    found: tuple[Factor, ...] | str
    match kind:
        case "hash-seed":
            seed = "1" if held.get("PYTHONHASHSEED") != "1" else "2"
            found = (_variation("hash-seed", f"PYTHONHASHSEED={seed}", _set({"PYTHONHASHSEED": seed})),)
        case "threads":
            count = 2 if run.threads == 1 else 1
            found = (_variation("threads", f"{count} thread{'s' * (count > 1)}", _threads(count)),)
            if count > usable_cpus:
                found = f"it ran on one thread, and there is only {usable_cpus} CPU here"
        case "cpu":
            portable = pins("portable", threads=1).items() - pins("strict", threads=1).items()
            changed = {name: value for name, value in sorted(portable) if held.get(name) != value}
            found = (_variation("cpu", "the kernels of an older CPU (profile portable)", _set(changed)),)
            if not changed:
                found = "the profile `portable` pins the kernels already"
        case "order":
            what = "directories listed the other way round"
            found = (_variation("directory-order", what, _set({"MLVC_DIRECTORY_ORDER": "reversed"})),)
        case "time":
            found = (_variation("clock", "the clock 400 days ahead", _set({"MLVC_CLOCK": f"+{_LONG_S}"})),)
        case _:
            found = _harmless()
    return found


def _variation(cause: str, what: str, changes: Sequence[Change]) -> Factor:
    return Factor(cause, what, f"the outputs depend on it: {what}", tuple(changes))


def _harmless() -> tuple[Factor, ...]:
    return tuple(
        _variation("surroundings", what, changes)
        for what, changes in (
            ("another time zone", _set({"TZ": "Asia/Kolkata"})),
            ("another locale", _set({"LANG": "C", "LC_ALL": "C"})),
            ("another home and user", _set({"HOME": "/dev/shm", "USER": "someone", "LOGNAME": "someone"})),  # noqa: S108  # inside
            ("more variables", _set({"MLVC_PADDING": "x" * 5000})),
            ("dirty memory", _set({"MALLOC_PERTURB_": "165"})),
            ("programs loaded at the same addresses", (Change(ChangeKind.STILL_ADDRESSES),)),
        )
    )


def path_factor(kind: ChangeKind, cause: str, path: bytes, detail: str, fix: str = "") -> Factor:
    """Returns the factor that puts one file back."""
    name = encode_name(path)
    return Factor(cause, f"{name} put back", detail, (Change(kind, name),), fix)
