"""A bad network: a TCP proxy on this machine that cuts, delays or refuses what goes through it."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Proxy", "serve_proxy"]

_BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>reduce your rate</Message></Error>"


@dataclass
class Proxy:
    """What the next connections meet; may be changed while it runs.

    After `cut_after` bytes of an answer, or `cut_sent_after` bytes of requests, both ends are hung up on, `cuts` times
    (None: always). After `stall_after` bytes of an answer nothing more comes, and nobody hangs up, `cuts` times too.
    After `stall_sent_after` bytes of requests no more of them is taken, and nobody hangs up, `cuts` times too.
    After `trickle_after` bytes of an answer, one more comes every `trickle_s`, and nothing else.
    Of an answer no more than `rate_bytes` come in a second, a tenth of it at a time.
    `busy` connections are answered with 503 SlowDown. `delay_s` passes before each piece. `sent` counts the bytes of
    requests, `received` those of answers.
    """

    target: tuple[str, int]
    port: int = 0
    cut_after: int | None = None
    cut_sent_after: int | None = None
    stall_after: int | None = None
    stall_sent_after: int | None = None
    trickle_after: int | None = None
    trickle_s: float = 0.3
    rate_bytes: int | None = None
    cuts: int | None = None
    busy: int = 0
    delay_s: float = 0.0
    sent: int = 0
    received: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: list[socket.socket] = field(default_factory=list)

    def hang_up(self) -> None:
        """Ends every connection that there is."""
        with self._lock:
            ends, self._open = self._open, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            with self._lock:
                is_busy = self.busy > 0
                self.busy -= is_busy
            if is_busy:
                client.recv(1 << 16)
                client.sendall(_BUSY % (len(_SLOW_DOWN), _SLOW_DOWN))
                return
            with socket.create_connection(self.target) as server:
                with self._lock:
                    self._open += [client, server]
                back = threading.Thread(target=self._pass_on, args=(server, client, True), daemon=True)
                back.start()
                self._pass_on(client, server, False)
                back.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                time.sleep(self.delay_s)
                with self._lock:
                    if is_answer:
                        self.received += len(piece)
                    else:
                        self.sent += len(piece)
                passed += len(piece)
                if is_answer and self._cuts(passed, self.stall_after):
                    sink.sendall(piece[: len(piece) // 2])
                    self._wait_for_end(sink)
                    break
                if not is_answer and self._cuts(passed, self.stall_sent_after):
                    self._wait_for_end(source)
                    break
                if is_answer and self._cuts(passed, self.trickle_after):
                    at_once = max(0, len(piece) - (passed - (self.trickle_after or 0)))
                    sink.sendall(piece[:at_once])
                    self._trickle(piece[at_once:], sink)
                    break
                if self._cuts(passed, self.cut_after if is_answer else self.cut_sent_after):
                    sink.sendall(piece[: len(piece) // 2])
                    break
                self._send(piece, sink, self.rate_bytes if is_answer else None)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _send(piece: bytes, sink: socket.socket, rate_bytes: int | None) -> None:
        if rate_bytes is None:
            sink.sendall(piece)
            return
        step = max(1, rate_bytes // 10)
        for start in range(0, len(piece), step):
            sink.sendall(piece[start : start + step])
            time.sleep(0.1)

    def _trickle(self, piece: bytes, sink: socket.socket) -> None:
        """Sends a piece byte by byte, until the other side hangs up."""
        for byte in piece:
            sink.sendall(bytes([byte]))
            time.sleep(self.trickle_s)

    @staticmethod
    def _wait_for_end(end: socket.socket) -> None:
        """Returns when the other side has hung up."""
        poll = select.poll()
        poll.register(end, select.POLLRDHUP)
        poll.poll()

    def _cuts(self, passed: int, limit: int | None) -> bool:
        with self._lock:
            if limit is None or passed < limit or self.cuts == 0:
                return False
            if self.cuts is not None:
                self.cuts -= 1
            return True


@contextlib.contextmanager
def serve_proxy(endpoint: str) -> Iterator[Proxy]:
    """Runs a proxy to the endpoint of a server until the context is left."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    proxy = Proxy((host, int(port)))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        proxy.port = listener.getsockname()[1]

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=proxy._serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield proxy
        # Wakes the thread that waits for connections.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
