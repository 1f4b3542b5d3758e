"""A server that means harm: whatever it is asked, it answers, and never stops."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Flood", "serve_flood"]

_PIECE_BYTES = 1 << 20
_MOST_BYTES = 1 << 30


@dataclass
class Flood:
    """A server that is running.

    Attributes:
        port: Where.
        sent_bytes: How much of its answers has left it; what is on its way in the buffers of sockets counts too.
        asked: How many requests it was asked.
    """

    port: int
    sent_bytes: int = 0
    asked: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serve_flood(
    head: bytes, body: bytes = b"x", status: str = "200 OK", headers: Sequence[str] = ()
) -> Iterator[Flood]:
    """Runs a server until the context is left.

    Args:
        head: What each answer begins with.
        body: What is repeated after that, up to a GiB.
        status: Of each answer.
        headers: More of them for each answer.
    """
    body *= _PIECE_BYTES // len(body)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        flood = Flood(listener.getsockname()[1])

        def answer(client: socket.socket) -> None:
            with client, contextlib.suppress(OSError):
                client.recv(1 << 16)
                flood.asked += 1
                lines = [
                    f"HTTP/1.1 {status}",
                    "Content-Type: application/xml",
                    f"Content-Length: {_MOST_BYTES}",
                    *headers,
                ]
                client.sendall("\r\n".join([*lines, "", ""]).encode() + head)
                while flood.sent_bytes < _MOST_BYTES:
                    flood.sent_bytes += client.send(body)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=answer, args=(client,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield flood
        # Wakes the thread that waits for connections.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
