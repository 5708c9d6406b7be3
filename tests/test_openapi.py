"""The API's description is sound, complete, and true of the running service."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin

import pytest
import requests
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

import app
from chalicelib import errors, services, triggers
from chalicelib.clients import redis_client
from chalicelib.clock import now_ms
from chalicelib.http import openapi, openapi_parts, paging
from chalicelib.http.errors import STATUS
from chalicelib.http.multipart import FIELD
from chalicelib.records.store import RecordStore
from deploy import template
from tests.conftest import Api, picture
from tests.test_gateway import full

if TYPE_CHECKING:
    pass

__all__ = ["full"]

UNKNOWN = "00000000-0000-4000-8000-000000000000"
METHODS = ("get", "head", "post", "delete")
# Of the gateway, or of a fault: described once for all operations.
SHARED = {401, 403, 429, 500, 503}
TOLD_BY_HEADERS = {
    "Location",
    "Link",
    "Retry-After",
    "ETag",
    "Cache-Control",
    "Last-Modified",
    "Content-Disposition",
}


class Operation(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    says: dict[str, Any]

    def responses(self) -> dict[int, dict[str, Any]]:
        """What is described for each status."""
        return {int(status): resolved(response) for status, response in self.says["responses"].items()}


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    found: Any = openapi.DOCUMENT
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)


def closed(part: Any) -> Any:
    """The same, with objects that have no key beyond those that are described."""
    if isinstance(part, list):
        return [closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    changed = {name: closed(value) for name, value in part.items()}
    return changed | ({"additionalProperties": False} if "properties" in part else {})


OPERATIONS = {
    item[method]["operationId"]: Operation(method, path, item[method])
    for path, item in openapi.DOCUMENT["paths"].items()
    for method in METHODS
    if method in item
}
COMPONENTS = closed(openapi.DOCUMENT["components"])


def assert_fits(value: Any, schema: dict[str, Any]) -> None:
    checker = Draft202012Validator.FORMAT_CHECKER
    whole = closed(schema) | {"components": COMPONENTS}
    Draft202012Validator(whole, format_checker=checker).validate(value)


def examples(content: dict[str, Any]) -> list[Any]:
    return [example["value"] for example in content.get("examples", {}).values()]


def shape(value: Any) -> Any:
    """The keys of an object and of what is in it."""
    return {name: shape(inner) for name, inner in value.items()} if isinstance(value, dict) else None


def assert_described(operation: Operation, reply: requests.Response) -> None:
    """Hold an answer to its description: headers, type, schema, and that an example is like it."""
    described = operation.responses()[reply.status_code]
    headers = described.get("headers", {})
    assert TOLD_BY_HEADERS & reply.headers.keys() <= headers.keys()
    for name, header in headers.items():
        says = resolved(header)
        assert name in reply.headers or not says.get("required"), name
        if name in reply.headers:
            value = reply.headers[name]
            assert_fits(int(value) if says["schema"]["type"] == "integer" else value, says["schema"])
    if operation.method == "head" or "content" not in described:
        assert reply.content == b""
        return
    media_type = reply.headers["Content-Type"]
    content = described["content"][media_type]
    if media_type != "application/json":
        return
    body = reply.json()
    assert_fits(body, content["schema"])
    like = examples(content)
    if "error" in body and reply.status_code >= 400:
        assert body in like
    elif isinstance(body, dict) and like:
        shapes = [shape(example) | {"fields": None} for example in like]
        assert shape(body) | {"fields": None} in shapes


def ask(api: Api, name: str, record_id: str = UNKNOWN, **kwargs: Any) -> requests.Response:
    operation = OPERATIONS[name]
    url = api.url + operation.path.format(record_id=record_id)
    return api.session.request(operation.method.upper(), url, timeout=60, **kwargs)


# --- the document ---


def test_it_is_openapi() -> None:
    validate(openapi.DOCUMENT)
    assert openapi.DOCUMENT["openapi"].startswith("3.1.")


def test_it_is_served(api: Api) -> None:
    assert ask(api, "getDescription").json() == json.loads(json.dumps(openapi.DOCUMENT))


def test_it_has_the_routes_of_the_app_and_no_others() -> None:
    described = {
        path: {method.upper() for method in item if method != "parameters"}
        for path, item in openapi.DOCUMENT["paths"].items()
    }
    assert described == {path: set(methods) for path, methods in app.app.routes.items()}


def test_each_operation_has_a_name_of_its_own_and_a_summary() -> None:
    methods = sum(len(methods) for methods in app.app.routes.values())
    assert len(OPERATIONS) == methods
    for name, operation in OPERATIONS.items():
        assert re.fullmatch("[a-z]+([A-Z][a-z]+)+", name)
        assert operation.says["summary"]


def test_constants_are_those_of_the_app() -> None:
    assert (openapi_parts.V1, openapi_parts.LIST_LIMIT) == (app.V1, paging.LIST_LIMIT)


def test_the_gateways_own_errors_are_those_of_the_stack() -> None:
    responses = template.stack()["Resources"]["RestAPI"]["Properties"]["GatewayResponses"]
    for kind, status in (("REQUEST_TOO_LARGE", 413), ("THROTTLED", 429)):
        sentence = json.loads(responses[kind]["ResponseTemplates"]["application/json"])
        for operation in OPERATIONS.values():
            said = operation.responses().get(status)
            if said is not None and operation.method != "head":
                assert sentence in examples(said["content"]["application/json"])


def test_paths_stay_behind_a_stage(api: Api) -> None:
    ((server),) = openapi.DOCUMENT["servers"]
    for stage in ("", "/live"):
        assert urljoin(f"{api.url}{stage}/api/v1/openapi.json", server["url"]) == f"{api.url}{stage}/"


def every_example() -> Iterator[tuple[Any, dict[str, Any]]]:
    """Each example with its schema, wherever in the document they stand together."""
    waiting: list[Any] = [openapi.DOCUMENT]
    for part in waiting:
        if isinstance(part, dict):
            waiting += part.values()
            if "schema" in part:
                values = examples(part) + ([part["example"]] if "example" in part else [])
                yield from ((value, part["schema"]) for value in values)
        elif isinstance(part, list):
            waiting += part


def test_examples_fit_their_schemas() -> None:
    found = list(every_example())
    assert len(found) > 40
    for value, schema in found:
        assert_fits(value, schema)


# --- the table of errors ---

_UNAVAILABLE: set[type[errors.ServiceError]] = {errors.RecordStoreUnavailable, errors.BucketUnavailable}
RAISES: dict[str, set[type[errors.ServiceError]]] = {
    "getPage": set(),
    "getPulse": set(),
    "getHealth": _UNAVAILABLE,
    "getDescription": set(),
    "getRecords": {errors.BadParameter, errors.EndsByDownload, errors.RecordStoreUnavailable},
    "uploadPicture": _UNAVAILABLE
    | {errors.RecordUnreadable}
    | {errors.MalformedUpload, errors.BadParameter, errors.UnsupportedFormat, errors.IdempotencyKeyReused}
    | {errors.UploadTooLarge, errors.TooManyPixels, errors.TooComplex},
    "createUpload": {errors.MalformedUpload, errors.UnsupportedFormat, errors.RecordStoreUnavailable},
    "getRecord": {errors.UnknownThumbnail, errors.RecordStoreUnavailable}
    | {errors.BadParameter, errors.EndsByDownload},
    "getThumbnailUrl": _UNAVAILABLE
    | {errors.UnknownThumbnail, errors.ThumbnailNotReady, errors.ThumbnailFailed}
    | {errors.BadParameter, errors.EndsByDownload, errors.UnknownSize, errors.SizeNotMade},
    "deleteRecord": _UNAVAILABLE
    | {errors.RecordUnreadable, errors.UnknownThumbnail, errors.OriginalChanging},
    "getThumbnail": _UNAVAILABLE
    | {errors.RecordUnreadable, errors.UnknownThumbnail, errors.ThumbnailNotReady, errors.ThumbnailFailed}
    | {errors.UnknownSize, errors.SizeNotMade},
}


def test_errors_have_the_statuses_of_the_table() -> None:
    for name, raised in RAISES.items():
        says = OPERATIONS[name].says
        of_gateway = {429, 500, 503} | ({401, 403} if "security" in says else set())
        of_gateway |= {413} if "requestBody" in says else set()
        described = {status for status in OPERATIONS[name].responses() if status >= 400}
        assert described == of_gateway | {STATUS[error] for error in raised}, name


def test_each_error_of_the_table_is_one_of_an_operation() -> None:
    assert {name for name in OPERATIONS if not name.startswith("head")} == RAISES.keys()
    in_records = {*triggers.ERROR_BY_REASON.values(), errors.UndecodablePicture}
    shared = {errors.InvalidToken}  # in the same words wherever a token may be asked for
    assert set().union(*RAISES.values()) == STATUS.keys() - in_records - shared


# --- what the service answers ---


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
    ends_by_download: bool = False


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
    Case("getRecords", 409, lambda _: {"params": {"urls": 60}}, ends_by_download=True),
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
    Case("getRecord", 409, lambda _: {"params": {"urls": 60}}, ends_by_download=True),
    Case(
        "getThumbnailUrl", 200, lambda api: ready(api) | {"params": parameter("seconds", "getThumbnailUrl")}
    ),
    case("getThumbnailUrl", 400, params={"seconds": "1e3"}),
    case("getThumbnailUrl", 404),
    Case("getThumbnailUrl", 409, pending),
    Case("getThumbnailUrl", 409, ready, ends_by_download=True),
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
    if asked.ends_by_download:
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
