"""Makes calls out of the lines that `strace -f -q -y -xx` writes: each whole, with its program and its directory.

Where processes run side by side their lines are torn and out of order:

    12 vfork( <unfinished ...>                  the other half follows when the call ends; what other processes
    13 execve("./b", … <unfinished ...>         do comes between, even what a process does before the call that
    12 <... vfork resumed>) = 13                started it is seen to end
    13 <... execve resumed>) = 0
    14 execve("./c", … <pid changed to 13 ...>  a thread that executes a program becomes the whole process, under the
    13 +++ superseded by execve in pid 14 +++   number of the first thread; the end of its call follows with a result
    13 <... execve resumed>) = -1 (errno …)     that was read too late
    13 +++ exited with 0 +++                    from here on the number may be another process's

So the lines of a process wait until it is known who started it. In a PID namespace of its own a process has another
number for whoever started it, and nobody is found: its lines wait until the end, and its directory is unknown.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

__all__ = ["FOLLOWED", "Call", "Calls", "decode_digits"]

# What has to be watched to know who started whom, and where.
FOLLOWED = "clone,clone3,fork,vfork,execve,execveat,chdir,fchdir"

_LINE = re.compile(
    rb"(?P<number>\d+) +(?:<\.\.\. \w+ resumed>(?P<end>.*)|(?P<name>\w+)\((?P<rest>.*)|\+\+\+ (?P<fate>.*) \+\+\+)",
    re.DOTALL,
)
# With its space, so that the halves join to what one line would have been.
_UNFINISHED = re.compile(rb"(.*) <(?:unfinished|pid changed to \d+) \.\.\.>", re.DOTALL)
_SUPERSEDED = re.compile(rb"superseded by execve in pid (\d+)")
_HEX = rb"((?:\\x[0-9a-f]{2})*)"
_STRING = re.compile(rb"(?:<" + _HEX + rb'>(?:\(deleted\))?, )?"' + _HEX + rb'"')
_CURRENT = re.compile(rb"AT_FDCWD<" + _HEX + rb">")
_DESCRIPTOR = re.compile(rb"\d+<" + _HEX + rb">")
_RESULT = re.compile(rb"\) += (-?\d+)(?:<[^>]*>)?(?: ([A-Z0-9]+) )?")
_BIRTHS = frozenset((b"clone", b"clone3", b"fork", b"vfork"))
_EXECUTIONS = frozenset((b"execve", b"execveat"))


@dataclass(slots=True)
class _Folder:
    """A working directory, which threads share; empty as long as it is unknown."""

    path: bytes


@dataclass(slots=True)
class _Process:
    """A process or a thread, both of which strace calls by a number.

    Attributes:
        folder: Where it stands.
        program: The path of what it executes; empty as long as that is unknown.
    """

    folder: _Folder
    program: bytes = b""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that came to an end.

    Attributes:
        name: Its name.
        rest: What stands behind its first bracket.
        failed: The name of the error that it ended with; None where it succeeded.
        program: The path of who made it; empty where that is unknown.
        paths: The paths among its arguments; one is relative where the directory is unknown.
    """

    name: bytes
    rest: bytes
    failed: bytes | None
    program: bytes
    paths: tuple[bytes, ...]


class Calls:
    """Takes the lines of an output one by one, in their order.

    Args:
        directory: The absolute path of the directory that the first process starts in.
    """

    def __init__(self, directory: bytes) -> None:
        self._first: _Process | None = _Process(_Folder(directory))
        self._alive: dict[bytes, _Process] = {}
        self._unborn: dict[bytes, list[bytes]] = {}
        self._unfinished: dict[bytes, tuple[bytes, bytes]] = {}
        self._lines: deque[bytes] = deque()

    def take(self, line: bytes) -> Iterator[Call]:
        """Yields the calls that are complete with this line; one of no known form is left out."""
        self._lines.append(line)
        return self._complete()

    def remaining(self) -> Iterator[Call]:
        """Yields the calls of processes of which nobody was seen to start them."""
        while self._unborn:
            self._bear(next(iter(self._unborn)), _Process(_Folder(b"")))
            yield from self._complete()

    def _complete(self) -> Iterator[Call]:
        while self._lines:
            line = self._lines.popleft()
            match = _LINE.fullmatch(line)
            call = None if match is None else self._take(match)
            if call is not None:
                yield call

    def _take(self, match: re.Match[bytes]) -> Call | None:
        number = match.group("number")
        if self._first is not None:
            self._alive[number], self._first = self._first, None
        process = self._alive.get(number)
        if process is None:
            self._unborn.setdefault(number, []).append(match.group())
            return None
        if match.group("fate") is not None:
            return self._end(number, process, match)
        name, rest = match.group("name", "rest")
        if name is None:
            name, begun = self._unfinished.pop(number, (b"", b""))
            rest = begun + match.group("end")
        torn = _UNFINISHED.fullmatch(rest)
        if torn is not None:
            self._unfinished[number] = (name, torn.group(1))
            return None
        result = _RESULT.search(rest, max(0, rest.rfind(b") ")))
        if result is None or not name:
            return None
        value, error = result.groups()
        call = _call(process, name, rest, (error or b"") if value.startswith(b"-") else None)
        if name in _BIRTHS and call.failed is None:
            shares = b"CLONE_FS" in rest
            folder = process.folder if shares else _Folder(process.folder.path)
            self._bear(value, _Process(folder, process.program))
        return call

    def _bear(self, number: bytes, process: _Process) -> None:
        """Lets the lines of a process that wait be the next ones; a number in a PID namespace may be another's."""
        if number not in self._alive:
            self._alive[number] = process
            self._lines.extendleft(reversed(self._unborn.pop(number, [])))

    def _end(self, number: bytes, process: _Process, match: re.Match[bytes]) -> Call | None:
        """A process or a thread came to its end, or a thread took the place of its process."""
        superseded = _SUPERSEDED.fullmatch(match.group("fate"))
        if superseded is not None and superseded.group(1) in self._unborn:
            # Who started the thread ended before that call did.
            self._lines.appendleft(match.group())
            self._bear(superseded.group(1), _Process(process.folder, process.program))
            return None
        del self._alive[number]
        self._unfinished.pop(number, None)
        if superseded is None:
            return None
        thread = superseded.group(1)
        self._alive[number] = self._alive.pop(thread, process)
        name, begun = self._unfinished.pop(thread, (b"", b""))
        return _call(self._alive[number], name, begun, None) if name in _EXECUTIONS else None


def _call(process: _Process, name: bytes, rest: bytes, failed: bytes | None) -> Call:
    """Returns a call, after what it changed of its process."""
    current = _CURRENT.search(rest)
    if current is not None:
        process.folder.path = decode_digits(current.group(1))
    # What follows the path of a program are its arguments, which may be many.
    paths = _paths(rest, process.folder.path, most=1 if name in _EXECUTIONS else None)
    if failed is None:
        if name in _EXECUTIONS:
            process.program = paths[0] if paths else b""
        elif name == b"chdir":
            process.folder.path = paths[0] if paths else b""
        elif name == b"fchdir":
            directory = _DESCRIPTOR.match(rest)
            process.folder.path = decode_digits(directory.group(1)) if directory is not None else b""
    return Call(name, rest, failed, process.program, paths)


def _paths(rest: bytes, folder: bytes, *, most: int | None) -> tuple[bytes, ...]:
    """Returns the paths among a call's arguments; a relative one is below the directory that stands before it."""
    return tuple(
        os.path.normpath(
            os.path.join(folder, decode_digits(match.group(1) or b""), decode_digits(match.group(2)))
        )
        for match in islice(_STRING.finditer(rest), most)
    )


def decode_digits(digits: bytes) -> bytes:
    """Returns the bytes that stand as digits."""
    return bytes.fromhex(digits.replace(b"\\x", b"").decode())
