"""Which pages may use the API, as their browsers see it: preflights, answers and errors."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import requests

import app
from chalicelib import services
from chalicelib.http import cors
from local.http_server import CONNECTIONS
from tests.conftest import Api, picture
from tests.inside import s3_of
from tests.test_gateway import PULSE, connect, full

if TYPE_CHECKING:
    import redis

__all__ = ["full"]

OURS, ALSO_OURS, FOREIGN = "https://a.example", "http://localhost:3000", "https://b.example"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
ROUTES = [(path, method) for path, methods in app.app.routes.items() for method in methods]
EVERY_ROUTE = pytest.mark.parametrize(("path", "method"), ROUTES)

Allow = Callable[[str], None]


@pytest.fixture
def allow(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Allow]:
    """Let pages of these origins in, as a deployment's setting does."""

    def set_to(origins: str) -> None:
        monkeypatch.setenv("ALLOWED_ORIGINS", origins)
        services.settings.cache_clear()

    yield set_to
    monkeypatch.undo()
    services.settings.cache_clear()


def ask(api: Api, method: str, path: str, origin: str | None, **headers: str) -> requests.Response:
    url = api.url + path.replace("{record_id}", UNKNOWN)
    given = headers | ({} if origin is None else {"Origin": origin})
    return requests.request(method, url, headers=given, timeout=60)


def preflight(api: Api, path: str, method: str, origin: str) -> requests.Response:
    asked = {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,idempotency-key",
    }
    return ask(api, "OPTIONS", path, origin, **asked)


def assert_readable(reply: requests.Response, by: str | None) -> None:
    """Hold an answer to whose pages may read it: None for those of no other origin."""
    assert reply.headers.get("Access-Control-Allow-Origin") == by
    exposed = reply.headers.get("Access-Control-Expose-Headers")
    assert exposed == (None if by is None else ", ".join(cors.EXPOSED))
    assert "Access-Control-Allow-Credentials" not in reply.headers


@pytest.mark.slow
@EVERY_ROUTE
@pytest.mark.parametrize(
    ("origins", "origin", "readable_by"),
    [
        ("*", OURS, "*"),
        (OURS, OURS, OURS),
        (OURS, FOREIGN, None),
        (f"{OURS},{ALSO_OURS}", ALSO_OURS, ALSO_OURS),
        (f"{OURS},{ALSO_OURS}", "null", None),
        (f"{OURS},{ALSO_OURS}", f"{OURS}.evil.example", None),
        (f"{OURS},{ALSO_OURS}", OURS.upper(), None),
    ],
)
def test_a_page_asks_beforehand_and_then_for_what_it_wants(
    api: Api, allow: Allow, path: str, method: str, origins: str, origin: str, readable_by: str | None
) -> None:
    allow(origins)
    asked = preflight(api, path, method, origin)
    assert (asked.status_code, asked.content) == (204, b"")
    assert_readable(asked, readable_by)
    assert method in asked.headers["Access-Control-Allow-Methods"].split(", ")
    assert asked.headers["Access-Control-Allow-Headers"] == ", ".join(cors.ACCEPTED)
    assert asked.headers["Access-Control-Max-Age"] == "3600"
    reply = ask(api, method, path, origin)
    assert_readable(reply, readable_by)
    for answer in (asked, reply):
        assert answer.headers.get("Vary") == (None if origins == "*" else "Origin")


@EVERY_ROUTE
def test_without_an_origin_an_answer_still_says_that_it_depends_on_it(
    api: Api, allow: Allow, path: str, method: str
) -> None:
    allow(OURS)
    reply = ask(api, method, path, None)
    assert_readable(reply, None)
    assert reply.headers["Vary"] == "Origin"


def test_a_preflight_touches_neither_redis_nor_s3(api: Api, redis_server: "redis.Redis") -> None:
    s3_of(api.bucket).meta.events.register("before-call.s3", lambda **_: pytest.fail("S3 was called"))
    before = redis_server.info("stats")["total_commands_processed"]
    for path, method in ROUTES:
        assert preflight(api, path, method, OURS).status_code == 204
    assert redis_server.info("stats")["total_commands_processed"] == before + 1


def test_options_say_what_a_path_takes(api: Api) -> None:
    reply = requests.options(f"{api.url}/api/v1/thumbnail/{UNKNOWN}", timeout=60)
    assert (reply.status_code, reply.headers["Allow"]) == (204, "GET, HEAD, DELETE, OPTIONS")
    assert "Content-Length" not in reply.headers


def test_what_a_page_does_can_be_read_from_upload_to_removal(api: Api, allow: Allow) -> None:
    allow(OURS)
    page = {"Origin": OURS}
    uploaded = api("POST", files={"image": ("p.jpg", picture())}, headers=page)
    assert_readable(uploaded, OURS)
    path = f"/{uploaded.json()['id']}"
    early = api("GET", f"{path}/download", headers=page)
    assert early.status_code == 409
    api.deliver()
    thumbnail = api("GET", f"{path}/download", headers=page)
    known = page | {"If-None-Match": thumbnail.headers["ETag"]}
    again = api("GET", f"{path}/download", headers=known)
    assert again.status_code == 304
    for reply in (early, thumbnail, again, api("DELETE", path, headers=page)):
        assert_readable(reply, OURS)
        assert reply.headers["Vary"] == "Origin"


ERRORS = [
    ("GET", "/api/v1/thumbnail?limit=0", b"", 400),
    ("GET", f"/api/v1/thumbnail/{UNKNOWN}", b"", 404),
    ("PUT", "/api/v1/thumbnail", b"", 405),
    ("POST", "/api/v1/thumbnail", b"x", 400),
]
OF_THE_GATEWAY = [
    ("GET", "/api/v2/thumbnail", b"", 404),
    ("POST", "/api/v1/thumbnail", bytes(11_000_000), 413),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), ERRORS)
def test_errors_can_be_read_by_those_who_are_allowed_to(
    api: Api, allow: Allow, method: str, path: str, body: bytes, status: int
) -> None:
    allow(f"{OURS},{ALSO_OURS}")
    for origin, readable_by in ((OURS, OURS), (ALSO_OURS, ALSO_OURS), (FOREIGN, None)):
        reply = requests.request(method, api.url + path, data=body, headers={"Origin": origin}, timeout=60)
        assert reply.status_code == status
        assert_readable(reply, readable_by)


@pytest.mark.parametrize(("origins", "readable_by"), [("*", "*"), (OURS, OURS), (f"{OURS},{ALSO_OURS}", "*")])
@pytest.mark.parametrize(("method", "path", "body", "status"), OF_THE_GATEWAY)
def test_errors_of_the_gateway_name_one_origin_or_none(
    api: Api,
    allow: Allow,
    method: str,
    path: str,
    body: bytes,
    status: int,
    origins: str,
    readable_by: str,
) -> None:
    allow(origins)
    reply = requests.request(method, api.url + path, data=body, headers={"Origin": ALSO_OURS}, timeout=60)
    assert reply.status_code == status
    assert_readable(reply, readable_by)


@pytest.mark.usefixtures("fault")
def test_a_fault_can_be_read(api: Api, allow: Allow) -> None:
    allow(OURS)
    reply = ask(api, "GET", "/api/v1/thumbnail/{record_id}", OURS)
    assert reply.status_code == 500
    assert_readable(reply, OURS)


def test_that_there_are_too_many_requests_can_be_read(api: Api, allow: Allow, full: ExitStack) -> None:
    allow(OURS)
    reply = ask(api, "GET", "/api/v1/thumbnail", OURS)
    assert reply.status_code == 429
    assert_readable(reply, OURS)


def test_that_there_are_too_many_connections_can_be_read(api: Api, allow: Allow) -> None:
    allow(OURS)
    with ExitStack() as stack:
        connections: list[socket.socket] = [stack.enter_context(connect(api)) for _ in range(CONNECTIONS + 1)]
        assert connections
        reply = requests.get(api.url + PULSE, headers={"Origin": OURS}, timeout=60)
    assert reply.status_code == 429
    assert_readable(reply, OURS)
