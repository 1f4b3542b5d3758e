"""How much is read of an answer of Google's or Azure's servers: no more than the most that is ever asked for.

The libraries that speak to them read an answer to its end before they look at it, and the server says where that is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from mlvc.store.remote_files import RANGE_BYTES, LongAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SESSION", "BoundedResponse", "open_session"]

_MOST_ANSWER_BYTES = RANGE_BYTES + (1 << 20)
"""A range that is read; a page of a listing has a few MiB."""
_PIECE_BYTES = 64 << 10


class BoundedResponse(aiohttp.ClientResponse):
    """An answer that is refused where it is longer than any that was asked for."""

    async def read(self) -> bytes:
        """Returns the whole, decompressed.

        Raises:
            LongAnswerError: It is too long, and was not read to its end.
        """
        if self._body is None:
            content = bytearray()
            while piece := await self.content.read(_PIECE_BYTES):
                content += piece
                if len(content) > _MOST_ANSWER_BYTES:
                    self.close()
                    raise LongAnswerError(self.method, self.url.with_query(None), _MOST_ANSWER_BYTES)
            self._body = bytes(content)
            self.release()
        return self._body


SESSION: Mapping[str, object] = {
    "response_class": BoundedResponse,
    # As for S3. Otherwise it is five minutes for each try, whatever arrives meanwhile.
    "timeout": aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30),
}
"""What gcsfs makes its session with."""


def open_session() -> aiohttp.ClientSession:
    """Returns a session that reads no more than that; as the library of Azure makes them, which decompresses itself."""
    return aiohttp.ClientSession(
        trust_env=True,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        response_class=BoundedResponse,
    )
