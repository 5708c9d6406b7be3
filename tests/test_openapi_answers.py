"""The API's description is true of what the service answers: every status of every operation."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

import app
from chalicelib import services
from chalicelib.clients import redis_client
from chalicelib.clock import now_ms
from chalicelib.http.multipart import FIELD
from chalicelib.records.store import RecordStore
from tests.conftest import Api, picture
from tests.described import OPERATIONS, SHARED, ask, assert_described, examples
from tests.test_gateway import full
from tests.test_openapi import RAISES

__all__ = ["full"]  # a fixture


def pending(api: Api) -> dict[str, Any]:
    return {"record_id": api.upload()["id"]}


def ready(api: Api) -> dict[str, Any]:
    found = pending(api)
    api.deliver()
    return found


def failed(api: Api) -> dict[str, Any]:
    record_id = api.upload(picture()[:400])["id"]
    api.deliver()
    return {"record_id": record_id}


def known(api: Api) -> dict[str, Any]:
    found = ready(api)
    tag = ask(api, "getThumbnail", found["record_id"]).headers["ETag"]
    return found | {"headers": {"If-None-Match": tag}}


def seen(api: Api) -> dict[str, Any]:
    return {"headers": {"If-None-Match": ask(api, "getPage").headers["ETag"]}}


def put_into_bucket(api: Api) -> str:
    api.bucket.put("originals/team1/photo.jpg", picture(), content_type="image/jpeg")
    api.deliver()
    return "originals/team1/photo.jpg"


def form(content: bytes) -> dict[str, Any]:
    return {"files": {FIELD: ("photo.jpg", content)}}


def parameter(name: str, operation: str) -> dict[str, Any]:
    """The example of a parameter, as it is sent."""
    (found,) = (one for one in OPERATIONS[operation].says["parameters"] if one["name"] == name)
    return {name: str(found["example"])}


def used_key(api: Api) -> dict[str, Any]:
    headers: dict[str, Any] = {"headers": parameter("Idempotency-Key", "uploadPicture")}
    assert ask(api, "uploadPicture", **form(picture()), **headers).status_code == 201
    return form(picture(seed=1)) | headers


def removed_key(api: Api) -> dict[str, Any]:
    again = used_key(api)
    (record,) = api("GET").json()
    ask(api, "deleteRecord", record["id"])
    return again


class Case(NamedTuple):
    """A request, and the status that it is to get."""

    operation: str
    status: int
    arrange: Callable[[Api], dict[str, Any]]
    expires_after_download: bool = False


def case(operation: str, status: int, **kwargs: Any) -> Case:
    return Case(operation, status, lambda _: kwargs)


ORDERS = OPERATIONS["createUpload"].says["requestBody"]["content"]["application/json"]
OTHER_TAG = parameter("If-None-Match", "getThumbnail")
CASES = [
    case("getDescription", 200),
    case("getPage", 200),
    Case("getPage", 304, seen),
    case("getPulse", 200),
    case("getHealth", 200),
    case("getRecords", 200, params=parameter("limit", "getRecords")),
    Case("getRecords", 200, lambda api: {"params": {"limit": len([pending(api), ready(api)]) - 1}}),
    case("getRecords", 400, params={"limit": 0}),
    case("getRecords", 400, params={"cursor": "x"}),
    case("getRecords", 400, params={"urls": "59"}),
    case("getRecords", 400, params={"key": ""}),
    case("getRecords", 400, params={"key": "originals/a.jpg", "cursor": "x"}),
    Case("getRecords", 409, lambda _: {"params": {"urls": 60}}, expires_after_download=True),
    Case("getRecords", 200, lambda api: {"params": {"urls": len([ready(api)]) * 60}}),
    Case("getRecords", 200, lambda api: {"params": {"key": put_into_bucket(api)}}),
    case("uploadPicture", 201, **form(picture())),
    case(
        "uploadPicture",
        201,
        **form(picture()),
        headers=parameter("Idempotency-Key", "uploadPicture"),
    ),
    case("uploadPicture", 400, json={}),
    case("uploadPicture", 400, **form(b"")),
    case("uploadPicture", 413, **form(bytes(11_000_000))),
    case("uploadPicture", 415, **form(b"%PDF-1.7\n")),
    Case("uploadPicture", 422, used_key),
    Case("uploadPicture", 422, removed_key),
    *(case("createUpload", 201, json=order) for order in examples(ORDERS)),
    case("createUpload", 400, data="filename=photo.jpg"),
    case("createUpload", 413, data=bytes(11_000_000)),
    case("createUpload", 415, json={"filename": "photo.svg", "content_type": "image/svg+xml"}),
    Case("getRecord", 200, pending),
    Case("getRecord", 200, ready),
    Case("getRecord", 200, failed),
    Case("getRecord", 200, lambda api: ready(api) | {"params": {"urls": 60}}),
    case("getRecord", 400, params={"urls": "3601"}),
    case("getRecord", 404),
    Case("getRecord", 409, lambda _: {"params": {"urls": 60}}, expires_after_download=True),
    Case(
        "getThumbnailUrl", 200, lambda api: ready(api) | {"params": parameter("seconds", "getThumbnailUrl")}
    ),
    case("getThumbnailUrl", 400, params={"seconds": "1e3"}),
    case("getThumbnailUrl", 404),
    Case("getThumbnailUrl", 409, pending),
    Case("getThumbnailUrl", 409, ready, expires_after_download=True),
    Case("getThumbnailUrl", 422, failed),
    Case("deleteRecord", 200, pending),
    Case("deleteRecord", 200, ready),
    Case("deleteRecord", 200, failed),
    case("deleteRecord", 404),
    Case("getThumbnail", 200, ready),
    Case("getThumbnail", 200, lambda api: ready(api) | {"headers": OTHER_TAG}),
    Case("getThumbnail", 304, known),
    case("getThumbnail", 404),
    Case("getThumbnail", 409, pending),
    Case("getThumbnail", 422, failed),
]


@pytest.mark.parametrize("asked", CASES, ids=lambda asked: f"{asked.operation}-{asked.status}")
def test_an_answer_is_as_it_is_described(api: Api, asked: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    if asked.expires_after_download:
        monkeypatch.setenv("RETENTION_AFTER_DOWNLOAD", "60")
        services.settings.cache_clear()
    kwargs = asked.arrange(api)
    names = [asked.operation]
    if asked.operation.startswith("get"):
        names.insert(0, asked.operation.replace("get", "head", 1))
    for name in names:
        reply = ask(api, name, **kwargs)
        assert reply.status_code == asked.status, reply.text
        assert_described(OPERATIONS[name], reply)


def test_each_status_that_is_an_operations_own_is_seen() -> None:
    own = {
        (name, status)
        for name, operation in OPERATIONS.items()
        for status in operation.responses()
        if status not in SHARED and not name.startswith("head")
    }
    assert {(asked.operation, asked.status) for asked in CASES} == own


def with_a_body(name: str) -> dict[str, Any]:
    return {"uploadPicture": form(picture()), "createUpload": {"json": examples(ORDERS)[0]}}.get(name, {})


@pytest.mark.parametrize("name", [name for name, raised in RAISES.items() if raised])
def test_without_redis(api: Api, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = RecordStore(redis_client("redis://127.0.0.1:1", timeout=1), now_ms)
    monkeypatch.setattr(app, "store", lambda: nowhere)
    reply = ask(api, name, **with_a_body(name))
    assert reply.status_code == 503
    assert_described(OPERATIONS[name], reply)


def test_beyond_the_gateways_limits(api: Api, full: ExitStack) -> None:
    for name in OPERATIONS.keys() - {"getPulse", "headPulse"}:
        reply = ask(api, name, **with_a_body(name))
        assert reply.status_code == 429
        assert_described(OPERATIONS[name], reply)


@pytest.mark.usefixtures("fault")
@pytest.mark.parametrize("name", ["getRecord", "getThumbnail"])
def test_a_fault(api: Api, name: str) -> None:
    reply = ask(api, name)
    assert reply.status_code == 500
    assert_described(OPERATIONS[name], reply)
