"""Cheap findings: what a failure, the record and the re-run tell without running anything more.

A finding is a hint for a person, the most likely first. None of them is a proof.
Causes: docs/guides/reproducibility.md
"""

from __future__ import annotations

import ast
import json
import os
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlvc.model.names import decode_name, encode_name
from mlvc.model.objects import Cause, OutputVerdict, Run
from mlvc.ports import EngineResult
from mlvc.repro.trace import Trace

__all__ = ["LOG_TAIL_BYTES", "Rerun", "diagnose"]

LOG_TAIL_BYTES = 64 << 10

_MISSING_FILE = re.compile(
    r"(?:FileNotFoundError: )?\[Errno 2\] No such file or directory: (b?'(?:[^'\\\n]|\\.)*'|b?\"(?:[^\"\\\n]|\\.)*\")"
)
_MISSING_FILE_IN_WORDS = re.compile(
    r"(?:can't open file|cannot open|cannot access|Cannot find|cannot stat|FileNotFoundError:.*?)"
    r"(?! shared object file)"
    r" '?([^'\n:]+?)'?: (?:\[Errno 2\] )?No such file or directory"
)
_MISSING_FILE_OF_A_PROGRAM = re.compile(
    r"^[\w./-]+: (?:\d+: )?([^\s:][^:\n]*): No such file or directory$", re.MULTILINE
)
_MISSING_PACKAGE = re.compile(r"ModuleNotFoundError: No module named '([^']+)'")
_MISSING_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
_OLD_GLIBC = re.compile(r"version `(GLIBC_[\d.]+)' not found")
_NETWORK = re.compile(
    r"socket\.gaierror|Temporary failure in name resolution|Name or service not known|Network is unreachable"
    r"|NameResolutionError|Could not resolve host|nodename nor servname"
)
_MEMORY = re.compile(r"\bMemoryError\b|Cannot allocate memory|std::bad_alloc")
_READ_ONLY = re.compile(
    r"\[Errno (?:30|13)\] (?:Read-only file system|Permission denied): (b?'(?:[^'\\\n]|\\.)*')"
)
_COMMAND_MISSING = 127
_SIGNALLED = 128
_MOST_NAMED = 5
_MOST_SHOWN = 120
_MOST_DETAIL = 1000
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Rerun:
    """What is known about a reproduction once its command has ended.

    Attributes:
        result: How the command ended.
        verdict: The worst of its outputs', or `failed`.
        outputs: How each output compares.
        log: The end of what the command printed.
        trace: What its processes reported.
        host: Facts about this machine.
        cpus: How many CPUs it had.
        missing_libraries: What the base lacks of the libraries that the environment needs.
    """

    result: EngineResult
    verdict: str
    outputs: tuple[OutputVerdict, ...]
    log: bytes
    trace: Trace
    host: Mapping[str, str]
    cpus: int
    missing_libraries: tuple[str, ...] = ()


def diagnose(run: Run, rerun: Rerun) -> tuple[Cause, ...]:
    """Returns what may explain a reproduction that is not identical, the most likely first; each cause once."""
    if rerun.verdict == "identical":
        return ()
    found = [*(_failure(run, rerun) if rerun.verdict == "failed" else ()), *_record(run), *_drift(run, rerun)]
    if rerun.verdict == "different" and not found:
        found.append(
            Cause(
                "nondeterminism",
                "nothing that was recorded differs, so the command itself may not repeat: is every random generator"
                " seeded? `mlvc repro --times 2` shows whether two re-runs agree",
            )
        )
    return tuple(dict.fromkeys(Cause(item.cause, _plain(item.detail)) for item in found))


def _failure(run: Run, rerun: Rerun) -> Iterator[Cause]:
    """Yields what the exit status and the end of the log say."""
    text = rerun.log.decode("utf-8", "replace")
    if rerun.result.out_of_memory or _MEMORY.search(text):
        yield Cause(
            "memory",
            "the command ran out of memory: raise `repro.memory_mb` in mlvc.toml, or use a larger machine",
        )
    if rerun.result.exit_code == _SIGNALLED + signal.SIGILL:
        yield Cause(
            "illegal-instruction",
            f"this CPU lacks an instruction that the command uses; it was recorded on"
            f" {run.host.get('cpu_model', 'another CPU')}",
        )
    for match in _MISSING_LIBRARY.finditer(text):
        yield Cause(
            "system-library", f"the base has no {match.group(1)}: install it there, or name another image"
        )
    for match in _OLD_GLIBC.finditer(text):
        yield Cause("system-library", f"the base's glibc is too old: {match.group(1)} is needed")
    for match in _MISSING_PACKAGE.finditer(text):
        yield Cause("missing-package", f"the recorded environment has no module {match.group(1)}")
    for path in _missing_files(text):
        yield _missing_file(run, path)
    for match in _READ_ONLY.finditer(text):
        written = encode_name(_literal(match.group(1)))
        yield Cause(
            "write-outside",
            f"the command wrote to {written}, which is read-only here: outputs belong into the project",
        )
    if _NETWORK.search(text):
        hosts = ", ".join(run.observed.connections[:_MOST_NAMED])
        known = f" It connected to {hosts} when it was recorded." if hosts else ""
        yield Cause("network", f"the command uses the network, which a reproduction does not have.{known}")
    if rerun.result.exit_code == _COMMAND_MISSING and run.argv:
        yield Cause(
            "command-not-found", f"there is no program {run.argv[0]} in the rebuilt environment or the base"
        )
    yield Cause(
        "exit-status",
        f"the command ended with {rerun.result.exit_code}; when it was recorded, with {run.exit_code}",
    )
    if run.secrets:
        yield Cause(
            "secret", f"the run was given {', '.join(run.secrets)}, which a reproduction does not have"
        )


def _missing_files(text: str) -> Iterator[bytes]:
    """Yields the paths that the log says do not exist, the last ones first: the first error may have been handled."""
    found = [_literal(match.group(1)) for match in _MISSING_FILE.finditer(text)]
    for pattern in (_MISSING_FILE_IN_WORDS, _MISSING_FILE_OF_A_PROGRAM):
        found += [match.group(1).encode("utf-8", "surrogateescape") for match in pattern.finditer(text)]
    yield from dict.fromkeys(reversed(found))


def _literal(quoted: str) -> bytes:
    """Returns the path that Python printed in quotes."""
    try:
        value = ast.literal_eval(quoted)
    except (ValueError, SyntaxError):
        return quoted.strip("b'\"").encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return value
    try:
        return os.fsencode(str(value))
    except UnicodeEncodeError:
        return str(value).encode("utf-8", "surrogatepass")


def _missing_file(run: Run, path: bytes) -> Cause:
    project = decode_name(run.project)
    absolute = os.path.normpath(os.path.join(project, decode_name(run.directory), path))
    inside = absolute.startswith(project + b"/")
    name = encode_name(absolute[len(project) + 1 :] if inside else absolute)
    output_names = {entry.name for entry in run.outputs}
    if any(name == output or name.startswith(output + "/") for output in output_names):
        return Cause(
            "undeclared-input", f"the command reads {name}, an output of its own, before it writes it"
        )
    was_read = name in run.observed.reads or name in run.observed.undeclared
    seen = ", and it was read when the run was recorded" if was_read else ""
    advice = f"declare it: mlvc run -i {name}" if inside else "bring it into the project and declare it"
    return Cause(
        "undeclared-input", f"the command needs {name}, which is no input of the run{seen}; {advice}"
    )


def _record(run: Run) -> Iterator[Cause]:
    """Yields what the record itself admits."""
    for entry in run.changed_inputs[:_MOST_NAMED]:
        yield Cause("input-changed", f"the input {entry.name} changed while the run was recorded")
    if run.observed.undeclared:
        names = ", ".join(run.observed.undeclared[:_MOST_NAMED])
        more = len(run.observed.undeclared) - _MOST_NAMED
        yield Cause(
            "undeclared-input",
            f"read but not declared when the run was recorded: {names}"
            + (f" and {more} more" if more > 0 else ""),
        )
    if run.profile == "none":
        yield Cause("unpinned", "the profile `none` pins neither hash seed nor threads: record with `strict`")


def _drift(run: Run, rerun: Rerun) -> Iterator[Cause]:
    """Yields what is not the same here as it was then."""
    if rerun.missing_libraries:
        yield Cause("system-library", f"the base lacks {', '.join(rerun.missing_libraries[:_MOST_NAMED])}")
    if run.threads and rerun.cpus < run.threads:
        yield Cause("threads", f"recorded with {run.threads} threads, and only {rerun.cpus} CPUs are here")
    before, now = run.host.get("cpu_model"), rerun.host.get("cpu_model")
    if before and now and before != now:
        yield Cause(
            "cpu", f"recorded on {before}, and this is {now}: `--profile portable` narrows the difference"
        )
    for name in ("python", "hash_seed", "affinity", "libraries", "numpy", "torch"):
        old, new = run.effective.get(name), rerun.trace.effective.get(name)
        if old is not None and new is not None and old != new:
            yield from _effective_change(name, old, new)


_EFFECTIVE_CAUSES = {"python": "interpreter", "hash_seed": "hash-seed", "affinity": "threads"}
_KERNEL_FACTS = ("internal_api", "version", "threading_layer", "architecture", "num_threads")


def _effective_change(name: str, old: str, new: str) -> Iterator[Cause]:
    """Yields what differs in one fact about the process that the record and the re-run both told."""
    cause = _EFFECTIVE_CAUSES.get(name)
    if cause is not None:
        yield Cause(cause, f"{name} was {_shown(old)} and is {_shown(new)}")
    elif name == "libraries":
        before, after = _kernels(old), _kernels(new)
        if before != after:
            yield Cause("numeric-libraries", f"recorded with {'; '.join(before)}, and now {'; '.join(after)}")
    else:
        yield Cause("numeric-libraries", f"{name} reported {_shown(old)} and reports {_shown(new)}")


def _kernels(text: str) -> list[str]:
    """Returns the thread pools that a process had, without the paths, which are other ones in a container."""
    pools = json.loads(text)
    if not isinstance(pools, list):
        return []
    return sorted(
        {
            " ".join(f"{pool[key]}" for key in _KERNEL_FACTS if pool.get(key) is not None)
            for pool in pools
            if isinstance(pool, dict)
        }
    )


def _shown(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"


def _plain(text: str) -> str:
    """Returns a sentence that is safe to print and to store: much of it came from the command."""
    return _UNPRINTABLE.sub("?", text)[:_MOST_DETAIL]
