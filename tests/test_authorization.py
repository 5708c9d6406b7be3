"""A deployment that knows owners: who is let in, and what the gateway does with the authorizer's answers."""

import json
import re
import time
from typing import Any

import jwt
import pytest
import requests

import app
from app import V1
from chalicelib import services
from chalicelib.settings import SettingsError
from local.owners import TRIAL, token, with_trial_owners
from tests.conftest import Api
from tests.made_stack import gateway_responses
from tests.owned import CLOSED, OPEN, UNKNOWN, alice, bearer, bob, one_that, owned

__all__ = ["alice", "bob", "owned"]  # fixtures


def assert_as_on_aws(reply: requests.Response, kind: str) -> None:
    """The answer is the one that the stack tells API Gateway to give."""
    wanted = gateway_responses()[kind]
    assert reply.status_code == wanted["StatusCode"]
    assert reply.json() == json.loads(wanted["ResponseTemplates"]["application/json"])
    assert reply.headers["Content-Type"] == "application/json"
    challenge = wanted["ResponseParameters"]["Headers"]["WWW-Authenticate"].strip("'")
    assert reply.headers["WWW-Authenticate"] == challenge


def send(api: Api, method: str, path: str, headers: dict[str, str]) -> requests.Response:
    path = path.replace("{record_id}", UNKNOWN)
    return api.session.request(method, api.url + path, headers=headers, timeout=60)


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_nobody_is_let_in_without_a_good_token(owned: Api, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": f"Bearer {one_that(exp=1)}"}):
        reply = send(owned, method, path, headers)
        assert reply.status_code == 401
        if method != "HEAD":
            assert_as_on_aws(reply, "UNAUTHORIZED")
    assert send(owned, method, path, bearer("alice")).status_code not in {401, 403}


@pytest.mark.parametrize("path", sorted(OPEN))
def test_some_paths_are_open(owned: Api, path: str) -> None:
    assert send(owned, "GET", path, {}).status_code == 200
    assert send(owned, "GET", path, {"Authorization": "Bearer nonsense"}).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer x",
        "Basic YTpi",
        "Bearer \xe9.\xe9.\xe9",
        f"Bearer {one_that(sub='')}",
        f"Bearer {one_that(aud='else')}",
        f"Bearer {one_that(iss='else')}",
        f"Bearer {jwt.encode({'sub': 'alice'}, '', algorithm='none')}",
        f"Bearer {one_that(more='x' * 20_000)}",
    ],
)
def test_a_bad_token_is_401_and_the_log_says_why(
    owned: Api, authorization: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert_as_on_aws(send(owned, "GET", f"{V1}/thumbnail", {"Authorization": authorization}), "UNAUTHORIZED")
    # Of what is not there, or is no ASCII, API Gateway does not ask.
    if authorization and authorization.isascii():
        (line,) = [record for record in caplog.records if record.getMessage() == "token refused"]
        assert vars(line)["reason"].endswith(".")
        assert not any(part in str(vars(line)) for part in authorization.split(".") if len(part) > 12)


def test_an_authorizer_that_fails_refuses_with_403_and_logs_the_cause(
    owned: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AUTH_ALGORITHM", "RS256")
    monkeypatch.delenv("AUTH_SECRET")
    monkeypatch.setenv("AUTH_JWKS_URL", "http://127.0.0.1:1/keys")
    services.settings.cache_clear()
    payload = "eyJzdWIiOiJhbGljZSJ9"
    by_keys = f"Bearer eyJhbGciOiJSUzI1NiJ9.{payload}.AAAA"
    assert_as_on_aws(send(owned, "GET", f"{V1}/thumbnail", {"Authorization": by_keys}), "ACCESS_DENIED")
    (line,) = [record for record in caplog.records if record.getMessage() == "token not checked"]
    assert "http://127.0.0.1:1/keys" in str(line.exc_info)
    assert payload not in caplog.text
    for path in OPEN:
        assert send(owned, "GET", path, {}).status_code == 200


def test_a_path_that_is_none_stays_one(owned: Api) -> None:
    for authorization in ("Bearer x", "Bearer \xe9", bearer("alice")["Authorization"]):
        assert send(owned, "GET", "/api/v1/none", {"Authorization": authorization}).status_code == 404
    assert send(owned, "PATCH", f"{V1}/thumbnail", {}).status_code == 405


def test_what_the_gateway_has_not_checked_is_shown_to_nobody(owned: Api) -> None:
    """As on AWS, were a stage not to ask the authorizer."""
    from tests.lambda_events import http_event

    event = http_event("GET", f"{V1}/thumbnail")
    assert app.app(event, None)["statusCode"] == 401
    event["requestContext"]["authorizer"] = {"principalId": "alice"}
    assert app.app(event, None)["statusCode"] == 200


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every event that the authorizer gets."""
    events: list[dict[str, Any]] = []
    judge = app.authorize.func

    def note(request: Any) -> Any:
        events.append({"token": request.token, "arn": request.method_arn})
        return judge(request)

    monkeypatch.setattr(app.authorize, "func", note)
    return events


def test_the_gateway_keeps_the_authorizers_answer_for_a_token_as_long_as_it_may(
    owned: Api, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for subject in ("alice", "bob", "alice", "bob"):
        for method, path in (("GET", f"{V1}/thumbnail"), ("DELETE", f"{V1}/thumbnail/{UNKNOWN}")):
            assert send(owned, method, path, bearer(subject)).status_code in {200, 404}
    assert [event["token"] for event in asked] == [bearer(one)["Authorization"] for one in ("alice", "bob")]
    assert asked[0]["arn"].endswith("/GET/api/v1/thumbnail")
    now = time.monotonic()
    monkeypatch.setattr("local.gateway.time.monotonic", lambda: now + app.AUTHORIZED_SECONDS + 1)
    assert send(owned, "GET", f"{V1}/thumbnail", bearer("alice")).status_code == 200
    assert len(asked) == 3


def test_the_gateway_does_not_keep_a_refusal(owned: Api, asked: list[dict[str, Any]]) -> None:
    for _ in range(2):
        assert send(owned, "GET", f"{V1}/thumbnail", {"Authorization": "Bearer x"}).status_code == 401
    assert len(asked) == 2
    # Without a token there is nothing to ask about.
    assert send(owned, "GET", f"{V1}/thumbnail", {}).status_code == 401
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("statements", "status"),
    [
        ([], 403),
        ([{"Effect": "Allow", "Resource": ["*/GET/api/v1/other"]}], 403),
        ([{"Effect": "Allow", "Resource": ["*/GET/api/v1/thumbnail"]}], 200),
        ([{"Effect": "Allow", "Resource": ["*"]}, {"Effect": "Deny", "Resource": ["*/GET/*"]}], 403),
    ],
)
def test_the_gateway_goes_by_the_policy(
    owned: Api, monkeypatch: pytest.MonkeyPatch, statements: list[dict[str, Any]], status: int
) -> None:
    answer = {"principalId": "alice", "context": {}, "policyDocument": {"Statement": statements}}
    monkeypatch.setattr(app.authorize, "func", lambda _: answer)
    assert send(owned, "GET", f"{V1}/thumbnail", bearer("alice")).status_code == status


def test_an_authorizer_that_fails_is_503(owned: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(app.authorize, "func", fail)
    reply = send(owned, "GET", f"{V1}/thumbnail", bearer("alice"))
    wanted = gateway_responses()["AUTHORIZER_FAILURE"]
    assert (reply.status_code, reply.headers["Retry-After"]) == (wanted["StatusCode"], "5")


def test_the_authorizer_allows_all_and_tells_who_it_is(owned: Api) -> None:
    arn = "arn:aws:execute-api:us-east-1:123456789012:abc123/live/GET/api/v1/thumbnail"
    event = {"type": "TOKEN", "methodArn": arn, "authorizationToken": bearer("ålice")["Authorization"]}
    answer = app.authorize(event, None)
    (statement,) = answer["policyDocument"]["Statement"]
    # API Gateway keeps the answer for the token, whatever is asked for next.
    assert statement["Resource"] == ["arn:aws:execute-api:us-east-1:123456789012:abc123/live/*/*"]
    assert (answer["principalId"], answer["context"]) == ("ålice", {})


def test_without_owners_no_token_is_asked_for_nor_looked_at(api: Api) -> None:
    record = api.upload()
    for headers in ({}, {"Authorization": "Bearer nonsense"}, bearer("alice")):
        assert api("GET", headers=headers).json() == [record]
        assert api("GET", f"/{record['id']}", headers=headers).json() == record


# --- tokens for trials ---


def test_trial_owners_give_way_to_an_issuer_that_is_named() -> None:
    assert with_trial_owners({}) == TRIAL
    named = {"AUTH_ISSUER": "https://issuer.example.com"}
    assert with_trial_owners(named) == named
    with pytest.raises(SettingsError, match=r"^AUTH_ALGORITHM must be HS256"):
        token("alice", named | {"AUTH_JWKS_URL": "https://issuer.example.com/keys"})


def test_the_trial_secret_is_no_default_of_the_service() -> None:
    from deploy import ROOT

    for path in [ROOT / "app.py", *(ROOT / "chalicelib").rglob("*.py"), *(ROOT / ".chalice").rglob("*.*")]:
        if path.is_file():
            assert not re.search(re.escape(TRIAL["AUTH_SECRET"]), path.read_text())
