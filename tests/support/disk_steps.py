"""Stands between a process and the disk: counts every step that changes something, and interferes at one of them.

For the child processes of `tests.support.zygote` only, which end with the command that they run.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

__all__ = ["Plan", "install"]

_COUNTER_BYTES = 8
_NAMING = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate"}
_CHANGING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Plan:
    """What happens to a command.

    Attributes:
        action: `count` counts; `kill` ends the process that takes the step, `kill-first` the one that the command
            began in, `kill-all` all of them; `error` lets the step fail; `short` halves reads and writes; `signals`
            interrupts every system call; `record` writes down what is done to the disk.
        at: The number of the step, from 1.
        errno: What an `error` is.
        sticky: Whether later steps of the same kind fail too, as on a full disk.
        reads: Whether what only reads is a step too.
        log: Where to record.
    """

    action: str = "count"
    at: int = 0
    errno: int = 0
    sticky: bool = False
    reads: bool = False
    log: str = ""


class _Steps:
    def __init__(self, plan: Plan, root: str, counter: mmap.mmap) -> None:
        self._plan = plan
        self._root = root
        self._counter = counter
        self._first_pid = os.getpid()
        self._quiet = threading.local()

    def concerns(self, path: object) -> bool:
        """Whether a path is the project's; what is opened by its name in an open directory always is."""
        if isinstance(path, int):
            return False
        text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        return bool(text) and (not text.startswith("/") or text.startswith(self._root))

    def take(self, name: str, *, grows: bool = False, reads: bool = False) -> None:
        """Counts a step that is about to be taken.

        Args:
            name: What it is.
            grows: Whether it needs room on the disk.
            reads: Whether it changes nothing.
        """
        plan = self._plan
        if reads and not plan.reads:
            return
        number = int.from_bytes(self._counter[:_COUNTER_BYTES], "little") + 1
        self._counter[:_COUNTER_BYTES] = number.to_bytes(_COUNTER_BYTES, "little")
        if plan.action == "error":
            if number == plan.at or (plan.sticky and number > plan.at and grows):
                raise OSError(plan.errno, os.strerror(plan.errno), name)
        elif number != plan.at:
            return
        elif plan.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif plan.action == "kill-first":
            os.kill(self._first_pid, signal.SIGKILL)
        elif plan.action == "kill-all":
            os.killpg(0, signal.SIGKILL)

    def audit(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "open":
            path, _mode, flags = args
            if self.concerns(path):
                changes = isinstance(flags, int) and bool(flags & _CHANGING_FLAGS)
                self.take(f"open {path!r}", grows=changes, reads=not changes)
        elif name in _NAMING and self.concerns(args[0]):
            self.take(f"{name} {args[0]!r}", grows=name in {"os.mkdir", "os.symlink"})


def install(plan: Plan, root: Path, counter: mmap.mmap) -> None:
    """Begins to interfere with this process and those that it forks; there is no way back."""
    steps = _Steps(plan, str(root), counter)
    if plan.action == "short":
        _shorten()
    elif plan.action == "signals":
        signal.signal(signal.SIGALRM, lambda _signal, _frame: None)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    elif plan.action == "record":
        _record(Path(plan.log))
    else:
        _wrap(steps)
        sys.addaudithook(steps.audit)
        if plan.action != "error":
            # SQLite meets the errors of the disk itself: there is a test with a small disk.
            event.listen(Engine, "commit", lambda _connection: steps.take("commit of a transaction"))


_real_fstat = os.fstat


def _is_file(fd: int) -> bool:
    """Whether a descriptor is a file's or directory's, and no pipe's."""
    mode = _real_fstat(fd).st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _wrap(steps: _Steps) -> None:
    def counted(name: str, **kinds: bool) -> None:
        function: Callable[..., Any] = getattr(os, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:  # stands for any function of `os`
            if steps.concerns(args[0]) if name in {"stat", "lstat", "readlink"} else _is_file(args[0]):
                steps.take(name, **kinds)
            return function(*args, **kwargs)

        setattr(os, name, wrapper)

    counted("fsync")
    counted("write", grows=True)
    counted("pwrite", grows=True)
    for name in ("read", "readv", "pread", "preadv", "stat", "lstat", "fstat", "readlink"):
        counted(name, reads=True)


def _shorten() -> None:
    """Every other read or write of more than a byte of a file does half of what it was asked for."""
    calls = [0]

    def half(fd: int, size: int) -> int:
        calls[0] += 1
        return size if size < 2 or calls[0] % 2 or not _is_file(fd) else size // 2

    read, pread, write = os.read, os.pread, os.write
    readv, preadv, pwrite = os.readv, os.preadv, os.pwrite
    os.read = lambda fd, size: read(fd, half(fd, size))
    os.pread = lambda fd, size, offset: pread(fd, half(fd, size), offset)
    os.write = lambda fd, data: write(fd, memoryview(data)[: half(fd, len(data))])  # type: ignore[arg-type]  # any buffer
    os.pwrite = lambda fd, data, offset: pwrite(fd, memoryview(data)[: half(fd, len(data))], offset)  # type: ignore[arg-type]  # any buffer

    def first_part(fd: int, buffers: Any) -> list[memoryview]:
        whole = memoryview(buffers[0])
        return [whole[: half(fd, len(whole))]]

    os.readv = lambda fd, buffers: readv(fd, first_part(fd, buffers))
    os.preadv = lambda fd, buffers, offset, flags=0: preadv(fd, first_part(fd, buffers), offset, flags)


def _record(path: Path) -> None:  # noqa: C901, PLR0915  # one small function for each call of the system
    """Writes down, a JSON line each, what is done to files, whether by an absolute path or in an open directory."""
    names: dict[int, str] = {}
    lock = threading.RLock()
    log = path.open("a", encoding="utf-8")
    real_open, real_write, real_fsync, real_replace = os.open, os.write, os.fsync, os.replace
    real_unlink, real_mkdir, real_rmdir, real_pwrite = os.unlink, os.mkdir, os.rmdir, os.pwrite

    def note(**what: object) -> None:
        log.write(json.dumps(what) + "\n")
        log.flush()

    def full(name: object, dir_fd: int | None) -> str | None:
        if not isinstance(name, (str, bytes, os.PathLike)):
            return None
        path = os.fsdecode(name)
        if dir_fd is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), path)
        return path if path.startswith("/") else None

    def open_(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        with lock:
            name = full(path, dir_fd)
            fresh = bool(flags & os.O_CREAT) and name is not None and not os.path.lexists(name)
            fd = real_open(path, flags, mode, dir_fd=dir_fd)
            names.pop(fd, None)
            if name is not None:
                names[fd] = name
                if fresh:
                    note(do="create", path=name, file=os.fstat(fd).st_ino)
            return fd

    def write(fd: int, data: Any) -> int:
        with lock:
            length = real_write(fd, data)
            if fd in names:
                note(do="write", file=os.fstat(fd).st_ino, data=bytes(data[:length]).hex())
            return length

    def pwrite(fd: int, data: Any, offset: int) -> int:
        with lock:
            assert offset == os.fstat(fd).st_size, "a write that is not at the end"
            length = real_pwrite(fd, data, offset)
            if fd in names:
                note(do="write", file=os.fstat(fd).st_ino, data=bytes(data[:length]).hex())
            return length

    def fsync(fd: int) -> None:
        with lock:
            real_fsync(fd)
            if fd in names:
                note(do="fsync", path=names[fd], file=os.fstat(fd).st_ino, directory=os.path.isdir(names[fd]))

    def replace(
        source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        with lock:
            real_replace(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            if full(source, src_dir_fd) is not None:
                note(do="rename", source=full(source, src_dir_fd), target=full(target, dst_dir_fd))

    def unlink(path: Any, *, dir_fd: int | None = None) -> None:
        with lock:
            real_unlink(path, dir_fd=dir_fd)
            if full(path, dir_fd) is not None:
                note(do="unlink", path=full(path, dir_fd))

    def rmdir(path: Any, *, dir_fd: int | None = None) -> None:
        with lock:
            real_rmdir(path, dir_fd=dir_fd)
            if full(path, dir_fd) is not None:
                note(do="unlink", path=full(path, dir_fd))

    def mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        with lock:
            real_mkdir(path, mode, dir_fd=dir_fd)
            if full(path, dir_fd) is not None:
                note(do="mkdir", path=full(path, dir_fd))

    os.pwrite = pwrite
    for name, function in [("open", open_), ("write", write), ("fsync", fsync), ("replace", replace)]:
        setattr(os, name, function)
    for name, function in [("unlink", unlink), ("remove", unlink), ("mkdir", mkdir), ("rmdir", rmdir)]:
        setattr(os, name, function)
    with contextlib.suppress(OSError):
        note(do="begin")
