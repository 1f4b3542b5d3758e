"""Remotes in S3 buckets, through s3fs, which finds credentials and endpoint where the AWS tools do.

Its calls of the S3 API, and not its files: an upload in parts that goes on where another stopped is none of these.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from mlvc.errors import MlvcError
from mlvc.store.errors import DamagedFileError
from mlvc.store.remote_files import (
    RANGE_BYTES,
    FilesFound,
    RemoteDeniedError,
    RemoteFile,
    RemoteFullError,
    RemoteMissingError,
    RemoteUnreachableError,
    told_by,
)
from mlvc.store.transfer import in_order, is_large

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlvc.store.outgoing import Outgoing

__all__ = ["BucketFiles", "BucketOptions"]

_PART_BYTES = 16 << 20
"""No pack needs more parts than the 10,000 that an object of S3 may have."""
_SILENCE_S = 30
"""A server that says nothing for so long is asked again, and given up after six times: three minutes."""
_MOST_LISTED = 5_000_000
"""A remote of 100 TB has less; what never ends must end."""
_ASKED = 6
_READ_AGAIN = 3
"""So often an answer that breaks off is asked for, which botocore leaves to who reads it."""
_PAUSE_S = 0.3
_CONFIG = {
    "connect_timeout": 10,
    "read_timeout": _SILENCE_S,
    # More requests than these wait for each other; fewer at once are made where `--jobs` says so.
    "max_pool_connections": 64,
    "retries": {"mode": "standard", "total_max_attempts": _ASKED},
    # What arrives is checked by its id.
    "response_checksum_validation": "when_required",
}
_REFUSALS = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
_STALE = {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"}
"""What a server says of credentials that were good, with a status that means no refusal."""
_FULL = {"InsufficientStorage", "QuotaExceeded", "StorageFull"}
"""What servers end the code with that says so; those of Amazon are never full."""
_ELSEWHERE = {
    "301",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "TemporaryRedirect",
}
_READING = ("Get", "Head", "List")


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

    def of_client(self) -> dict[str, str]:
        """Returns what is told of the server besides its URL; nothing of what was not chosen."""
        return {} if self.region is None else {"region_name": self.region}

    def of_object(self) -> dict[str, str]:
        """Returns what goes with each object that is written."""
        given = {"ServerSideEncryption": self.encryption, "SSEKMSKeyId": self.encryption_key}
        return {name: value for name, value in given.items() if value is not None}


class BucketFiles:
    """A remote in an S3 bucket."""

    def __init__(self, url: str, options: BucketOptions) -> None:
        self._url = url
        self._options = options
        self._bucket, _, folder = url.removeprefix("s3://").rstrip("/").partition("/")
        self._below = f"{folder}/" if folder else ""

    @cached_property
    def _files(self) -> Any:  # noqa: ANN401  # s3fs has no types
        # It takes a third of a second to load, which what moves nothing must not pay.
        import s3fs  # noqa: PLC0415

        from mlvc.store.s3_session import BoundedSession  # noqa: PLC0415  # it loads what s3fs does

        with self._translated():
            files: Any = s3fs.S3FileSystem(
                profile=self._options.profile,
                endpoint_url=self._options.endpoint,
                client_kwargs=self._options.of_client(),
                use_listings_cache=False,
                skip_instance_cache=True,
                config_kwargs={**_CONFIG, "http_session_cls": BoundedSession},
            )
        # It would ask again, and so does what is below it; both counts multiply.
        files.retries = 1
        return files

    def _call(self, method: str, **arguments: object) -> Any:  # noqa: ANN401  # what the server answers
        """Makes one call of the S3 API."""
        with self._translated():
            return self._files.call_s3(method, **arguments)

    @cached_property
    def _lister(self) -> Any:  # noqa: ANN401  # botocore has no types
        """The library below s3fs, which takes half the time to load and to ask.

        That is most of what a push or pull costs that finds nothing to do.
        """
        from botocore.config import Config  # noqa: PLC0415  # as for s3fs
        from botocore.session import Session  # noqa: PLC0415  # as for s3fs

        from mlvc.store.s3_answers import bound_answers  # noqa: PLC0415  # as for s3fs

        session = Session(profile=self._options.profile)
        try:
            client = session.create_client(
                "s3",
                endpoint_url=self._options.endpoint,
                config=Config(**_CONFIG),
                **self._options.of_client(),
            )
        except ValueError as exc:
            # Such as a variable that names a host, and not a URL.
            raise self._unreachable(exc) from exc
        bound_answers(client)
        return client.get_paginator("list_objects_v2")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Raises what the server, the network or the credentials cause as our errors."""
        from botocore.exceptions import (  # noqa: PLC0415  # as above
            BotoCoreError,
            ClientError,
            NoCredentialsError,
            PartialCredentialsError,
            ProfileNotFound,
        )

        try:
            yield
        except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as exc:
            raise self._denied(exc) from exc
        except RecursionError as exc:
            # Told that the bucket is elsewhere, and not where, the library asks where, is told the same, and so on.
            raise self._elsewhere("the server's redirect leads to itself") from exc
        except (KeyError, OverflowError, ValueError) as exc:
            # The library reads numbers and times as they come, and hands out what there is: a proxy answers anything.
            raise RemoteUnreachableError(
                f"the remote {self._url} answers otherwise than S3 does: {type(exc).__name__} {told_by(exc)}",
                hint="check AWS_ENDPOINT_URL: is it an S3 server?",
            ) from exc
        except (BotoCoreError, ClientError, OSError, *_http_errors()) as exc:
            answer = _answer_in(exc)
            raise (self._unreachable(exc) if answer is None else self._refused(answer)) from exc

    def _refused(self, answer: Any) -> MlvcError:  # noqa: ANN401  # botocore has no types
        """Returns the error for an answer of the server that says no."""
        status, code, what = *_said_in(answer), told_by(answer)
        if code.endswith(tuple(_FULL)) or status == HTTPStatus.INSUFFICIENT_STORAGE:
            return RemoteFullError(
                f"the remote {self._url} is full: {what}",
                hint="`mlvc gc --remote` makes it smaller; repeat the push to go on where it stopped",
            )
        if code in _ELSEWHERE or status == HTTPStatus.MOVED_PERMANENTLY:
            return self._elsewhere(what)
        if status == HTTPStatus.NOT_FOUND:
            return RemoteMissingError(
                f"the remote {self._url} is not there, or a file of it: {what}",
                hint="mlvc makes no buckets; check the URL and AWS_ENDPOINT_URL",
            )
        if status in _REFUSALS or code in _STALE:
            return self._denied(answer)
        return self._unreachable(answer)

    def _elsewhere(self, what: str) -> RemoteUnreachableError:
        return RemoteUnreachableError(
            f"the remote {self._url} is somewhere else: {what}",
            hint="give its region and endpoint: `mlvc remote add NAME URL --region NAME`, or AWS_DEFAULT_REGION",
        )

    def _denied(self, exc: Exception) -> RemoteDeniedError:
        _, code = _said_in(exc)
        operation = str(getattr(exc, "operation_name", ""))
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        if code == "RequestTimeTooSkewed":
            hint = "set the clock of this machine, which differs too much from the server's"
        elif code in _STALE:
            hint = "the credentials have expired: get new ones, such as by `aws sso login`"
        elif code == "AccessDenied":
            what = "read" if operation.startswith(_READING) else "write"
            hint = f"ask for the right to {what} there, or choose other credentials by AWS_PROFILE"
        return RemoteDeniedError(f"the remote {self._url} does not let us in: {told_by(exc)}", hint=hint)

    def _unreachable(self, exc: Exception) -> RemoteUnreachableError:
        return RemoteUnreachableError(
            f"the remote {self._url} does not answer: {told_by(exc)}",
            hint="check the network and AWS_ENDPOINT_URL; repeat to go on where it stopped",
        )

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._below + name}

    def list(self) -> Mapping[str, RemoteFile]:
        """Returns the keys below the URL; one request for each thousand."""
        files = FilesFound(self._url)
        listed = 0
        with self._translated():
            for page in self._lister.paginate(Bucket=self._bucket, Prefix=self._below):
                # Every server says it; a page of a proxy that wants a password is no empty bucket.
                _ = page["IsTruncated"]
                contents = page.get("Contents", ())
                listed += len(contents)
                if listed > _MOST_LISTED:
                    raise RemoteUnreachableError(
                        f"the remote {self._url} lists more than {_MOST_LISTED:,} files, and no end",
                        hint="give it a folder of its own: s3://BUCKET/PATH",
                    )
                for found in contents:
                    name = found["Key"].removeprefix(self._below)
                    files.note(name, RemoteFile(found["Size"], found["LastModified"].timestamp()))
        return files.files

    def prepare(self) -> None:
        """Does nothing: an object needs no directory."""

    def write(self, name: str, data: bytes) -> None:
        """Puts one object."""
        self._call("put_object", **self._at(name), Body=data, **self._options.of_object())

    def upload(self, name: str, source: Outgoing, jobs: int = 1) -> None:
        """Puts one object, a large one in parts; those that an interrupted upload brought there are not sent again."""
        if is_large(source.size_bytes):
            with self._translated():
                self._upload_parts(name, source, jobs)
            return
        from mlvc.store.s3_session import Body  # noqa: PLC0415  # as for s3fs

        data = Body(source.size_bytes)
        for _ in source.pieces(lambda: data):
            pass
        self._call("put_object", **self._at(name), Body=data, **self._options.of_object())
        source.advance(len(data))

    def _upload_parts(self, name: str, source: Outgoing, jobs: int) -> None:
        from mlvc.store.s3_session import Body  # noqa: PLC0415  # as for s3fs

        upload, arrived = self._unfinished(name)
        if upload is None:
            begun = self._call("create_multipart_upload", **self._at(name), **self._options.of_object())
            upload = begun["UploadId"]
        which = {**self._at(name), "UploadId": upload}
        free: list[bytearray] = []

        def send(part: tuple[int, bytearray]) -> dict[str, object]:
            number, data = part
            tag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"' if number in arrived else ""
            if arrived.get(number) != (len(data), tag):
                tag = self._call("upload_part", **which, PartNumber=number, Body=data)["ETag"]
            source.advance(len(data))
            free.append(data)
            return {"PartNumber": number, "ETag": tag}

        def take() -> bytearray:
            return free.pop() if free else Body(_PART_BYTES)

        try:
            parts = list(in_order(send, enumerate(source.pieces(take), start=1), jobs))
            self._call("complete_multipart_upload", **which, MultipartUpload={"Parts": parts})
        except DamagedFileError:
            self._call("abort_multipart_upload", **which)
            raise
        except RemoteMissingError:
            # Another push has finished the same upload, or the answer that this one did was lost.
            if not self._is_there(name, source.size_bytes):
                raise

    def _unfinished(self, name: str) -> tuple[str | None, Mapping[int, tuple[int, str]]]:
        """Returns the upload of an object that was interrupted, and length and tag of the parts that arrived."""
        at = self._at(name)
        arrived: dict[int, tuple[int, str]] = {}
        try:
            begun = self._call("list_multipart_uploads", Bucket=at["Bucket"], Prefix=at["Key"])
            found = [each["UploadId"] for each in begun.get("Uploads", ()) if each["Key"] == at["Key"]]
            if not found:
                return None, {}
            before, after = -1, 0
            # A server that says that there is more, and not from where, would be asked for ever.
            while after > before:
                page = self._call("list_parts", **at, UploadId=found[-1], PartNumberMarker=after)
                arrived |= {
                    part["PartNumber"]: (part["Size"], part["ETag"]) for part in page.get("Parts", ())
                }
                before, after = after, page.get("NextPartNumberMarker", 0) if page.get("IsTruncated") else 0
        except MlvcError as exc:
            if _answer_in(exc.__cause__) is None:
                raise
            # Not every server can tell, and not everybody may ask: then it begins anew.
            return None, {}
        return found[-1], arrived

    def _is_there(self, name: str, size_bytes: int) -> bool:
        return bool(self._call("head_object", **self._at(name))["ContentLength"] == size_bytes)

    def read(self, name: str, size_bytes: int, offset: int = 0) -> Iterator[bytes]:
        """Yields the object's bytes, one range for each request."""
        end = offset + size_bytes
        for start in range(offset, end, RANGE_BYTES):
            with self._translated():
                piece = self._read_range(name, start, min(start + RANGE_BYTES, end))
            yield piece

    def _read_range(self, name: str, start: int, end: int) -> bytes:
        from botocore.exceptions import HTTPClientError, IncompleteReadError  # noqa: PLC0415  # as above

        for again in range(_READ_AGAIN):
            try:
                answer = self._files.call_s3("get_object", **self._at(name), Range=f"bytes={start}-{end - 1}")
                return self._read_body(name, answer, end - start)
            except (HTTPClientError, IncompleteReadError, *_http_errors()):
                if again == _READ_AGAIN - 1:
                    raise
                time.sleep(_PAUSE_S * 2**again)
            except OSError as exc:
                answer = _answer_in(exc)
                if answer is not None and _said_in(answer)[0] == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return b""
                raise
        raise AssertionError  # The last time raises or returns.

    def _read_body(self, name: str, answer: Mapping[str, Any], size_bytes: int) -> bytes:
        """Returns what a server answered, and no more than was asked for: who knows what it sends."""
        from botocore.exceptions import IncompleteReadError  # noqa: PLC0415  # as above
        from fsspec.asyn import sync  # noqa: PLC0415  # as above

        promised_bytes = min(answer["ContentLength"], size_bytes)
        data: bytes = sync(self._files.loop, _take, answer["Body"], promised_bytes, f"{self._url}/{name}")
        if len(data) < promised_bytes:
            raise IncompleteReadError(actual_bytes=len(data), expected_bytes=promised_bytes)
        return data

    def remove(self, names: Sequence[str]) -> None:
        """Deletes the keys in one request; who must know that they are gone lists again."""
        keys = [{"Key": self._below + name} for name in names]
        self._call("delete_objects", Bucket=self._bucket, Delete={"Objects": keys, "Quiet": True})


async def _take(body: Any, size_bytes: int, url: str) -> bytes:  # noqa: ANN401  # aiobotocore has no types
    """Returns so many bytes of a body, fewer where it is shorter, and closes it."""
    from botocore.exceptions import ReadTimeoutError  # noqa: PLC0415  # as above

    pieces: list[bytes] = []
    try:
        while size_bytes > 0 and (piece := await body.read(size_bytes)):
            pieces.append(piece)
            size_bytes -= len(piece)
    except TimeoutError as exc:
        # fsspec makes of these an error of its own, which says nothing.
        raise ReadTimeoutError(endpoint_url=url) from exc
    finally:
        body.close()
    return b"".join(pieces)


def _answer_in(error: BaseException | None) -> Any:  # noqa: ANN401  # botocore has no types
    """Returns the error that tells of a server's answer: this one, or one below it; None where there was no answer."""
    from botocore.exceptions import ClientError  # noqa: PLC0415  # as above

    while error is not None and not isinstance(error, ClientError):
        error = error.__cause__
    return error


def _said_in(error: Any) -> tuple[int | None, str]:  # noqa: ANN401  # as above
    """Returns the status and the code of the answer that an error tells of; neither where it tells of none."""
    response = getattr(error, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status, str(response.get("Error", {}).get("Code", ""))


def _http_errors() -> tuple[type[Exception], ...]:
    """Returns what s3fs raises of the library below it; nothing where neither is loaded."""
    http = sys.modules.get("aiohttp")
    return () if http is None else (http.ClientError,)
