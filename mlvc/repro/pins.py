"""Whether what a profile pinned was in force: the pins compared with what the libraries themselves said.

A pin is `held`, `overridden` by the program, or `ignored` by the library that it is meant for. One that nothing could
be asked about (`MKL_CBWR`, `ONEDNN_MAX_CPU_ISA`, what concerns a GPU that was not used) is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mlvc.errors import MlvcError
from mlvc.repro.trace import Process

__all__ = ["HELD", "IGNORED", "OVERRIDDEN", "PinIgnoredError", "judge"]

HELD, OVERRIDDEN, IGNORED = "held", "overridden", "ignored"
_SEVERITY = (HELD, OVERRIDDEN, IGNORED)

Facts = Mapping[str, Any]
Checker = Callable[[str, Facts], Iterator[str | None]]
"""Yields None for each thing that is as pinned, and a phrase for each that is not."""


class PinIgnoredError(MlvcError):
    """A library did not do what the profile pinned."""

    code = "pin-ignored"


def judge(pins: Mapping[str, str], reports: Iterable[Process]) -> dict[str, str]:
    """Returns what became of each pin that could be probed, as `held`, `overridden: WHY` or `ignored: WHY`.

    A value that differs right after the import of its library was ignored; one that differs only at the end of the
    process, or whose variable the program has changed, was overridden. Of several processes the worst counts.
    """
    found: dict[str, str] = {}
    for process in reports:
        for name, value in pins.items():
            try:
                verdict = _judge(name, value, process)
            except (AttributeError, KeyError, TypeError, ValueError):
                # A report that is not of the form that ours have tells nothing, nor does a value like `4,2`.
                continue
            if verdict is not None and _severity(verdict) >= _severity(found.get(name, HELD)):
                found[name] = verdict
    return found


def _severity(verdict: str) -> int:
    return _SEVERITY.index(verdict.partition(":")[0])


def _judge(name: str, value: str, process: Process) -> str | None:
    """Returns what became of one pin in one process; None where nothing tells."""
    check = _CHECKS.get(name)
    if check is None:
        return None
    at_exit = process.exit or {}
    if process.exit is not None and name in _LIVE and at_exit["variables"].get(name) != value:
        changed = at_exit["variables"].get(name)
        return f"{OVERRIDDEN}: " + (f"set to {changed}" if changed else "taken away")
    if name == "LC_ALL" and process.locale and not _same_locale(process.locale, value):
        return f"{IGNORED}: this system has no locale {value}, {process.locale} is in force"
    early = (
        []
        if name in _SETTLED_LATER
        else [item for facts in _fresh(process.loaded) for item in check(value, facts)]
    )
    late = list(check(value, at_exit))
    wrong_early = next(filter(None, early), None)
    wrong_late = next(filter(None, late), None)
    if wrong_early:
        return f"{IGNORED}: {wrong_early}"
    if wrong_late:
        state = IGNORED if name in _FIXED or _is_clamped(wrong_late, at_exit) else OVERRIDDEN
        return f"{state}: {wrong_late}"
    return HELD if early or late else None


def _fresh(loaded: Iterable[Facts]) -> Iterator[Facts]:
    """Yields each report with only those libraries that the ones before did not have: others may have been set."""
    known: set[str] = set()
    for facts in loaded:
        pools = [pool for pool in facts.get("libraries", ()) if pool["file"] not in known]
        yield {
            **{name: value for name, value in facts.items() if name not in known},
            "libraries": pools,
        }
        known |= {pool["file"] for pool in pools} | facts.keys()


def _is_clamped(complaint: str, facts: Facts) -> bool:
    """Returns whether a pool has just as many threads as there are CPUs: no program asks for that by accident."""
    return complaint.endswith(f"has {_threads(facts.get('affinity'))}")


def _threads(count: Any) -> str:  # noqa: ANN401  # from a report
    return "1 thread" if count == 1 else f"{count} threads"


def _pools(api: str) -> Checker:
    def check(value: str, facts: Facts) -> Iterator[str | None]:
        for pool in facts.get("libraries", ()):
            if pool["internal_api"] != api or pool.get("threading_layer") == "disabled":
                continue
            # A library that was built for fewer threads has the same number on every machine.
            wanted = min(int(value), int(pool.get("most_threads") or value))
            yield (
                None
                if pool["num_threads"] == wanted
                else f"{pool['file']} has {_threads(pool['num_threads'])}"
            )

    return check


def _not_dynamic(api: str) -> Checker:
    def check(_value: str, facts: Facts) -> Iterator[str | None]:
        for pool in facts.get("libraries", ()):
            if pool["internal_api"] == api and "dynamic" in pool:
                yield f"{pool['file']} chooses its threads by itself" if pool["dynamic"] else None

    return check


def _core(value: str, facts: Facts) -> Iterator[str | None]:
    for pool in facts.get("libraries", ()):
        if pool["internal_api"] == "openblas" and pool.get("architecture"):
            same = pool["architecture"].lower() == value.lower()
            yield None if same else f"{pool['file']} runs on its kernels for {pool['architecture']}"


def _simd(value: str, facts: Facts) -> Iterator[str | None]:
    if "numpy" not in facts:
        return
    for name in value.split():
        if name not in facts["numpy"]["dispatch"]:
            yield f"NumPy {facts['numpy']['version']} knows no {name}"
        else:
            yield f"NumPy still uses {name}" if name in facts["numpy"]["simd"] else None


def _capability(value: str, facts: Facts) -> Iterator[str | None]:
    if "torch" in facts:
        used = facts["torch"]["capability"]
        yield None if used.lower() == value.lower() else f"torch uses {used}"


def _deterministic(_value: str, facts: Facts) -> Iterator[str | None]:
    if "torch" in facts:
        yield None if facts["torch"]["deterministic"] else "torch's deterministic algorithms are off"
        yield "cudnn.benchmark is on" if facts["torch"]["cudnn_benchmark"] else None


def _numexpr(value: str, facts: Facts) -> Iterator[str | None]:
    if "numexpr" in facts:
        pool = facts["numexpr"]
        wanted = min(int(value), pool["most_threads"])
        yield None if pool["threads"] == wanted else f"numexpr has {_threads(pool['threads'])}"


def _joblib(value: str, facts: Facts) -> Iterator[str | None]:
    if "joblib" in facts:
        yield (
            None if facts["joblib"]["cpus"] == int(value) else f"joblib counts {facts['joblib']['cpus']} CPUs"
        )


def _hash_seed(value: str, facts: Facts) -> Iterator[str | None]:
    if value == "0" and "hash_randomization" in facts:
        yield "hashes are randomised" if facts["hash_randomization"] else None


def _utf8(value: str, facts: Facts) -> Iterator[str | None]:
    if "utf8_mode" in facts:
        yield None if facts["utf8_mode"] == int(value) else "the UTF-8 mode is not as it was set"


def _flag(name: str) -> Checker:
    def check(_value: str, facts: Facts) -> Iterator[str | None]:
        if "flags" in facts:
            yield None if facts["flags"][name] else f"sys.{name} is off"

    return check


def _zone(value: str, facts: Facts) -> Iterator[str | None]:
    if value == "UTC" and "time_zone" in facts:
        zone = facts["time_zone"]
        yield None if zone == ["UTC", "UTC", 0] else f"the time zone is {zone[0]}"


def _locale(value: str, facts: Facts) -> Iterator[str | None]:
    if "locale" in facts:
        yield None if _same_locale(facts["locale"], value) else f"the locale is {facts['locale']}"


def _same_locale(one: str, other: str) -> bool:
    return one.lower().replace("-", "") == other.lower().replace("-", "")


_CHECKS: Mapping[str, Checker] = {
    "ATEN_CPU_CAPABILITY": _capability,
    "BLIS_NUM_THREADS": _pools("blis"),
    "LC_ALL": _locale,
    "LOKY_MAX_CPU_COUNT": _joblib,
    "MKL_DYNAMIC": _not_dynamic("mkl"),
    "MKL_NUM_THREADS": _pools("mkl"),
    "MLVC_DETERMINISTIC": _deterministic,
    "NPY_DISABLE_CPU_FEATURES": _simd,
    "NUMEXPR_NUM_THREADS": _numexpr,
    "OMP_DYNAMIC": _not_dynamic("openmp"),
    "OMP_NUM_THREADS": _pools("openmp"),
    "OPENBLAS_CORETYPE": _core,
    "OPENBLAS_NUM_THREADS": _pools("openblas"),
    "PYTHONDONTWRITEBYTECODE": _flag("dont_write_bytecode"),
    "PYTHONHASHSEED": _hash_seed,
    "PYTHONNOUSERSITE": _flag("no_user_site"),
    "PYTHONUTF8": _utf8,
    "TZ": _zone,
}
# What no program can change once the library is there.
_FIXED = {
    "ATEN_CPU_CAPABILITY",
    "NPY_DISABLE_CPU_FEATURES",
    "OPENBLAS_CORETYPE",
    "PYTHONHASHSEED",
    "PYTHONNOUSERSITE",
}
# What our own code sets after the import, and a number that only limits how many processes are started.
_SETTLED_LATER = {"LOKY_MAX_CPU_COUNT", "MLVC_DETERMINISTIC"}
# Variables that libraries read when they are loaded, so that a program which changes them does it on purpose.
_LIVE = _CHECKS.keys() - {"MLVC_DETERMINISTIC"}
