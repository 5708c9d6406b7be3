"""Errors of the local gateway's own: which response each gets, that pages can read it, and what is logged."""

import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests

import app
from chalicelib import services
from chalicelib.http.openapi import DOCUMENT
from local import gateway
from local.gateway import AT_ONCE, MAX_EVENT, Authorizers, refuse
from tests.conftest import Api, SettableClock
from tests.inside import GatewayError, gateway_route, gateway_slots
from tests.made_stack import gateway_responses
from tests.test_gateway import assert_is_gateway_response

V1 = "/api/v1"
ORIGIN = "https://pages.example"


class Odd(Exception):
    """What no code foresees."""


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the API function fail as a whole, or answer nothing that a gateway can read."""

    def make(kind: str) -> None:
        def broken(*_: object) -> Any:
            if kind == "raises":
                raise Odd("with a secret")
            answers = {
                "no status": {"headers": {}, "body": ""},
                # Two bytes each, in the string that a body is in Lambda's response.
                "too much": {"statusCode": 200, "headers": {}, "body": '"' * (MAX_EVENT // 2)},
            }
            return answers.get(kind) or {}

        monkeypatch.setattr(gateway, "app", Routed(broken))

    return make


class Routed:
    """The app's routes, with another function behind them."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.routes = app.app.routes
        self.function = function

    def __call__(self, event: dict[str, Any], context: object) -> Any:
        return self.function(event, context)


@pytest.mark.parametrize("kind", ["raises", "no body", "no status", "too much"])
def test_a_function_that_fails_is_503_and_says_nothing_of_why(
    api: Api, fails: Callable[[str], None], caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    fails(kind)
    reply = api("GET")
    assert_is_gateway_response(reply, "INTEGRATION_FAILURE")
    assert reply.headers["Retry-After"] == "5"
    assert "secret" not in reply.text
    (line,) = [one for one in caplog.records if one.getMessage() == "the API function failed"]
    assert line.levelno == logging.ERROR
    assert line.exc_info is not None


def test_a_function_that_fails_gives_its_slot_back(api: Api, fails: Callable[[str], None]) -> None:
    fails("raises")
    for _ in range(AT_ONCE + 1):
        assert api("GET").status_code == 503
    taken = [gateway_slots().acquire(blocking=False) for _ in range(AT_ONCE)]
    for _ in filter(None, taken):
        gateway_slots().release()
    assert all(taken)


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1/thumbnails", "/api/v1/thumbnail/a/b", "/api/v1//"])
def test_a_path_that_is_none_is_404_for_every_method(api: Api, path: str) -> None:
    if path == "/":
        path = "/nothing"
    for method in ("GET", "POST", "DELETE", "PATCH"):
        reply = api.session.request(method, api.url + path, timeout=30)
        assert_is_gateway_response(reply, "MISSING_AUTHENTICATION_TOKEN")


def test_a_path_without_a_parameter_wins_and_an_empty_parameter_is_none(api: Api) -> None:
    assert gateway_route(f"{V1}/thumbnail/upload")[0] == f"{V1}/thumbnail/upload"
    assert gateway_route(f"{V1}/thumbnail/x") == (f"{V1}/thumbnail/{{record_id}}", {"record_id": "x"})
    assert gateway_route(f"{V1}/thumbnail/") == (f"{V1}/thumbnail", {})
    assert gateway_route(f"{V1}/thumbnail/x/download/")[1] == {"record_id": "x"}
    reply = requests.get(f"{api.url}{V1}/thumbnail//download", timeout=30)
    assert_is_gateway_response(reply, "MISSING_AUTHENTICATION_TOKEN")


def test_pages_of_allowed_origins_can_read_every_error(
    api: Api, monkeypatch: pytest.MonkeyPatch, fails: Callable[[str], None]
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", ORIGIN)
    services.settings.cache_clear()
    fails("raises")
    asked = {"Origin": ORIGIN}
    for path, status in ((f"{V1}/thumbnail", 503), ("/nothing", 404)):
        reply = requests.get(api.url + path, headers=asked, timeout=30)
        assert (reply.status_code, reply.headers["Access-Control-Allow-Origin"]) == (status, ORIGIN)
        assert "Retry-After" in reply.headers["Access-Control-Expose-Headers"]
    monkeypatch.undo()
    services.settings.cache_clear()


@pytest.mark.parametrize(
    ("status", "kind"), [(413, "REQUEST_TOO_LARGE"), (429, "THROTTLED"), (500, "DEFAULT_5XX")]
)
@pytest.mark.usefixtures("api")
def test_an_error_that_api_gateway_has_a_response_for_gets_it(status: int, kind: str) -> None:
    headers, body = refuse(status, "In the server's words.")
    assert body.decode() == gateway_responses()[kind]["ResponseTemplates"]["application/json"]
    assert dict(headers)["Content-Type"] == "application/json"
    assert ("Retry-After" in dict(headers)) == (status == 429)


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        (400, "Send the header Host.", "Send the header Host."),
        (400, "invalid literal", "The request is not well-formed HTTP/1.1."),
        (400, "", "The request is not well-formed HTTP/1.1."),
        (408, "Slow.", "The request took longer than 60 seconds to arrive."),
        (431, "Large.", "The headers are too large; send fewer or shorter ones."),
        (421, "", "Only local host names are served; ALLOWED_HOSTS allows others."),
        (505, "Odd.", "The request is not well-formed HTTP/1.1."),
    ],
)
@pytest.mark.usefixtures("api")
def test_an_error_of_http_itself_is_one_sentence(status: int, reason: str, said: str) -> None:
    headers, body = refuse(status, reason)
    assert json.loads(body) == {"error": said}
    told = dict(headers)
    assert told["Content-Type"] == "application/json"
    assert told["Access-Control-Allow-Origin"] == "*"


class Authorizer:
    """An authorizer as the app has one, that admits all and counts how often it is asked."""

    name = "authorize"

    def __init__(self, ttl_seconds: int | None) -> None:
        self.config = type("Config", (), {"ttl_seconds": ttl_seconds})
        self.asked: list[str] = []

    def __call__(self, event: dict[str, Any], context: object) -> dict[str, Any]:
        self.asked.append(event["authorizationToken"])
        statement = {"Effect": "Allow", "Resource": ["*"]}
        return {"principalId": "a", "context": {"b": "c"}, "policyDocument": {"Statement": [statement]}}


@pytest.mark.parametrize(("ttl", "kept_seconds"), [(60, 60), (None, 300), (0, 0)])
def test_an_answer_is_kept_for_its_time_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, ttl: int | None, kept_seconds: int
) -> None:
    now = 1000.0
    monkeypatch.setattr("local.gateway.time.monotonic", lambda: now)
    asked, authorizers = Authorizer(ttl), Authorizers()

    def allow(token: str) -> dict[str, Any]:
        return authorizers.allow(asked, token, "GET", "/a")

    assert allow("x") == allow("x") == {"principalId": "a", "b": "c"}
    assert len(asked.asked) == (1 if kept_seconds else 2)
    for later in [kept_seconds - 0.5, 0.5] if kept_seconds else [0.5]:
        now += later
        before = len(asked.asked)
        allow("x")
    assert len(asked.asked) == before + 1
    assert before == (1 if kept_seconds else 2), "asked again when the time was over, and not before"


def test_a_thousand_answers_are_kept_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, authorizers = Authorizer(60), Authorizers()
    monkeypatch.setattr("local.gateway.time.monotonic", lambda: 1000.0)
    for number in range(1000):
        authorizers.allow(asked, str(number), "GET", "/a")
    authorizers.allow(asked, "0", "GET", "/a")
    assert len(asked.asked) == 1000, "the first is still there"
    authorizers.allow(asked, "1000", "GET", "/a")
    authorizers.allow(asked, "1", "GET", "/a")
    assert len(asked.asked) == 1001
    authorizers.allow(asked, "0", "GET", "/a")
    assert len(asked.asked) == 1002


@pytest.mark.parametrize("token", [None, "", "Bearer ü"])
def test_no_authorizer_is_asked_about_what_can_be_no_token(token: str | None) -> None:
    asked = Authorizer(60)
    with pytest.raises(GatewayError, match=r"^UNAUTHORIZED$"):
        Authorizers().allow(asked, token, "GET", "/a")
    assert asked.asked == []


def test_what_waits_for_a_function_that_hangs_holds_up_no_other(
    api: Api, monkeypatch: pytest.MonkeyPatch, clock: SettableClock
) -> None:
    """Requests are answered by threads: as many as there are slots may hang."""
    arrived, leave = threading.Semaphore(0), threading.Event()

    def hang(_: dict[str, Any], __: object) -> dict[str, Any]:
        arrived.release()
        leave.wait(60)
        return {"statusCode": 200, "headers": {}, "body": "[]"}

    monkeypatch.setattr(gateway, "app", Routed(hang))
    waiting = [
        threading.Thread(target=lambda: requests.get(f"{api.url}{V1}/thumbnail", timeout=90))
        for _ in range(AT_ONCE)
    ]
    for thread in waiting:
        thread.start()
    try:
        for _ in waiting:
            assert arrived.acquire(timeout=60)
        assert_is_gateway_response(api("GET"), "THROTTLED")
    finally:
        leave.set()
        for thread in waiting:
            thread.join(60)


def test_what_it_says_of_tokens_and_keys_is_described_in_its_words() -> None:
    for status, kinds in {"401": ["UNAUTHORIZED"], "403": ["ACCESS_DENIED", "INVALID_API_KEY"]}.items():
        described = DOCUMENT["components"]["responses"][status]["content"]["application/json"]
        assert [example["value"] for example in described["examples"].values()] == [
            json.loads(gateway_responses()[kind]["ResponseTemplates"]["application/json"]) for kind in kinds
        ]
