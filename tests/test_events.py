"""Notifications as S3, its emulators and strangers send them."""

import json
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import naming
from chalicelib.objects.events import CreatedObject, created_originals

BUCKET = "pictures"


def record(key: Any = "originals/photo.jpg", size: Any = 343_956, **changes: Any) -> dict[str, Any]:
    """One record as S3 writes it, with its many keys that do not matter here."""
    return {
        "eventVersion": "2.3",
        "eventSource": "aws:s3",
        "awsRegion": "eu-central-1",
        "eventTime": "2026-11-23T12:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AROA"},
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "thumbnails",
            "bucket": {
                "name": BUCKET,
                "ownerIdentity": {"principalId": "A3"},
                "arn": "arn:aws:s3:::pictures",
            },
            "object": {"key": key, "size": size, "eTag": "d41d8cd9", "sequencer": "0055AED6DCD90281E5"},
        },
    } | changes


def found(*records: Any, bucket: str = BUCKET) -> list[str]:
    return [created.key for created in created_originals({"Records": list(records)}, bucket=bucket)]


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("originals/photo.jpg", "originals/photo.jpg"),
        ("originals/red+flower.jpg", "originals/red flower.jpg"),
        ("originals/red%20flower.jpg", "originals/red flower.jpg"),
        ("originals/1%2B1%3D2.jpg", "originals/1+1=2.jpg"),
        ("originals/100%25.jpg", "originals/100%.jpg"),
        ("originals/%2520.jpg", "originals/%20.jpg"),
        ("originals/na%C3%AFve+%F0%9F%90%B1.png", "originals/naïve 🐱.png"),
        ("originals/a%2Fb%5Cc.png", "originals/a/b\\c.png"),
        ("originals%2Fphoto.jpg", "originals/photo.jpg"),
        ("originals/naïve.jpg", "originals/naïve.jpg"),
    ],
)
def test_keys_come_form_encoded(encoded: str, key: str) -> None:
    assert found(record(encoded)) == [key]


@pytest.mark.parametrize(
    "name",
    [
        "ObjectCreated:Put",
        "ObjectCreated:Post",
        "ObjectCreated:Copy",
        "s3:ObjectCreated:Put",
        "ObjectRestore:Completed",
        "s3:ObjectRestore:Completed",
    ],
)
def test_every_way_to_become_readable_counts(name: str) -> None:
    assert found(record(eventName=name)) == ["originals/photo.jpg"]


def test_a_multipart_uploads_event_counts() -> None:
    assert found(record(eventName="ObjectCreated:CompleteMultipartUpload")) == ["originals/photo.jpg"]


def test_all_records_count_once_and_in_order() -> None:
    reported = ["originals/b.jpg", "originals/a.jpg", "originals/b.jpg", "originals/c.jpg"]
    assert found(*map(record, reported)) == ["originals/b.jpg", "originals/a.jpg", "originals/c.jpg"]


def test_an_upload_of_the_api_counts() -> None:
    key = naming.original(naming.new_id())
    assert found(record(key)) == [key]


@pytest.mark.parametrize(
    ("size", "etag", "told"),
    [
        (5, "d41d8cd9", (5, "d41d8cd9")),
        (0, '"d41d8cd9"', (0, "d41d8cd9")),
        (None, None, (None, None)),
        (-1, 7, (None, None)),
        ("5", ["d41d8cd9"], (None, None)),
    ],
)
def test_what_the_event_says_of_the_version_is_kept(size: Any, etag: Any, told: Any) -> None:
    item = record()
    item["s3"]["object"] |= {"size": size, "eTag": etag}
    (created,) = created_originals({"Records": [item]}, bucket=BUCKET)
    assert created == CreatedObject("originals/photo.jpg", told[1], told[0])


def test_two_versions_of_a_key_are_two() -> None:
    older, newer = record(), record()
    newer["s3"]["object"]["eTag"] = "e2fc714c"
    assert found(older, newer, older) == ["originals/photo.jpg"] * 2


def test_the_test_event_of_s3_creates_nothing() -> None:
    event = {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2026-11-23T12:00:00.000Z",
        "Bucket": BUCKET,
        "RequestId": "5582815E1AEA5ADF",
        "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
    }
    assert created_originals(event, bucket=BUCKET) == []


STRANGERS = [
    record(eventSource="aws:sqs"),
    record(eventSource="minio:s3"),
    record(eventName="ObjectRemoved:Delete"),
    record(eventName="ObjectRestore:Post"),
    record(eventName="ObjectRestore:Delete"),
    record(eventName="s3:TestEvent"),
    record(eventName="ObjectCreatedLater:Put"),
    record("thumbnails/4f1c0c9e-3f0b-4d0e-8a54-0f3c1f6f9d10/d41d8cd9.jpg"),
    record("originals.jpg"),
    record("uploads/photo.jpg"),
    record("uploads/4f1c0c9e-3f0b-1d0e-8a54-0f3c1f6f9d10"),
    record("uploads/4f1c0c9e-3f0b-4d0e-8a54-0f3c1f6f9d10.jpg"),
    record("state/heartbeat"),
    record("other/originals/photo.jpg"),
    record("/originals/photo.jpg"),
    record("originals/album/", 0),
    record("originals/", 0),
    record(s3=record()["s3"] | {"bucket": {"name": "another"}}),
]
MALFORMED: list[Any] = [
    None,
    7,
    "ObjectCreated:Put",
    [],
    {},
    record(None),
    record(7),
    record([]),
    record({}),
    record("originals/\ud800.jpg"),
    record(eventName=None),
    record(eventName=7),
    record(eventName=["ObjectCreated:Put"]),
    record(eventSource=None),
    record(s3=None),
    record(s3="originals/photo.jpg"),
    record(s3={}),
    record(s3={"bucket": None, "object": None}),
    record(s3={"bucket": {"name": BUCKET}}),
    record(s3={"bucket": {"name": BUCKET}, "object": {}}),
    record(s3={"bucket": {"name": BUCKET}, "object": "originals/photo.jpg"}),
    record(s3={"bucket": BUCKET, "object": {"key": "originals/photo.jpg"}}),
    {name: value for name, value in record().items() if name != "eventName"},
    {name: value for name, value in record().items() if name != "eventSource"},
]


@pytest.mark.parametrize("stranger", [*STRANGERS, *MALFORMED])
def test_what_is_not_for_us_is_passed_over_and_keeps_nothing_back(stranger: Any) -> None:
    assert found(record("originals/a.jpg"), stranger, record("originals/b.jpg")) == [
        "originals/a.jpg",
        "originals/b.jpg",
    ]


@pytest.mark.parametrize(
    "event",
    [
        None,
        7,
        "Records",
        [],
        [record()],
        {},
        {"Records": None},
        {"Records": {}},
        {"Records": "originals/photo.jpg"},
        {"Records": record()},
        {"Records": []},
    ],
)
def test_what_is_no_notification_creates_nothing(event: Any) -> None:
    assert created_originals(event, bucket=BUCKET) == []


@pytest.mark.parametrize("size", [1, 343_956])
def test_an_object_with_content_counts_though_it_is_named_like_a_folder(size: int) -> None:
    assert found(record("originals/album/", size)) == ["originals/album/"]


@pytest.mark.parametrize("size", [0, None, "many"])
def test_only_folders_are_passed_over_by_their_size(size: Any) -> None:
    assert found(record("originals/empty.jpg", size)) == ["originals/empty.jpg"]


def test_what_s3_adds_one_day_does_not_matter() -> None:
    item = record(glacierEventData={"restoreEventData": {}}, tomorrow=[{"new": True}])
    item["s3"]["object"]["versionId"] = "096fKKXTRTtl3on89fVO.nfljtsv6qko"
    assert found(item) == ["originals/photo.jpg"]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
anything = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@given(anything)
def test_no_json_at_all_raises(event: Any) -> None:
    assert created_originals(event, bucket=BUCKET) == []


PLACES = [
    ("eventName",),
    ("eventSource",),
    ("s3",),
    ("s3", "bucket"),
    ("s3", "bucket", "name"),
    ("s3", "object"),
    ("s3", "object", "key"),
    ("s3", "object", "size"),
    ("s3", "object", "eTag"),
]


@given(st.sampled_from(PLACES), anything)
def test_nothing_in_any_place_of_a_record_raises(place: tuple[str, ...], value: Any) -> None:
    broken = record()
    *way, last = place
    inner = broken
    for name in way:
        inner = inner[name]
    inner[last] = value
    assert all(map(naming.is_original, found(broken)))


@given(st.text(st.characters(), max_size=100))
def test_whatever_is_found_can_be_asked_for(encoded: str) -> None:
    for key in found(record("originals/" + encoded)):
        naming.record_id(key)


@given(st.text(max_size=100))
def test_every_key_comes_back_from_its_encoding(rest: str) -> None:
    key = f"originals/{rest}"
    event = json.loads(json.dumps(record(quote_plus(key, safe="/"))))
    assert found(event) == [key]
