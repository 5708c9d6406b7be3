"""The HTTP contract, seen from outside: statuses, headers, JSON keys, and bytes as they were sent.

It is stated here alone; tests/test_api.py has what cannot be seen from outside.
"""

import http.client
import json
import os
import re
from contextlib import closing
from io import BytesIO
from urllib.parse import urlsplit

import pytest
import requests
from PIL import Image

from chalicelib import naming
from tests.conftest import picture
from tests.e2e.target import Difference, Target

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def assert_error(reply: requests.Response, status: int) -> str:
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"] == "application/json"
    body = reply.json()
    assert list(body) == ["error"]
    sentence: str = body["error"]
    assert sentence.endswith(".")
    assert not re.search("Error|Exception|Traceback", sentence)
    return sentence


def test_a_picture_from_upload_to_removal(target: Target) -> None:
    original = picture(640, 480)  # a JPEG, whatever its name says
    reply = target("POST", files={"image": ("IMG_8932.png", original)})
    assert reply.status_code == 201, reply.text
    record = reply.json()
    assert record == {
        "id": record["id"],
        "filename": "IMG_8932.png",
        "ready": False,
        "size": {"original": len(original)},
        "image": {"format": "JPEG", "width": 640, "height": 480},
    }
    # The stage is part of the path, so that the link works as it stands.
    assert requests.get(target.follow(reply.headers["Location"]), timeout=60).json()["id"] == record["id"]

    ready = target.end_of(record["id"])
    thumbnail = target("GET", f"/{record['id']}/download")
    assert ready == record | {
        "ready": True,
        "size": {"original": len(original), "thumbnail": len(thumbnail.content)},
        "image": record["image"] | {"placeholder": ready["image"]["placeholder"]},
        "thumbnail": {"width": 100, "height": 100},
    }
    assert thumbnail.status_code == 200
    assert thumbnail.headers["Content-Type"] == "image/jpeg"
    assert 'filename="IMG_8932.thumbnail.jpg"' in thumbnail.headers["Content-Disposition"]
    with Image.open(BytesIO(thumbnail.content)) as image:
        assert (image.format, image.size) == ("JPEG", (100, 100))
    assert ready in target("GET").json()

    removed = target("DELETE", f"/{record['id']}")
    assert (removed.status_code, removed.json()) == (200, ready)
    assert ready not in target("GET").json()
    for method, path in (("GET", ""), ("GET", "/download"), ("DELETE", "")):
        assert_error(target(method, f"/{record['id']}{path}"), 404)


def every_byte() -> bytes:
    """A picture whose file holds every value of a byte, and many that are no text in any encoding."""
    out = BytesIO()
    Image.frombytes("RGB", (300, 300), os.urandom(270_000)).save(out, "PNG", compress_level=0)
    content = out.getvalue()
    assert set(content) == set(range(256))
    return content


def test_pictures_arrive_bit_by_bit_and_leave_nothing_behind(target: Target) -> None:
    s3, bucket = target.storage
    content = every_byte()
    record = target.end_of(target.upload(content, "noise.png")["id"])
    assert record["ready"], record
    stored = s3.get_object(Bucket=bucket, Key=naming.original(record["id"]))["Body"].read()
    assert stored == content
    (thumbnail,) = s3.list_objects_v2(Bucket=bucket, Prefix=f"thumbnails/{record['id']}/")["Contents"]
    sent = target("GET", f"/{record['id']}/download").content
    assert sent == s3.get_object(Bucket=bucket, Key=thumbnail["Key"])["Body"].read()
    target.remove(record["id"])
    for prefix in ("uploads", "thumbnails"):
        left = s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/{record['id']}")
        assert left["KeyCount"] == 0


def test_the_largest_upload(target: Target) -> None:
    out = BytesIO()
    Image.frombytes("RGB", (1220, 1220), os.urandom(1220 * 1220 * 3)).save(out, "PNG", compress_level=0)
    content = out.getvalue()
    assert 4_400_000 < len(content) < 4_500_000
    record = target.end_of(target.upload(content, "large.png")["id"])
    assert (record["ready"], record["size"]["original"]) == (True, len(content))
    target.remove(record["id"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"GIF87 is not a format", 415),
        (b"%PDF-1.7\n", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (b"\x00" * 1000, 415),
        (b"", 400),
    ],
    ids=["text", "pdf", "svg", "zeros", "empty"],
)
def test_what_is_refused(target: Target, body: bytes, status: int) -> None:
    assert_error(target("POST", files={"image": ("x.jpg", body)}), status)


@pytest.mark.parametrize(
    "size",
    [4_500_001, 6_000_000, 11_000_000],
    ids=["above the API's limit", "above the function's limit", "above the gateway's limit"],
)
def test_too_many_bytes(target: Target, size: int) -> None:
    """On AWS, 6 MB are too much for Lambda, and the gateway answers by itself; above 10 MB, in plain text."""
    reply = target("POST", files={"image": ("x.jpg", picture() + bytes(size - len(picture())))})
    if size > 10_485_760 and (target.name == "url" or target.differs(Difference.GATEWAY_RESPONSES)):
        assert reply.status_code == 413
    else:
        assert "POST /api/v1/thumbnail/upload says where" in assert_error(reply, 413)


def test_too_many_pixels(target: Target) -> None:
    out = BytesIO()
    Image.new("1", (20_000, 10_000)).save(out, "PNG")
    assert "pixels" in assert_error(target("POST", files={"image": ("x.png", out.getvalue())}), 413)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (None, b""),
        ("application/json", b"{}"),
        ("image/jpeg", picture()),
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=x", b"--x\r\n"),
    ],
    ids=["nothing", "json", "bare picture", "no boundary", "broken"],
)
def test_what_is_no_form(target: Target, content_type: str | None, body: bytes) -> None:
    if content_type == "multipart/form-data":
        target.needs(Difference.FORMS_WITHOUT_BOUNDARY)
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert "image" in assert_error(target("POST", headers=headers, data=body), 400)


def test_other_fields_are_ignored(target: Target) -> None:
    files = {"other": ("o.jpg", b"x"), "image": ("p.jpg", picture())}
    reply = target("POST", files=files, data={"a": "b"})
    assert reply.status_code == 201, reply.text
    target.remove(reply.json()["id"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v2/thumbnail", 404),
        ("GET", "/api/v1/thumbnail/{}/upload", 404),
        ("PUT", "/api/v1/thumbnail", 405),
        ("DELETE", "/api/v1/thumbnail", 405),
        ("POST", "/api/v1/thumbnail/{}", 405),
        ("PATCH", "/api/v1/thumbnail/{}", 405),
        ("PATCH", "/api/v1/thumbnail/{}/download", 405),
    ],
)
def test_unknown_paths_and_methods(target: Target, method: str, path: str, status: int) -> None:
    reply = requests.request(method, target.url + path.replace("{}", UNKNOWN), timeout=60)
    if status == 404 and target.differs(Difference.GATEWAY_RESPONSES):
        assert reply.status_code == status
    else:
        assert_error(reply, status)
    assert (status == 405) == ("Allow" in reply.headers)


@pytest.mark.parametrize("bad_id", ["1", "x" * 36, UNKNOWN, UNKNOWN[:-1] + "G", "{record_id}", "..%2Fx"])
def test_what_is_no_id_is_unknown(target: Target, bad_id: str) -> None:
    for method, path in (("GET", ""), ("GET", "/download"), ("DELETE", "")):
        assert_error(target(method, f"/{bad_id}{path}"), 404)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=ten", "cursor=x"])
def test_bad_queries(target: Target, query: str) -> None:
    assert_error(target("GET", f"?{query}"), 400)


def test_a_picture_that_cannot_be_decoded(target: Target) -> None:
    uploaded = target.upload(picture()[:400], "cut.jpg")
    assert target.end_of(uploaded["id"]) == uploaded | {
        "error": target("GET", f"/{uploaded['id']}").json()["error"]
    }
    failed = target("GET", f"/{uploaded['id']}").json()
    assert assert_error(target("GET", f"/{uploaded['id']}/download"), 422) == failed["error"]
    assert target("DELETE", f"/{uploaded['id']}").json() == failed


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        "image/*",
        "image/jpeg",
        "IMAGE/JPEG;q=0.1",
        "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "application/json",
    ],
)
def test_a_download_is_bytes_whatever_is_accepted(target: Target, accept: str | None) -> None:
    if accept is None:
        target.needs(Difference.BASE64_WITHOUT_ACCEPT)
    elif not accept.startswith(("image/", "text/html")):
        target.needs(Difference.BASE64_FOR_ANYTHING)
    record = target.end_of(target.upload(picture())["id"])
    address = urlsplit(target.at(f"/thumbnail/{record['id']}/download"))
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    with closing(kind(address.netloc, timeout=60)) as connection:
        connection.putrequest("GET", address.path, skip_accept_encoding=True)
        if accept is not None:
            connection.putheader("Accept", accept)
        connection.endheaders()
        reply = connection.getresponse()
        body = reply.read()
    assert (reply.status, reply.headers["Content-Type"]) == (200, "image/jpeg")
    assert body.startswith(b"\xff\xd8\xff")
    assert len(body) == record["size"]["thumbnail"]
    target.remove(record["id"])


def test_a_download_can_be_cached(target: Target) -> None:
    record = target.end_of(target.upload(picture())["id"])
    first = target("GET", f"/{record['id']}/download")
    again = target("GET", f"/{record['id']}/download", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["Cache-Control"] == "public, max-age=86400"
    target.remove(record["id"])


def test_head_is_get_without_a_body(target: Target) -> None:
    record = target.end_of(target.upload(picture())["id"])
    for path in ("/system/pulse", f"/thumbnail/{record['id']}", f"/thumbnail/{UNKNOWN}"):
        get, head = (requests.request(method, target.at(path), timeout=60) for method in ("GET", "HEAD"))
        assert head.status_code == get.status_code
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
        assert head.content == b""
    target.remove(record["id"])


@pytest.mark.parametrize(
    "filename",
    [
        "photo with spaces.jpg",
        'quo"ted;.jpg',
        "back\\slash.jpg",
        "日本語の写真 🌍.png",
        "🌍" * 251 + ".gif",
        "x" * 251 + ".gif",
        "../../etc/passwd",
        "C:evil;name=x.jpg",
        "no-extension",
        ".hidden",
        "percent%20sign.jpg",
    ],
)
def test_file_names_come_back_as_given_and_are_safe_in_a_download(target: Target, filename: str) -> None:
    if '"' in filename:
        target.needs(Difference.NAMES_WITH_QUOTES)
    uploaded = target.upload(picture(), filename)
    record = target.end_of(uploaded["id"])
    assert (uploaded["filename"], record["filename"]) == (filename, filename)
    header = target("GET", f"/{record['id']}/download").headers["Content-Disposition"]
    assert header.isascii()
    assert header.startswith("attachment;")
    assert ".thumbnail.jpg" in header
    assert "/" not in header
    assert "\\" not in header
    target.remove(record["id"])


def test_a_list_in_pages(target: Target) -> None:
    ids = [target.upload(picture(seed=number))["id"] for number in range(5)]
    seen: list[str] = []
    url: str | None = target.at("/thumbnail?limit=2")
    for _ in range(1000):
        if url is None or set(seen) >= set(ids):
            break
        reply = requests.get(url, timeout=60)
        seen += [record["id"] for record in reply.json()]
        url = target.follow(reply.links["next"]["url"]) if "next" in reply.links else None
    assert [record_id for record_id in seen if record_id in ids] == ids[::-1]
    target.remove(*ids)


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_page(target: Target, slash: str) -> None:
    ticket = target("POST", "/upload", json={"filename": "a.jpg"}).json()
    reply = requests.get(target.url + slash, timeout=60)
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert reply.text.startswith("<!doctype html>")
    assert f"connect-src 'self' {ticket['url']};" in reply.headers["Content-Security-Policy"]
    target.remove(ticket["id"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/system/pulse", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/thumbnail", 200),
        ("POST", "/thumbnail", 400),
        ("POST", "/thumbnail/upload", 400),
        ("DELETE", f"/thumbnail/{UNKNOWN}", 404),
        ("GET", f"/thumbnail/{UNKNOWN}/download", 404),
    ],
)
def test_pages_may_use_the_api(target: Target, method: str, path: str, status: int) -> None:
    if target.name == "url":
        pytest.skip("its settings may name other origins")
    page = {"Origin": "https://a.example"}
    asked = page | {"Access-Control-Request-Method": method}
    preflight = requests.options(target.at(path), headers=asked, timeout=60)
    assert (preflight.status_code, preflight.content) == (204, b"")
    assert method in preflight.headers["Access-Control-Allow-Methods"].split(", ")
    assert "Idempotency-Key" in preflight.headers["Access-Control-Allow-Headers"]
    reply = requests.request(method, target.at(path), headers=page, timeout=60)
    assert reply.status_code == status
    unknown = requests.request(method, target.at(f"/x{path}"), headers=page, timeout=60)
    assert unknown.status_code == 404
    by_itself = [] if target.differs(Difference.GATEWAY_RESPONSES) else [unknown]
    for answer in (preflight, reply, *by_itself):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Location" in answer.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_pulse_and_health(target: Target) -> None:
    for path, body in (("pulse", {"alive": True}), ("health", {"redis": "up", "s3": "up"})):
        reply = requests.get(target.at(f"/system/{path}"), timeout=60)
        assert (reply.status_code, json.loads(reply.text)) == (200, body)
