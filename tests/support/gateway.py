"""A gateway to a real S3 server that refuses, counts or falsifies requests one by one, as healthy servers do not."""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

__all__ = ["Asked", "Gateway", "refusal", "serve_gateway"]


class Asked(NamedTuple):
    """A request: its method, its path with the query, and the lengths of its body and of the answer's."""

    method: str
    path: str
    sent_bytes: int
    received_bytes: int


Answer = tuple[int, dict[str, str], bytes]


def refusal(status: int, code: str, message: str = "no", **headers: str) -> Answer:
    """Returns an answer as S3 makes them."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return status, {"Content-Type": "application/xml", **headers}, body.encode()


@dataclass
class Gateway:
    """What the next requests meet; may be changed while it runs.

    `before` is given method and path, and returns an answer in the place of the server's, or None; `after` is given
    method, path and the server's answer, and returns another.
    """

    target: str
    port: int = 0
    before: Callable[[str, str], Answer | None] = lambda _method, _path: None
    after: Callable[[str, str, Answer], Answer] = lambda _method, _path, answer: answer
    asked: list[Asked] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        answer = self.before(method, path)
        if answer is None:
            server = http.client.HTTPConnection(self.target, timeout=60)
            with contextlib.closing(server):
                server.request(method, path, body, headers)
                response = server.getresponse()
                answer = (response.status, dict(response.getheaders()), response.read())
        answer = self.after(method, path, answer)
        self.asked.append(Asked(method, path, len(body), len(answer[2])))
        return answer


@contextlib.contextmanager
def serve_gateway(endpoint: str) -> Iterator[Gateway]:
    """Runs a gateway to the endpoint of a server until the context is left."""
    gateway = Gateway(endpoint.removeprefix("http://"))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, data = gateway.answer(self.command, self.path, dict(self.headers), body)
            self.send_response_only(status)
            is_head = self.command == "HEAD"
            dropped = (
                {"connection", "transfer-encoding"}
                if is_head
                else {"connection", "transfer-encoding", "content-length"}
            )
            for name, value in headers.items():
                if name.lower() not in dropped:
                    self.send_header(name, value)
            if not is_head:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if not is_head:
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815  # as the library calls them

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        gateway.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield gateway
        server.shutdown()
        thread.join()
