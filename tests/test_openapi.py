"""The API's description is sound, complete, and true of the running service."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

from openapi_spec_validator import validate

import app
from chalicelib import errors, triggers
from chalicelib.http import openapi, openapi_parts, paging
from chalicelib.http.errors import STATUS
from chalicelib.work.relay import DETAIL_TYPE
from tests.conftest import Api
from tests.described import OPERATIONS, ask, assert_fits, examples
from tests.made_stack import gateway_responses

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
    for kind, status in (("REQUEST_TOO_LARGE", 413), ("THROTTLED", 429)):
        sentence = json.loads(gateway_responses()[kind]["ResponseTemplates"]["application/json"])
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


def test_the_events_of_webhooks_are_those_that_are_published() -> None:
    event = openapi.DOCUMENT["components"]["schemas"]["Event"]
    assert event["properties"]["type"]["enum"] == list(DETAIL_TYPE.values())
    hook = openapi.DOCUMENT["webhooks"]["thumbnailEnded"]["post"]
    sent = examples(hook["requestBody"]["content"]["application/json"])
    assert {example["type"] for example in sent} == set(DETAIL_TYPE.values())


# --- the table of errors ---

_UNAVAILABLE: set[type[errors.ServiceError]] = {errors.RecordStoreUnavailable, errors.BucketUnavailable}
RAISES: dict[str, set[type[errors.ServiceError]]] = {
    "getPage": set(),
    "getPulse": set(),
    "getHealth": _UNAVAILABLE,
    "getDescription": set(),
    "getRecords": {errors.BadParameter, errors.ExpiresAfterDownload, errors.RecordStoreUnavailable},
    "uploadPicture": _UNAVAILABLE
    | {errors.RecordUnreadable}
    | {errors.MalformedUpload, errors.BadParameter, errors.UnsupportedFormat, errors.IdempotencyKeyReused}
    | {errors.UploadTooLarge, errors.TooManyPixels, errors.TooComplex},
    "createUpload": {errors.MalformedUpload, errors.UnsupportedFormat, errors.RecordStoreUnavailable},
    "getRecord": {errors.UnknownThumbnail, errors.RecordStoreUnavailable}
    | {errors.BadParameter, errors.ExpiresAfterDownload, errors.UnknownSize, errors.SizeNotMade},
    "getThumbnailUrl": _UNAVAILABLE
    | {errors.UnknownThumbnail, errors.ThumbnailNotReady, errors.ThumbnailFailed}
    | {errors.BadParameter, errors.ExpiresAfterDownload, errors.UnknownSize, errors.SizeNotMade},
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
