"""How long others may keep a thumbnail, and what they are told when they have it already."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chalicelib import naming
from chalicelib.http.caching import ONE_DAY, cache_control, matches
from chalicelib.records.record import Record, State
from tests.conftest import Api, picture

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

NOW = 1_700_000_000_000
ID = "8e03978e-40d5-43dd-bc93-6894a57f9324"
UPLOAD = Record(
    ID, naming.original(ID), "a.jpg", NOW, 5, state=State.READY, thumbnail="e-1", thumbnail_size=3
)


@pytest.mark.parametrize(
    ("record", "header"),
    [
        (UPLOAD, f"public, max-age={ONE_DAY}"),
        (replace(UPLOAD, expires_ms=NOW + 60_999), "public, max-age=60"),
        (replace(UPLOAD, expires_ms=NOW - 1), "public, max-age=0"),
        (replace(UPLOAD, expires_ms=NOW + 2 * ONE_DAY * 1000), f"public, max-age={ONE_DAY}"),
        (replace(UPLOAD, download_expires_ms=NOW + 5_000), "public, max-age=5"),
        (replace(UPLOAD, owner="alice"), "private, no-cache"),
        (replace(UPLOAD, presigned_until_ms=NOW), "public, no-cache"),
        (replace(UPLOAD, object_key="originals/cat.jpg"), "public, no-cache"),
        (replace(UPLOAD, object_key="originals/cat.jpg", owner="alice"), "private, no-cache"),
    ],
    ids=["for ever", "expires", "expired", "late", "downloaded", "owner", "presigned", "client key", "both"],
)
def test_a_thumbnail_is_kept_as_long_as_it_cannot_change(record: Record, header: str) -> None:
    assert cache_control(record, NOW, expires_after_download=False) == header
    assert cache_control(record, NOW, expires_after_download=True) == "no-store"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('"t"', True),
        ('W/"t"', True),
        ('"x", "t"', True),
        ('"x",W/"t" ', True),
        ("*", True),
        (None, False),
        ("", False),
        ("t", False),
        ('"T"', False),
        ('"tt"', False),
        ('w/"t"', False),
    ],
)
def test_entity_tags_are_compared_weakly(header: str | None, found: bool) -> None:
    assert matches(header, "t") is found


def test_a_download_can_be_cached_for_ever(api: Api) -> None:
    path = f"/{api.upload()['id']}/download"
    api.deliver()
    first = api("GET", path)
    assert first.headers["Cache-Control"] == "public, max-age=86400"
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    tag = first.headers["ETag"]
    assert re.fullmatch(r'"[^"]+"', tag)
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = api("GET", path, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    for unknown in ('"other"', tag.strip('"')):
        assert api("GET", path, headers={"If-None-Match": unknown}).content == first.content


def test_a_thumbnail_of_a_client_key_is_revalidated(api: Api, s3: "S3Client") -> None:
    s3.put_object(Bucket=api.bucket.name, Key="originals/cat.jpg", Body=picture())
    api.deliver()
    (record,) = api("GET").json()
    reply = api("GET", f"/{record['id']}/download")
    assert (reply.status_code, reply.headers["Cache-Control"]) == (200, "public, no-cache")
