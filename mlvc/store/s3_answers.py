"""How much of an answer of an S3 server is read: what was asked for, or no more than any honest server sends.

The libraries below s3fs read an answer to its end before they look at it, and the server says where that is.
"""

from __future__ import annotations

from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import HTTPClientError, ReadTimeoutError
from urllib3.exceptions import HTTPError
from urllib3.exceptions import ReadTimeoutError as SilenceError

from mlvc.store.pace import Pace, SlowAnswerError
from mlvc.store.remote_files import LongAnswerError

__all__ = ["MOST_ANSWER_BYTES", "bound_answers"]

MOST_ANSWER_BYTES = 4 << 20
"""A page of a listing has a thousand keys of up to 3 KiB each, as they are encoded there; nothing else is longer."""
_PIECE_BYTES = 64 << 10


class _Answer(AWSResponse):  # type: ignore[misc]  # botocore has no types
    """An answer whose contents were read already."""

    def __init__(self, found: Any, content: bytes) -> None:  # noqa: ANN401  # as above
        super().__init__(found.url, found.status_code, found.headers, found.raw)
        self._content = content


def bound_answers(client: Any) -> None:  # noqa: ANN401  # as above
    """Makes a client of botocore read no answer that is longer than `MOST_ANSWER_BYTES`; no other request is for it."""

    def send(request: Any, **_: object) -> _Answer:  # noqa: ANN401  # as above
        # Otherwise it would be read to the end before anybody sees it.
        request.stream_output = True
        # The client's own, which knows proxies and certificates; there is no public way to it.
        found = client._endpoint.http_session.send(request)  # noqa: SLF001
        try:
            return _Answer(found, _read(request, found.raw))
        except (SilenceError, SlowAnswerError) as exc:
            raise ReadTimeoutError(endpoint_url=request.url) from exc
        except (HTTPError, OSError) as exc:
            # It broke off, which is asked for again.
            raise HTTPClientError(error=exc) from exc

    client.meta.events.register("before-send.s3", send)


def _read(request: Any, raw: Any) -> bytes:  # noqa: ANN401  # as above
    content = bytearray()
    arrives = Pace()
    # What is there, which may be less than was asked for: to wait for all of that may take for ever. urllib3 1 waits.
    read = getattr(raw, "read1", raw.read)
    try:
        while len(content) <= MOST_ANSWER_BYTES and (piece := read(_PIECE_BYTES, decode_content=False)):
            content += piece
            arrives.note(len(piece))
    except SlowAnswerError:
        raw.close()
        raise
    if len(content) > MOST_ANSWER_BYTES:
        raw.close()
        raise LongAnswerError(request.method, request.url, MOST_ANSWER_BYTES)
    return bytes(content)
