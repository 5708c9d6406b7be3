"""Pictures that are sent straight to S3: the ticket, the file, and a ticket that is not used."""

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

import app
from app import V1
from chalicelib import keys
from chalicelib.catalogue import IN_FLIGHT_MS
from chalicelib.errors import MalformedUpload, UnsupportedFormat
from chalicelib.ticket import OPAQUE, TICKET_SECONDS, TicketOrder, parse_ticket_order
from tests.conftest import Api, SettableClock, keys_in, picture

if TYPE_CHECKING:
    import redis

BIG = picture(3000, 2000, image_format="BMP")


def order(api: Api, **asked: Any) -> dict[str, Any]:
    reply = api("POST", "/upload", json={"filename": "big.bmp"} | asked)
    assert reply.status_code == 201, reply.text
    given: dict[str, Any] = reply.json()
    assert reply.headers["Location"] == given["record"]
    return given


def send(ticket: dict[str, Any], content: bytes = BIG) -> None:
    """What a client does with a ticket: a form with its fields, and then the file."""
    reply = requests.post(ticket["url"], data=ticket["fields"], files={"file": content}, timeout=20)
    assert reply.ok, reply.text


def policy(ticket: dict[str, Any]) -> list[Any]:
    conditions: list[Any] = json.loads(base64.b64decode(ticket["fields"]["policy"]))["conditions"]
    return conditions


def test_a_file_above_the_gateways_limit(api: Api) -> None:
    assert len(BIG) > 10 * 1024 * 1024
    ticket = order(api)
    url = api.url + ticket["record"]
    waiting = {"id": ticket["id"], "filename": "big.bmp", "ready": False, "size": {"original": None}}
    shown = requests.get(url, timeout=10).json()
    assert shown == waiting | {"expires": ticket["expires"]}
    assert api("GET").json() == []
    assert api("GET", f"/{ticket['id']}/download").status_code == 409
    send(ticket)
    api.deliver()
    record = requests.get(url, timeout=10).json()
    assert (record["ready"], record["size"]["original"]) == (True, len(BIG))
    assert "expires" not in record
    assert api("GET").json() == [record]
    assert api("GET", f"/{ticket['id']}/download").status_code == 200
    assert api("DELETE", f"/{ticket['id']}").json() == record
    assert keys_in(api.bucket) == []


def test_the_ticket_binds_key_type_metadata_size_and_time(api: Api) -> None:
    ticket = order(api, content_type="image/jpeg")
    conditions = policy(ticket)
    assert {"key": keys.original(ticket["id"])} in conditions
    assert {"Content-Type": "image/jpeg"} in conditions
    assert ["content-length-range", 1, app.settings().max_original_bytes] in conditions
    exact = {name: value for one in conditions if isinstance(one, dict) for name, value in one.items()}
    assert ticket["fields"].items() - {("policy", ticket["fields"]["policy"])} <= {
        *exact.items(),
        ("x-amz-signature", ticket["fields"]["x-amz-signature"]),
    }, "a field without a condition could be changed"
    assert exact["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    assert order(api)["fields"]["Content-Type"] == OPAQUE


def test_a_ticket_that_is_not_used_vanishes(
    api: Api, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    path = f"/{order(api)['id']}"
    clock.advance(seconds=TICKET_SECONDS - 2)
    assert api("GET", path).status_code == 200
    clock.advance(seconds=3)
    assert api("GET", path).status_code == 404
    assert api("GET").json() == []
    assert "dead uploads forgotten" not in api.reconcile(), "the file may still be on its way"
    clock.advance(ms=IN_FLIGHT_MS)
    assert api.reconcile()["dead uploads forgotten"] == 1
    clock.advance(ms=IN_FLIGHT_MS)
    api.reconcile()
    assert [key for key in redis_server.scan_iter() if key != keys.WALKS] == []


@pytest.mark.parametrize("swept", [False, True])
def test_a_file_whose_event_comes_after_the_tickets_end_is_not_lost(
    api: Api, clock: SettableClock, swept: bool
) -> None:
    ticket = order(api)
    send(ticket, picture())
    clock.advance(seconds=TICKET_SECONDS + 1)
    if swept:
        clock.advance(ms=IN_FLIGHT_MS)
        assert api.reconcile()["driven again: ready"] == 1
    api.deliver()
    assert [record["ready"] for record in api("GET").json()] == [True]
    assert "expires" not in api("GET", f"/{ticket['id']}").json()


@pytest.mark.parametrize("sent", ["before", "after"])
def test_a_ticket_that_is_deleted_stays_so(api: Api, sent: str) -> None:
    ticket = order(api)
    if sent == "before":
        send(ticket)
    assert api("DELETE", f"/{ticket['id']}").status_code == 200
    if sent == "after":
        send(ticket)
    api.deliver()
    assert api("GET", f"/{ticket['id']}").status_code == 404
    assert api("GET").json() == []
    assert keys_in(api.bucket) == []


def test_a_file_that_is_sent_twice_is_a_new_version(api: Api) -> None:
    ticket = order(api)
    for seed in range(2):
        send(ticket, picture(300 + seed, 200))
        api.deliver()
        record = api("GET", f"/{ticket['id']}").json()
        assert record["size"]["original"] == len(picture(300 + seed, 200))
    header = api("GET", f"/{ticket['id']}/download").headers["Cache-Control"]
    assert "no-cache" in header


def test_what_is_no_picture_ends_with_an_error(api: Api) -> None:
    ticket = order(api)
    send(ticket, b"<script>alert(1)</script>")
    api.deliver()
    assert "error" in api("GET", f"/{ticket['id']}").json()


def test_its_name_survives_the_loss_of_redis(api: Api, redis_server: "redis.Redis") -> None:
    ticket = order(api, filename="né🌍.bmp")
    send(ticket, picture())
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
def test_a_bad_order_is_refused(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_ticket_order(body)


@pytest.mark.parametrize("name", ["a", "a" * 255, "../../etc/passwd", "né\r\nX: 1"])
def test_any_name_will_do(api: Api, name: str) -> None:
    assert parse_ticket_order(json.dumps({"filename": name}).encode()) == TicketOrder(name, OPAQUE)
    ticket = order(api, filename=name)
    send(ticket, picture())
    api.deliver()
    assert api("GET", f"/{ticket['id']}").json()["filename"] == name
