"""What is not as it was when the run was recorded, and what the record itself admits. Pure; costs no execution."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from shlex import quote
from typing import Any

from mlvc.env.distributions import normalise
from mlvc.env.drift import compare as compare_environments
from mlvc.model.objects import Cause, Environment, Run
from mlvc.repro.diagnose.factors import Change, ChangeKind, Factor, path_factor
from mlvc.repro.diagnose.streams import number_causes, stream_causes
from mlvc.repro.profile import THREAD_VARIABLES
from mlvc.repro.rerun import Rerun

__all__ = ["admitted_causes", "host_causes", "recipe_factors", "surroundings"]

_MOST_NAMED = 5
_MOST_SHOWN = 120
_KERNEL_VARIABLES = (
    "OPENBLAS_*",
    "NPY_*",
    "ATEN_*",
    "ONEDNN_*",
    "DNNL_*",
    "MKL_*",
    "GLIBC_TUNABLES",
    "BLIS_*",
)
_KERNEL_FACTS = ("internal_api", "version", "threading_layer", "architecture", "num_threads")
_TORCH_CAPABILITIES = {"DEFAULT": "default", "AVX2": "avx2", "AVX512": "avx512"}


def admitted_causes(run: Run, present: Mapping[str, str]) -> Iterator[Cause]:
    """Yields what the record itself admits.

    Args:
        run: The record.
        present: What the undeclared files hold now that are there, by name.
    """
    for entry in run.changed_inputs[:_MOST_NAMED]:
        yield Cause("input-changed", f"the input {entry.name} changed while the run was recorded")
    digests = run.observed.digests
    changed = [
        name for name in run.observed.undeclared if digests.get(name) != present.get(name, digests.get(name))
    ]
    if changed:
        verb = "was" if len(changed) == 1 else "were"
        yield Cause(
            "undeclared-input",
            f"{_listed(changed)} {verb} read and not declared, and no longer what the run read",
        )
    others = [name for name in run.observed.undeclared if name not in changed]
    if others:
        yield Cause("undeclared-input", f"read but not declared when the run was recorded: {_listed(others)}")
    if run.observed.drawn:
        yield Cause(
            "unseeded-random",
            f"{_listed(sorted(run.observed.drawn))} asked the system for randomness when the run was recorded",
        )
    if run.profile == "none":
        yield Cause("unpinned", "the profile `none` pins neither hash seed nor threads: record with `strict`")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def host_causes(run: Run, rerun: Rerun) -> Iterator[Cause]:
    """Yields what differs about the machine and the process and cannot be put back."""
    if rerun.missing_libraries:
        yield Cause("system-library", f"the base lacks {', '.join(rerun.missing_libraries[:_MOST_NAMED])}")
    if run.threads and rerun.cpus < run.threads:
        yield Cause("threads", f"recorded with {run.threads} threads, and only {rerun.cpus} CPUs are here")
    before, now = run.host.get("cpu_model"), rerun.host.get("cpu_model")
    if before and now and before != now:
        yield Cause(
            "cpu", f"recorded on {before}, and this is {now}: `--profile portable` narrows the difference"
        )
    for name, cause in (("python", "interpreter"), ("hash_seed", "hash-seed")):
        old, new = run.effective.get(name), rerun.trace.effective.get(name)
        if old is not None and new is not None and old != new:
            yield Cause(cause, f"{name} was {_shown(old)} and is {_shown(new)}")
    for name in ("libraries", "numpy", "torch"):
        told = _numeric_change(name, run.effective.get(name), rerun.trace.effective.get(name))
        if told:
            yield Cause("numeric-libraries", told)
    yield from stream_causes(run.effective, rerun.trace.effective)
    yield from number_causes(run.fingerprint, rerun.fingerprint)


def _numeric_change(name: str, old: str | None, new: str | None) -> str:
    if old is None or new is None or old == new:
        return ""
    if name != "libraries":
        return f"{name} reported {_shown(old)} and reports {_shown(new)}"
    before, after = _kernels(old), _kernels(new)
    return f"recorded with {'; '.join(before)}, and now {'; '.join(after)}" if before != after else ""


def _kernels(text: str) -> list[str]:
    """Returns the thread pools that a process had, without the paths, which are other ones in a container."""
    return sorted(
        {
            " ".join(f"{pool[key]}" for key in _KERNEL_FACTS if pool.get(key) is not None)
            for pool in _pools(text)
        }
    )


def _pools(text: str | None) -> list[Mapping[str, Any]]:
    pools = [] if text is None else json.loads(text)
    return [pool for pool in pools if isinstance(pool, dict)] if isinstance(pools, list) else []


def surroundings(run: Run, rerun: Rerun, *, has_base: bool) -> tuple[tuple[Factor, ...], ...]:
    """Returns what the closure does not hold and an experiment can put back, in groups, in the order of trying.

    Args:
        run: The record.
        rerun: The reproduction.
        has_base: Whether that ran on a base image.
    """
    threads = tuple(_cpus(run, rerun))
    kernels = tuple(_kernel_factors(run.effective, rerun.trace.effective))
    files = tuple(
        Factor(
            "undeclared-input",
            f"{name} brought from the work tree",
            f"the command reads {name}, which is no input of the run",
            (Change(ChangeKind.PRESENT_INPUT, name),),
            fix=f"mlvc run -i {quote(name)}",
            is_seen=False,
        )
        for name in run.observed.undeclared
        if not name.startswith("/")
    )
    system = (
        Factor(
            "base",
            "this machine's own system in the place of the base image",
            "the run was recorded on this machine's own system, and not on a base image",
            (Change(ChangeKind.SYSTEM),),
            fix="record in the image too: mlvc run --engine docker",
        ),
    )
    return tuple(
        group
        for group in (
            files,
            threads,
            kernels,
            system if has_base and run.base is None else (),
            *_guesses(run),
        )
        if group
    )


def _cpus(run: Run, rerun: Rerun) -> Iterator[Factor]:
    """Yields the recorded number of CPUs, where that could have been another number of threads."""
    try:
        then = json.loads(run.effective.get("affinity", "null"))
    except ValueError:
        return
    if not isinstance(then, int) or isinstance(then, bool) or then == rerun.cpus or then < 1:
        return
    # Numeric libraries take the smaller of what they are told and what there is; other code may ask for the CPUs.
    limit = run.threads or then + rerun.cpus
    yield Factor(
        "threads",
        f"{then} CPU{'s' * (then > 1)}",
        f"the command could use {then} CPU{'s' * (then > 1)} when it was recorded, and {rerun.cpus} now",
        (Change(ChangeKind.CPUS, value=str(then)),),
        fix=f"mlvc run --threads {then}" if then < limit else "",
        is_seen=min(then, limit) != min(rerun.cpus, limit),
    )


def _kernel_factors(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Factor]:
    """Yields the variables that make numeric libraries take the kernels that they took when the run was recorded."""
    before, after = (
        sorted(
            str(pool["architecture"])
            for pool in _pools(facts.get("libraries"))
            if pool.get("internal_api") == "openblas" and pool.get("architecture")
        )
        for facts in (then, now)
    )
    if before and before != after:
        yield _kernel("OPENBLAS_CORETYPE", before[0], f"OpenBLAS used its kernels for {before[0]}")
    lost = sorted(_simd(now) - _simd(then)) if _simd(then) else []
    if lost:
        yield _kernel("NPY_DISABLE_CPU_FEATURES", " ".join(lost), f"NumPy did not use {', '.join(lost)}")
    capability = _fact(then, "torch", "capability")
    if capability in _TORCH_CAPABILITIES and capability != _fact(now, "torch", "capability"):
        yield _kernel("ATEN_CPU_CAPABILITY", _TORCH_CAPABILITIES[capability], f"torch used {capability}")


def _kernel(name: str, value: str, was: str) -> Factor:
    return Factor(
        "numeric-libraries",
        f"{name}={value}",
        f"{was} when the run was recorded, and other ones now",
        (Change(ChangeKind.VARIABLE, name, value),),
        fix=f"mlvc run --env '{name}={value}'" if " " in value else f"mlvc run --env {name}={value}",
        is_seen=False,
    )


def _fact(facts: Mapping[str, str], name: str, key: str) -> str:
    value = json.loads(facts.get(name, "null"))
    return str(value.get(key, "")) if isinstance(value, dict) else ""


def _simd(facts: Mapping[str, str]) -> set[str]:
    value = json.loads(facts.get("numpy", "null"))
    found = value.get("simd") if isinstance(value, dict) else None
    return {str(name) for name in found} if isinstance(found, list) else set()


def _guesses(run: Run) -> Iterator[tuple[Factor, ...]]:
    """Yields what no record tells: the time, and the order of directories."""
    for order in ("sorted", "reversed"):
        yield (
            Factor(
                "directory-order",
                f"directories listed {'in order' if order == 'sorted' else 'the other way round'}",
                "the result depends on the order in which a directory is listed",
                (Change(ChangeKind.VARIABLE, "MLVC_DIRECTORY_ORDER", order),),
                fix="sort it in the code, as in sorted(os.listdir(directory))",
                is_seen=False,
            ),
        )
    if run.started:
        began = datetime.datetime.fromisoformat(run.started).timestamp()
        yield (
            Factor(
                "clock",
                f"the clock set to {run.started[:19]}",
                "the outputs hold the time or the date",
                (Change(ChangeKind.VARIABLE, "MLVC_CLOCK", f"@{began:.3f}"),),
                fix="write no time into outputs, or the one of SOURCE_DATE_EPOCH",
                is_seen=False,
            ),
        )


def recipe_factors(
    record: Run,
    recipe: Run,
    environments: tuple[Environment | None, Environment | None],
    files: Iterable[tuple[ChangeKind, bytes]],
) -> tuple[tuple[Factor, ...], ...]:
    """Returns what differs between a record and what was executed in its place, in groups, in the order of trying.

    Args:
        record: What the outputs are compared with.
        recipe: What was executed.
        environments: Of the record and of the recipe.
        files: Each path that differs in the code or the inputs.
    """
    variables = list(_variable_factors(record, recipe))
    groups: list[list[Factor]] = [
        [item for item in variables if item.cause == cause]
        for cause in ("variable", "unseeded-random", "hash-seed", "threads", "numeric-libraries")
    ]
    groups += _environment_factors(*environments)
    paths = sorted(files, key=lambda item: item[1])
    groups.append([_input(path) for kind, path in paths if kind is ChangeKind.INPUT])
    groups.append([_code(record, path) for kind, path in paths if kind is ChangeKind.CODE])
    if (record.argv, record.directory) != (recipe.argv, recipe.directory):
        detail = f"the command was {_shown(' '.join(record.argv))} and is {_shown(' '.join(recipe.argv))}"
        groups.append([Factor("command", "the recorded command", detail, (Change(ChangeKind.COMMAND),))])
    return tuple(tuple(group) for group in groups if group)


def _input(path: bytes) -> Factor:
    factor = path_factor(ChangeKind.INPUT, "input", path, "")
    name = factor.changes[0].name
    return path_factor(ChangeKind.INPUT, "input", path, f"the input {name} is not what it was")


def _code(record: Run, path: bytes) -> Factor:
    factor = path_factor(ChangeKind.CODE, "code", path, "")
    name = factor.changes[0].name
    # With uncommitted changes, the commit does not have what was recorded.
    fix = f"git diff {record.code.sha[:12]} -- {name}" if record.code.sha and not record.code.dirty else ""
    return path_factor(ChangeKind.CODE, "code", path, f"{name} is not what it was", fix)


def _variable_factors(record: Run, recipe: Run) -> Iterator[Factor]:
    then, now = {**record.variables, **record.pins}, {**recipe.variables, **recipe.pins}
    changed = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    threads = [name for name in changed if name in THREAD_VARIABLES]
    if threads or record.threads != recipe.threads:
        changes = [_variable(name, then.get(name)) for name in threads]
        changes.append(Change(ChangeKind.THREADS, value=str(record.threads)))
        yield Factor(
            "threads",
            f"{record.threads or 'unpinned'} threads",
            f"the number of threads was {record.threads or 'not pinned'}, and is {recipe.threads or 'not pinned'}",
            tuple(changes),
            fix=f"mlvc run --threads {record.threads}" if record.threads else "",
        )
    for name in changed:
        if name not in threads:
            yield _variable_factor(name, then.get(name), now.get(name))


def _variable_factor(name: str, then: str | None, now: str | None) -> Factor:
    if name == "MLVC_SEED":
        cause = "unseeded-random"
    elif name == "PYTHONHASHSEED":
        cause = "hash-seed"
    else:
        is_kernel = any(fnmatchcase(name, pattern) for pattern in _KERNEL_VARIABLES)
        cause = "numeric-libraries" if is_kernel else "variable"
    was = "not set" if then is None else _shown(then)
    return Factor(
        cause,
        f"{name} unset" if then is None else f"{name}={_shown(then)}",
        f"{name} was {was}, and is {'not set' if now is None else _shown(now)}",
        (_variable(name, then),),
        fix=f"unset {name}" if then is None else f"mlvc run --env {name}={then}",
    )


def _variable(name: str, value: str | None) -> Change:
    return Change(ChangeKind.UNSET, name) if value is None else Change(ChangeKind.VARIABLE, name, value)


def _environment_factors(then: Environment | None, now: Environment | None) -> Iterator[list[Factor]]:
    """Yields the interpreter and the packages that differ; nothing where one side has no environment."""
    if then is None or now is None:
        return
    drift = compare_environments(then, now)
    if drift.interpreter is not None:
        before, after = then.interpreter.version, now.interpreter.version
        detail = (
            f"the interpreter was Python {before}, and is {after if after != before else 'another build'}"
        )
        change = Change(ChangeKind.INTERPRETER)
        yield [Factor("interpreter", f"Python {before} put back", detail, (change,))]
    packages = [
        _package(change.name, f"{change.name} was {change.before}, and is {change.after}", change.before)
        for change in drift.changed
    ]
    packages += [
        _package(item.partition("==")[0], f"{item} is not installed any more", item.partition("==")[2])
        for item in drift.removed
    ]
    packages += [_package(item.partition("==")[0], f"{item} was not installed", "") for item in drift.added]
    if then.unowned != now.unowned:
        detail = "files in site-packages that belong to no distribution are not what they were"
        packages.append(Factor("package", "those files put back", detail, (Change(ChangeKind.UNOWNED),)))
    yield packages


def _package(name: str, detail: str, version: str) -> Factor:
    return Factor(
        "package",
        f"{name} {version} put back" if version else f"{name} taken away",
        detail,
        (Change(ChangeKind.PACKAGE, normalise(name)),),
        fix=f"uv pip install {quote(f'{name}=={version}')}" if version else f"uv pip uninstall {quote(name)}",
    )


def _shown(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"
