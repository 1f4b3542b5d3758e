"""Answers of servers that go on taking what is sent to them; of every library that speaks HTTP by aiohttp."""

from __future__ import annotations

import socket
from typing import Any, Self

import aiohttp

__all__ = ["WatchedResponse"]

_UNTAKEN_S = 60
"""What was sent and is not taken for so long ends the connection. aiohttp waits for ever."""
_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
"""Only Linux has it."""


class WatchedResponse(aiohttp.ClientResponse):
    """An answer that begins while its request is still being sent."""

    async def start(self, connection: Any) -> Self:  # noqa: ANN401  # aiohttp names the type nowhere in public
        """Waits for the head."""
        end = connection.transport and connection.transport.get_extra_info("socket")
        if end is not None and _USER_TIMEOUT is not None:
            end.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, _UNTAKEN_S * 1_000)
        await super().start(connection)
        return self
