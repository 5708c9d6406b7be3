"""Requests that meet other requests, events and failures: what clients are promised holds all the same."""

import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests

from app import V1
from chalicelib import naming, services
from chalicelib.errors import BucketUnavailable
from tests.conftest import Api, just_after, just_before, keys_in, picture

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def fail() -> None:
    raise BucketUnavailable


def assert_nothing_left(api: Api) -> None:
    assert api("GET").json() == []
    assert keys_in(api.bucket) == []


@pytest.mark.parametrize("deliver_first", [False, True], ids=["pending", "ready"])
def test_of_two_simultaneous_deletes_one_gets_the_record(api: Api, deliver_first: bool) -> None:
    record = api.upload()
    if deliver_first:
        api.deliver()
    shown = api("GET", f"/{record['id']}").json()
    url = f"{api.url}{V1}/thumbnail/{record['id']}"
    other: list[requests.Response] = []
    just_before(api.bucket, "DeleteObjects", lambda: other.append(requests.delete(url, timeout=60)))
    statuses = {reply.status_code: reply for reply in (requests.delete(url, timeout=60), *other)}
    assert set(statuses) == {200, 404}
    assert statuses[200].json() == shown
    api.deliver()
    assert_nothing_left(api)


def test_of_many_simultaneous_deletes_one_gets_the_record(api: Api) -> None:
    url = f"{api.url}{V1}/thumbnail/{api.upload()['id']}"
    barrier = threading.Barrier(8)

    def delete(_: int) -> int:
        barrier.wait()
        return requests.delete(url, timeout=60).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(delete, range(8))) == [200] + [404] * 7


@pytest.mark.parametrize("hook", [just_before, just_after], ids=["before the effect", "after the effect"])
def test_a_delete_that_fails_half_way_can_be_repeated(api: Api, hook: Callable[..., None]) -> None:
    record = api.upload()
    api.deliver()
    shown = api("GET", f"/{record['id']}").json()
    hook(api.bucket, "DeleteObjects", fail)
    failed = api("DELETE", f"/{record['id']}")
    assert (failed.status_code, "Retry-After" in failed.headers) == (503, True)
    assert api("GET", f"/{record['id']}").status_code == 404
    assert api("GET").json() == []
    repeated = api("DELETE", f"/{record['id']}")
    assert (repeated.status_code, repeated.json()) == (200, shown)
    assert_nothing_left(api)


@pytest.mark.parametrize("hook", [just_before, just_after], ids=["before the effect", "after the effect"])
def test_an_upload_that_s3_did_not_confirm_leaves_nothing_behind(api: Api, hook: Callable[..., None]) -> None:
    hook(api.bucket, "PutObject", fail)
    reply = api("POST", files={"image": ("p.jpg", picture())})
    assert reply.status_code == 503
    assert api("GET").json() == []
    api.deliver()
    assert_nothing_left(api)


def test_an_upload_whose_confirmation_is_lost_after_its_event_leaves_nothing_behind(api: Api) -> None:
    def deliver_and_fail() -> None:
        api.deliver()
        fail()

    just_after(api.bucket, "PutObject", deliver_and_fail)
    assert api("POST", files={"image": ("p.jpg", picture())}).status_code == 503
    assert_nothing_left(api)


def test_a_download_of_a_thumbnail_that_is_being_replaced(api: Api, s3: "S3Client") -> None:
    key = "originals/mine.jpg"
    path = f"/{naming.record_id(key)}/download"

    def put(seed: int) -> None:
        s3.put_object(Bucket=api.bucket.name, Key=key, Body=picture(seed=seed))
        api.deliver()

    put(1)
    first = api("GET", path)
    just_before(api.bucket, "GetObject", lambda: put(2))
    reply = api("GET", path)
    assert (reply.status_code, "Retry-After" in reply.headers) == (409, True)
    second = api("GET", path)
    assert second.status_code == 200
    assert second.headers["ETag"] != first.headers["ETag"]


def test_an_event_that_overtakes_the_upload_response(api: Api) -> None:
    just_after(api.bucket, "PutObject", api.deliver)
    record = api.upload()
    assert record["ready"] is False
    assert api("GET", f"/{record['id']}").json()["ready"] is True


def test_an_event_that_comes_after_the_delete_and_again(api: Api) -> None:
    record = api.upload()
    events = api.events()
    assert api("DELETE", f"/{record['id']}").json() == record
    for _ in range(2):
        api.deliver(events)
        assert_nothing_left(api)


def test_a_delete_while_the_thumbnail_is_made(api: Api) -> None:
    record = api.upload()
    events = api.events()
    status: list[int] = []
    processor = services.processor()
    just_before(
        processor.bucket, "PutObject", lambda: status.append(api("DELETE", f"/{record['id']}").status_code)
    )
    api.deliver(events)
    assert status == [200]
    assert_nothing_left(api)


def test_lists_while_everything_is_deleted(api: Api) -> None:
    total = 30
    ids = [api.upload()["id"] for _ in range(total)]
    done = threading.Event()
    lists: list[list[str]] = []

    def list_on() -> None:
        while not done.is_set():
            reply = requests.get(f"{api.url}{V1}/thumbnail", params={"limit": 1000}, timeout=60)
            assert reply.status_code == 200
            lists.append([record["id"] for record in reply.json()])

    with ThreadPoolExecutor(5) as pool:
        reader = pool.submit(list_on)
        statuses = list(pool.map(lambda i: requests.delete(f"{api.url}{V1}/thumbnail/{i}", timeout=60), ids))
        done.set()
        reader.result()
    assert [reply.status_code for reply in statuses] == [200] * total
    newest_first = ids[::-1]
    assert any(0 < len(seen) < total for seen in lists)
    for seen in lists:
        assert seen == [one for one in newest_first if one in seen]
    assert_nothing_left(api)


def test_one_event_with_several_objects_of_which_one_fails(api: Api, s3: "S3Client") -> None:
    names = ["a+b c.jpg", "ü.jpg", "third.jpg"]
    for name in names:
        s3.put_object(Bucket=api.bucket.name, Key=f"originals/{name}", Body=picture())
    event = {"Records": [record for event in api.events() for record in event["Records"]]}
    event["Records"].insert(1, {"eventSource": "aws:ses", "surprise": True})
    just_before(services.processor().bucket, "GetObject", fail, skip=1)
    with pytest.raises(BucketUnavailable):
        api.deliver([event])
    ready = {record["filename"] for record in api("GET").json() if record["ready"]}
    assert ready == {"a+b c.jpg", "third.jpg"}
    api.deliver([event])
    assert {record["filename"] for record in api("GET").json() if record["ready"]} == set(names)


def test_the_event_that_s3_sends_to_test_the_rule(api: Api) -> None:
    api.deliver([{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": api.bucket.name}])
    assert_nothing_left(api)


def test_a_presigned_post_is_an_upload_too(api: Api, s3: "S3Client") -> None:
    post = s3.generate_presigned_post(api.bucket.name, "originals/from a form.jpg")
    reply = requests.post(post["url"], data=post["fields"], files={"file": picture()}, timeout=60)
    assert reply.ok
    api.deliver()
    (record,) = api("GET").json()
    assert (record["filename"], record["ready"]) == ("from a form.jpg", True)
    assert record["id"] == naming.record_id("originals/from a form.jpg")


def test_logs_are_json_with_ids_and_without_names(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        record = api.upload(filename="my secret.jpg")
        api.deliver()
        api("GET", f"/{record['id']}/download")
    formatter = services.log.handlers[0].formatter
    assert formatter is not None
    lines = [
        json.loads(formatter.format(entry)) for entry in caplog.records if entry.name == services.log.service
    ]
    assert [line["message"] for line in lines] == ["request", "thumbnail", "request"]
    assert all(line["request_id"] for line in lines)
    assert [line.get("record_id") for line in lines] == [record["id"]] * 3
    assert "secret" not in json.dumps(lines)
