"""A deployment that knows owners: who is let in, and that each sees what is theirs alone, on every route."""

import functools
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import requests

import app
from app import V1
from chalicelib import naming, services
from chalicelib.records.record import UNRESTRICTED
from chalicelib.records.store import RecordStore
from chalicelib.settings import SettingsError
from deploy import template
from local.gateway import authorizers
from local.owners import TRIAL, token, with_trial_owners
from tests.conftest import Api, keys_in, picture

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

UNKNOWN = "00000000-0000-4000-8000-000000000000"
OPEN = {"/", f"{V1}/openapi.json", f"{V1}/system/pulse"}
CLOSED = [
    (method, path)
    for path, methods in sorted(app.app.routes.items())
    for method in sorted(methods)
    if path not in OPEN
]


@pytest.fixture
def owned(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The API with owners on, and a session that says nothing of who asks."""
    for name, value in TRIAL.items():
        monkeypatch.setenv(name, value)
    services.settings.cache_clear()
    services.tokens.cache_clear()
    authorizers.forget()
    yield api
    monkeypatch.undo()
    services.settings.cache_clear()
    services.tokens.cache_clear()


@functools.cache
def bearer(subject: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(subject, TRIAL)}"}


def one_that(**claims: Any) -> str:
    """A token with these claims beside, or instead of, good ones."""
    good = {"iss": TRIAL["AUTH_ISSUER"], "aud": "thumbnails", "sub": "alice", "exp": time.time() + 3600}
    return jwt.encode(good | claims, TRIAL["AUTH_SECRET"], algorithm="HS256")


def client(api: Api, subject: str) -> Callable[..., requests.Response]:
    """Requests of one owner."""

    def ask(method: str, path: str = "", **kwargs: Any) -> requests.Response:
        return api(method, path, headers=bearer(subject) | kwargs.pop("headers", {}), **kwargs)

    return ask


Client = Callable[..., requests.Response]


@pytest.fixture
def alice(owned: Api) -> Client:
    return client(owned, "alice")


@pytest.fixture
def bob(owned: Api) -> Client:
    return client(owned, "bob")


def upload(ask: Client, seed: int = 0, **kwargs: Any) -> dict[str, Any]:
    reply = ask("POST", files={"image": ("photo.jpg", picture(seed=seed))}, **kwargs)
    assert reply.status_code == 201, reply.text
    record: dict[str, Any] = reply.json()
    return record


# --- who is let in ---


def gateway_response(kind: str) -> dict[str, Any]:
    responses = template.stack()["Resources"]["RestAPI"]["Properties"]["GatewayResponses"]
    found: dict[str, Any] = responses[kind]
    return found


def assert_as_on_aws(reply: requests.Response, kind: str) -> None:
    """The answer is the one that the stack tells API Gateway to give."""
    wanted = gateway_response(kind)
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


def test_when_nobody_can_say_it_is_403_and_the_log_says_why(
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
    wanted = gateway_response("AUTHORIZER_FAILURE")
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


# --- what is whose ---


def without_id(reply: requests.Response) -> tuple[int, str, dict[str, str]]:
    headers = {name: value for name, value in reply.headers.items() if name != "Date"}
    return reply.status_code, reply.text, headers


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("HEAD", ""), ("GET", "/download"), ("GET", "/url"), ("DELETE", "")]
)
@pytest.mark.parametrize("ready", [False, True])
def test_anothers_picture_is_as_one_that_is_not(
    owned: Api, alice: Client, bob: Client, method: str, path: str, ready: bool
) -> None:
    record = upload(alice)
    if ready:
        owned.deliver()
    before = alice("GET", f"/{record['id']}").json()
    theirs, none = bob(method, f"/{record['id']}{path}"), bob(method, f"/{UNKNOWN}{path}")
    assert without_id(theirs) == without_id(none)
    assert theirs.status_code == 404
    assert alice("GET", f"/{record['id']}").json() == before
    assert alice("GET").json() == [before]
    assert alice("DELETE", f"/{record['id']}").json() == before
    assert keys_in(owned.bucket) == []


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/download"), ("GET", "/url"), ("DELETE", "")]
)
def test_asking_for_anothers_costs_what_asking_for_none_does(
    owned: Api,
    alice: Client,
    bob: Client,
    redis_server: "redis.Redis",
    method: str,
    path: str,
) -> None:
    """The same calls of Redis and S3, and as many bytes from Redis: no clock can tell one from the other."""
    record = upload(alice)
    owned.deliver()
    asked_s3: list[str] = []
    services.bucket()._s3.meta.events.register(
        "before-call.s3", lambda model, **_: asked_s3.append(model.name)
    )

    def calls(record_id: str) -> tuple[dict[str, int], list[str], int]:
        redis_server.config_resetstat()
        asked_s3.clear()
        assert bob(method, f"/{record_id}{path}").status_code == 404
        sent: Any = redis_server.info("stats")
        stats: Any = redis_server.info("commandstats")
        counts = {name: stat["calls"] for name, stat in stats.items() if "config" not in name}
        return counts, list(asked_s3), sent["total_net_output_bytes"]

    calls(UNKNOWN)  # scripts are loaded
    theirs, none = calls(record["id"]), calls(UNKNOWN)
    assert theirs == none
    assert sum(none[0].values()) >= 1
    assert none[2] < 50, "nothing of a record"


def test_lists_are_each_owners_own_page_by_page(owned: Api, alice: Client, bob: Client) -> None:
    ids: dict[Client, list[str]] = {alice: [], bob: []}
    for ask, seed in itertools.product((alice, bob), range(3)):
        ids[ask].append(upload(ask, seed)["id"])
    for ask, wanted in ids.items():
        assert [record["id"] for record in ask("GET").json()] == wanted[::-1]
        first = ask("GET", "?limit=2")
        path = first.links["next"]["url"].removeprefix(f"{V1}/thumbnail")
        assert [record["id"] for record in first.json() + ask("GET", path).json()] == wanted[::-1]
    # Another's cursor says where to go on, and shows nothing of theirs.
    path = alice("GET", "?limit=2").links["next"]["url"].removeprefix(f"{V1}/thumbnail")
    assert {record["id"] for record in bob("GET", path).json()} <= set(ids[bob])


def test_each_downloads_their_own(owned: Api, alice: Client, bob: Client) -> None:
    mine, theirs = upload(alice, 1), upload(bob, 2)
    owned.deliver()
    reply = alice("GET", f"/{mine['id']}/download")
    assert reply.status_code == 200
    assert "private" in reply.headers["Cache-Control"]
    etag = {"If-None-Match": reply.headers["ETag"]}
    assert alice("GET", f"/{mine['id']}/download", headers=etag).status_code == 304
    assert bob("GET", f"/{mine['id']}/download", headers=etag).status_code == 404
    assert alice("GET", f"/{theirs['id']}/download", headers={"If-None-Match": "*"}).status_code == 404


def test_idempotency_keys_are_each_owners_own(owned: Api, alice: Client, bob: Client) -> None:
    key = {"Idempotency-Key": "the-same"}
    mine, theirs = upload(alice, headers=key), upload(bob, headers=key)
    assert mine["id"] != theirs["id"]
    assert upload(alice, headers=key)["id"] == mine["id"]
    other = bob("POST", files={"image": ("photo.jpg", picture(seed=9))}, headers=key)
    assert other.status_code == 422
    assert alice("DELETE", f"/{mine['id']}").status_code == 200
    assert upload(bob, headers=key)["id"] == theirs["id"]


def test_presigned_uploads_are_each_owners_own(owned: Api, alice: Client, bob: Client) -> None:
    presigned = alice("POST", "/upload", json={"filename": "big.jpg"}).json()
    path = f"/{presigned['id']}"
    assert alice("GET", path).status_code == 200
    for method in ("GET", "DELETE"):
        assert bob(method, path).status_code == 404
    sent = requests.post(presigned["url"], data=presigned["fields"], files={"file": picture()}, timeout=60)
    assert sent.ok
    owned.deliver()
    assert bob("GET").json() == []
    assert bob("GET", path).status_code == 404
    assert [record["ready"] for record in alice("GET").json()] == [True]
    assert alice("DELETE", path).status_code == 200
    assert keys_in(owned.bucket) == []


def test_what_is_put_into_the_bucket_has_no_owner_and_is_seen_by_nobody(
    owned: Api, alice: Client, s3: "S3Client", store: RecordStore
) -> None:
    s3.put_object(Bucket=owned.bucket.name, Key="originals/a.jpg", Body=picture())
    owned.deliver()
    record_id = naming.record_id("originals/a.jpg")
    found = store.get(record_id, UNRESTRICTED)
    assert found is not None
    assert (found.state, found.owner) == ("ready", None)
    assert alice("GET").json() == []
    for method, path in (("GET", ""), ("GET", "/download"), ("DELETE", "")):
        assert alice(method, f"/{record_id}{path}").status_code == 404


def test_what_was_uploaded_before_owners_were_on_is_seen_by_nobody(
    api: Api, request: pytest.FixtureRequest
) -> None:
    record = api.upload()
    alice: Client = request.getfixturevalue("alice")
    assert alice("GET").json() == []
    assert alice("GET", f"/{record['id']}").status_code == 404


@pytest.mark.parametrize(
    "subject",
    ["a" * 255, "é" * 127, "auth0|5f7c8ec7c33c6c004bbafe82", "a:b*c?[d]\\ \0\n", "a" * 32, "records", "{x}"],
)
def test_any_subject_will_do(owned: Api, subject: str, alice: Client) -> None:
    ask = client(owned, subject)
    record = upload(ask)
    owned.deliver()
    assert [found["id"] for found in ask("GET").json()] == [record["id"]]
    assert alice("GET").json() == []
    assert ask("DELETE", f"/{record['id']}").status_code == 200


def test_owners_survive_the_loss_of_redis(
    owned: Api, alice: Client, bob: Client, redis_server: "redis.Redis"
) -> None:
    from chalice.local import LambdaContext

    mine = upload(alice)
    owned.deliver()
    before = alice("GET").json()
    redis_server.flushall()
    app.rebuild({}, LambdaContext("rebuild", 2048, 900_000))
    assert alice("GET").json() == before
    assert bob("GET").json() == []
    assert bob("GET", f"/{mine['id']}").status_code == 404


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
