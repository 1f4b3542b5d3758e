"""How much is read of an answer of Google's or Azure's servers: what was asked for, and little more.

The libraries that speak to them read an answer to its end before they look at it, and the server says where that is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import aiohttp

from mlvc.store.answers import Contents, WatchedResponse
from mlvc.store.remote_files import RANGE_BYTES, LongAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PATIENCE", "BoundedResponse", "open_session"]

_MORE_BYTES = 1 << 20
"""What an error may have that is the answer to a range of few bytes."""
_PIECE_BYTES = 64 << 10
_RANGE = re.compile(r"bytes=(\d{1,20})-(\d{1,20})")


class _BoundedContents(Contents):
    """Of which no more is read than an honest answer has."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        super().__init__(answer)
        self._left_bytes = self._most_bytes = _most_bytes(answer.request_info.headers)

    async def read(self, size_bytes: int = -1) -> bytes:
        """Returns what comes next.

        Raises:
            LongAnswerError: There is more.
        """
        piece = await super().read(size_bytes)
        self._left_bytes -= len(piece)
        if self._left_bytes < 0:
            self._answer.close()
            raise LongAnswerError(self._answer.method, self._answer.url.with_query(None), self._most_bytes)
        return piece


def _most_bytes(headers: Mapping[str, str]) -> int:
    """Returns how long the answer to a request may be; a page of a listing has a few MiB."""
    asked = _RANGE.fullmatch(headers.get("Range") or headers.get("x-ms-range") or "")
    range_bytes = int(asked[2]) - int(asked[1]) + 1 if asked else RANGE_BYTES
    return range_bytes + _MORE_BYTES


class BoundedResponse(WatchedResponse):
    """An answer that is refused where it is longer than it can honestly be; also where it is read piece by piece."""

    def _contents(self) -> Contents:
        return _BoundedContents(self)

    async def read(self) -> bytes:
        """Returns the whole, decompressed.

        Raises:
            LongAnswerError: It is too long, and was not read to its end.
        """
        if self._body is None:
            content = bytearray()
            while piece := await self.content.read(_PIECE_BYTES):
                content += piece
            self._body = bytes(content)
            self.release()
        return self._body


PATIENCE = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
"""As for S3, for each request of gcsfs."""


def open_session() -> aiohttp.ClientSession:
    """Returns a session that reads no more than that; as the library of Azure makes them, which decompresses itself."""
    return aiohttp.ClientSession(
        trust_env=True,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        response_class=BoundedResponse,
    )
