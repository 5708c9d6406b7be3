"""moto's S3 and SQS over HTTP, for this machine alone, on connections that stay open.

moto comes with a development server that ends the connection after each answer and starts a thread for each
one; and to find out which service a request is for, moto lists its package's directory each time. Both
together take a third of the processor time of an upload.
"""

import logging
import os
import re
import socket
from collections.abc import Callable, Iterable
from typing import Any

from moto.core.request import (
    PRESERVED_HEADER_NAMES_ENVIRON_KEY,
    environ_key_for_header,
    should_preserve_original_header_name,
)
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher, WSGITask

from local.hosts import allowed_hosts, is_local
from local.http_server import Parser

THREADS = 48
"""Requests at a time: those of the API, of the worker, whose receiving waits, and of other programs."""
_IN_MEMORY = 16 * 1024 * 1024
"""Bodies beyond so many bytes wait in a file."""
_METADATA = re.compile(rb"^X-Amz-Meta-[^:]+", re.MULTILINE)
_REFUSED = b"Only local host names, and pages of the service itself, are served here."

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def _backend_app(service: Any) -> Any:
    """One of moto's services; its debug mode would look at each request's form for mistakes in HTML."""
    app = create_backend_app(service)
    app.debug = False
    return app


class Dispatcher(DomainDispatcherApplication):
    """Remembers which of moto's services answers to a host name: that never changes."""

    def __init__(self) -> None:
        super().__init__(_backend_app)
        self._backends: dict[str | None, Any] = {}

    def get_backend_for_host(self, host: str | None) -> Any:
        """Return the name of the service; called with the dispatcher's lock held."""
        if host not in self._backends:
            self._backends[host] = super().get_backend_for_host(host)
        return self._backends[host]


class ForThisMachine:
    """Lets requests of this machine's own programs and pages pass, and no page of another site.

    moto allows pages of all origins, which is fine for tests and not beside a browser.
    """

    def __init__(self, app: Wsgi, hosts: frozenset[str], origins: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = origins

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        origin = environ.get("HTTP_ORIGIN")
        is_allowed = origin is None or "*" in self._origins or origin in self._origins
        if is_allowed and is_local(environ.get("HTTP_HOST", ""), allowed=self._hosts):
            return self._app(environ, start_response)
        start_response("403 Forbidden", [("Content-Length", str(len(_REFUSED)))])
        return [_REFUSED]


class _Parser(Parser):
    """Keeps object metadata whose names have an underscore; waitress drops such headers."""

    names: dict[str, str]

    def parse_header(self, head: bytes) -> None:
        """Read the start line and the headers."""
        super().parse_header(head)
        self.names = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = (part.decode("latin-1") for part in line.partition(b":"))
            if should_preserve_original_header_name(name):
                key = environ_key_for_header(name)
                self.names[key] = name
                self.headers[key.removeprefix("HTTP_")] = value.strip(" \t")


class _Task(WSGITask):  # type: ignore[misc]  # waitress has no types
    """Hands requests to moto as they were on the wire, and answers as moto gave them."""

    def get_environment(self) -> Environ:
        """Make the request's environment (PEP 3333)."""
        environ: Environ = super().get_environment()
        environ["RAW_URI"] = environ["REQUEST_URI"]
        environ[PRESERVED_HEADER_NAMES_ENVIRON_KEY] = self.request.names
        return environ

    def build_response_header(self) -> bytes:
        """Make the start line and headers; waitress capitalizes all names, and S3 no name of metadata."""
        head: bytes = super().build_response_header()
        return _METADATA.sub(lambda name: name[0].lower(), head)


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    parser_class, task_class = _Parser, _Task


class _Server(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    channel_class = _Channel


def s3_server(port: int) -> TcpWSGIServer:
    """Make the server on a port of the loopback interface; 0 takes a free one. `run` serves.

    Raises:
        OSError: the port cannot be used.

    """
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    origins = frozenset(os.environ.get("ALLOWED_ORIGINS", "*").split(","))
    app = ForThisMachine(Dispatcher(), allowed_hosts(os.environ), origins)
    adjustments = Adjustments(
        host="127.0.0.1",
        port=port,
        threads=THREADS,
        ident="moto",
        recv_bytes=1 << 18,
        inbuf_overflow=_IN_MEMORY,
        outbuf_overflow=_IN_MEMORY,
        # Clients' pools keep connections, and find one that was closed only by failing on it.
        channel_timeout=3600,
        connection_limit=1000,
        log_socket_errors=False,
        asyncore_use_poll=True,
    )
    dispatcher = ThreadedTaskDispatcher()
    address = ("127.0.0.1", port)
    sockets = (socket.AF_INET, socket.SOCK_STREAM, 0, address)
    server = _Server(app, {}, True, None, dispatcher, adjustments, sockets)
    dispatcher.set_thread_count(THREADS)
    return server
