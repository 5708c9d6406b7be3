"""HTTP/1.1 for the local gateway: waitress, held to RFC 9112 where it is lenient, and with deadlines.

What a client sends is either one well-formed request, or an error after which the connection ends: so no part
of a refused request is read as the next one.
"""

import contextlib
import logging
import re
import socket
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import BadRequest, Error

MAX_BODY = 10 * 1024 * 1024
"""API Gateway's limit of a request body, in bytes."""
MAX_HEAD = 64 * 1024
"""The most bytes of a start line and headers; API Gateway takes 10,240 bytes of header values."""
CONNECTIONS = 256
"""Connections open at a time."""
PATIENCE_SECONDS = 10
"""How long a client may be silent, between requests and within one, before its connection is closed."""
DEADLINE_SECONDS = 60
"""How long a request may take to arrive, and an answer to be read, however steadily the bytes drip."""
STOP_SECONDS = 4
"""How long requests that are at work may take when the server stops; `local.processes` kills it at five."""
_LINGER_SECONDS = 10
_MAX_CHUNK_LINE = 1024

_START_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Z-]+ [\x21-\x7e]+ HTTP/1\.[01]")
_FIELD = re.compile(rb"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+):(?P<value>[\t\x20-\x7e\x80-\xff]*)")
_CHUNK_LINE = re.compile(rb"[0-9A-Fa-f]{1,8}(;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_ONCE = (b"host", b"content-length", b"transfer-encoding", b"content-type", b"authorization")

Refuse = Callable[[int, str], tuple[list[tuple[str, str]], bytes]]
"""Status and reason of an error of HTTP's own -> headers and body of its answer."""


class _TimedOut(Error):  # type: ignore[misc]  # waitress has no types
    code, reason = 408, "Request Timeout"


class _Chunks(ChunkedReceiver):  # type: ignore[misc]  # waitress has no types
    """Refuses chunk sizes that RFC 9112, 7.1 does not allow: waitress takes bare LFs and empty lines."""

    error: Any

    def received(self, data: bytes) -> int:
        """Take bytes of the body; return how many belonged to it."""
        taken = 0
        while taken < len(data) and not (self.completed or self.error):
            end = taken + self.chunk_remainder if self.chunk_remainder else data.find(b"\n", taken) + 1
            piece = data[taken : end or len(data)]
            if not (self.chunk_remainder or self.validate_chunk_end or self.all_chunks_received):
                line = self.control_line + piece
                is_whole = line.endswith(b"\n")
                if len(line) > _MAX_CHUNK_LINE or (is_whole and not _CHUNK_LINE.fullmatch(line)):
                    self.error = BadRequest("A chunk's size must be hexadecimal digits.")
                    break
            taken += super().received(piece)
        return taken


class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """One request. One that is complete without a body gets no 100: after that, waitress waits for a body."""

    expect_continue: bool

    def received(self, data: bytes) -> int:
        """Take bytes; return how many belonged to this request."""
        taken: int = super().received(data)
        if self.completed or self.error:
            self.expect_continue = False
        return taken


class _Parser(Parser):
    """Is strict about the form of a request."""

    # What waitress asks for also where the start line could not be read.
    command = path = ""
    version = "1.1"
    body_rcv: Any

    def __init__(self, adjustments: Adjustments) -> None:
        super().__init__(adjustments)
        self.began = time.monotonic()

    def parse_header(self, head: bytes) -> None:
        """Read the start line and the headers.

        Raises:
            ParsingError: RFC 9112 or this service does not allow them; the text is for the client.

        """
        if self.header_bytes_received < self.adj.max_request_header_size:
            _check_head(head)
        try:
            super().parse_header(head)
        except ValueError as error:
            raise ParsingError("The request's target cannot be read.") from error
        if self.chunked:
            self.body_rcv = _Chunks(self.body_rcv.getbuf())


def _check_head(head: bytes) -> None:
    start, *lines = head.split(b"\r\n")
    if not _START_LINE.fullmatch(start):
        raise ParsingError("The request's first line must be METHOD target HTTP/1.1.")
    fields: dict[bytes, list[bytes]] = defaultdict(list)
    for line in filter(None, lines):
        field = _FIELD.fullmatch(line)
        if (
            field is None
        ):  # a space before the colon, a folded line, a bare CR or LF, another control character
            raise ParsingError("A header line is malformed.")
        fields[field["name"].lower()].append(field["value"].strip(b" \t"))
    for name in _ONCE:
        if len(fields[name]) > 1:
            raise ParsingError(f"Send the header {name.decode().title()} once.")
    if not fields[b"host"]:
        raise ParsingError("Send the header Host.")
    lengths, codings = fields[b"content-length"], fields[b"transfer-encoding"]
    if codings and lengths:
        # RFC 9112, 6.1: two parties that read this differently see different requests.
        raise ParsingError("Send Content-Length or Transfer-Encoding, not both.")
    if codings and (codings[0].lower() != b"chunked" or start.endswith(b"1.0")):
        raise ParsingError("Transfer-Encoding can only be chunked.")
    if lengths and not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        raise ParsingError("Content-Length must be a number of bytes.")


class _Task(WSGITask):  # type: ignore[misc]  # waitress has no types
    """Answers from the app; one without a body (HEAD, 204, 304) leaves the connection open."""

    has_body = True

    def build_response_header(self) -> bytes:
        """Make the start line and headers, without a length where there is no body that it could be of."""
        head: bytes = super().build_response_header()
        if self.request.command == "HEAD" or self.status[:3] in {"204", "304"}:
            return head.replace(b"\r\nContent-Length: 0\r\n", b"\r\n")
        return head


class _ErrorTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """Answers a request that has not come to the app, after which the connection ends."""

    def execute(self) -> None:
        """Send the answer."""
        error = self.request.error
        headers, body = self.channel.server.refuse(error.code, str(error.body))
        self.status = f"{error.code} {error.reason}"
        self.response_headers.extend(headers)
        self.set_close_on_finish()
        body = b"" if self.request.command == "HEAD" else body
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection. After its last answer, what the client still sends is taken and forgotten for a while.

    A client that meets a closed socket instead learns of that before it reads the answer (RFC 9112, 9.6).
    """

    parser_class, task_class, error_task_class = _Parser, _Task, _ErrorTask
    took_turn = 0.0
    close_when_flushed: bool
    lingers_until: float | None = None
    request: Any

    def handle_write(self) -> None:
        """Send what waits to be sent; after the last of it, end this side of the connection."""
        if not self.close_when_flushed or self.will_close:
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if not self.total_outbufs_len and not self.will_close:
            self.close_when_flushed = False
            self.lingers_until = time.monotonic() + _LINGER_SECONDS
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:  # the client has left
                self.handle_close()

    def received(self, data: bytes) -> bool:
        """Take bytes from the client."""
        return self.lingers_until is not None or bool(super().received(data))

    def service(self) -> None:
        """Answer the first waiting request."""
        self.took_turn = time.monotonic()
        super().service()
        self.took_turn = time.monotonic()

    def end_if_late(self, now: float, seconds: float) -> None:
        """Refuse a request that has been arriving, or leave an answer that has been read, for too long."""
        if self.total_outbufs_len and now - self.took_turn > seconds:
            # Perhaps with a thread that waits for room: it gives up when the connection ends. The flag alone
            # would wait for the client to read.
            self.will_close = True
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
        if self.lingers_until is not None and now > self.lingers_until:
            self.will_close = True
        with self.requests_lock:
            request = self.request
            # One that has arrived is the app's, which has time limits of its own.
            if not self.requests and request is not None and now - request.began > seconds:
                request.error, request.completed = _TimedOut(""), True
                self.request = None
                self.requests.append(request)
                self.server.add_task(self)


class Server(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    """A WSGI server. `run` serves until `stop`.

    Args:
        app: what answers.
        refuse: how requests are answered that do not come to it.
        address: host name or address, and port; port 0 takes a free one.
        threads: how many requests are answered at a time.
        patience: seconds that a client may be silent.
        deadline: seconds for a whole request to arrive, and for an answer to be read.

    Raises:
        OSError: the address cannot be used.

    """

    channel_class = _Channel

    def __init__(  # noqa: PLR0913 - two of them have defaults
        self,
        app: Any,
        refuse: Refuse,
        address: tuple[str, int],
        threads: int,
        *,
        patience: int = PATIENCE_SECONDS,
        deadline: int = DEADLINE_SECONDS,
    ) -> None:
        self.refuse = refuse
        self._deadline = deadline
        self._is_stopped = False
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        host, port = address
        family, kind, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        dispatcher = ThreadedTaskDispatcher()
        adjustments = Adjustments(
            host=host,
            port=port,
            threads=threads,
            ident="thumbnails",
            backlog=CONNECTIONS,
            channel_timeout=patience,
            cleanup_interval=1,
            log_socket_errors=False,
            recv_bytes=1 << 18,
            # What is larger waits in a file; a camera's photo need not.
            inbuf_overflow=4 << 20,
            # A client that sends requests and reads no answers is waited for from here on.
            outbuf_high_watermark=1 << 20,
            max_request_header_size=MAX_HEAD,
            # waitress refuses what is as large as this.
            max_request_body_size=MAX_BODY + 1,
            # Bound by handle_accept instead, which answers.
            connection_limit=4 * CONNECTIONS,
            asyncore_use_poll=True,
        )
        super().__init__(app, {}, True, None, dispatcher, adjustments, (family, kind, 0, found))
        dispatcher.set_thread_count(threads)

    def run(self) -> None:
        """Serve."""
        try:
            while not self._is_stopped:
                wasyncore.loop(timeout=1, map=self._map, use_poll=True, count=1)
        finally:
            # Their threads send the answers by themselves, and need what is closed next.
            self.task_dispatcher.shutdown(timeout=STOP_SECONDS)
            wasyncore.close_all(self._map)

    def stop(self) -> None:
        """Let `run` return; for other threads and for signal handlers."""
        self._is_stopped = True
        self.pull_trigger()

    def pull_trigger(self) -> None:
        """Wake `run`; called by `stop`, and after each answer by the thread that gave it."""
        with contextlib.suppress(OSError):  # `run` has ended, and closed what would wake it
            super().pull_trigger()

    def maintenance(self, now: float) -> None:
        """Leave clients that are silent, and those that take too long in all."""
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            channel.end_if_late(time.monotonic(), self._deadline)

    def handle_accept(self) -> None:
        """Take a connection, or answer one that is beyond the bound with a refusal."""
        if len(self.active_channels) < CONNECTIONS:
            super().handle_accept()
        elif (accepted := self.accept()) is not None:
            headers, body = self.refuse(429, "")
            lines = [*headers, ("Content-Length", str(len(body))), ("Connection", "close")]
            head = "".join(f"{name}: {value}\r\n" for name, value in lines)
            connection = accepted[0]
            # This is the thread of all connections: nothing here may wait for the client.
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                connection.send(f"HTTP/1.1 429 Too Many Requests\r\n{head}\r\n".encode() + body)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1 << 16)
            connection.close()
