"""An upload that is repeated under its Idempotency-Key: simultaneously, later, after the first one died."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests

from app import V1
from chalicelib import naming, services
from chalicelib.errors import BadParameter, BucketUnavailable
from chalicelib.http.multipart import parse_idempotency_key
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import Failure
from chalicelib.records.store import RecordStore
from tests.conftest import Api, SettableClock, found, just_after, just_before, keys_in, picture

if TYPE_CHECKING:
    import redis

KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"


def send(
    api: Api, *, key: str = KEY, content: bytes | None = None, name: str = "photo.jpg"
) -> requests.Response:
    """An upload on a connection of its own, as of a client that has started anew."""
    files = {"image": (name, picture() if content is None else content)}
    headers = {"Idempotency-Key": key}
    return requests.post(f"{api.url}{V1}/thumbnail", files=files, headers=headers, timeout=60)


def listed(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api("GET").json()
    return found


@pytest.mark.parametrize("then", ["immediately", "when ready", "after Redis was lost"])
def test_a_repeated_upload_gets_the_first_ones_record(
    api: Api, redis_server: "redis.Redis", then: str
) -> None:
    first = send(api)
    if then != "immediately":
        api.deliver()
    shown = api("GET", f"/{first.json()['id']}").json()
    if then == "after Redis was lost":
        redis_server.flushall()
        api.reconcile()
    again = send(api)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.json() == shown
    api.deliver()
    assert [record["id"] for record in listed(api)] == [first.json()["id"]]
    assert len(keys_in(api.bucket, naming.UPLOADS)) == 1


def test_with_quotes_and_without_is_the_same_key(api: Api) -> None:
    assert send(api, key=f'"{KEY}"').json()["id"] == send(api, key=KEY).json()["id"]


def test_the_id_is_like_any_other(api: Api) -> None:
    record = send(api).json()
    assert naming.is_id(record["id"])
    assert naming.is_upload_key(naming.original(record["id"]))
    assert send(api, key="another").json()["id"] != record["id"]


@pytest.mark.parametrize("other", [{"content": picture(64, 64)}, {"name": "other.jpg"}])
@pytest.mark.parametrize("ready", [False, True])
def test_a_key_reused_with_another_body_is_refused(api: Api, other: dict[str, Any], ready: bool) -> None:
    record = send(api).json()
    if ready:
        api.deliver()
    before = listed(api)
    refused = send(api, **other)
    assert refused.status_code == 422
    assert "another picture, file name or focus" in refused.json()["error"]
    assert listed(api) == before
    assert send(api).json()["id"] == record["id"]


def test_many_simultaneous_requests_are_one_upload(api: Api) -> None:
    barrier = threading.Barrier(8)

    def client(_: int) -> requests.Response:
        barrier.wait()
        return send(api)

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(client, range(8)))
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.json()["id"] for reply in replies}) == 1
    assert len(listed(api)) == 1
    api.deliver()
    (record,) = listed(api)
    assert record["ready"] is True


def test_of_two_simultaneous_bodies_one_is_refused(api: Api) -> None:
    replies = []
    just_before(api.bucket, "PutObject", lambda: replies.append(send(api, content=picture(64, 64))))
    replies.append(send(api))
    assert [reply.status_code for reply in replies] == [422, 201]
    api.deliver()
    assert listed(api)[0]["size"]["original"] == len(picture())


def fail() -> None:
    raise BucketUnavailable


@pytest.mark.parametrize("hook", [just_before, just_after], ids=["before the effect", "after the effect"])
@pytest.mark.parametrize("delivered", [False, True])
def test_after_the_first_one_failed_half_way(api: Api, hook: Callable[..., None], delivered: bool) -> None:
    hook(api.bucket, "PutObject", fail)
    failed = send(api)
    assert (failed.status_code, "Retry-After" in failed.headers) == (503, True)
    if delivered:
        api.deliver()
    again = send(api)
    assert again.status_code == 201
    api.deliver()
    assert [record["ready"] for record in listed(api)] == [True]


@pytest.mark.parametrize("failed", [False, True])
def test_a_reused_key_changes_nothing_of_an_upload_that_did_not_come(
    api: Api, store: RecordStore, clock: SettableClock, failed: bool
) -> None:
    just_before(api.bucket, "PutObject", fail)
    assert send(api).status_code == 503
    record_id = listed(api)[0]["id"]
    before = found(store, record_id)
    if failed:
        store.finish(before, Failure("original_missing", "The original is missing."))
        before = found(store, record_id)
    clock.advance(ms=1000)
    assert send(api, content=picture(64, 64)).status_code == 422
    assert found(store, record_id) == before
    assert send(api).status_code == 201
    api.deliver()
    assert [record["ready"] for record in listed(api)] == [True]


def test_after_the_first_one_failed_and_was_discarded(api: Api, clock: SettableClock) -> None:
    just_before(api.bucket, "PutObject", fail)
    assert send(api).status_code == 503
    clock.advance(ms=IN_FLIGHT_MS + 1)
    assert api.reconcile()["abandoned uploads discarded"] == 1
    assert listed(api) == []
    assert send(api).status_code == 201
    api.deliver()
    assert [record["ready"] for record in listed(api)] == [True]


def test_one_that_is_repeated_late_is_not_discarded_meanwhile(api: Api, clock: SettableClock) -> None:
    just_before(api.bucket, "PutObject", fail)
    assert send(api).status_code == 503
    clock.advance(ms=IN_FLIGHT_MS + 1)
    # The reconciler has just seen that the original is not there when it comes.
    repeated: list[int] = []
    just_after(services.processor().bucket, "HeadObject", lambda: repeated.append(send(api).status_code))
    assert "abandoned uploads discarded" not in api.reconcile()
    assert repeated == [201]
    api.deliver()
    assert [record["ready"] for record in listed(api)] == [True]


@pytest.mark.parametrize("ready", [False, True])
def test_the_key_of_a_deleted_picture_is_used_up(api: Api, ready: bool) -> None:
    record = send(api).json()
    if ready:
        api.deliver()
    api("DELETE", f"/{record['id']}")
    refused = send(api)
    assert refused.status_code == 422
    assert "has been removed" in refused.json()["error"]
    api.deliver()
    assert listed(api) == []
    assert keys_in(api.bucket) == []


def test_a_picture_that_is_refused_uses_up_no_key(api: Api) -> None:
    assert send(api, content=b"no picture").status_code == 415
    assert send(api).status_code == 201


@pytest.mark.parametrize(
    ("header", "key"),
    [(None, None), ("a", "a"), ('"a"', "a"), (" a ", "a"), ("!~#[]", "!~#[]"), ("a" * 255,) * 2],
)
def test_what_is_a_key(header: str | None, key: str | None) -> None:
    assert parse_idempotency_key(header) == key


@pytest.mark.parametrize("header", ["", '""', '"', '"a', 'a"', "a b", "a\\b", "a\tb", "ü", "\x7f", "a" * 256])
def test_what_is_none_is_refused(header: str) -> None:
    with pytest.raises(BadParameter):
        parse_idempotency_key(header)


def test_a_bad_key_is_said_to_be_one(api: Api) -> None:
    refused = send(api, key="a b")
    assert (refused.status_code, list(refused.json())) == (400, ["error"])
