"""Remotes in buckets of Google Cloud Storage and containers of Azure Blob Storage, each by a library of its own.

Both show an object whole or not at all, and at once to whoever asks afterwards, as S3 does. Writes need no condition:
what has a name has the bytes that the name says, so that of two writers it does not matter who was last.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import logging
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from mlvc.errors import MlvcError
from mlvc.store.remote_files import (
    RANGE_BYTES,
    FilesFound,
    RemoteDeniedError,
    RemoteFile,
    RemoteMissingError,
    RemoteUnreachableError,
    told_by,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlvc.store.outgoing import Outgoing

__all__ = ["CLOUDS", "CloudFiles", "RemoteExtraError", "load_extra"]

_CHUNK_BYTES = 16 << 20
"""Of an upload in parts, so much is held."""
_AZURE_SILENCE = ("connection_timeout", "read_timeout")
_AZURE_PARTS: Mapping[str, int] = {"max_single_put_size": _CHUNK_BYTES, "max_block_size": _CHUNK_BYTES}
"""A lost connection costs no more. Its own blocks of 4 MiB are four times as many requests, and at most 50,000."""
_REMOVED_TOGETHER = 16
"""So many requests to delete are on their way at once."""
_AZURE_PATIENCE: Mapping[str, int] = {
    "connection_timeout": 10,
    "read_timeout": 30,
    "initial_backoff": 1,
    "increment_base": 2,
    "random_jitter_range": 1,
    "retry_total": 4,
    "retry_connect": 4,
    "retry_read": 4,
    "retry_status": 4,
}
"""As for S3: asked five times, with 18 seconds of pauses together. Its own pauses are 15 to 24 seconds each."""
_TALKATIVE = ("adlfs", "asyncio", "asyncssh", "azure", "gcsfs", "google")


class RemoteExtraError(MlvcError):
    """What reaches a remote of this kind is not installed."""

    code = "remote-extra"


class _Cloud(NamedTuple):
    """What differs between the libraries.

    Attributes:
        extra: What of mlvc's has to be installed.
        module: What is imported.
        file_system: The class in it.
        options: What it is made with.
        upload_options: What uploading a file takes.
        denied: The classes of errors by which we are not let in.
        missing: The classes of errors that say that something is not there, besides `FileNotFoundError`.
        others: The classes of its other errors, besides those of Python.
        credentials: Where a person sets the credentials.
    """

    extra: str
    module: str
    file_system: str
    options: Mapping[str, object]
    upload_options: Mapping[str, object]
    denied: Sequence[str]
    missing: Sequence[str]
    others: Sequence[str]
    credentials: str


CLOUDS: Mapping[str, _Cloud] = {
    "gs": _Cloud(
        extra="gs",
        module="gcsfs.core",
        file_system="GCSFileSystem",
        options={"use_listings_cache": False},
        upload_options={"chunksize": _CHUNK_BYTES},
        denied=["google.auth.exceptions.GoogleAuthError"],
        missing=[],
        others=["gcsfs.retry.HttpError", "aiohttp.ClientError"],
        credentials="set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`",
    ),
    "az": _Cloud(
        extra="az",
        module="adlfs",
        file_system="AzureBlobFileSystem",
        # Otherwise it would ask as nobody where it finds no key, and be let into public containers alone.
        options={"anon": False, "use_listings_cache": False},
        upload_options={"overwrite": True},
        denied=["azure.core.exceptions.ClientAuthenticationError"],
        missing=["azure.core.exceptions.ResourceNotFoundError"],
        others=["azure.core.exceptions.AzureError"],
        credentials="set AZURE_STORAGE_ACCOUNT_NAME, and a key, AZURE_STORAGE_CONNECTION_STRING, or run `az login`",
    ),
}


def load_extra(module: str, extra: str, scheme: str) -> Any:  # noqa: ANN401  # modules without types
    """Imports what not everybody has.

    Raises:
        RemoteExtraError: It is not installed.
    """
    for name in _TALKATIVE:
        # What goes wrong is told once, by our errors; without a handler it would be on the terminal too.
        logging.getLogger(name).addHandler(logging.NullHandler())
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        raise RemoteExtraError(
            f"remotes on {scheme}:// need the package {module.partition('.')[0]}, which is not installed",
            hint=f"pip install 'mlvc[{extra}]'",
        ) from exc


class CloudFiles:
    """A remote in a bucket or container; where its library finds credentials and the server, they are."""

    def __init__(self, url: str) -> None:
        scheme, _, path = url.partition("://")
        self._url = url
        self._base = path.rstrip("/")
        self._scheme = scheme
        self._cloud = CLOUDS[scheme]

    @cached_property
    def _files(self) -> Any:  # noqa: ANN401  # the libraries have no types
        module = load_extra(self._cloud.module, self._cloud.extra, self._scheme)
        file_system = getattr(module, self._cloud.file_system)
        if self._scheme == "az":
            file_system = _patient(file_system)
        options = dict(self._cloud.options)
        if self._scheme == "gs":
            from mlvc.store import cloud_answers  # noqa: PLC0415  # the module above loads the same

            options["session_kwargs"] = {"response_class": cloud_answers.BoundedResponse}
            # It would tell each request of the session that it may take for ever.
            options["requests_timeout"] = cloud_answers.PATIENCE
        with self._translated():
            try:
                return file_system(**options, skip_instance_cache=True)
            except ValueError as exc:
                # Where it finds no credentials, or none that are well formed.
                raise PermissionError(told_by(exc)) from exc

    @cached_property
    def _denied(self) -> tuple[type[Exception], ...]:
        """What is raised where we are not let in."""
        return tuple(map(_class_of, self._cloud.denied))

    @cached_property
    def _missing(self) -> tuple[type[Exception], ...]:
        """What is raised where something is not there."""
        return (FileNotFoundError, *map(_class_of, self._cloud.missing))

    @cached_property
    def _expected(self) -> tuple[type[Exception], ...]:
        """Whatever is raised because of the server, the network or the credentials."""
        load_extra(self._cloud.module, self._cloud.extra, self._scheme)
        return (*self._denied, *map(_class_of, self._cloud.others), OSError)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        expected = self._expected
        try:
            yield
        except self._missing as exc:
            raise RemoteMissingError(
                f"the remote {self._url} is not there, or a file of it: {told_by(exc)}",
                hint="mlvc makes no buckets and no containers; check the URL",
            ) from exc
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as exc:
            # Its library hands out what there is: a proxy answers anything.
            raise RemoteUnreachableError(
                f"the remote {self._url} answers otherwise than its service does: {type(exc).__name__} {told_by(exc)}",
                hint="check the network, and that the server is the right one",
            ) from exc
        except expected as exc:
            if isinstance(exc, (PermissionError, *self._denied)) or _is_refusal(exc):
                raise RemoteDeniedError(
                    f"the remote {self._url} does not let us in: {told_by(exc)}", hint=self._cloud.credentials
                ) from exc
            raise RemoteUnreachableError(
                f"the remote {self._url} does not answer: {told_by(exc)}",
                hint="check the network; repeat to go on where it stopped",
            ) from exc

    def list(self) -> Mapping[str, RemoteFile]:
        """Returns the objects below the URL; one request for each page."""
        if self._scheme == "az":
            from fsspec.asyn import sync  # noqa: PLC0415  # what asks no remote must not pay

            with self._translated():
                listed: Mapping[str, RemoteFile] = sync(self._files.loop, self._list_container)
                return listed
        files = FilesFound(self._url)
        bucket, _, folder = self._base.partition("/")
        below = f"{folder}/" if folder else ""
        asked = {"prefix": below, "fields": "items(name,size,updated),nextPageToken"}
        with self._translated():
            while True:
                # Page by page, and of each file what counts: the library keeps all that is told of every object.
                page = self._files.call("GET", "b/{}/o", bucket, json_out=True, **asked)
                for found in page.get("items", ()):
                    written = datetime.datetime.fromisoformat(found["updated"])
                    described = RemoteFile(int(found["size"]), written.timestamp())
                    files.note(found["name"].removeprefix(below), described)
                if page.get("nextPageToken") is None:
                    return files.files
                asked["pageToken"] = page["nextPageToken"]

    async def _list_container(self) -> Mapping[str, RemoteFile]:
        """Lists by the library below adlfs, which itself asks four questions for one, each of them again and again."""
        client, below = self._container()
        files = FilesFound(self._url)
        async for found in client.list_blobs(name_starts_with=below):
            described = RemoteFile(found.size, found.last_modified.timestamp())
            files.note(found.name.removeprefix(below), described)
        return files.files

    def _container(self) -> tuple[Any, str]:
        """Returns the container of Azure, and what the names of the remote's files in it begin with."""
        container, _, folder = self._base.partition("/")
        return self._files.service_client.get_container_client(container), f"{folder}/" if folder else ""

    def prepare(self) -> None:
        """Does nothing: an object needs no directory."""

    def write(self, name: str, data: bytes) -> None:
        """Puts one object."""
        with self._translated():
            self._files.pipe_file(f"{self._base}/{name}", data)

    def upload(self, name: str, source: Outgoing, jobs: int = 1) -> None:  # noqa: ARG002  # the libraries decide
        """Puts one object, a large one in parts."""
        source.check()
        with self._translated():
            self._files.put_file(str(source.path), f"{self._base}/{name}", **self._cloud.upload_options)
        source.advance(source.size_bytes)

    def read(self, name: str, size_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """Yields the object's bytes, one range for each request."""
        end = offset + size_bytes
        for start in range(offset, end, RANGE_BYTES):
            with self._translated():
                piece = self._read_range(name, start, min(start + RANGE_BYTES, end))
            # A server may answer with more than it was asked for.
            yield piece[: min(start + RANGE_BYTES, end) - start]

    def _read_range(self, name: str, start: int, end: int) -> bytes:
        try:
            piece: bytes = self._files.cat_file(f"{self._base}/{name}", start=start, end=end)
        except self._expected as exc:
            if _says(exc, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
                return b""
            raise
        return piece

    def remove(self, names: Sequence[str]) -> None:
        """Deletes the objects; one of a container of Azure takes a request of its own."""
        if self._scheme == "az":
            from fsspec.asyn import sync  # noqa: PLC0415  # as above

            with self._translated():
                sync(self._files.loop, self._remove_blobs, names)
            return
        # One that is gone is no error; of the others, who must know that they are gone lists again.
        with self._translated(), contextlib.suppress(FileNotFoundError):
            self._files.rm([f"{self._base}/{name}" for name in names])

    async def _remove_blobs(self, names: Sequence[str]) -> None:
        """Deletes by the library below adlfs, which asks for all at once, and says of no error what it was."""
        import asyncio  # noqa: PLC0415  # as fsspec

        client, below = self._container()
        left = iter(names)

        async def remove() -> None:
            for name in left:
                try:
                    await client.delete_blob(below + name)
                except self._missing as exc:
                    # One that is gone is no error; a container that is not there is.
                    if getattr(exc, "error_code", None) != "BlobNotFound":
                        raise

        workers = (remove() for _ in range(_REMOVED_TOGETHER))
        for failed in await asyncio.gather(*workers, return_exceptions=True):
            if failed is not None:
                raise failed


def _patient(file_system: Any) -> Any:  # noqa: ANN401  # adlfs has no types
    """Returns a class of adlfs whose patience and trust are ours: it has no option for them, and that below it has."""
    service: Any = importlib.import_module("azure.storage.blob.aio").BlobServiceClient
    transport: Any = importlib.import_module("azure.core.pipeline.transport").AioHttpTransport

    class Bounded(transport):  # type: ignore[misc]  # as above
        session: Any

        async def open(self) -> None:
            from mlvc.store.cloud_answers import open_session  # noqa: PLC0415  # adlfs loads the same

            if self.session is None:
                self.session = open_session()
            await super().open()

    class Patient(file_system):  # type: ignore[misc]  # as above
        service_client: Any

        def do_connect(self) -> None:
            super().do_connect()
            found = self.service_client
            self.service_client = service(
                found.url,
                credential=found.credential,
                # A transport of our own is not told of the patience by its client.
                transport=Bounded(**{name: _AZURE_PATIENCE[name] for name in _AZURE_SILENCE}),
                **_AZURE_PATIENCE,
                **_AZURE_PARTS,
            )

    return Patient


def _class_of(name: str) -> type[Exception]:
    module, _, attribute = name.rpartition(".")
    found: type[Exception] = getattr(importlib.import_module(module), attribute)
    return found


def _is_refusal(error: Exception) -> bool:
    """Returns whether a server said that we may not."""
    return _says(error, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) or str(error).startswith("Forbidden")


def _says(error: Exception, *statuses: HTTPStatus) -> bool:
    """Returns whether an error tells of an answer with such a status: each library has a way of its own to tell."""
    codes = {str(getattr(error, name, None)) for name in ("code", "status", "status_code")}
    return not codes.isdisjoint(str(status.value) for status in statuses)
