"""Pictures that are sent straight to S3: the presigned POST, the file, and a presigned POST without one."""

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

from app import V1
from chalicelib import naming, services
from chalicelib.errors import MalformedUpload, UnsupportedFormat
from chalicelib.http.presigned import parse_presigned_upload
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.work.upload import OPAQUE, PRESIGNED_SECONDS, PresignedUploadRequest
from tests.conftest import Api, SettableClock, keys_in, picture

if TYPE_CHECKING:
    import redis

BIG = picture(3000, 2000, image_format="BMP")


def presign(api: Api, **asked: Any) -> dict[str, Any]:
    reply = api("POST", "/upload", json={"filename": "big.bmp"} | asked)
    assert reply.status_code == 201, reply.text
    given: dict[str, Any] = reply.json()
    assert reply.headers["Location"] == given["record"]
    return given


def send(presigned: dict[str, Any], content: bytes = BIG) -> None:
    """What a client does with a presigned POST: a form with its fields, and then the file."""
    reply = requests.post(presigned["url"], data=presigned["fields"], files={"file": content}, timeout=60)
    assert reply.ok, reply.text


def policy(presigned: dict[str, Any]) -> list[Any]:
    conditions: list[Any] = json.loads(base64.b64decode(presigned["fields"]["policy"]))["conditions"]
    return conditions


def test_a_file_above_the_gateways_limit(api: Api) -> None:
    assert len(BIG) > 10 * 1024 * 1024
    presigned = presign(api)
    url = api.url + presigned["record"]
    waiting = {"id": presigned["id"], "filename": "big.bmp", "ready": False, "size": {"original": None}}
    shown = requests.get(url, timeout=60).json()
    assert shown == waiting | {"expires": presigned["expires"]}
    assert api("GET").json() == []
    assert api("GET", f"/{presigned['id']}/download").status_code == 409
    send(presigned)
    api.deliver()
    record = requests.get(url, timeout=60).json()
    assert (record["ready"], record["size"]["original"]) == (True, len(BIG))
    assert "expires" not in record
    assert api("GET").json() == [record]
    assert api("GET", f"/{presigned['id']}/download").status_code == 200
    assert api("DELETE", f"/{presigned['id']}").json() == record
    assert keys_in(api.bucket) == []


def test_the_presigned_post_binds_key_type_metadata_size_and_time(api: Api) -> None:
    presigned = presign(api, content_type="image/jpeg")
    conditions = policy(presigned)
    assert {"key": naming.original(presigned["id"])} in conditions
    assert {"Content-Type": "image/jpeg"} in conditions
    assert ["content-length-range", 1, services.settings().max_original_bytes] in conditions
    exact = {name: value for one in conditions if isinstance(one, dict) for name, value in one.items()}
    assert presigned["fields"].items() - {("policy", presigned["fields"]["policy"])} <= {
        *exact.items(),
        ("x-amz-signature", presigned["fields"]["x-amz-signature"]),
    }, "a field without a condition could be changed"
    assert exact["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    assert presign(api)["fields"]["Content-Type"] == OPAQUE


def test_a_presigned_upload_that_is_not_used_expires(
    api: Api, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    path = f"/{presign(api)['id']}"
    clock.advance(seconds=15 * 60 - 2)
    assert api("GET", path).status_code == 200
    clock.advance(seconds=3)
    for method, below in (("GET", ""), ("HEAD", ""), ("GET", "/download"), ("DELETE", "")):
        assert api(method, path + below).status_code == 404, (method, below)
    assert api("GET").json() == []
    assert "abandoned uploads discarded" not in api.reconcile(), "the file may still be on its way"
    clock.advance(ms=IN_FLIGHT_MS)
    assert api.reconcile()["abandoned uploads discarded"] == 1
    clock.advance(ms=IN_FLIGHT_MS)
    api.reconcile()
    of_no_record = (naming.checkpoint(""), naming.HEARTBEAT)
    assert [key for key in redis_server.scan_iter() if not key.startswith(of_no_record)] == []


@pytest.mark.parametrize("swept", [False, True])
def test_a_file_whose_event_comes_after_the_presigned_post_has_expired_is_not_lost(
    api: Api, clock: SettableClock, swept: bool
) -> None:
    presigned = presign(api)
    send(presigned, picture())
    clock.advance(seconds=PRESIGNED_SECONDS + 1)
    if swept:
        clock.advance(ms=IN_FLIGHT_MS)
        assert api.reconcile()["retried: ready"] == 1
    api.deliver()
    assert [record["ready"] for record in api("GET").json()] == [True]
    assert "expires" not in api("GET", f"/{presigned['id']}").json()


@pytest.mark.parametrize("sent", ["before", "after"])
def test_a_presigned_upload_that_is_deleted_stays_so(api: Api, sent: str) -> None:
    presigned = presign(api)
    if sent == "before":
        send(presigned)
    assert api("DELETE", f"/{presigned['id']}").status_code == 200
    if sent == "after":
        send(presigned)
    api.deliver()
    assert api("GET", f"/{presigned['id']}").status_code == 404
    assert api("GET").json() == []
    assert keys_in(api.bucket) == []


def test_a_file_that_is_sent_twice_is_a_new_version(api: Api) -> None:
    presigned = presign(api)
    for seed in range(2):
        send(presigned, picture(300 + seed, 200))
        api.deliver()
        record = api("GET", f"/{presigned['id']}").json()
        assert record["size"]["original"] == len(picture(300 + seed, 200))
    header = api("GET", f"/{presigned['id']}/download").headers["Cache-Control"]
    assert "no-cache" in header


def test_what_is_no_picture_ends_with_an_error(api: Api) -> None:
    presigned = presign(api)
    send(presigned, b"<script>alert(1)</script>")
    api.deliver()
    assert "error" in api("GET", f"/{presigned['id']}").json()


def test_its_name_survives_the_loss_of_redis(api: Api, redis_server: "redis.Redis") -> None:
    presigned = presign(api, filename="né🌍.bmp")
    send(presigned, picture())
    redis_server.flushall()
    api.deliver()
    assert [record["filename"] for record in api("GET").json()] == ["né🌍.bmp"]


def test_the_413_of_an_upload_names_the_way(api: Api) -> None:
    reply = api("POST", files={"image": ("big.bmp", BIG[:5_000_000])})
    assert reply.status_code == 413
    assert f"POST {V1}/thumbnail/upload" in reply.json()["error"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", MalformedUpload),
        (b"{", MalformedUpload),
        (b"\xff", MalformedUpload),
        (b"[" * 100_000, MalformedUpload),
        (b"[]", MalformedUpload),
        (b"null", MalformedUpload),
        (b"{}", MalformedUpload),
        (b'{"filename": 1}', MalformedUpload),
        (b'{"filename": ""}', MalformedUpload),
        (b'{"filename": "\\ud800"}', MalformedUpload),
        (json.dumps({"filename": "a" * 256}).encode(), MalformedUpload),
        (b'{"filename": "a", "content_type": 1}', MalformedUpload),
        (b'{"filename": "a", "content_type": null}', MalformedUpload),
        (b'{"filename": "a", "content_type": "text/html"}', UnsupportedFormat),
        (b'{"filename": "a", "content_type": "image/svg+xml"}', UnsupportedFormat),
        (b'{"filename": "a", "content_type": "image/jpeg; x"}', UnsupportedFormat),
    ],
)
def test_a_bad_request_is_refused(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_presigned_upload(body)


@pytest.mark.parametrize("name", ["a", "a" * 255, "../../etc/passwd", "né\r\nX: 1"])
def test_any_name_will_do(api: Api, name: str) -> None:
    assert parse_presigned_upload(json.dumps({"filename": name}).encode()) == PresignedUploadRequest(
        name, OPAQUE
    )
    presigned = presign(api, filename=name)
    send(presigned, picture())
    api.deliver()
    assert api("GET", f"/{presigned['id']}").json()["filename"] == name
