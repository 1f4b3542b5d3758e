"""Answers of servers that go on sending, and taking what is sent to them; of every library that speaks by aiohttp."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Self, cast

import aiohttp

from mlvc.store import pace

__all__ = ["Contents", "WatchedResponse"]

_UNTAKEN_S = 60
"""What was sent and is not taken for so long ends the connection. aiohttp waits for ever."""
_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
"""Only Linux has it."""
_BODILESS = {"DELETE", "GET", "HEAD"}


class Contents:
    """What arrives of an answer, whoever reads it."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self._content = answer.content
        self._pace = pace.Pace()

    async def read(self, size_bytes: int = -1) -> bytes:
        """Returns what comes next.

        Raises:
            aiohttp.SocketTimeoutError: It comes too slowly.
        """
        piece = await self._content.read(size_bytes)
        if piece:
            try:
                self._pace.note(len(piece))
            except pace.SlowAnswerError as exc:
                self._answer.close()
                # What each of the libraries takes for silence.
                raise aiohttp.SocketTimeoutError(str(exc)) from exc
        return piece

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever it is
        return getattr(self._content, name)


class WatchedResponse(aiohttp.ClientResponse):
    """An answer that begins while its request is still being sent."""

    async def start(self, connection: Any) -> Self:  # noqa: ANN401  # aiohttp names the type nowhere in public
        """Waits for the head."""
        end = connection.transport and connection.transport.get_extra_info("socket")
        if end is not None and _USER_TIMEOUT is not None:
            end.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, _UNTAKEN_S * 1_000)
        # With a body, it is waited for from before the body has left.
        try:
            async with asyncio.timeout(pace.WINDOW_S if self.method in _BODILESS else None):
                await super().start(connection)
        except TimeoutError as exc:
            if isinstance(exc, aiohttp.ClientError):
                raise
            raise aiohttp.SocketTimeoutError("the head of an answer did not arrive") from exc
        self.content = cast("aiohttp.StreamReader", self._contents())
        return self

    def _contents(self) -> Contents:
        return Contents(self)
