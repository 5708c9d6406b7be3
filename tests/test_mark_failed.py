"""Events that failed each time: they are processed again, and a picture that kills the function fails."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import naming, services
from chalicelib.errors import BucketUnavailable, RecordStoreUnavailable
from chalicelib.objects import events
from chalicelib.work.retry import MOST_ATTEMPTS
from tests.conftest import Api, found, just_before, keys_in, picture, report

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

CLIENTS_KEY = "originals/holiday/red+flower & ü.jpg"


def shown(api: Api, record_id: str) -> dict[str, Any]:
    record: dict[str, Any] = api("GET", f"/{record_id}").json()
    return record


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processing fail in a way that its code does not foresee."""

    def fail(*_: object, **__: object) -> None:
        raise KeyError("of a decoder")

    monkeypatch.setattr("chalicelib.work.look.make_thumbnail", fail)


@pytest.mark.usefixtures("bug")
def test_a_picture_that_processing_always_dies_on_gets_an_error_that_says_what_to_do(api: Api) -> None:
    record = api.upload()
    image = record["image"]
    reports = [report(event) for event in api.events()]
    for _ in range(MOST_ATTEMPTS):
        assert api.fail(*reports) == ["0"], "the queue gives it out again"
        assert shown(api, record["id"]) == record
    for _ in range(2):  # SQS delivers at least once
        assert api.fail(*reports) == []
        failed = shown(api, record["id"])
        assert failed | {"image": image} == record | {"error": failed["error"]}
        assert "tried again" in failed["error"]
    assert api("GET", f"/{record['id']}/download").status_code == 422
    assert api("DELETE", f"/{record['id']}").json() == failed
    assert keys_in(api.bucket) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {
                "responsePayload": {
                    "errorType": "Sandbox.Timedout",
                    "errorMessage": "RequestId: x Error: Task timed out after 60.00 seconds",
                }
            },
            "in the time",
        ),
        (
            {
                "responsePayload": {
                    "errorMessage": "2026-11-25T09:00:00.000Z 1b4e28ba Task timed out after 60.06 seconds"
                }
            },
            "in the time",
        ),
        (
            {
                "responsePayload": {
                    "errorType": "Runtime.OutOfMemory",
                    "errorMessage": "RequestId: x Error: Runtime exited",
                }
            },
            "in the memory",
        ),
        (
            {
                "responsePayload": {
                    "errorType": "Runtime.ExitError",
                    "errorMessage": "RequestId: x Error: Runtime exited with error: signal: killed",
                }
            },
            "in the memory",
        ),
        (
            {
                "requestContext": {"condition": "EventAgeExceeded", "approximateInvokeCount": 0},
                "responsePayload": None,
            },
            "waited",
        ),
        (
            {
                "requestContext": {"condition": "RetriesExhausted"},
                "responsePayload": {"errorType": "KeyError"},
            },
            "several times",
        ),
        ({"requestContext": "?", "responsePayload": "?"}, "several times"),
        ({"requestContext": None, "responsePayload": ["?"]}, "several times"),
    ],
    ids=["timeout", "timeout, in words", "memory", "killed", "too old", "bug", "odd", "odder"],
)
@pytest.mark.usefixtures("bug")
def test_the_error_says_what_happened_and_what_to_do(api: Api, changes: dict[str, Any], said: str) -> None:
    record = api.upload()
    (event,) = api.events()
    # Lambda has seen the function killed three times before the report came.
    attempts = 1 if said in {"in the time", "in the memory"} else MOST_ATTEMPTS
    for _ in range(attempts):
        assert api.fail(report(event) | changes) == ["0"]
    assert api.fail(report(event) | changes) == []
    error = shown(api, record["id"])["error"]
    assert said in error
    assert "upload" in error


def test_every_record_of_every_report_is_processed_again(api: Api, s3: "S3Client") -> None:
    ids = [api.upload()["id"] for _ in range(3)]
    s3.put_object(Bucket=api.bucket.name, Key=CLIENTS_KEY, Body=picture())
    first, *others = api.events()
    first["Records"] += [record for event in others[:1] for record in event["Records"]]
    assert api.fail(report(first), *map(report, others[1:])) == []
    for record_id in [*ids, naming.record_id(CLIENTS_KEY)]:
        assert shown(api, record_id)["ready"] is True


def test_a_record_that_is_ready_stays_so(api: Api) -> None:
    record = api.upload()
    sent = api.events()
    api.deliver(sent)
    ready = shown(api, record["id"])
    assert api.fail(*map(report, sent)) == []
    assert shown(api, record["id"]) == ready
    assert api("GET", f"/{record['id']}/download").status_code == 200


def test_a_picture_that_is_damaged_keeps_its_own_error(api: Api) -> None:
    record = api.upload(picture()[:300])
    sent = api.events()
    api.deliver(sent)
    failed = shown(api, record["id"])
    api.fail(*map(report, sent))
    assert shown(api, record["id"]) == failed


def test_a_deleted_record_stays_deleted(api: Api, redis_server: "redis.Redis") -> None:
    record = api.upload()
    sent = api.events()
    api("DELETE", f"/{record['id']}")
    assert api.fail(*map(report, sent)) == []
    assert api("GET", f"/{record['id']}").status_code == 404
    assert api("GET").json() == []
    assert keys_in(api.bucket) == []


def test_it_is_deleted_meanwhile(api: Api) -> None:
    record = api.upload()
    sent = api.events()
    just_before(services.processor().bucket, "PutObject", lambda: api("DELETE", f"/{record['id']}"))
    assert api.fail(*map(report, sent)) == []
    assert api("GET").json() == []
    assert keys_in(api.bucket) == []


def test_an_object_without_a_record_gets_one(api: Api, s3: "S3Client") -> None:
    """Redis was away when it was put into the bucket, for as long as Lambda tried."""
    s3.put_object(Bucket=api.bucket.name, Key=CLIENTS_KEY, Body=picture())
    assert api.fail(*map(report, api.events())) == []
    (record,) = api("GET").json()
    assert (record["id"], record["filename"]) == (naming.record_id(CLIENTS_KEY), "red+flower & ü.jpg")
    assert record["ready"] is True


def test_a_version_that_came_since_is_left_to_its_own_event(api: Api, s3: "S3Client") -> None:
    s3.put_object(Bucket=api.bucket.name, Key=CLIENTS_KEY, Body=picture())
    failed = api.events()
    s3.put_object(Bucket=api.bucket.name, Key=CLIENTS_KEY, Body=picture(500, 100))
    assert api.fail(*map(report, failed)) == []
    api.deliver()
    assert shown(api, naming.record_id(CLIENTS_KEY))["ready"] is True


def test_an_original_that_is_gone_fails_for_that_reason(api: Api, s3: "S3Client") -> None:
    record = api.upload()
    s3.delete_object(Bucket=api.bucket.name, Key=naming.original(record["id"]))
    api.fail(*map(report, api.events()))
    assert "removed" in shown(api, record["id"])["error"]


def test_only_what_met_an_outage_comes_again_and_the_attempt_does_not_count(api: Api) -> None:
    ids = [api.upload()["id"] for _ in range(3)]
    sent = api.events()

    def fail() -> None:
        raise BucketUnavailable

    for _ in range(2 * MOST_ATTEMPTS):
        just_before(services.processor().bucket, "GetObject", fail, skip=1)
    assert api.fail(*map(report, sent)) == ["1", "2"]
    for _ in range(MOST_ATTEMPTS - 1):  # the hooks see the call that they do not fail only once
        assert api.fail(*map(report, sent[1:])) == ["0", "1"]
    assert [found(api.store, record_id).attempts for record_id in ids] == [0, 0, 0]
    assert api.fail(*map(report, sent[1:])) == []
    assert all(shown(api, record_id)["ready"] for record_id in ids)


def test_an_event_is_never_given_up_for_an_outage_of_redis(
    api: Api, redis_server: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    record = api.upload()
    (event,) = api.events()

    def away(*_: object, **__: object) -> None:
        raise RecordStoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(services.processor().store, "find", away)
        for _ in range(3 * MOST_ATTEMPTS):
            assert api.fail(report(event)) == ["0"]
    assert api.fail(report(event)) == []
    assert shown(api, record["id"])["ready"] is True


@pytest.mark.parametrize(
    "body",
    ["no JSON", "[]", "null", "{}", '{"requestPayload": 1}', '{"requestPayload": {"Event": "s3:TestEvent"}}'],
)
def test_a_message_that_reports_nothing_is_done_with(api: Api, body: str) -> None:
    ((message_id, event, _),) = events.failed_events({"Records": [{"messageId": "m", "body": body}]})
    assert message_id == "m"
    assert events.created_originals(event, bucket=api.bucket.name) == []
    assert api.fail(json.loads(body) if body != "no JSON" else body) == []
