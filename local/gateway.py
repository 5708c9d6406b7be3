"""API Gateway on this machine: an HTTP request becomes the event of Lambda's proxy integration, for `app`.

`local.http_server` reads HTTP; this module does what API Gateway does with the stack's template: it routes,
asks the authorizer and keeps its answers, bounds bodies and concurrency, and sends the gateway responses.
"""

import base64
import fnmatch
import functools
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from chalice.local import CustomLocalChalice, LambdaContext, LocalChalice
from chalice.package import YAMLTemplateSerializer

from app import UNAUTHORIZED, app
from chalicelib.http import cors
from chalicelib.services import settings
from local.hosts import is_local
from local.http_server import DEADLINE_SECONDS, PATIENCE_SECONDS, Server

MAX_EVENT = 6_291_456
"""Lambda's limit of an event, and of a response, in bytes: about 4.7 MB of body in base64, and headers."""
AT_ONCE = 32
"""Requests handled at a time: each may hold a body in memory, and the S3 client has as many connections."""
_THREADS_FOR_REFUSALS = 4
_PULSE = "/api/v1/system/pulse"
_ARN = "arn:aws:execute-api:us-east-1:000000000000:local/local"
_MOST_AUTHORIZATIONS = 1000
_DEFAULT_TTL_SECONDS = 300
# Errors of HTTP's own, for which API Gateway has no gateway response of their own.
_PROTOCOL_ERRORS = {
    HTTPStatus.BAD_REQUEST: "The request is not well-formed HTTP/1.1.",
    HTTPStatus.REQUEST_TIMEOUT: f"The request took longer than {DEADLINE_SECONDS} seconds to arrive.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The headers are too large; send fewer or shorter ones.",
    HTTPStatus.MISDIRECTED_REQUEST: "Only local host names are served; ALLOWED_HOSTS allows others.",
}

_log = logging.getLogger(__name__)
_slots = threading.BoundedSemaphore(AT_ONCE)

Environ = Mapping[str, Any]
Event = dict[str, Any]


class Answer(NamedTuple):
    """A response; `body` is sent unless the method was HEAD."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class _GatewayError(Exception):
    """The gateway answers by itself; named as API Gateway names its response types."""


@functools.cache
def gateway_responses() -> dict[str, Answer]:
    """The template's answers for errors of the gateway's own, without headers that depend on a deployment."""
    path = Path(__file__).resolve().parent.parent / ".chalice" / "stack" / "api.yaml"
    stack = YAMLTemplateSerializer().load_template(path.read_text(), str(path))
    found = {}
    for kind, response in stack["Resources"]["RestAPI"]["Properties"]["GatewayResponses"].items():
        headers = response["ResponseParameters"]["Headers"].items()
        plain = [(name, value.strip("'")) for name, value in headers if isinstance(value, str)]
        body = response["ResponseTemplates"]["application/json"].encode()
        found[kind] = Answer(response.get("StatusCode", HTTPStatus.BAD_REQUEST), plain, body)
    return found


def error(kind: str) -> Answer:
    """Answer as the gateway does for one of its own errors, readable by pages as the settings say."""
    status, headers, body = gateway_responses()[kind]
    fixed = dict(headers) | cors.fixed_headers(settings().allowed_origins)
    return Answer(status, [("Content-Type", "application/json"), *fixed.items()], body)


def refuse(status: int, reason: str) -> tuple[list[tuple[str, str]], bytes]:
    """Answer a request that is no good HTTP, too large, or beyond the number of connections."""
    kind = {413: "REQUEST_TOO_LARGE", 429: "THROTTLED", 500: "DEFAULT_5XX"}.get(status)
    if kind is not None:
        return error(kind)[1:]
    known = _PROTOCOL_ERRORS.get(HTTPStatus(status), _PROTOCOL_ERRORS[HTTPStatus.BAD_REQUEST])
    sentence = reason if status == HTTPStatus.BAD_REQUEST and reason.endswith(".") else known
    fixed = cors.fixed_headers(settings().allowed_origins)
    return [("Content-Type", "application/json"), *fixed.items()], json.dumps({"error": sentence}).encode()


class Authorizers:
    """Asks the app's authorizers as API Gateway does, and keeps each answer for a token as long as it may."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}

    def forget(self) -> None:
        """Ask again for every token."""
        self._kept.clear()

    def allow(self, authorizer: Any, token: str | None, method: str, path: str) -> dict[str, Any]:
        """Return the request context's `authorizer`: who asks.

        Raises:
            _GatewayError: there is no token, the authorizer does not accept it, or it failed.

        """
        if not token or not token.isascii():
            raise _GatewayError("UNAUTHORIZED")
        arn = f"{_ARN}/{method}{path}"
        name = (authorizer.name, token)
        until, answer = self._kept.get(name, (0.0, {}))
        if time.monotonic() >= until:
            event = {"type": "TOKEN", "methodArn": arn, "authorizationToken": token}
            try:
                answer = authorizer(event, _context(authorizer.name))
            except Exception as failure:
                if str(failure) == UNAUTHORIZED:
                    raise _GatewayError("UNAUTHORIZED") from failure
                _log.exception("the authorizer failed")
                raise _GatewayError("AUTHORIZER_FAILURE") from failure
            while len(self._kept) >= _MOST_AUTHORIZATIONS:
                self._kept.pop(next(iter(self._kept)), None)
            ttl = authorizer.config.ttl_seconds
            self._kept[name] = (time.monotonic() + (_DEFAULT_TTL_SECONDS if ttl is None else ttl), answer)
        if not _permits(answer["policyDocument"], arn):
            raise _GatewayError("ACCESS_DENIED")
        return {"principalId": answer["principalId"], **answer["context"]}


authorizers = Authorizers()


def _permits(policy: dict[str, Any], arn: str) -> bool:
    """Evaluate an IAM policy for one resource: what a statement denies, no other one allows."""
    effects = {
        statement["Effect"]
        for statement in policy["Statement"]
        if any(fnmatch.fnmatchcase(arn, pattern) for pattern in statement["Resource"])
    }
    return effects == {"Allow"}


def _context(name: str) -> LambdaContext:
    return LambdaContext(name, memory_size=512, max_runtime_ms=29_000)


class Gateway:
    """The WSGI application.

    Args:
        hosts: names to answer to beside loopback ones.
        any_address: also answer to IP addresses of other interfaces.

    """

    def __init__(self, *, hosts: Iterable[str] = (), any_address: bool = False) -> None:
        self._hosts = frozenset(hosts)
        self._any_address = any_address

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> list[bytes]:
        """Answer a request (PEP 3333)."""
        status, headers, body = self._answer(environ)
        if environ["REQUEST_METHOD"] == "HEAD" or status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            body = b""
        start_response(
            f"{status} {HTTPStatus(status).phrase}", [*headers, ("Content-Length", str(len(body)))]
        )
        return [body]

    def _answer(self, environ: Environ) -> Answer:
        try:
            if not is_local(environ["HTTP_HOST"], allowed=self._hosts, any_address=self._any_address):
                return Answer(HTTPStatus.MISDIRECTED_REQUEST, *refuse(HTTPStatus.MISDIRECTED_REQUEST, ""))
            body = environ["wsgi.input"].read()
            path = _path(environ)
            # That the service is alive can be seen while it is busy; with a body, that would be a way around.
            if path == _PULSE and not body:
                return self._call(environ, path, body)
            if not _slots.acquire(blocking=False):
                return error("THROTTLED")
            try:
                return self._call(environ, path, body)
            finally:
                _slots.release()
        except _GatewayError as failure:
            return error(str(failure))
        except Exception:  # noqa: BLE001 - as on AWS, whatever it is
            _log.exception("the API function failed")
            return error("INTEGRATION_FAILURE")

    def _call(self, environ: Environ, path: str, body: bytes) -> Answer:
        event = make_event(environ, path, body)
        context = event["requestContext"]
        entry = app.routes[context["resourcePath"]].get(context["httpMethod"])
        # Whether there are owners is a condition of the stack; other methods have no authorizer.
        if entry is not None and entry.authorizer is not None and settings().auth is not None:
            token = environ.get("HTTP_AUTHORIZATION")
            context["authorizer"] = authorizers.allow(entry.authorizer, token, context["httpMethod"], path)
        if 4 * math.ceil(len(body) / 3) + len(json.dumps(event | {"body": ""})) > MAX_EVENT:
            raise _GatewayError("REQUEST_TOO_LARGE")
        reply = app(event, _context("api"))
        if len(json.dumps(reply)) > MAX_EVENT:
            raise OverflowError("the response is larger than Lambda's limit")
        sent = reply["body"]
        content = base64.b64decode(sent) if reply.get("isBase64Encoded") else sent.encode()
        several = reply.get("multiValueHeaders") or {}
        headers = [(name, str(value)) for name, value in reply["headers"].items()]
        headers += [(name, str(value)) for name, values in several.items() for value in values]
        return Answer(reply["statusCode"], headers, content)


def make_event(environ: Environ, path: str, body: bytes) -> Event:
    """Build the event of API Gateway's Lambda proxy integration.

    All bodies come as base64 there. Chalice takes bytes as well, and gives the app the same: to write and
    read base64 is two thirds of the processor time that an upload of a large photo takes here.

    Raises:
        _GatewayError: the path is not one of the app's.

    """
    route, parameters = _route(path)
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").title(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in {"CONTENT_TYPE", "CONTENT_LENGTH"}
    }
    query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    return {
        "resource": route,
        "path": path,
        "httpMethod": environ["REQUEST_METHOD"],
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": parameters or None,
        "stageVariables": None,
        "requestContext": {
            "requestId": str(uuid4()),
            "httpMethod": environ["REQUEST_METHOD"],
            "resourcePath": route,
            "path": path,
            "identity": {"sourceIp": environ["REMOTE_ADDR"]},
        },
        "body": body or None,
        "isBase64Encoded": False,
    }


def _path(environ: Environ) -> str:
    """Take the path out of a request's target (RFC 9112, 3.2), as it was sent: API Gateway decodes none.

    Raises:
        _GatewayError: the target names another host than the Host header.

    """
    target: str = environ["REQUEST_URI"]
    if not target.startswith("/"):
        parts = urlsplit(target)
        if parts.netloc != environ["HTTP_HOST"]:
            raise _GatewayError("MISSING_AUTHENTICATION_TOKEN")
        target = parts.path or "/"
    return target.partition("?")[0]


def _route(path: str) -> tuple[str, dict[str, str]]:
    """Find a path among the app's routes; one without parameters wins."""
    segments = (path.rstrip("/") or "/").split("/")
    for route in sorted(app.routes, key=lambda one: "{" in one):
        names = route.split("/")
        if len(names) == len(segments) and all(
            name == segment or (name.startswith("{") and segment)
            for name, segment in zip(names, segments, strict=True)
        ):
            return route, {
                name[1:-1]: segment
                for name, segment in zip(names, segments, strict=True)
                if name.startswith("{")
            }
    raise _GatewayError("MISSING_AUTHENTICATION_TOKEN")


def create_server(
    host: str,
    port: int,
    *,
    hosts: Iterable[str] = (),
    patience: int = PATIENCE_SECONDS,
    deadline: int = DEADLINE_SECONDS,
) -> Server:
    """Make the server that answers as API Gateway and the API function would.

    Args:
        host: the name or address to bind to.
        port: the port; 0 takes a free one.
        hosts: `Host` headers to answer to beside loopback names.
        patience: seconds that a client may be silent.
        deadline: seconds for a whole request to arrive, and for an answer to be read.

    Raises:
        OSError: the address cannot be used.

    """
    if not isinstance(app, LocalChalice):
        # Threads share the app; this keeps each one's current request apart.
        CustomLocalChalice.__bases__ = (LocalChalice, app.__class__)
        app.__class__ = CustomLocalChalice
    gateway_responses()
    bound_to = f"[{host}]" if ":" in host else host
    gateway = Gateway(hosts={*hosts, host.lower()}, any_address=not is_local(bound_to))
    threads = AT_ONCE + _THREADS_FOR_REFUSALS
    return Server(gateway, refuse, (host, port), threads, patience=patience, deadline=deadline)
