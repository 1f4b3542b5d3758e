"""The file system, where durability matters: atomic replacement, fsync, locks.

The only module that calls `os.replace` and `os.fsync`, so that every step a crash can separate is in one place.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mlvc.errors import MlvcError

__all__ = [
    "DiskFullError",
    "FileUnreadableError",
    "LockTimeoutError",
    "atomic_write",
    "file_lock",
    "open_beneath",
    "publish",
    "rename",
    "sync_directory",
    "sync_file",
    "translate_os_errors",
]

_POLL_S = 0.05


class DiskFullError(MlvcError):
    """The file system has no room, or the user's quota is spent."""

    code = "disk-full"


class FileUnreadableError(MlvcError):
    """A file could not be opened, read or written."""

    code = "unreadable"


class LockTimeoutError(MlvcError):
    """Another process held a lock for too long."""

    code = "busy"


@contextlib.contextmanager
def translate_os_errors(doing: str) -> Iterator[None]:
    """Turns an OSError of the body into our own error: `cannot DOING: reason`.

    Raises:
        DiskFullError: No room, or over quota.
        FileUnreadableError: Any other OSError.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(f"cannot {doing}: no space left", hint="free some space and repeat") from exc
        hint = "check its permissions" if exc.errno in {errno.EACCES, errno.EPERM} else None
        raise FileUnreadableError(f"cannot {doing}: {exc.strerror or exc}", hint=hint) from exc


def sync_file(fd: int) -> None:
    """Returns after the file's bytes and length are durable."""
    os.fsync(fd)


def sync_directory(path: Path | str) -> None:
    """Returns after the names in a directory are durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def rename(source: Path | str | bytes, target: Path | str | bytes, *, dir_fd: int | None = None) -> None:
    """Renames atomically over whatever `target` was; durable only after `sync_directory` of both parents.

    Args:
        source: What to rename.
        target: Its new name, on the same file system.
        dir_fd: An open directory that both are relative to.
    """
    os.replace(source, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)


def publish(source: Path, target: Path) -> None:
    """Makes a finished, synced temporary file appear under its name, durably: rename, then sync the directory.

    Args:
        source: A file on the same file system, already passed through `sync_file`.
        target: The name; whatever stood there is replaced.
    """
    rename(source, target)
    sync_directory(target.parent)


def atomic_write(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Replaces the contents of `path` so that a reader, or a crash, sees all of the old or all of the new.

    Returns after the new contents and the name are durable. An existing file keeps its mode bits.

    Raises:
        OSError: As `open`, `write`, `fsync` and `rename` raise it; the old contents are then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(fd, stat.S_IMODE(path.stat().st_mode))
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            sync_file(fd)
        finally:
            os.close(fd)
        publish(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def file_lock(
    path: Path,
    *,
    shared: bool = False,
    on_wait: Callable[[], None] | None = None,
    timeout_s: float | None = None,
) -> Iterator[None]:
    """Holds an advisory lock (flock) on `path`, which is created if missing and never removed.

    The kernel drops the lock when the process ends, however it ends. Not reentrant.

    Args:
        path: The lock file.
        shared: Whether other shared holders may hold it at the same time.
        on_wait: Called once, before the first wait.
        timeout_s: How long to wait; None waits for ever.

    Raises:
        LockTimeoutError: `timeout_s` passed.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as exc:
        if not shared or exc.errno not in {errno.EACCES, errno.EROFS}:
            raise
        # Who may only read the file may still share its lock.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        waited = False
        while True:
            try:
                fcntl.flock(fd, operation | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited and on_wait is not None:
                    on_wait()
                waited = True
                if deadline is None:
                    fcntl.flock(fd, operation)
                    break
                if time.monotonic() >= deadline:
                    raise LockTimeoutError(
                        f"another mlvc has held {path} for {timeout_s:.0f} s", hint="wait for it, or end it"
                    ) from None
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(fd)


def open_beneath(root_fd: int, components: list[bytes], *, create: bool = False, mode: int = 0o777) -> int:
    """Opens a directory below `root_fd`, component by component, following no symbolic link.

    Args:
        root_fd: An open directory; stays open.
        components: Names, none of them `..`.
        create: Whether missing directories are made.
        mode: The mode of those.

    Returns:
        A new file descriptor of the directory, which the caller closes.

    Raises:
        OSError: As `open` raises it; ELOOP or ENOTDIR where a component is a link or no directory.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.dup(root_fd)
    for component in components:
        try:
            try:
                child = os.open(component, flags, dir_fd=fd)
            except FileNotFoundError:
                if not create:
                    raise
                with contextlib.suppress(FileExistsError):
                    os.mkdir(component, mode, dir_fd=fd)
                child = os.open(component, flags, dir_fd=fd)
        finally:
            os.close(fd)
        fd = child
    return fd
