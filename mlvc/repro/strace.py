"""What `strace` saw of a command, also of programs that are no Python: the options to start it with, and its output.

With `-D` the tracer is the command's grandchild, so that exit status, signals and what is left in the background are
the command's own. With `--seccomp-bpf` only the named calls stop. With `-xx` every string of the command stands in
hexadecimal digits, so nothing that it opens can look like another line. The format: https://man7.org/linux/man-pages/man1/strace.1.html
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from pathlib import Path

from mlvc.model.names import encode_name
from mlvc.repro.calls import FOLLOWED, Call, Calls, decode_digits
from mlvc.repro.trace import Trace
from mlvc.repro.watched import Watched, is_python, powerless

__all__ = ["options", "read_strace"]

_MOST_BYTES = 256 << 20
_MOST_PATHS = 100_000
_CALLS = (
    "open,openat,openat2,creat,connect,rename,renameat,renameat2,link,linkat,symlink,symlinkat"
    f",getrandom,ptrace,{FOLLOWED}"
)
# Not every processor has each of them, nor knows every strace the newest: the question mark says that this is no error.
# Each call that is watched stops the program twice. Not `getdents64`: who lists a directory has opened it as one, and
# of the calls that an import of scikit-learn stopped at, every seventh was that.

_HEX = rb"((?:\\x[0-9a-f]{2})*)"
_IPV4 = re.compile(rb'sin_port=htons\((\d+)\), sin_addr=inet_addr\("' + _HEX + rb'"\)')
_IPV6 = re.compile(rb'sin6_port=htons\((\d+)\).*inet_pton\(AF_INET6, "' + _HEX + rb'"')
# Its arguments stand as numbers: what it gave may be a key in the making.
_RANDOM = re.compile(rb"0x[0-9a-f]+, (0x[0-9a-f]+|0), (0x[0-9a-f]+|0)\)")
# Every start of the C library's `malloc` asks for eight bytes, without waiting for them.
_OF_MALLOC = (b"0x8", b"0x1")
_WRITING = (b"O_WRONLY", b"O_RDWR", b"O_CREAT")


def options(output: Path) -> list[bytes]:
    """Returns what stands after `strace` and before the command."""
    return [
        *(b"-D", b"-f", b"--seccomp-bpf", b"-q", b"-y", b"-xx", b"-s", b"4096", b"-e", b"signal=none"),
        *(b"-e", f"trace=?{_CALLS.replace(',', ',?')}".encode(), b"-e", b"raw=getrandom"),
        *(b"-o", os.fsencode(output), b"--"),
    ]


def read_strace(path: Path, *, directory: Path, is_root: bool) -> Watched:
    """Returns what is in the output of strace; a line that is of no known form is left out.

    Args:
        path: The output.
        directory: Where the command was started.
        is_root: Whether the command ran as root, whom a program with a set-user-ID bit gives nothing.
    """
    reader = _Reader()
    calls = Calls(os.fsencode(directory))
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        left = _MOST_BYTES
        while left > 0 and (line := file.readline(left)):
            left -= len(line)
            for call in calls.take(line.removesuffix(b"\n")):
                reader.take(call)
    for call in calls.remaining():
        reader.take(call)
    disturbed = (
        "it traces processes itself, as a debugger does"
        if reader.traced
        else powerless(reader.executed, is_root=is_root)
    )
    return Watched(reader.trace(), bool(reader.executed), disturbed)


class _Reader:
    """Sorts calls into what they mean."""

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

    def take(self, call: Call) -> None:
        """Takes one call; a path of which nobody knows where it begins is left out."""
        paths = [path for path in call.paths if path.startswith(b"/")]
        if len(paths) < len(call.paths) or len(self.reads) > _MOST_PATHS:
            return
        match call.name:
            case b"open" | b"openat" | b"openat2" | b"creat" if paths:
                self._opened(call, paths[0])
            case b"execve" | b"execveat" if call.failed is None:
                self.executed.update(paths[:1])
            case b"rename" | b"renameat" | b"renameat2" | b"link" | b"linkat" if call.failed is None:
                self.writes.update(paths[1:2])
            case b"symlink" | b"symlinkat" if call.failed is None:
                self.writes.update(paths[-1:])
            case b"connect":
                for pattern, form in ((_IPV4, "{}:{}"), (_IPV6, "[{}]:{}")):
                    host = pattern.search(call.rest)
                    if host is not None:
                        address = encode_name(decode_digits(host.group(2)))
                        self.connections.add(form.format(address, host.group(1).decode()))
            case b"getrandom":
                asked = _RANDOM.match(call.rest)
                if asked is not None and asked.groups() != _OF_MALLOC and call.program.startswith(b"/"):
                    self.drawn[call.program] += 1
            case b"ptrace" if call.failed == b"EPERM":
                self.traced = True
            case _:
                return

    def _opened(self, call: Call, path: bytes) -> None:
        if call.failed in {b"ENOENT", b"ENOTDIR"} and b'""' not in call.rest:
            self.absent.add(path)
        elif call.failed is not None:
            return
        elif b"O_DIRECTORY" in call.rest:
            self.listed.add(path)
        elif call.name == b"creat" or any(flag in call.rest for flag in _WRITING):
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
            drawn={program: count for program, count in self.drawn.items() if not is_python(program)},
            tracers=("strace",),
        )
