"""What API Gateway does and Chalice's local server does not."""

import contextlib
import functools
import http.client
import io
import json
import socket
import sys
import threading
import time
from http import HTTPStatus
from typing import Any, cast

from chalice.config import Config
from chalice.local import (
    ChaliceRequestHandler,
    ForbiddenError,
    LambdaContext,
    LocalDevServer,
    LocalGateway,
    LocalGatewayAuthorizer,
    LocalGatewayException,
    NotAuthorizedError,
    create_local_server,
)
from werkzeug.serving import DechunkedInput

from app import UNAUTHORIZED, app
from chalicelib.http import cors
from chalicelib.services import settings

MAX_BODY = 10 * 1024 * 1024
"""API Gateway's own limit of a request body, in bytes."""
_DRAINED = 64 * 1024 * 1024
AT_ONCE = 32
"""Requests handled at once: each may hold a body in memory, and the S3 client has as many connections."""
CONNECTIONS = 256
"""Connections open at once: each has a thread."""
PATIENCE_SECONDS = 10
"""How long a client may be silent, between requests and within one, before its connection is closed."""
_LINGER_SECONDS = 5
_PULSE = "/api/v1/system/pulse"


class _Refusal(Exception):
    """The request ends here, and so does the connection: the rest of it cannot be trusted."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


_TOO_LARGE = _Refusal(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "The request is too large: at most 4.5 million bytes of picture are taken here. "
    "A larger one goes straight to S3: POST /api/v1/thumbnail/upload says where.",
)
_TOO_MANY = _Refusal(
    HTTPStatus.TOO_MANY_REQUESTS, "There are too many requests at the moment; try again in a second."
)
_RETRY_AFTER = {"Retry-After": "1"}
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="thumbnails"'}
_HEADERS: dict[int, dict[str, str]] = {
    HTTPStatus.UNAUTHORIZED: _CHALLENGE,
    HTTPStatus.FORBIDDEN: _CHALLENGE,
    HTTPStatus.TOO_MANY_REQUESTS: _RETRY_AFTER,
}
_SENTENCES: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "Send a valid token in the header 'Authorization: Bearer <token>'.",
    HTTPStatus.FORBIDDEN: "Your token cannot be accepted at the moment; try again in a minute.",
}
_BODY = json.dumps({"error": str(_TOO_MANY)})
_slots = threading.BoundedSemaphore(AT_ONCE)


class _Gateway(LocalGateway):
    """Hands OPTIONS over to the app, as API Gateway does with this service's template."""

    def _has_user_defined_options_method(self, _: object) -> bool:
        return True


class _Denied(LocalGatewayException):
    """The authorizer lets the request not pass; Chalice has one error for this and for an unknown path."""

    CODE = HTTPStatus.FORBIDDEN


class _Authorizer(LocalGatewayAuthorizer):
    """Asks the app's authorizer where the settings say so, as a condition of the stack does on AWS."""

    def authorize(self, raw_path: str, lambda_event: Any, lambda_context: LambdaContext) -> Any:
        """Add to the event who asks.

        Raises:
            LocalGatewayException: the request may not pass.

        """
        if settings().auth is None:
            return lambda_event, lambda_context
        try:
            return super().authorize(raw_path, lambda_event, lambda_context)
        except ForbiddenError as error:
            raise _Denied({}) from error
        except Exception as error:
            if str(error) == UNAUTHORIZED:
                raise NotAuthorizedError({}) from error
            raise


class GatewayHandler(ChaliceRequestHandler):
    """Serves as API Gateway with this service's gateway responses does.

    Over Chalice's handler: chunked bodies, bounds on bodies and on requests at once, HEAD without a body,
    tokens where the settings ask for them, unknown paths as 404, and `{"error"}` for whatever goes wrong
    before the app is reached.
    """

    server_version, sys_version = "thumbnails", ""
    # Header and body are sent in two pieces; without this, the second waits for the first one's receipt.
    disable_nagle_algorithm = True
    timeout = PATIENCE_SECONDS

    def setup(self) -> None:
        """Get ready for the requests of a connection."""
        self.local_gateway = _Gateway(app, Config())
        self.local_gateway._authorizer = _Authorizer(app)
        super().setup()

    def handle_expect_100(self) -> bool:
        """Refuse a body that is too large before it is sent."""
        length = self.headers.get("Content-Length", "")
        if length.isascii() and length.isdigit() and int(length) > MAX_BODY:
            self._refuse(_TOO_LARGE)
            return False
        return cast(bool, super().handle_expect_100())

    def _generic_handle(self) -> None:
        # Before the body is read, which may be what there is no room for.
        if self._is_pulse():
            self._answer()
        elif _slots.acquire(blocking=False):
            try:
                self._answer()
            finally:
                _slots.release()
        else:
            self._refuse(_TOO_MANY)
            self._linger()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _generic_handle  # noqa: N815

    def __getattr__(self, name: str) -> Any:
        """Handle methods of any other name alike: the app knows what a path takes, and the body is read."""
        if name.startswith("do_"):
            return self._generic_handle
        raise AttributeError(name)

    def _is_pulse(self) -> bool:
        """Tell whether this asks if the service is alive, which costs next to nothing."""
        return self.path == _PULSE and not self._has_body()

    def _has_body(self) -> bool:
        return "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0"

    def _linger(self) -> None:
        """Take what the client still sends: it would never see the answer if that met a closed connection."""
        self.connection.settimeout(1)
        deadline = time.monotonic() + _LINGER_SECONDS
        with contextlib.suppress(OSError):
            while self._has_body() and time.monotonic() < deadline and self.rfile.read1(1 << 16):
                pass

    def _answer(self) -> None:
        try:
            self._body = self._read_body()
        except _Refusal as refusal:
            self._refuse(refusal)
        else:
            super()._generic_handle()

    def _parse_payload(self) -> tuple[dict[str, str], bytes | None]:
        headers = dict(self.headers)
        # No token has such characters, and Chalice drops the connection over them where there is no route.
        unreadable = [
            name for name in headers if not headers[name].isascii() and name.lower() == "authorization"
        ]
        return {name: headers[name] for name in headers if name not in unreadable}, self._body or None

    def _read_body(self) -> bytes:
        coding, length = self.headers.get("Transfer-Encoding"), self.headers.get("Content-Length")
        if coding is not None and length is not None:
            # RFC 9112, 6.1: two parties that read this differently see different requests.
            raise _Refusal(HTTPStatus.BAD_REQUEST, "Send Content-Length or Transfer-Encoding, not both.")
        if coding is not None:
            if coding.lower() != "chunked":
                raise _Refusal(HTTPStatus.BAD_REQUEST, "Transfer-Encoding can only be chunked.")
            dechunked: Any = DechunkedInput(self.rfile)
            stream: io.BufferedIOBase = io.BufferedReader(dechunked)
            declared = _DRAINED
        else:
            length = length or "0"
            if not (length.isascii() and length.isdigit()):
                raise _Refusal(HTTPStatus.BAD_REQUEST, "Content-Length must be a number of bytes.")
            stream, declared = self.rfile, int(length)
        try:
            body = stream.read(min(declared, MAX_BODY + 1))
            if len(body) > MAX_BODY:
                # A client that is still sending sees the answer only when its bytes have been taken.
                left = min(declared, _DRAINED) - len(body)
                while left > 0 and (piece := stream.read(min(left, 1 << 16))):
                    left -= len(piece)
                raise _TOO_LARGE
        except OSError as error:
            raise _Refusal(HTTPStatus.BAD_REQUEST, "The body is broken or incomplete.") from error
        return body

    def _refuse(self, refusal: "_Refusal") -> None:
        self.close_connection = True
        self.send_error(refusal.status, str(refusal))

    def _send_error_response(self, error: LocalGatewayException) -> None:
        if isinstance(error, ForbiddenError):
            self.send_error(HTTPStatus.NOT_FOUND, "There is nothing at this path; the API is under /api/v1.")
        else:
            self.send_error(error.CODE, _SENTENCES.get(error.CODE))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with an error of the gateway's own, in the API's form."""
        sentence = message or explain or http.client.responses.get(code, "The request cannot be understood.")
        headers = cors.fixed_headers(settings().allowed_origins) | _HEADERS.get(code, {})
        self._send_http_response(code, headers, json.dumps({"error": sentence}).encode())

    def _send_http_response_with_body(self, code: int, headers: dict[str, Any], body: str | bytes) -> None:
        if self.command == "HEAD" or code in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            self.send_response(code)
            self._send_headers({"Content-Type": "application/json"} | headers)
        else:
            super()._send_http_response_with_body(code, headers, body)

    def end_headers(self) -> None:
        """Tell the client when this is the last answer on the connection."""
        if self.close_connection:
            self.send_header("Connection", "close")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: the app logs each request."""


def create_server(host: str, port: int) -> LocalDevServer:
    """Make the server that answers as API Gateway and the API function would.

    Raises:
        OSError: the port is taken.

    """
    local = create_local_server(app, Config(), host, port)
    server = local.server
    server.RequestHandlerClass = functools.partial(GatewayHandler, app_object=app, config=Config())
    server.handle_error = _log_unless_client_left
    # Chalice listens with room for five clients at once.
    server.socket.listen(256)
    _bound_connections(server)
    return local


def _bound_connections(server: Any) -> None:
    """Give a thread to each of so many connections, and a short answer to one that comes beyond them."""
    room = threading.BoundedSemaphore(CONNECTIONS)
    serve, end = server.process_request, server.shutdown_request

    def admit(connection: socket.socket, address: object) -> None:
        if room.acquire(blocking=False):
            serve(connection, address)
            return
        # In the thread that accepts connections: nothing here may wait for the client.
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.send(_short_answer())
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1 << 16)
        connection.close()

    def leave(connection: socket.socket) -> None:
        end(connection)
        room.release()

    server.process_request, server.shutdown_request = admit, leave


def _short_answer() -> bytes:
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(_BODY)),
        "Connection": "close",
        **_RETRY_AFTER,
        **cors.fixed_headers(settings().allowed_origins),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {_TOO_MANY.status} {_TOO_MANY.status.phrase}\r\n{lines}\r\n{_BODY}".encode()


def _log_unless_client_left(*_: object) -> None:
    error = sys.exception()
    if error is not None and not isinstance(error, ConnectionError | TimeoutError):
        sys.excepthook(type(error), error, error.__traceback__)
