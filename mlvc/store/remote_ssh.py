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
    FOLDERS,
    RANGE_BYTES,
    REMOVED_AT_ONCE,
    FilesFound,
    RemoteDeniedError,
    RemoteFile,
    RemoteMissingError,
    RemoteUnreachableError,
    told_by,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

    from mlvc.store.outgoing import Outgoing

__all__ = ["SshFiles"]

_TEMPORARIES = "tmp"
_CONNECT_S, _SILENCE_S = 20, 30
_SILENCES = 2
"""A server that says nothing is asked so often whether it is there, and then left; and once more with a new connection.
"""
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
                keepalive_count_max=_SILENCES,
            )
            return await connection.start_sftp_client()

        with self._lock:
            if self._sftp is None:
                self._sftp = sync(get_loop(), connect)
            return self._sftp

    def _do(self, step: Callable[..., Awaitable[Any]], *arguments: object) -> Any:  # noqa: ANN401  # as above
        """Runs a step, with the connection, in the thread that speaks to servers, and returns what it returns.

        Where the connection is lost, it is run once more from its beginning, with a new one.
        """
        from fsspec.asyn import get_loop, sync  # noqa: PLC0415  # as above

        ssh = self._ssh
        with self._translated():
            sftp = self._connected()
            try:
                return sync(get_loop(), step, sftp, *arguments)
            except (ssh.ConnectionLost, ssh.SFTPConnectionLost, ssh.SFTPNoConnection, ConnectionError):
                # Each step can be repeated: a file appears under its name whole, and by whichever try.
                self._leave(sftp)
            return sync(get_loop(), step, self._connected(), *arguments)

    def _leave(self, sftp: Any) -> None:  # noqa: ANN401  # as above
        """Forgets a connection that was lost, unless another thread has made a new one already."""
        with self._lock:
            if self._sftp is sftp:
                self._sftp = None

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

        async def read(sftp: Any) -> Mapping[str, RemoteFile]:  # noqa: ANN401  # as above
            found = FilesFound(self._url)
            async for top, attributes in _entries(sftp, self._path("")):
                if _is(stat.S_ISREG, attributes):
                    found.note(top, _described(attributes))
            for folder in FOLDERS:
                with contextlib.suppress(self._ssh.SFTPNoSuchFile):
                    async for name, attributes in _entries(sftp, self._path(folder)):
                        if _is(stat.S_ISREG, attributes):
                            found.note(f"{folder}/{name}", _described(attributes))
            return found.files

        files: Mapping[str, RemoteFile] = self._do(read)
        return files

    def prepare(self) -> None:
        """Makes the directories, and removes what killed pushes left; ages are told by the other machine's clock."""
        own = _temporary()

        async def make(sftp: Any) -> list[str]:  # noqa: ANN401  # as above
            for folder in (_TEMPORARIES, *FOLDERS):
                await sftp.makedirs(self._path(folder), exist_ok=True)
            async with sftp.open(self._path(own), "wb"):
                pass
            now = (await sftp.stat(self._path(own))).mtime or 0
            old: list[str] = []
            async for name, attributes in _entries(sftp, self._path(_TEMPORARIES)):
                is_file = _is(stat.S_ISREG, attributes)
                if is_file and now - (attributes.mtime or 0) > _LEFT_AFTER_S and len(old) < REMOVED_AT_ONCE:
                    old.append(f"{_TEMPORARIES}/{name}")
            return old

        self.remove([own, *self._do(make)])

    def write(self, name: str, data: bytes) -> None:
        """Writes under another name, then renames."""

        async def write(sftp: Any, path: str) -> None:  # noqa: ANN401  # as above
            async with sftp.open(path, "wb") as file:
                await file.write(data)

        self._do(self._appear, _temporary(), name, write)

    def upload(self, name: str, source: Outgoing, jobs: int = 1) -> None:  # noqa: ARG002  # SFTP decides
        """Copies under another name, then renames."""
        source.check()

        async def copy(sftp: Any, path: str) -> None:  # noqa: ANN401  # as above
            await sftp.put(os.fsencode(source.path), os.fsencode(path))

        self._do(self._appear, _temporary(), name, copy)
        source.advance(source.size_bytes)

    async def _appear(
        self,
        sftp: Any,  # noqa: ANN401  # as above
        temporary: str,
        name: str,
        fill: Callable[[Any, str], Awaitable[None]],
    ) -> None:
        path = self._path(temporary)
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
                # A server may answer with more than it was asked for.
                return data[:length]

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


def _temporary() -> str:
    """Returns a name to write under; a second try, with a new connection, replaces what the first one left."""
    return f"{_TEMPORARIES}/{os.urandom(16).hex()}"


async def _entries(sftp: Any, path: str) -> AsyncIterator[tuple[str, Any]]:  # noqa: ANN401  # as above
    """Yields names and attributes of what is in a directory, as they come: a hundred at a time."""
    async for entry in sftp.scandir(path):
        yield entry.filename, entry.attrs


def _is(kind: Callable[[int], bool], attributes: Any) -> bool:  # noqa: ANN401  # as above
    # A server need not tell any of them.
    return kind(attributes.permissions or 0)


def _described(attributes: Any) -> RemoteFile:  # noqa: ANN401  # as above
    return RemoteFile(attributes.size or 0, attributes.mtime or 0)
