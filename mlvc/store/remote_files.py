"""Where the files of a remote are: in a directory, or in a bucket. Knows names and bytes, and nothing of packs.

Whatever a library or the system raises becomes one of the four errors below, which name the remote.
"""

from __future__ import annotations

import contextlib
import os
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mlvc.errors import IntegrityError, MlvcError, NotFoundError
from mlvc.fsio import sync_directory, translate_os_errors
from mlvc.store.temporaries import Temporary, remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mlvc.store.local import RecordKey

__all__ = [
    "RANGE_BYTES",
    "REMOVED_AT_ONCE",
    "BucketFiles",
    "BucketOptions",
    "DirectoryFiles",
    "ObjectFiles",
    "RemoteDamagedError",
    "RemoteDeniedError",
    "RemoteFile",
    "RemoteFiles",
    "RemoteMissingError",
    "RemoteUnreachableError",
]

_COPY_BYTES = 4 << 20
RANGE_BYTES = 16 << 20
"""One request brings so much: a lost connection costs no more, and four threads hold 64 MiB."""
_PART_BYTES, _LARGE_BYTES, _PARTS_AT_ONCE = 16 << 20, 64 << 20, 4
"""Of an upload one part is held in memory, and of a large one so many: there are seldom several of these at once."""
_SILENCE_S = 30
"""A server that says nothing for so long is asked again, and given up after six times: three minutes."""
_CONNECTIONS = 64
"""More requests than these wait for each other; fewer at once are made where `Remote.jobs` says so."""
_RETRIES, _ASKED_AGAIN = 3, 2
_CONFIG = {
    "connect_timeout": 10,
    "read_timeout": _SILENCE_S,
    "max_pool_connections": _CONNECTIONS,
    "retries": {"mode": "standard", "total_max_attempts": _RETRIES},
}
_STALE = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
"""What a server says of credentials that were good, with a status that means no refusal."""
_TEMPORARIES = "tmp"
_NAMED = 5
_MOST_PARTS = 10_000
"""So many parts an object of S3 may have."""
REMOVED_AT_ONCE = 1_000
"""What S3 deletes in one request."""


class RemoteMissingError(NotFoundError):
    """The bucket or directory of a remote, or a file in it, is not there."""

    code = "remote-missing"


class RemoteDeniedError(MlvcError):
    """The remote does not accept the credentials, or there are none."""

    code = "remote-denied"


class RemoteUnreachableError(MlvcError):
    """The remote did not answer, or not to the end."""

    code = "remote-unreachable"


class RemoteDamagedError(IntegrityError):
    """A file of a remote holds other bytes than were sent to it.

    Attributes:
        found: Each damaged file, with the remote's URL, and what is wrong with it.
        records: The records that cannot be had from there, as far as they are known.
    """

    code = "remote-damaged"

    def __init__(
        self, *found: tuple[str, str], records: Iterable[RecordKey] = (), reaches: Sequence[str] = ()
    ) -> None:
        message = "; ".join(f"{name} is damaged: {what}" for name, what in found)
        if reaches:
            more = f" and {len(reaches) - _NAMED} more" if len(reaches) > _NAMED else ""
            message += f"; it is needed for {', '.join(reaches[:_NAMED])}{more}"
        super().__init__(
            message,
            hint="nothing damaged was stored; `mlvc push --repair` from a clone that has the data mends the remote",
        )
        self.found = found
        self.records = frozenset(records)

    @property
    def names(self) -> tuple[str, ...]:
        """The damaged files."""
        return tuple(name for name, _ in self.found)


class RemoteFile(NamedTuple):
    """A file of a remote.

    Attributes:
        size_bytes: Its length.
        time_s: When it was written, in seconds since 1970 by the remote's own clock.
    """

    size_bytes: int
    time_s: float


class RemoteFiles(Protocol):
    """The files of one remote. Safe for use from several threads."""

    def list(self) -> Mapping[str, RemoteFile]:
        """Returns every file by its name below the remote; one question.

        Raises:
            RemoteMissingError: There is no such remote.
        """
        ...

    def prepare(self) -> None:
        """Makes ready for writing."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Makes a file that appears whole or not at all."""
        ...

    def upload(self, name: str, source: Path) -> None:
        """Copies a file there, which appears whole or not at all."""
        ...

    def read(self, name: str, size_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """Yields so many bytes of a file from `offset`, in pieces; fewer where it is shorter.

        Raises:
            RemoteMissingError: It is not there.
        """
        ...

    def remove(self, names: Sequence[str]) -> None:
        """Deletes at most `REMOVED_AT_ONCE` files, in one request; one that is gone already is no error."""
        ...


class DirectoryFiles:
    """A remote in a directory, such as a mounted disk; as durable as the local store."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def list(self) -> Mapping[str, RemoteFile]:
        """Returns the files of the directory and of those just below it."""
        found: dict[str, RemoteFile] = {}
        with translate_os_errors(f"list {self._root}"):
            try:
                for entry in os.scandir(self._root):
                    if entry.is_file():
                        found[entry.name] = _described(entry.stat())
                    elif entry.is_dir() and entry.name != _TEMPORARIES:
                        found |= {
                            f"{entry.name}/{file.name}": _described(file.stat())
                            for file in os.scandir(entry.path)
                            if file.is_file()
                        }
            except (FileNotFoundError, NotADirectoryError) as exc:
                raise RemoteMissingError(
                    f"the remote {self._root} is not there", hint="is the disk mounted? `mlvc push` makes it"
                ) from exc
        return found

    def prepare(self) -> None:
        """Makes the directories, and removes what a killed push left."""
        with translate_os_errors(f"write to {self._root}"):
            (self._root / _TEMPORARIES).mkdir(parents=True, exist_ok=True)
            remove_leftovers(self._root / _TEMPORARIES)

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[Temporary]:
        target = self._root / name
        with translate_os_errors(f"write {target}"):
            target.parent.mkdir(exist_ok=True)
            temporary = Temporary.create(self._root / _TEMPORARIES, target.suffix)
            try:
                yield temporary
                temporary.sync()
                temporary.publish(target)
            finally:
                temporary.discard()

    def write(self, name: str, data: bytes) -> None:
        """Writes under another name, then renames."""
        with self._writing(name) as file:
            file.write(data)

    def upload(self, name: str, source: Path) -> None:
        """Copies under another name, then renames."""
        with self._writing(name) as file, source.open("rb") as content:
            while piece := content.read(_COPY_BYTES):
                file.write(piece)

    def read(self, name: str, size_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """Yields the file's bytes."""
        path = self._root / name
        with translate_os_errors(f"read {path}"):
            try:
                file = path.open("rb")
            except FileNotFoundError as exc:
                raise RemoteMissingError(
                    f"the remote {self._root} is not there, or a file of it: {path}",
                    hint="repeat: a gc of the remote may have deleted it just now",
                ) from exc
        with translate_os_errors(f"read {path}"), file:
            file.seek(offset)
            while size_bytes > 0 and (piece := file.read(min(_COPY_BYTES, size_bytes))):
                size_bytes -= len(piece)
                yield piece

    def remove(self, names: Sequence[str]) -> None:
        """Deletes them, durably."""
        with translate_os_errors(f"delete in {self._root}"):
            for name in names:
                (self._root / name).unlink(missing_ok=True)
            for folder in {(self._root / name).parent for name in names}:
                sync_directory(folder)


def _http_errors() -> tuple[type[Exception], ...]:
    """Returns what s3fs raises of the library below it; nothing where neither is loaded."""
    http = sys.modules.get("aiohttp")
    return () if http is None else (http.ClientError,)


def _described(status: os.stat_result) -> RemoteFile:
    return RemoteFile(status.st_size, status.st_mtime)


@dataclass(frozen=True, slots=True)
class BucketOptions:
    """How an S3 server is reached; where a field is None, as the AWS tools would find it. No secret is among them.

    Attributes:
        endpoint: The server's URL.
        profile: The profile whose credentials count.
        region: The region.
        encryption: How the server encrypts what is written: `AES256` or `aws:kms`.
        encryption_key: The id of the key for `aws:kms`.
    """

    endpoint: str | None = None
    profile: str | None = None
    region: str | None = None
    encryption: str | None = None
    encryption_key: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Returns what s3fs is given for them."""
        sent = {"ServerSideEncryption": self.encryption, "SSEKMSKeyId": self.encryption_key}
        given = {
            "endpoint_url": self.endpoint,
            "profile": self.profile,
            "client_kwargs": {} if self.region is None else {"region_name": self.region},
            "s3_additional_kwargs": {name: value for name, value in sent.items() if value is not None},
        }
        return {name: value for name, value in given.items() if value}


class ObjectFiles(ABC):
    """What the kinds of object stores have in common: fsspec's calls, with their errors as ours."""

    _base: str
    """The bucket or container, and the prefix in it."""

    @property
    @abstractmethod
    def _files(self) -> Any:  # noqa: ANN401  # the libraries have no types
        """The file system, which is made when it is first needed."""

    @abstractmethod
    def _translated(self) -> AbstractContextManager[None]:
        """Raises what the server, the network or the credentials cause as our errors."""

    def prepare(self) -> None:  # noqa: B027  # what most kinds need is nothing
        """Does nothing: an object needs no directory."""

    def write(self, name: str, data: bytes) -> None:
        """Puts one object."""
        with self._translated():
            self._files.pipe_file(f"{self._base}/{name}", data)

    def read(self, name: str, size_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """Yields the object's bytes, one range for each request."""
        end = offset + size_bytes
        for start in range(offset, end, RANGE_BYTES):
            with self._translated():
                piece: bytes = self._files.cat_file(
                    f"{self._base}/{name}", start=start, end=min(start + RANGE_BYTES, end)
                )
            yield piece


class BucketFiles(ObjectFiles):
    """A remote in an S3 bucket, through s3fs, which finds credentials and endpoint where the AWS tools do."""

    def __init__(self, url: str, options: BucketOptions) -> None:
        self._url = url
        self._options = options
        self._base = url.removeprefix("s3://").rstrip("/")

    @cached_property
    def _files(self) -> Any:  # noqa: ANN401  # s3fs has no types
        # It takes a third of a second to load, which what asks no remote must not pay.
        import s3fs  # noqa: PLC0415

        with self._translated():
            files: Any = s3fs.S3FileSystem(
                **self._options.arguments(),
                use_listings_cache=False,
                skip_instance_cache=True,
                config_kwargs=_CONFIG,
            )
        # Only s3fs asks again when an answer breaks off; both counts multiply.
        files.retries = _ASKED_AGAIN
        return files

    @cached_property
    def _lister(self) -> Any:  # noqa: ANN401  # botocore has no types
        """The library below s3fs, which takes half the time to load and to ask.

        That is most of what a push or pull costs that finds nothing to do.
        """
        from botocore.config import Config  # noqa: PLC0415  # as for s3fs
        from botocore.session import Session  # noqa: PLC0415  # as for s3fs

        options = self._options
        retries = {"mode": "standard", "total_max_attempts": _RETRIES * _ASKED_AGAIN}
        client = Session(profile=options.profile).create_client(
            "s3",
            endpoint_url=options.endpoint,
            region_name=options.region,
            config=Config(**{**_CONFIG, "retries": retries}),
        )
        return client.get_paginator("list_objects_v2")

    def _listing(self) -> Iterator[tuple[str, RemoteFile]]:
        from botocore.exceptions import ClientError  # noqa: PLC0415  # as for s3fs

        bucket, _, folder = self._base.partition("/")
        below = f"{folder}/" if folder else ""
        try:
            for page in self._lister.paginate(Bucket=bucket, Prefix=below):
                for found in page.get("Contents", ()):
                    described = RemoteFile(found["Size"], found["LastModified"].timestamp())
                    yield found["Key"].removeprefix(below), described
        except ClientError as exc:
            # As s3fs has them.
            if exc.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.NOT_FOUND:
                raise FileNotFoundError(str(exc)) from exc
            if (
                exc.response["ResponseMetadata"]["HTTPStatusCode"]
                in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
                or exc.response["Error"]["Code"] in _STALE
            ):
                raise PermissionError(str(exc)) from exc
            raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        from botocore.exceptions import (  # noqa: PLC0415
            BotoCoreError,
            ClientError,
            NoCredentialsError,
            PartialCredentialsError,
            ProfileNotFound,
        )

        try:
            yield
        except FileNotFoundError as exc:
            raise RemoteMissingError(
                f"the remote {self._url} is not there, or a file of it: {exc}",
                hint="mlvc makes no buckets; check the URL and AWS_ENDPOINT_URL",
            ) from exc
        except (PermissionError, NoCredentialsError, PartialCredentialsError, ProfileNotFound) as exc:
            raise RemoteDeniedError(
                f"the remote {self._url} does not let us in: {exc}",
                hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            ) from exc
        except (OSError, BotoCoreError, ClientError, *_http_errors()) as exc:
            raise RemoteUnreachableError(
                f"the remote {self._url} does not answer: {exc}",
                hint="check the network and AWS_ENDPOINT_URL; repeat to go on where it stopped",
            ) from exc

    def list(self) -> Mapping[str, RemoteFile]:
        """Returns the keys below the URL; one request for each thousand."""
        with self._translated():
            return dict(self._listing())

    def upload(self, name: str, source: Path) -> None:
        """Puts one object, a large one in parts."""
        with translate_os_errors(f"read {source}"):
            size_bytes = source.stat().st_size
        parts = {
            "chunksize": max(_PART_BYTES, -(-size_bytes // _MOST_PARTS)),
            "max_concurrency": _PARTS_AT_ONCE if size_bytes > _LARGE_BYTES else 1,
        }
        with self._translated():
            self._files.put_file(str(source), f"{self._base}/{name}", **parts)

    def remove(self, names: Sequence[str]) -> None:
        """Deletes the keys in one request; who must know that they are gone lists again."""
        with self._translated():
            self._files.rm([f"{self._base}/{name}" for name in names])
