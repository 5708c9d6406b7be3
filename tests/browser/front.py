"""What stands before the API in these tests: a path of its own, and what real gateways and networks do.

It forwards requests to the service without the path's prefix. It can ask for a token, as a deployment with
owners does: a stand-in, which checks one token and tells no owners apart.
"""

import http.client
import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self
from urllib.parse import urlsplit

# Of one connection alone, or made anew.
_NOT_PASSED_ON = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}


class Asked(NamedTuple):
    """A request as the browser made it; `at` is in seconds of the monotonic clock."""

    method: str
    path: str
    headers: dict[str, str]
    at: float

    @property
    def route(self) -> str:
        """The path without its query."""
        return urlsplit(self.path).path


Answer = tuple[int, dict[str, str], bytes]


class Front:
    """A server that listens on a free port; a context manager. The service is shown below `prefix`."""

    def __init__(self, service_url: str, prefix: str = "") -> None:
        self._service = urlsplit(service_url).netloc
        self._prefix = prefix
        self.token: str | None = None
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Answer | None] = lambda _: None
        """Answers in the service's place, unless it returns None."""
        self.lose: Callable[[Asked], bool] = lambda _: False
        """Tells whether the service's answer gets lost: the connection ends without one."""
        self._forwarding, self._closed, self._changed = 0, False, threading.Condition()
        self.page_of: int | None = None
        """How many records are in a page of a list, whatever the browser asks for."""
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                front._handle(self)

            do_HEAD = do_POST = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.origin}{prefix}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # A slow upload is sent whole when its tab closes; none may reach the service in the next test.
        with self._changed:
            self._closed = True
            assert self._changed.wait_for(lambda: not self._forwarding, 120)
        self._server.shutdown()
        self._server.server_close()

    def count(self, method: str, path: str) -> int:
        """How often the browser has asked for just this, below the prefix and the version."""
        wanted = f"{self._prefix}/api/v1{path}"
        return sum((one.method, urlsplit(one.path).path) == (method, wanted) for one in self.asked)

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length", "0"))
        body = handler.rfile.read(length)
        if len(body) < length:
            handler.close_connection = True
            return
        asked = Asked(
            handler.command,
            handler.path,
            {name.lower(): value for name, value in handler.headers.items()},
            time.monotonic(),
        )
        self.asked.append(asked)
        status, headers, content = self.answer(asked) or self._refuse(asked) or self._forward(asked, body)
        if self.lose(asked):
            handler.close_connection = True
            return
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            with suppress(ConnectionError):  # a browser that no longer wants it
                handler.wfile.write(content)

    def _refuse(self, asked: Asked) -> Answer | None:
        if not asked.path.startswith(self._prefix):
            return error(404, "There is nothing at this path.")
        bare = asked.path.removeprefix(self._prefix)
        if self.token is None or not bare.startswith("/api/"):
            return None
        if asked.headers.get("authorization") == f"Bearer {self.token}":
            return None
        return error(
            401, "This needs a token; send it as Authorization: Bearer.", {"WWW-Authenticate": "Bearer"}
        )

    def _forward(self, asked: Asked, body: bytes) -> Answer:
        with self._changed:
            if self._closed:
                return error(503, "The test is over.")
            self._forwarding += 1
        try:
            return self._ask_service(asked, body)
        finally:
            with self._changed:
                self._forwarding -= 1
                self._changed.notify_all()

    def _ask_service(self, asked: Asked, body: bytes) -> Answer:
        passed = {name: value for name, value in asked.headers.items() if name not in _NOT_PASSED_ON}
        with closing(http.client.HTTPConnection(self._service, timeout=60)) as connection:
            path = asked.path.removeprefix(self._prefix) or "/"
            if self.page_of is not None:
                path = re.sub(r"limit=\d+", f"limit={self.page_of}", path)
            connection.request(asked.method, path, body or None, passed)
            reply = connection.getresponse()
            given = {
                name: value for name, value in reply.headers.items() if name.lower() not in _NOT_PASSED_ON
            }
            return reply.status, given, reply.read()


def error(status: int, sentence: str, headers: dict[str, str] | None = None) -> Answer:
    """An answer in the API's form."""
    given = {"Content-Type": "application/json"} | (headers or {})
    return status, given, json.dumps({"error": sentence}).encode()
