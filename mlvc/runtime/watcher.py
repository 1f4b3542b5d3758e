"""Runs a command and notes which files, programs and hosts it and all that it starts ask the system for.

    python -I -S -W ignore -c 'import watcher; watcher.main()' OUTPUT COMMAND ARGUMENT…

The command carries a filter of system calls (seccomp), by which the watched ones wait until this process was told of
them: it reads the path from the memory of whoever asks, notes it, and lets the call go on. Below a tracer each call
stops twice; here once, and the kernel lets this process run on the processor that waits for it (Linux 6.6).
https://docs.kernel.org/userspace-api/seccomp_filter.html#userspace-notification

Exits as the command does. What that leaves in the background goes on, unwatched. The output has the lines that
`sitecustomize.py` writes for these events, `{"event": "started"}` unless the command was not executed and nothing has
happened, and `{"event": "listens"}` where it wants to be told itself, which fails: a process has one listener.

It imports nothing of mlvc, and little of Python: each command waits for its start.
"""

from __future__ import annotations

import _thread
import ctypes
import errno
import fcntl
import itertools
import os
import select
import struct
import sys
from collections.abc import Iterator

# By machine: its name in filters (`linux/audit.h`), the calls that are watched, and `O_LARGEFILE`.
# `linux/arch/x86/entry/syscalls/syscall_64.tbl`, `include/uapi/asm-generic/unistd.h` and `fcntl.h` of each
_MACHINES = {
    "x86_64": (
        0xC000003E,
        {
            "seccomp": 317,
            "open": 2,
            "openat": 257,
            "openat2": 437,
            "creat": 85,
            "connect": 42,
            "execve": 59,
            "execveat": 322,
        }
        | {"rename": 82, "renameat": 264, "renameat2": 316, "link": 86, "linkat": 265, "symlink": 88}
        | {"symlinkat": 266, "getrandom": 318, "mount": 165, "move_mount": 429, "umount2": 166}
        | {"chroot": 161, "pivot_root": 155, "setns": 308},
        0o100000,
    ),
    "aarch64": (
        0xC00000B7,
        {
            "seccomp": 277,
            "openat": 56,
            "openat2": 437,
            "connect": 203,
            "execve": 221,
            "execveat": 281,
            "renameat": 38,
        }
        | {"renameat2": 276, "linkat": 37, "symlinkat": 36, "getrandom": 278}
        | {"mount": 40, "move_mount": 429, "umount2": 39, "chroot": 51, "pivot_root": 41, "setns": 268},
        0o400000,
    ),
}
# Which arguments are the directory that a path starts from (None where that is the present one) and the path.
_OPENING = {"open": (None, 0), "openat": (0, 1), "openat2": (0, 1), "creat": (None, 0)}
_DISPLACING = ("mount", "move_mount", "umount2", "chroot", "pivot_root", "setns")
_EXECUTING = {"execve": (None, 0), "execveat": (0, 1)}
_LINKING = {"symlink": (None, 1), "symlinkat": (1, 2)}
# Twice: what gets a new name, and the name.
_NAMING = {
    **dict.fromkeys(("rename", "link"), ((None, 0), (None, 1))),
    **dict.fromkeys(("renameat", "renameat2", "linkat"), ((0, 1), (2, 3))),
}

# `linux/seccomp.h`, `linux/bpf_common.h`, `linux/prctl.h`
_SET_MODE_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 1 << 3, 1 << 5
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_LOAD, _AND, _EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16
_NOTIFICATION, _RESPONSE = struct.Struct("QI4xi12x6Q"), struct.Struct("QqiI")
_RECEIVE, _SEND, _SET_FLAGS = 0xC0502100, 0xC0182101, 0x40082104
_SYNCHRONOUS, _CONTINUE = 1, 1
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38

# The same on both machines; `signal` and what it loads would take as long as all that is loaded here.
_SIGKILL, _SIGPIPE, _SIGXFSZ, _SIG_DFL = 9, 13, 25, 0

_AT_FDCWD = -100
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_NOT_READING = _WRITING | os.O_DIRECTORY
_SLASH = ord("/")
_PATH_BYTES = _PAGE_BYTES = 4096
_SHORT_BYTES = 160
_IPV4, _IPV6 = 2, 10
_SMALLEST_ADDRESS, _LARGEST_ADDRESS = 8, 28
_MALLOC_BYTES, _MALLOC_FLAGS = 8, 1
"""What each start of the C library's `malloc` asks for: eight bytes, without waiting for them."""
_MOST_OPEN = 100
_MOST_NOTED = 100_000
_NOT_EXECUTED = 127
_SIGNALLED = 128
_LAST_MS = 20

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _machine() -> tuple[int, dict[str, int], int]:
    """Returns this machine's name in filters, the calls that are watched, and the flags of openings that are not.

    With these flags together `sitecustomize.py` opens what it tells of itself. On a file they mean nothing, and nobody
    else has all three: by the last, a 32-bit program says that a file may be large, and by the others one opens lines.

    Raises:
        KeyError: The numbers of its calls are not known.
    """
    name, numbers, large = _MACHINES[os.uname().machine]
    return name, numbers, os.O_NOCTTY | os.O_NONBLOCK | large


def _instructions(machine: int, numbers: dict[str, int], told: int) -> bytes:
    """Returns the filter. What is no program of this machine, as a 32-bit one, is not watched."""
    watched = [number for name, number in numbers.items() if name not in {"getrandom", "openat"}]
    opening = len(watched) + 6
    random, notify, allow = opening + 3, opening + 7, opening + 8
    # Code, value, and which step is next if that is so and if not; without these the following one.
    steps: list[tuple[int, int] | tuple[int, int, int, int]] = [
        (_LOAD, _MACHINE_AT),
        (_EQUAL, machine, 2, allow),
        (_LOAD, _NUMBER_AT),
        (_EQUAL, numbers["openat"], opening, 4),
        (_EQUAL, numbers["getrandom"], random, 5),
        *((_EQUAL, number, notify, place) for place, number in enumerate(watched, start=6)),
        (_RETURN, _ALLOW),
        (_LOAD, _ARGUMENTS_AT + 16),
        (_AND, told),
        (_EQUAL, told, allow, notify),
        (_LOAD, _ARGUMENTS_AT + 8),
        (_EQUAL, _MALLOC_BYTES, random + 2, notify),
        (_LOAD, _ARGUMENTS_AT + 16),
        (_EQUAL, _MALLOC_FLAGS, allow, notify),
        (_RETURN, _NOTIFY),
        (_RETURN, _ALLOW),
    ]
    return b"".join(
        struct.pack(
            "HBBI", step[0], *(target - at - 1 for target in step[2:]), *(0, 0)[len(step) - 2 :], step[1]
        )
        for at, step in enumerate(steps)
    )


def _listen() -> tuple[int, dict[int, str]]:
    """Puts the filter on this thread; returns what its calls are heard by, and the names of the calls.

    Raises:
        OSError: The system does not know that, or forbids it.
        KeyError: The numbers of this machine's calls are not known.
    """
    machine, numbers, told = _machine()
    instructions = _instructions(machine, numbers, told)
    program = _Program(len(instructions) // 8, instructions)
    flags = _NEW_LISTENER | _WAIT_KILLABLE
    listener = _libc.syscall(numbers["seccomp"], _SET_MODE_FILTER, flags, ctypes.byref(program))
    if listener < 0 and ctypes.get_errno() == errno.EACCES:
        # An ordinary user gives up what programs with a set-user-ID bit would bring.
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        listener = _libc.syscall(numbers["seccomp"], _SET_MODE_FILTER, flags, ctypes.byref(program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    fcntl.ioctl(listener, _SET_FLAGS, _SYNCHRONOUS)
    return listener, {number: name for name, number in numbers.items()}


class _Notes:
    """What was seen, each thing once; written down at the end."""

    def __init__(self) -> None:
        self.reads: set[bytes] = set()
        self.paths: set[tuple[str, bytes]] = set()
        self.hosts: set[str] = set()
        self.drawn: dict[bytes, int] = {}
        self.is_listening = False

    def path(self, event: str, path: bytes) -> None:
        """Notes a path, which starts at its root."""
        if len(self.paths) < _MOST_NOTED:
            self.paths.add((event, path))

    def lines(self) -> Iterator[bytes]:
        """Yields what stands in the output; an address has nothing that JSON would have to escape."""
        for event, path in itertools.chain(zip(itertools.repeat("read"), self.reads), self.paths):
            name = os.path.normpath(path).hex()
            yield f'{{"event": "{event}", "path": "{name}"}}\n'.encode()
        for address in self.hosts:
            yield f'{{"event": "connect", "to": "{address}"}}\n'.encode()
        if self.is_listening:
            yield b'{"event": "listens"}\n'
        for program, count in self.drawn.items():
            yield f'{{"event": "draw", "path": "{program.hex()}", "count": {count}}}\n'.encode()


class _Processes:
    """The memory of the processes that are watched.

    Attributes:
        memory: Descriptors of it, by the numbers of those that made a call lately.
    """

    def __init__(self) -> None:
        self.memory: dict[int, int] = {}

    def forget(self, pid: int) -> None:
        """Forgets a process: once it executes a program, it has another memory."""
        fd = self.memory.pop(pid, None)
        if fd is not None:
            os.close(fd)

    def read(self, pid: int, address: int, size: int) -> bytes:
        """Returns up to `size` bytes, which end with the page where the next one is not there.

        Raises:
            OSError: They cannot be read.
        """
        for _ in range(2):
            fd = self.memory.get(pid)
            if fd is None:
                if len(self.memory) >= _MOST_OPEN:
                    for each in list(self.memory):
                        self.forget(each)
                fd = self.memory[pid] = os.open(b"/proc/%d/mem" % pid, os.O_RDONLY | os.O_CLOEXEC)
            found = os.pread(fd, size, address)
            if found:
                return found
            self.forget(pid)  # Its process is gone, and the number another's.
        return b""

    def text(self, pid: int, address: int) -> bytes:
        """Returns the string at an address, without its end.

        Raises:
            OSError: It cannot be read.
        """
        size = _PAGE_BYTES - address % _PAGE_BYTES
        found = self.read(pid, address, size)
        end = found.find(0)
        if end < 0:
            found += self.read(pid, address + size, _PATH_BYTES)
            end = found.find(0)
        return found[:end]


class _Watch:
    """Hears the calls, one by one, and lets each go on.

    A program that imports much makes thousands of calls, and each finds the caches of the processor cold: what is
    executed for one is kept short.

    Nothing is looked at in the file system, and a call is taken to succeed, once something was mounted or somebody has
    another root: what serves a mount may itself wait to be heard, and this machine's files are not a container's.
    """

    def __init__(self, notes: _Notes) -> None:
        self._notes = notes
        self._processes = _Processes()
        self._settled: set[tuple[bytes, int]] = set()
        self._is_blind = False

    def until(self, last: int, listener: int, names: dict[int, str]) -> None:
        """Hears calls, by their names, and notes them, until the thread `last` makes one."""
        buffer, nothing = bytearray(_NOTIFICATION.size), bytes(_NOTIFICATION.size)
        opening = next(number for number, name in names.items() if name == "openat")
        while True:
            buffer[:] = nothing
            try:
                fcntl.ioctl(listener, _RECEIVE, buffer)
            except OSError:
                continue  # Who asked was killed.
            number, pid, call, *arguments = _NOTIFICATION.unpack(buffer)
            try:
                if pid != last and not (call == opening and self._reads(pid, arguments[1], arguments[2])):
                    self._note(names.get(call), pid, arguments)
            except (OSError, ValueError, OverflowError):
                pass  # It is gone, hides its memory, or named an address that is none.
            try:
                fcntl.ioctl(listener, _SEND, _RESPONSE.pack(number, 0, 0, _CONTINUE))
            except OSError:
                pass  # It was killed while it waited.
            if pid == last:
                return

    def _reads(self, pid: int, address: int, flags: int) -> bool:
        """Notes an opening that is as nearly all are: for reading, and of a path from its root.

        Returns whether it is one; if not, nothing was noted. It does little, because it is called for thousands.
        """
        memory = self._processes.memory.get(pid)
        if memory is None or flags & _NOT_READING or self._is_blind:
            return False
        # A short one, because what is copied displaces what the program has in the caches.
        found = os.pread(memory, _SHORT_BYTES, address)
        end = found.find(0)
        if end < 1 or found[0] != _SLASH:
            return False
        path = found[:end]
        reads = self._notes.reads
        if path in reads:
            return True
        if os.access(path, os.R_OK):
            if len(reads) < _MOST_NOTED:
                reads.add(path)
        elif os.access(path, os.F_OK):
            return False
        else:
            self._notes.path("absent", path)
        return True

    def _note(self, name: str | None, pid: int, arguments: list[int]) -> None:
        if name in _OPENING:
            self._opened(self._path(pid, arguments, *_OPENING[name]), self._flags(name, pid, arguments))
        elif name in _EXECUTING:
            path = self._path(pid, arguments, *_EXECUTING[name])
            if path and (self._is_blind or os.access(path, os.X_OK)):
                self._notes.path("execute", path)
            self._processes.forget(pid)
        elif name in _LINKING:
            path = self._path(pid, arguments, *_LINKING[name])
            if path and (self._is_blind or not os.path.lexists(path)):
                self._notes.path("write", path)
        elif name in _NAMING:
            old, new = (self._path(pid, arguments, *which) for which in _NAMING[name])
            if old and new and (self._is_blind or os.access(old, os.F_OK)):
                self._notes.path("write", new)
        elif name in _DISPLACING:
            self._is_blind = True
        elif name == "seccomp":
            self._notes.is_listening |= arguments[1] & _NEW_LISTENER != 0
        elif name == "connect":
            self._connected(self._processes.read(pid, arguments[1], min(arguments[2], _LARGEST_ADDRESS)))
        elif name == "getrandom":
            program = os.readlink(b"/proc/%d/exe" % pid)
            self._notes.drawn[program] = self._notes.drawn.get(program, 0) + 1

    def _path(self, pid: int, arguments: list[int], directory: int | None, place: int) -> bytes:
        """Returns a path from its root, or nothing where nobody knows where it begins."""
        path = self._processes.text(pid, arguments[place])
        if path.startswith(b"/"):
            return path
        number = _AT_FDCWD if directory is None else ctypes.c_int32(arguments[directory]).value
        if number == _AT_FDCWD and not path:
            return b""
        start = b"/proc/%d/cwd" % pid if number == _AT_FDCWD else b"/proc/%d/fd/%d" % (pid, number)
        path = os.path.join(os.readlink(start), path)
        return path if path.startswith(b"/") else b""

    def _flags(self, name: str, pid: int, arguments: list[int]) -> int:
        if name == "openat":
            return arguments[2]
        if name == "creat":
            return os.O_WRONLY | os.O_CREAT
        if name == "openat2":
            return int.from_bytes(self._processes.read(pid, arguments[2], 8), sys.byteorder)
        return arguments[1]

    def _opened(self, path: bytes, flags: int) -> None:
        """Notes what opening a file comes to, as the file system is before it."""
        if not path or (path, flags) in self._settled:
            return
        is_written, is_listed = flags & _WRITING != 0, flags & os.O_DIRECTORY != 0
        if is_listed and not self._is_blind and os.path.isfile(path):
            self._notes.path("absent", path)
        elif self._is_blind or os.access(path, os.W_OK if is_written else os.R_OK):
            if flags & os.O_CREAT and flags & os.O_EXCL and not self._is_blind and os.path.lexists(path):
                return
            if len(self._settled) < _MOST_NOTED:
                self._settled.add((path, flags))
            self._notes.path("list" if is_listed else "write" if is_written else "read", path)
        elif not os.path.exists(path):
            folder = os.path.dirname(path)
            if not flags & os.O_CREAT or not os.path.isdir(folder):
                self._notes.path("absent", path)
            elif os.access(folder, os.W_OK):
                self._notes.path("write", path)

    def _connected(self, address: bytes) -> None:
        if len(address) < _SMALLEST_ADDRESS or len(self._notes.hosts) >= _MOST_NOTED:
            return
        family, port = int.from_bytes(address[:2], sys.byteorder), int.from_bytes(address[2:4], "big")
        if family == _IPV4:
            self._notes.hosts.add(f"{'.'.join(map(str, address[4:8]))}:{port}")
        elif family == _IPV6 and len(address) == _LARGEST_ADDRESS:
            import ipaddress  # few commands speak to anybody

            self._notes.hosts.add(f"[{ipaddress.IPv6Address(address[8:24])}]:{port}")


def _is_somebody_left(listener: int) -> bool:
    """Returns whether there is a process that may still make a call; waits a moment for the last one to go."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return not any(what & select.POLLHUP for _, what in poll.poll(_LAST_MS))


def _let_go(listener: int) -> None:
    """Lets all calls go on until nobody is left to make one."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while all(what & select.POLLIN for _, what in poll.poll()):
        buffer = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, buffer)
            number = _NOTIFICATION.unpack(buffer)[0]
            fcntl.ioctl(listener, _SEND, _RESPONSE.pack(number, 0, 0, _CONTINUE))
        except OSError:
            pass  # Who asked was killed.


class _Command:
    """The command, started and waited for by a thread of its own, which alone has the filter.

    Attributes:
        thread: The number of that thread, whose first call that is watched says that the command has ended.
        status: How it ended, as `os.waitpid` tells it; None where it was not executed.
    """

    def __init__(self, program: bytes, command: list[bytes], output: int) -> None:
        self._program = program
        self._command = command
        self._variables = _own_variables()
        if b"MLVC_TRACE" in self._variables:
            self._variables[b"MLVC_WATCHED"] = b"%d" % _machine()[2]
        self._output = output
        self._listening = _thread.allocate_lock()
        self._listening.acquire()
        self._failure: OSError | KeyError | None = None
        self._heard: tuple[int, dict[int, str]] = (-1, {})
        self.thread = 0
        self.status: int | None = None
        _thread.start_new_thread(self._run, ())

    def listener(self) -> tuple[int, dict[int, str]]:
        """Returns what `_listen` returned, which may have raised."""
        self._listening.acquire()
        if self._failure is not None:
            raise self._failure
        return self._heard

    def _run(self) -> None:
        self.thread = _thread.get_native_id()
        try:
            self._heard = _listen()
            # First: what has happened and is written nowhere would happen once more.
            os.write(self._output, b'{"event": "started"}\n')
        except (OSError, KeyError) as exc:
            self._failure = exc
            return
        finally:
            self._listening.release()
        try:
            self.status = self._start()
        except OSError:
            pass  # There is no room for another process, and nothing has happened.
        os.close(os.open(os.devnull, os.O_RDONLY))

    def _start(self) -> int | None:
        """Runs the command to its end; returns how it ended, or None where it was not executed.

        Raises:
            OSError: The system makes no more processes or descriptors.
        """
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            self._execute(tell)
        os.close(tell)
        is_executed = os.read(told, 1) == b""
        status = os.waitpid(child, 0)[1]
        return status if is_executed else None

    def _execute(self, tell: int) -> None:
        """Becomes the command; `tell` closes then, and otherwise holds a byte."""
        # It must not go on where none of its calls would be answered.
        _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        for ignored in (_SIGPIPE, _SIGXFSZ):  # By Python, for itself.
            _libc.signal(ignored, _SIG_DFL)
        try:
            os.execve(self._program, self._command, self._variables)  # noqa: S606  # it is the command
        except OSError:
            pass  # Who started this thread is told by the byte.
        os.write(tell, b".")
        os._exit(_NOT_EXECUTED)


def _exit_as(status: int) -> None:
    """Ends this process as another one ended."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # One core dump is enough.
        _libc.signal(-code, _SIG_DFL)
        os.kill(os.getpid(), -code)
        code = _SIGNALLED - code
    os._exit(code)


def _own_variables() -> dict[bytes, bytes]:
    """Returns the variables that this process was started with: where none names a locale, Python adds one."""
    with open("/proc/self/environ", "rb") as file:
        pairs = (entry.partition(b"=") for entry in file.read().split(b"\0") if entry)
        return {name: value for name, _, value in pairs}


def _find(program: str) -> bytes:
    """Returns the path of a program: the child that executes it is watched already, and had better not look around."""
    if "/" not in program:
        for directory in os.get_exec_path():
            path = os.path.join(directory, program)
            if os.access(path, os.X_OK) and not os.path.isdir(path):
                return os.fsencode(path)
    return os.fsencode(program)


def main() -> None:
    """Runs the command that the arguments name, and ends as it does."""
    _, path, *command = sys.argv
    notes = _Notes()
    try:
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        watch = _Watch(notes)
        running = _Command(_find(command[0]), [os.fsencode(word) for word in command], output)
        listener, names = running.listener()
    except (OSError, KeyError):
        os._exit(_NOT_EXECUTED)
    watch.until(running.thread, listener, names)
    try:
        with open(output, "ab", closefd=False) as file:
            file.writelines(notes.lines())
    except OSError:
        pass  # A full disk costs the notes, and not what the command has done.
    if _is_somebody_left(listener) and os.fork() == 0:
        # What stays in the background would fail at its next call without somebody who answers.
        for fd in range(3):
            os.close(fd)
        _let_go(listener)
        os._exit(0)
    if running.status is None:
        os.ftruncate(output, 0)
        os._exit(_NOT_EXECUTED)
    _exit_as(running.status)
