"""What `strace` saw of a command, also of programs that are no Python: the options to start it with, and its output.

With `-D` the tracer is the command's grandchild, so that exit status, signals and what is left in the background are
the command's own. With `--seccomp-bpf` only the named calls stop. With `-xx` every string of the command stands in
hexadecimal digits, so nothing that it opens can look like another line. The format: https://man7.org/linux/man-pages/man1/strace.1.html
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mlvc.model.names import encode_name
from mlvc.repro.trace import Trace

__all__ = ["Watched", "merged", "options", "read_strace"]

_MOST_BYTES = 256 << 20
_MOST_PATHS = 100_000
_CALLS = (
    "open,openat,openat2,creat,execve,execveat,connect,rename,renameat,renameat2,link,linkat,symlink,symlinkat"
    ",getrandom,ptrace"
)
# Each call that is watched stops the program twice. Not `getdents64`: who lists a directory has opened it as one, and
# of the calls that an import of scikit-learn stopped at, every seventh was that.

_LINE = re.compile(rb"(\d+) +(?:<\.\.\. \w+ resumed>(.*)|(\w+)\((.*))", re.DOTALL)
_UNFINISHED = (
    b" <unfinished ...>"  # With its space, so that the halves join to what one line would have been.
)
_HEX = rb"((?:\\x[0-9a-f]{2})*)"
_STRING = re.compile(rb"(?:<" + _HEX + rb'>, )?"' + _HEX + rb'"')
_RESULT = re.compile(rb"\) += (-?\d+)(?:<[^>]*>)?(?: ([A-Z0-9]+) )?")
_IPV4 = re.compile(rb'sin_port=htons\((\d+)\), sin_addr=inet_addr\("' + _HEX + rb'"\)')
_IPV6 = re.compile(rb'sin6_port=htons\((\d+)\).*inet_pton\(AF_INET6, "' + _HEX + rb'"')
# Its arguments stand as numbers: what it gave may be a key in the making.
_RANDOM = re.compile(rb"0x[0-9a-f]+, (0x[0-9a-f]+|0), (0x[0-9a-f]+|0)\)")
# Every start of the C library's `malloc` asks for eight bytes, without waiting for them.
_OF_MALLOC = (b"0x8", b"0x1")
_PYTHON = re.compile(rb"(?:python|pypy)[\d.]*t?")
_WRITING = (b"O_WRONLY", b"O_RDWR", b"O_CREAT")
_SET_ID = stat.S_ISUID | stat.S_ISGID


@dataclass(frozen=True, slots=True)
class Watched:
    """What came of watching.

    Attributes:
        trace: What was seen.
        started: Whether the command itself was executed at all.
        disturbed: Why the command may not have worked because it was watched; None if nothing says so.
    """

    trace: Trace
    started: bool
    disturbed: str | None = None


def options(output: Path) -> list[bytes]:
    """Returns what stands after `strace` and before the command."""
    return [
        *(b"-D", b"-f", b"--seccomp-bpf", b"-qqq", b"-y", b"-xx", b"-s", b"4096", b"-e", b"signal=none"),
        *(b"-e", f"trace={_CALLS}".encode(), b"-e", b"raw=getrandom", b"-o", os.fsencode(output), b"--"),
    ]


def read_strace(path: Path, *, is_root: bool) -> Watched:
    """Returns what is in the output of strace; a line that is of no known form is left out.

    Args:
        path: The output.
        is_root: Whether the command ran as root, whom a program with a set-user-ID bit gives nothing.
    """
    reader = _Reader()
    try:
        with path.open("rb") as file:
            for line in file.read(_MOST_BYTES).splitlines():
                reader.take(line)
    except FileNotFoundError:
        pass
    return Watched(reader.trace(), bool(reader.executed), _disturbance(reader, is_root=is_root))


def _disturbance(reader: _Reader, *, is_root: bool) -> str | None:
    if reader.traced:
        return "it traces processes itself, as a debugger does"
    for program in () if is_root else sorted(reader.executed):
        try:
            mode = os.stat(program).st_mode
        except OSError:
            continue
        if mode & _SET_ID:
            return f"{encode_name(program)} has a set-user-ID or set-group-ID bit, which has no effect then"
    return None


def merged(trace: Trace, other: Trace) -> Trace:
    """Returns what was seen by one or the other; facts and processes are those of the first."""
    return replace(
        trace,
        reads=trace.reads | other.reads,
        writes=trace.writes | other.writes,
        connections=trace.connections | other.connections,
        absent=trace.absent | other.absent,
        listed=trace.listed | other.listed,
        executed=trace.executed | other.executed,
        libraries=trace.libraries | other.libraries,
        drawn=other.drawn,
        tracers=trace.tracers + other.tracers,
        alone=(other.reads | other.absent) - (trace.reads | trace.absent | trace.writes),
    )


class _Reader:
    """Takes the lines of an output one by one."""

    def __init__(self) -> None:
        self.reads: set[bytes] = set()
        self.writes: set[bytes] = set()
        self.absent: set[bytes] = set()
        self.listed: set[bytes] = set()
        self.executed: set[bytes] = set()
        self.libraries: set[bytes] = set()
        self.connections: set[str] = set()
        self.drawn: Counter[bytes] = Counter()
        self.traced = False
        self._programs: dict[bytes, bytes] = {}
        self._unfinished: dict[bytes, tuple[bytes, bytes]] = {}

    def take(self, line: bytes) -> None:
        """Takes one line."""
        match = _LINE.fullmatch(line)
        if match is None or len(self.reads) > _MOST_PATHS:
            return
        process, resumed, call, rest = match.groups()
        if resumed is not None:
            call, begun = self._unfinished.pop(process, (b"", b""))
            rest = begun + resumed
        elif rest.endswith(_UNFINISHED):
            self._unfinished[process] = (call, rest.removesuffix(_UNFINISHED))
            return
        result = _RESULT.search(rest, max(0, rest.rfind(b") ")))
        if result is not None:
            failed = result.group(2) if result.group(1).startswith(b"-") else None
            if call == b"getrandom":
                self._draws(process, rest)
            elif call in {b"execve", b"execveat"} and failed is None:
                self.executed.update(program := list(_paths(rest))[:1])
                self._programs[process] = b"".join(program)
            else:
                self._called(call, rest, failed=failed)

    def _draws(self, process: bytes, rest: bytes) -> None:
        """Counts a request for randomness; of a Python, the states of its generators tell more."""
        program = self._programs.get(process, b"")
        asked = _RANDOM.match(rest)
        if asked is None or asked.groups() == _OF_MALLOC or not program:
            return
        if not _PYTHON.fullmatch(os.path.basename(program)):
            self.drawn[program] += 1

    def _called(self, call: bytes, rest: bytes, *, failed: bytes | None) -> None:
        match call:
            case b"open" | b"openat" | b"openat2" | b"creat":
                self._opened(call, rest, failed)
            case b"rename" | b"renameat" | b"renameat2" | b"link" | b"linkat" if failed is None:
                self.writes.update(list(_paths(rest))[1:2])
            case b"symlink" | b"symlinkat" if failed is None:
                self.writes.update(list(_paths(rest))[-1:])
            case b"connect":
                for pattern, form in ((_IPV4, "{}:{}"), (_IPV6, "[{}]:{}")):
                    host = pattern.search(rest)
                    if host is not None:
                        address = encode_name(_bytes(host.group(2)))
                        self.connections.add(form.format(address, host.group(1).decode()))
            case b"ptrace" if failed == b"EPERM":
                self.traced = True
            case _:
                return

    def _opened(self, call: bytes, rest: bytes, failed: bytes | None) -> None:
        path = next(_paths(rest), None)
        if path is None:
            return
        if failed in {b"ENOENT", b"ENOTDIR"}:
            self.absent.add(path)
        elif failed is not None:
            return
        elif b"O_DIRECTORY" in rest:
            self.listed.add(path)
        elif call == b"creat" or any(flag in rest for flag in _WRITING):
            self.writes.add(path)
        else:
            self.reads.add(path)
            if b".so" in os.path.basename(path):
                self.libraries.add(path)

    def trace(self) -> Trace:
        """Returns what was seen."""
        # Not every program says that it opens a directory.
        directories = {path for path in self.reads if os.path.isdir(path)}
        return Trace(
            reads=frozenset(self.reads - directories),
            writes=frozenset(self.writes),
            connections=frozenset(self.connections),
            absent=frozenset(self.absent - self.reads - self.writes),
            listed=frozenset(self.listed | directories),
            executed=frozenset(self.executed),
            libraries=frozenset(self.libraries),
            drawn=dict(self.drawn),
            tracers=("strace",),
        )


def _paths(rest: bytes) -> Iterator[bytes]:
    """Yields the paths among a call's arguments; a relative one is below the directory that stands before it."""
    for match in _STRING.finditer(rest):
        directory, name = match.groups()
        yield os.path.normpath(os.path.join(_bytes(directory or b""), _bytes(name)))


def _bytes(digits: bytes) -> bytes:
    return bytes.fromhex(digits.replace(b"\\x", b"").decode())
