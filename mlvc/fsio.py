"""The file system, where durability matters: atomic replacement, fsync, locks.

The only module that calls `os.replace` and `os.fsync`, so that every step a crash can separate is in one place.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mlvc.errors import MlvcError

__all__ = [
    "DiskFullError",
    "FileUnreadableError",
    "LockTimeoutError",
    "atomic_write",
    "boot_id",
    "claim",
    "clone",
    "file_lock",
    "has_room",
    "hint_for",
    "open_beneath",
    "publish",
    "read_if_there",
    "remove_abandoned",
    "rename",
    "sync_directory",
    "sync_file",
    "translate_os_errors",
]

_POLL_S = 0.05
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_HINTS = {
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EIO: "the disk, or the way to it, may be failing: see the system's log, then repeat",
    errno.EMFILE: "allow more open files, as in `ulimit -n 4096`, and repeat",
    errno.EROFS: "it lies on a disk that is mounted read-only",
}
_UNIQUE_BYTES = 6
_FICLONE = 0x40049409
_CANNOT_CLONE = {
    errno.EOPNOTSUPP,
    errno.ENOTTY,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EPERM,
    errno.ETXTBSY,
}


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
        if exc.errno in _NO_ROOM:
            raise DiskFullError(f"cannot {doing}: no space left", hint="free some space and repeat") from exc
        raise FileUnreadableError(f"cannot {doing}: {exc.strerror or exc}", hint=hint_for(exc)) from exc


def hint_for(error: OSError) -> str | None:
    """Returns the next step after an error of the system, where there is one."""
    return _HINTS.get(error.errno or 0)


def has_room(directory: Path, size_bytes: int) -> bool:
    """Whether so many bytes fit on the file system of a directory, and into the user's quota: found out by trying."""
    import tempfile  # noqa: PLC0415  # a tenth of what a hook loads, and none asks this

    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            return file.write(bytes(size_bytes)) == size_bytes
    except OSError as exc:
        return exc.errno not in _NO_ROOM


def read_if_there(path: Path) -> bytes | None:
    """Returns the contents of a file; None where there is none, and only then.

    `Path.exists` also says no where it could not look, and what is then taken for missing is overwritten.

    Raises:
        OSError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def boot_id() -> bytes:
    """Returns 16 bytes that are others after the next start of the system; zeros where nobody tells them."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        known = bytes.fromhex(text.strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)
    return known if len(known) == 16 else bytes(16)


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


def clone(source_fd: int, target_fd: int) -> bool:
    """Makes a file share all bytes of another, as they are at this moment, without copying one.

    The two are independent: what is written to one is not seen in the other.

    Returns:
        Whether that could be done: both must be on one file system, and that must know how.

    Raises:
        OSError: There is no room, or the disk fails.
    """
    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError as exc:
        if exc.errno in _CANNOT_CLONE:
            return False
        raise
    return True


def publish(source: Path, target: Path) -> None:
    """Makes a finished, synced temporary file appear under its name, durably: rename, then sync the directory.

    Args:
        source: A file on the same file system, already passed through `sync_file`.
        target: The name; whatever stood there is replaced.
    """
    rename(source, target)
    sync_directory(target.parent)


def atomic_write(
    path: Path, data: bytes | Iterable[bytes | memoryview], *, mode: int = 0o666, durable: bool = True
) -> None:
    """Replaces the contents of `path` so that a reader, or a crash of this process, sees all of the old or of the new.

    Returns after the new contents and the name are durable. An existing file keeps its mode bits. What killed
    processes left behind of the same is removed.

    Args:
        path: The file.
        data: Its new contents, whole or in pieces.
        mode: That of a new file.
        durable: Without it nothing is synced, and power loss may leave any bytes, for which the reader must be ready.

    Raises:
        OSError: As `open`, `write`, `fsync` and `rename` raise it; the old contents are then untouched.
    """
    _remove_leftovers(path)
    temporary, fd = _create_beside(path, mode)
    try:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(fd, stat.S_IMODE(path.stat().st_mode))
            for piece in (data,) if isinstance(data, bytes) else data:
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
            if durable:
                sync_file(fd)
            rename(temporary, path)
        finally:
            os.close(fd)
        if durable:
            sync_directory(path.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise


def _create_beside(path: Path, mode: int) -> tuple[Path, int]:
    while True:
        temporary = path.with_name(f".{path.name}.{os.urandom(_UNIQUE_BYTES).hex()}.tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        if claim(temporary, fd):
            return temporary, fd
        os.close(fd)


def _remove_leftovers(path: Path) -> None:
    """Removes the temporary files beside `path` whose writers are no more."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{{2 * _UNIQUE_BYTES}}}\.tmp")
    for name in os.listdir(path.parent):
        if pattern.fullmatch(name):
            remove_abandoned(path.with_name(name))


def claim(path: Path, fd: int) -> bool:
    """Marks a file that was just created as being written, for as long as `fd` is open.

    Returns:
        Whether it is still there: another process may have taken it for abandoned before, and have removed it.
    """
    return _lock_now(fd) and _is_same_file(path, fd)


def remove_abandoned(path: Path) -> None:
    """Removes a file that was marked by `claim`, if nobody writes it any more."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        # It was published or removed since, or belongs to another user: not ours to judge.
        return
    try:
        # Removed while it is locked, so that who creates it just now learns of it from `claim`.
        if _lock_now(fd) and _is_same_file(path, fd):
            path.unlink()
    finally:
        os.close(fd)


def _lock_now(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same_file(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


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
