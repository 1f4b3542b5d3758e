"""A command that failed: what its exit status and the end of its log say, without running anything more."""

from __future__ import annotations

import ast
import os
import re
import signal
from collections.abc import Iterator
from shlex import quote

from mlvc.model.names import decode_name, encode_name
from mlvc.model.objects import Cause, Run
from mlvc.repro.rerun import Rerun

__all__ = ["crash_causes"]

_MISSING_FILE = re.compile(
    r"(?:FileNotFoundError: )?\[Errno 2\] No such file or directory: (b?'(?:[^'\\\n]|\\.)*'|b?\"(?:[^\"\\\n]|\\.)*\")"
)
_MISSING_FILE_IN_WORDS = re.compile(
    r"(?:can't open file|cannot open|cannot access|Cannot find|cannot stat|FileNotFoundError:.*?)"
    r"(?! shared object file)"
    r" '?([^'\n:]+?)'?: (?:\[Errno 2\] )?No such file or directory"
)
_MISSING_FILE_OF_A_PROGRAM = re.compile(
    # Not what an engine says of a program that it could not start, which is told as such.
    r"^(?!mlvc: cannot execute )[\w./-]+: (?:\d+: )?([^\s:][^:\n]*): No such file or directory$",
    re.MULTILINE,
)
# The words of NumPy and PyArrow, of pandas, of PyArrow, of what is written in Rust (polars, safetensors), of DuckDB, of
# HDF5 and of R. An explanation in a program's own words, which has spaces, is none of them.
_MISSING_FILE_OF_A_LIBRARY = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"FileNotFoundError: ([^\s\[]\S*?)(?: not found\.)?$",
        r"FileNotFoundError: File (\S+) does not exist$",
        r"Failed to open local file '([^'\n]+)'",
        r"No such file or directory(?: \(os error 2\))?: ([^'\"\n]+)$",
        r"No files found that match the pattern \"([^\"\n]+)\"",
        r"unable to open file: name = '([^'\n]+)', errno = 2,",
        r"cannot open file '([^'\n]+)': No such file or directory",
    )
)
_MISSING_PACKAGE = re.compile(r"ModuleNotFoundError: No module named '([^']+)'")
_MISSING_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
_OLD_GLIBC = re.compile(r"version `(GLIBC_[\d.]+)' not found")
_NETWORK = re.compile(
    r"socket\.gaierror|Temporary failure in name resolution|Name or service not known|Network is unreachable"
    r"|NameResolutionError|Could not resolve host|nodename nor servname"
)
_REFUSED = re.compile(r"ConnectionRefusedError|\[Errno 111\]|Connection refused")
_MEMORY = re.compile(r"\bMemoryError\b|Cannot allocate memory|std::bad_alloc")
_READ_ONLY = re.compile(
    r"\[Errno (?:30|13)\] (?:Read-only file system|Permission denied): (b?'(?:[^'\\\n]|\\.)*')"
)
_COMMAND_MISSING = 127
_SIGNALLED = 128
_MOST_NAMED = 5
_SHOWN_OF_ID = len("b3:") + 12


def crash_causes(run: Run, rerun: Rerun) -> Iterator[Cause]:
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
    # Nothing listens inside, so what asked a server on the machine itself is refused.
    if _NETWORK.search(text) or (run.observed.connections and _REFUSED.search(text)):
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
    for pattern in (_MISSING_FILE_IN_WORDS, _MISSING_FILE_OF_A_PROGRAM, *_MISSING_FILE_OF_A_LIBRARY):
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
    digest = run.observed.digests.get(name)
    then = f" as {digest[:_SHOWN_OF_ID]}" if digest is not None else ""
    seen = f", and it was read when the run was recorded{then}" if was_read else ""
    advice = (
        f"declare it: mlvc run -i {quote(name)}" if inside else "bring it into the project and declare it"
    )
    return Cause(
        "undeclared-input", f"the command needs {name}, which is no input of the run{seen}; {advice}"
    )
