"""What s3fs speaks HTTP with, and how much of an answer it reads: as `s3_answers`, for the library below s3fs."""

from __future__ import annotations

from typing import Any

import aiohttp
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import HTTPClientError, ReadTimeoutError

from mlvc.store.remote_files import LongAnswerError
from mlvc.store.s3_answers import MOST_ANSWER_BYTES
from mlvc.store.watched import WatchedResponse

__all__ = ["BoundedSession"]

_PIECE_BYTES = 64 << 10


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
