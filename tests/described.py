"""What the API's description says, and answers compared with it."""

from typing import Any, NamedTuple

import requests
from jsonschema import Draft202012Validator

from chalicelib.http import openapi
from tests.conftest import Api

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
