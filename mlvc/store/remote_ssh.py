"""A remote in a directory of another machine, by SFTP: hosts, users and keys as `ssh` finds them.

The host's key must be known. Nobody is asked for a password: keys and the agent alone count.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from mlvc.store.remote_clouds import load_extra
from mlvc.store.remote_files import (
    RANGE_BYTES,
    RemoteDeniedError,
    RemoteFile,
    RemoteMissingError,
    RemoteUnreachableError,
    told_by,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from mlvc.store.outgoing import Outgoing

__all__ = ["SshFiles"]

_TEMPORARIES = "tmp"
_CONNECT_S, _SILENCE_S = 20, 30
_LEFT_AFTER_S = 2 * 86_400
"""A temporary file that nobody wrote to for so long was left by a killed push."""


class SshFiles:
    """Files on another machine, which appear under their name whole, and synced where the server can."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = url
        self._host = parts.hostname or ""
        self._to = {"username": parts.username, "port": parts.port}
        self._root = unquote(parts.path)
        self._lock = threading.Lock()
        self._sftp: Any = None

    @cached_property
    def _ssh(self) -> Any:  # noqa: ANN401  # loaded where it is needed alone
        return load_extra("asyncssh", "ssh", "ssh")

    def _connected(self) -> Any:  # noqa: ANN401  # as above
        """Returns the one connection, which serves any number of requests at once."""
        from fsspec.asyn import get_loop, sync  # noqa: PLC0415  # what asks no remote must not pay

        async def connect() -> Any:  # noqa: ANN401  # as above
            given = {name: value for name, value in self._to.items() if value is not None}
            connection = await self._ssh.connect(
                self._host,
                **given,
                password_auth=False,
                kbdint_auth=False,
                connect_timeout=_CONNECT_S,
                login_timeout=_CONNECT_S,
                keepalive_interval=_SILENCE_S,
            )
            return await connection.start_sftp_client()

        with self._lock:
            if self._sftp is None:
                self._sftp = sync(get_loop(), connect)
            return self._sftp

    def _do(self, step: Callable[..., Awaitable[Any]], *arguments: object) -> Any:  # noqa: ANN401  # as above
        """Runs a step, with the connection, in the thread that speaks to servers, and returns what it returns."""
        from fsspec.asyn import get_loop, sync  # noqa: PLC0415  # as above

        with self._translated():
            return sync(get_loop(), step, self._connected(), *arguments)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        ssh = self._ssh
        try:
            yield
        except ssh.SFTPNoSuchFile as exc:
            raise RemoteMissingError(
                f"the remote {self._url} is not there, or a file of it: {told_by(exc)}",
                hint="check the path; `mlvc push` makes the directory",
            ) from exc
        except (ssh.PermissionDenied, ssh.HostKeyNotVerifiable, ssh.SFTPPermissionDenied) as exc:
            raise RemoteDeniedError(
                f"the remote {self._url} does not let us in: {told_by(exc)}",
                hint=f"does `sftp {self._host}` work without a question? mlvc uses the same keys and known hosts",
            ) from exc
        except (OSError, ssh.Error, ssh.ConfigParseError, ssh.KeyImportError) as exc:
            raise RemoteUnreachableError(
                f"the remote {self._url} does not answer: {told_by(exc)}",
                hint="check the network and ~/.ssh/config; repeat to go on where it stopped",
            ) from exc

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def list(self) -> Mapping[str, RemoteFile]:
        """Returns the files of the directory and of those just below it; one question for each."""
        found: dict[str, RemoteFile] = {}
        for name, attributes in self._entries(""):
            if stat.S_ISREG(attributes.permissions):
                found[name] = _described(attributes)
            elif stat.S_ISDIR(attributes.permissions) and name != _TEMPORARIES:
                found |= {
                    f"{name}/{file}": _described(of_file)
                    for file, of_file in self._entries(name)
                    if stat.S_ISREG(of_file.permissions)
                }
        return found

    def _entries(self, folder: str) -> Sequence[tuple[str, Any]]:
        async def read(sftp: Any) -> Sequence[tuple[str, Any]]:  # noqa: ANN401  # as above
            return [(entry.filename, entry.attrs) for entry in await sftp.readdir(self._path(folder))]

        entries: Sequence[tuple[str, Any]] = self._do(read)
        return entries

    def prepare(self) -> None:
        """Makes the directories, and removes what killed pushes left; ages are told by the other machine's clock."""
        own = f"{_TEMPORARIES}/{os.urandom(16).hex()}"

        async def make(sftp: Any) -> None:  # noqa: ANN401  # as above
            for folder in (_TEMPORARIES, "data", "metadata", "gc"):
                await sftp.makedirs(self._path(folder), exist_ok=True)
            async with sftp.open(self._path(own), "wb"):
                pass

        self._do(make)
        entries = {f"{_TEMPORARIES}/{name}": attributes for name, attributes in self._entries(_TEMPORARIES)}
        now = entries[own].mtime
        old = [name for name, attributes in entries.items() if now - attributes.mtime > _LEFT_AFTER_S]
        self.remove([own, *old])

    def write(self, name: str, data: bytes) -> None:
        """Writes under another name, then renames."""

        async def write(sftp: Any, path: str) -> None:  # noqa: ANN401  # as above
            async with sftp.open(path, "wb") as file:
                await file.write(data)

        self._do(self._appear, name, write)

    def upload(self, name: str, source: Outgoing, jobs: int = 1) -> None:  # noqa: ARG002  # SFTP decides
        """Copies under another name, then renames."""
        source.check()

        async def copy(sftp: Any, path: str) -> None:  # noqa: ANN401  # as above
            await sftp.put(os.fsencode(source.path), os.fsencode(path))

        self._do(self._appear, name, copy)
        source.advance(source.size_bytes)

    async def _appear(self, sftp: Any, name: str, fill: Callable[[Any, str], Awaitable[None]]) -> None:  # noqa: ANN401
        path = self._path(f"{_TEMPORARIES}/{os.urandom(16).hex()}")
        try:
            await fill(sftp, path)
            with contextlib.suppress(self._ssh.SFTPOpUnsupported):
                async with sftp.open(path, "r+b") as file:
                    await file.fsync()
            await sftp.posix_rename(path, self._path(name))
        except BaseException:
            with contextlib.suppress(self._ssh.Error, OSError):
                await sftp.remove(path)
            raise

    def read(self, name: str, size_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """Yields the file's bytes, many requests at once for each range."""

        async def read_range(sftp: Any, start: int, length: int) -> bytes:  # noqa: ANN401  # as above
            async with sftp.open(self._path(name), "rb") as file:
                data: bytes = await file.read(length, start)
                return data

        end = offset + size_bytes
        for start in range(offset, end, RANGE_BYTES):
            yield self._do(read_range, start, min(RANGE_BYTES, end - start))

    def remove(self, names: Sequence[str]) -> None:
        """Deletes them, one after the other."""

        async def remove(sftp: Any) -> None:  # noqa: ANN401  # as above
            for name in names:
                with contextlib.suppress(self._ssh.SFTPNoSuchFile):
                    await sftp.remove(self._path(name))

        self._do(remove)


def _described(attributes: Any) -> RemoteFile:  # noqa: ANN401  # as above
    return RemoteFile(attributes.size, attributes.mtime)
