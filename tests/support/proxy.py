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
    `busy` connections are answered with 503 SlowDown. `delay_s` passes before each piece. `sent` counts the bytes of
    requests, `received` those of answers.
    """

    target: tuple[str, int]
    port: int = 0
    cut_after: int | None = None
    cut_sent_after: int | None = None
    stall_after: int | None = None
    stall_sent_after: int | None = None
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
                if self._cuts(passed, self.cut_after if is_answer else self.cut_sent_after):
                    sink.sendall(piece[: len(piece) // 2])
                    break
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

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
