"""The API over HTTP: what clients cannot see of a request, and what needs events in the test's hand.

What clients rely on (statuses, keys, headers, bytes) is in tests/e2e/test_contract.py, which `make test-all`
runs against the service of `make run`.
"""

import http.client
import json
import socket
from contextlib import closing, suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import requests
from PIL import Image

from app import V1
from chalicelib import naming
from tests.conftest import Api, assert_error, just_before, keys_in, picture
from tests.inside import s3_calls

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

UNKNOWN = "00000000-0000-4000-8000-000000000000"


class Raw(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def raw(api: Api, method: str, path: str, headers: dict[str, str] | None = None) -> Raw:
    """A request with these headers and no others."""
    with closing(http.client.HTTPConnection(api.url.removeprefix("http://"), timeout=60)) as connection:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        reply = connection.getresponse()
        return Raw(reply.status, dict(reply.headers), reply.read())


def test_the_original_is_stored_as_sent_with_what_its_record_needs(api: Api, s3: "S3Client") -> None:
    content = picture()
    record = api.upload(content, "naïve photo.jpg")
    stored = s3.get_object(Bucket=api.bucket.name, Key=f"uploads/{record['id']}")
    assert stored["Body"].read() == content
    assert set(stored["Metadata"]) == {"filename", "created", "request-id"}


def too_many_pixels() -> bytes:
    out = BytesIO()
    Image.new("1", (20_000, 10_000)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    "body",
    [b"GIF87 is not a format", b"", picture() + bytes(4_500_000), too_many_pixels()],
    ids=["text", "empty", "4.5 MB", "pixels"],
)
def test_what_is_refused_leaves_nothing_behind(api: Api, redis_server: "redis.Redis", body: bytes) -> None:
    assert api("POST", files={"image": ("x.jpg", body)}).status_code in {400, 413, 415}
    assert redis_server.dbsize() == 0
    assert keys_in(api.bucket) == []


def test_what_is_removed_leaves_nothing_behind(api: Api) -> None:
    record_id = api.upload()["id"]
    api.deliver()
    assert api("DELETE", f"/{record_id}").ok
    assert api("GET").json() == []
    assert keys_in(api.bucket) == []


def test_a_chunked_upload_arrives(api: Api) -> None:
    request = requests.Request("POST", api.url, files={"image": ("p.jpg", picture())}).prepare()
    body, content_type = request.body, request.headers["Content-Type"]
    assert isinstance(body, bytes)
    reply = api("POST", data=iter([body[:100], body[100:]]), headers={"Content-Type": content_type})
    assert (reply.status_code, reply.json()["size"]) == (201, {"original": len(picture())})


def test_head_has_every_header_of_get(api: Api) -> None:
    record_path = f"{V1}/thumbnail/{api.upload()['id']}"
    api.deliver()
    paths = [f"{V1}/system/pulse", f"{V1}/system/health", f"{V1}/thumbnail", f"{V1}/thumbnail/{UNKNOWN}"]
    paths += [record_path, f"{record_path}/download", "/nothing/here"]
    for path in paths:
        get, head = raw(api, "GET", path), raw(api, "HEAD", path)
        volatile = {"Date", "Content-Length"}
        assert head.status == get.status
        assert {n: v for n, v in head.headers.items() if n not in volatile} == {
            n: v for n, v in get.headers.items() if n not in volatile
        }
        assert head.headers.get("Content-Length") in {None, get.headers["Content-Length"]}


def test_head_leaves_the_connection_usable(api: Api) -> None:
    with socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2])), timeout=60) as connection:
        request = f"%s {V1}/system/pulse HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
        connection.sendall((request % ("HEAD", "") + request % ("GET", "Connection: close\r\n")).encode())
        received = b""
        while piece := connection.recv(4096):
            received += piece
    assert received.count(b"HTTP/1.1 200") == 2
    assert received.count(b"alive") == 1


def test_a_download_before_its_time(api: Api) -> None:
    reply = api("GET", f"/{api.upload()['id']}/download")
    assert_error(reply, 409)
    assert int(reply.headers["Retry-After"]) >= 1


def test_a_nul_in_an_id_is_unknown(api: Api) -> None:
    for method, path in (("GET", ""), ("GET", "/download"), ("DELETE", "")):
        assert_error(api(method, f"/%00{path}"), 404)


def test_a_method_that_http_does_not_know(api: Api) -> None:
    assert_error(requests.request("BREW", f"{api.url}{V1}/thumbnail", timeout=60), 405)


def test_get_takes_any_content_type_header(api: Api) -> None:
    assert api("GET", headers={"Content-Type": "text/plain"}).status_code == 200


def test_a_trailing_slash_does_not_matter(api: Api) -> None:
    reply = api("POST", "/", files={"image": ("p.jpg", picture())})
    assert reply.headers["Location"] == f"{V1}/thumbnail/{reply.json()['id']}"


def test_a_body_far_beyond_the_gateways_limit_gets_its_answer(api: Api) -> None:
    assert_error(api("POST", files={"image": ("x.jpg", picture() + bytes(30_000_000))}), 413)


FORM = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Length": "-5"}, b"", 400),
        ({"Content-Length": "5x"}, b"", 400),
        ({"Content-Length": "3", "Transfer-Encoding": "chunked"}, b"3\r\nabc\r\n0\r\n\r\n", 400),
        ({"Transfer-Encoding": "gzip, chunked"}, b"3\r\nabc\r\n0\r\n\r\n", 400),
        ({"Transfer-Encoding": "chunked"}, b"zz\r\nabc\r\n", 400),
        ({"Transfer-Encoding": "chunked"}, b"b00000\r\n" + bytes(0xB00000) + b"\r\n0\r\n\r\n", 413),
    ],
    ids=["negative", "no number", "both", "other coding", "broken chunk", "too large in chunks"],
)
def test_a_body_that_cannot_be_told_from_the_next_request_ends_the_connection(
    api: Api, headers: dict[str, str], body: bytes, status: int
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in (FORM | headers).items())
    smuggled = f"GET {V1}/system/pulse HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2])), timeout=60) as connection:
        connection.sendall(f"POST {V1}/thumbnail HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode() + body)
        with suppress(OSError):
            connection.sendall(smuggled.encode())
        received = b""
        with suppress(ConnectionResetError):
            while piece := connection.recv(4096):
                received += piece
    assert received.startswith(f"HTTP/1.1 {status}".encode())
    assert received.count(b"HTTP/1.1") == 1
    assert list(json.loads(received.partition(b"\r\n\r\n")[2])) == ["error"]


@pytest.mark.usefixtures("fault")
def test_an_internal_error_tells_the_client_nothing(api: Api) -> None:
    sentence = assert_error(api("GET", f"/{UNKNOWN}"), 500)
    assert "state" not in sentence


@pytest.mark.parametrize(
    "changed", [{"state": "archived"}, {"format": "3"}, {"colour": "red"}, {"created_ms": "x"}]
)
def test_a_record_that_another_release_has_written_hides_no_other(
    api: Api, redis_server: "redis.Redis", changed: dict[Any, Any]
) -> None:
    records = [api.upload() for _ in range(3)]
    odd = records[1]["id"]
    redis_server.hset(naming.record(odd), mapping=changed)
    stored = redis_server.hgetall(naming.record(odd))
    assert api("GET").json() == [records[2], records[0]]
    for method, path in (("GET", ""), ("GET", "/download"), ("DELETE", "")):
        assert_error(api(method, f"/{odd}{path}"), 404)
    assert redis_server.hgetall(naming.record(odd)) == stored
    assert naming.original(odd) in keys_in(api.bucket)


def test_each_request_costs_a_constant_number_of_calls(api: Api, redis_server: "redis.Redis") -> None:
    """Commands are counted by Redis itself; a page's reads are bounded by its limit."""

    def cost(method: str, path: str = "", **kwargs: object) -> tuple[int, int]:
        calls = s3_calls(api.bucket)
        before = redis_server.info("stats")["total_commands_processed"]
        assert api(method, path, **kwargs).ok
        after = redis_server.info("stats")["total_commands_processed"]
        return after - before - 1, len(calls)

    def costs() -> list[tuple[int, int]]:
        found = [cost("POST", files={"image": ("p.jpg", picture())})]
        record_id = api("GET", params={"limit": 1}).json()[0]["id"]
        api.deliver()
        found += [cost("GET", f"/{record_id}"), cost("GET", f"/{record_id}/download")]
        found += [cost("GET", params={"limit": 2})]
        found += [cost("DELETE", f"/{record_id}")]
        return found

    for _ in range(3):
        api.upload()
    costs()  # scripts are loaded and connections made
    few = costs()
    for _ in range(12):
        api.upload()
    assert costs() == few


def test_a_record_that_vanishes_between_look_and_download(api: Api) -> None:
    record_id = api.upload()["id"]
    api.deliver()
    just_before(api.bucket, "GetObject", lambda: api("DELETE", f"/{record_id}"))
    assert_error(api("GET", f"/{record_id}/download"), 404)


def test_a_record_that_waits_says_when_to_ask_again(api: Api) -> None:
    sent = api("POST", files={"image": ("a.jpg", picture())}, headers={"Idempotency-Key": "polled"})
    assert (sent.status_code, sent.headers["Retry-After"]) == (201, "1")
    own = f"/{sent.json()['id']}"
    assert api("GET", own).json() == sent.json()
    for method in ("GET", "HEAD"):
        assert api(method, own).headers["Retry-After"] == "1"
    api.deliver()
    assert api("GET", own).json()["ready"] is True
    assert "Retry-After" not in api("GET", own).headers
    again = api("POST", files={"image": ("a.jpg", picture())}, headers={"Idempotency-Key": "polled"})
    assert (again.status_code, "Retry-After" in again.headers) == (201, False)
    presigned = api("POST", "/upload", json={"filename": "a.jpg"}).json()
    assert api("GET", f"/{presigned['id']}").headers["Retry-After"] == "1"
    failed = api.upload(picture()[:300])
    api.deliver()
    assert "error" in api("GET", f"/{failed['id']}").json()
    assert "Retry-After" not in api("GET", f"/{failed['id']}").headers
