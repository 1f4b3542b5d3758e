"""What s3fs speaks HTTP with: how a large object leaves, and how much of an answer is read.

The latter as `s3_answers`, for the library below s3fs.
"""

from __future__ import annotations

from typing import Any

import aiohttp
import aiohttp.payload
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import HTTPClientError, ReadTimeoutError

from mlvc.store.answers import WatchedResponse
from mlvc.store.remote_files import LongAnswerError
from mlvc.store.s3_answers import MOST_ANSWER_BYTES

__all__ = ["Body", "BoundedSession"]

_PIECE_BYTES = 64 << 10
_SENT_BYTES = 256 << 10


class Body(bytearray):
    """What a request has to send, of which no more than a piece is copied."""


class _PieceByPiece(aiohttp.payload.BytesPayload):
    """aiohttp itself copies a body three times as a whole: to its length, to its head, and for the socket."""

    async def write(self, writer: Any) -> None:  # noqa: ANN401  # aiohttp calls one or the other, by its version
        """Sends all of it."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:  # noqa: ANN401  # as above
        """Sends so much of it; waits for the socket after each piece."""
        end = len(self._value) if content_length is None else min(content_length, len(self._value))
        for start in range(0, end, _SENT_BYTES):
            await writer.write(self._value[start : min(start + _SENT_BYTES, end)])


aiohttp.payload.register_payload(_PieceByPiece, Body, order=aiohttp.payload.Order.try_first)


class _Answer(AioAWSResponse):  # type: ignore[misc]  # aiobotocore has no types
    """An answer of which only so much is read as a whole; an object is read piece by piece, from `raw`."""

    def __init__(self, method: str, found: Any) -> None:  # noqa: ANN401  # as above
        super().__init__(found.url, found.status_code, found.headers, found.raw)
        self._method = method
        self._content: bytes | None = None

    async def _content_prop(self) -> bytes:
        if self._content is None:
            self._content = await self._read()
        return self._content

    async def _read(self) -> bytes:
        content = bytearray()
        try:
            while piece := await self.raw.content.read(_PIECE_BYTES):
                content += piece
                if len(content) > MOST_ANSWER_BYTES:
                    self.raw.close()
                    raise LongAnswerError(self._method, self.url, MOST_ANSWER_BYTES)
        except TimeoutError as exc:
            raise ReadTimeoutError(endpoint_url=self.url) from exc
        except aiohttp.ClientError as exc:
            # It broke off, which is asked for again.
            raise HTTPClientError(error=exc) from exc
        self.raw.release()
        return bytes(content)


class BoundedSession(AIOHTTPSession):  # type: ignore[misc]  # as above
    """Sends requests; s3fs is told of it by its configuration."""

    async def _get_session(self, proxy_url: str | None) -> Any:  # noqa: ANN401  # as above
        session = await super()._get_session(proxy_url)
        # It has no option for it.
        session._response_class = WatchedResponse  # noqa: SLF001
        return session

    async def send(self, request: Any) -> _Answer:  # noqa: ANN401  # as above
        """Sends a request, and reads the answer unless somebody wants it piece by piece."""
        is_streamed, request.stream_output = request.stream_output, True
        try:
            answer = _Answer(request.method, await super().send(request))
        finally:
            request.stream_output = is_streamed
        if not is_streamed:
            await answer.content
        return answer
