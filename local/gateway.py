"""What API Gateway does and Chalice's local server does not."""

import functools
import http.client
import json
import sys
from http import HTTPStatus
from typing import Any, cast

from chalice.config import Config
from chalice.local import ChaliceRequestHandler, LocalDevServer, LocalGatewayException, create_local_server
from werkzeug.serving import DechunkedInput

from app import app

MAX_BODY = 10 * 1024 * 1024
"""API Gateway's own limit of a request body, in bytes."""
_DRAINED = 64 * 1024 * 1024


class GatewayHandler(ChaliceRequestHandler):
    """Serves as API Gateway with this service's gateway responses does.

    Over Chalice's handler: chunked bodies, a bound on bodies, HEAD without a body, unknown paths as
    404, and `{"error"}` for whatever goes wrong before the app is reached.
    """

    server_version, sys_version = "thumbnails", ""

    def handle_expect_100(self) -> bool:
        """Refuse a body that is too large before it is sent."""
        if self._declared_length() > MAX_BODY:
            self._refuse_body()
            return False
        return cast(bool, super().handle_expect_100())

    def _parse_payload(self) -> tuple[dict[str, str], bytes | None]:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            body = cast(bytes, DechunkedInput(self.rfile).read(MAX_BODY + 1))
        else:
            body = self.rfile.read(self._declared_length())
        return dict(self.headers), body or None

    def _generic_handle(self) -> None:
        length = self._declared_length()
        if length < 0:
            self.close_connection = True
            self.send_error(HTTPStatus.BAD_REQUEST, "The Content-Length header is not a number of bytes.")
        elif length > MAX_BODY:
            # A client that is still sending sees the answer only when its bytes have been taken.
            left = min(length, _DRAINED)
            while left > 0 and (read := self.rfile.read(min(left, 1 << 16))):
                left -= len(read)
            self._refuse_body()
        else:
            super()._generic_handle()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _generic_handle  # noqa: N815

    def _declared_length(self) -> int:
        value = self.headers.get("Content-Length", "0")
        return int(value) if value.isascii() and value.isdigit() else -1

    def _refuse_body(self) -> None:
        self.close_connection = True
        self.send_error(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The request is too large; at most {MAX_BODY:,} bytes are taken.",
        )

    def _send_error_response(self, error: LocalGatewayException) -> None:
        if error.CODE == HTTPStatus.FORBIDDEN:
            self.send_error(HTTPStatus.NOT_FOUND, "There is nothing at this path; the API is under /api/v1.")
        else:
            self.send_error(error.CODE, http.client.responses[error.CODE])

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with an error of the gateway's own, in the API's form."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            code, message = HTTPStatus.METHOD_NOT_ALLOWED, "There is no such method."
        sentence = message or explain or http.client.responses.get(code, "The request cannot be understood.")
        self._send_http_response(code, {}, json.dumps({"error": sentence}).encode())

    def _send_http_response_with_body(self, code: int, headers: dict[str, Any], body: str | bytes) -> None:
        if self.command == "HEAD" or code == HTTPStatus.NOT_MODIFIED:
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
    return local


def _log_unless_client_left(*_: object) -> None:
    error = sys.exception()
    if error is not None and not isinstance(error, ConnectionError | TimeoutError):
        sys.excepthook(type(error), error, error.__traceback__)
