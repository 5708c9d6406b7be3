"""What happens behind the API: many pictures, objects put into the bucket, failures for good."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any

import pytest
from botocore.exceptions import ClientError
from PIL import Image

from chalicelib import naming
from tests.conftest import picture
from tests.e2e.target import Difference, Target
from tests.service import eventually

CLIENTS = 6


def test_several_simultaneous_clients_each_go_from_upload_to_removal(target: Target) -> None:
    def client(number: int) -> None:
        for image_format in ("JPEG", "PNG", "WEBP"):
            content = picture(200 + number, 300, image_format=image_format, seed=number)
            uploaded = target.upload(content, f"client {number}.{image_format.lower()}")
            record = target.end_of(uploaded["id"])
            assert record["ready"], record
            assert record["size"]["original"] == len(content)
            thumbnail = target("GET", f"/{record['id']}/download")
            assert len(thumbnail.content) == record["size"]["thumbnail"]
            with Image.open(BytesIO(thumbnail.content)) as image:
                assert (image.format, image.size) == ("JPEG", (100, 100))
            assert record in target("GET").json()
            assert target("DELETE", f"/{record['id']}").json() == record
            assert target("GET", f"/{record['id']}").status_code == 404

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))


def test_every_upload_of_a_burst_gets_its_thumbnail(target: Target) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        ids = [record["id"] for record in pool.map(lambda n: target.upload(picture(seed=n)), range(40))]

    def all_ready() -> bool:
        ready = {record["id"] for record in target("GET").json() if record["ready"]}
        return ready >= set(ids)

    eventually(all_ready, 300)
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(target.remove, ids))


@pytest.mark.parametrize("key", ["originals/red+flower & ü.jpg", "originals/2026/a b/c.jpg"])
def test_an_object_that_is_put_straight_into_the_bucket(target: Target, key: str) -> None:
    s3, bucket = target.storage
    s3.put_object(Bucket=bucket, Key=key, Body=picture())
    record = target.end_of(naming.record_id(key))
    assert record["ready"], record
    assert record["filename"] == key.rpartition("/")[2]
    with Image.open(BytesIO(target("GET", f"/{record['id']}/download").content)) as image:
        assert image.size == (100, 100)
    target.remove(record["id"])
    assert s3.list_objects_v2(Bucket=bucket, Prefix=key)["KeyCount"] == 0


def test_an_object_beside_the_originals_is_left_alone(target: Target) -> None:
    s3, bucket = target.storage
    s3.put_object(Bucket=bucket, Key="elsewhere/a.jpg", Body=picture())
    # One that is put later has been dealt with: the other had its chance.
    s3.put_object(Bucket=bucket, Key="originals/after.jpg", Body=picture())
    after = target.end_of(naming.record_id("originals/after.jpg"))
    assert target("GET", f"/{naming.record_id('elsewhere/a.jpg')}").status_code == 404
    target.remove(after["id"])
    s3.delete_object(Bucket=bucket, Key="elsewhere/a.jpg")


@contextmanager
def no_thumbnails(target: Target) -> Iterator[None]:
    """Let S3 refuse to store thumbnails, for every role."""
    s3, bucket = target.storage
    before = None
    with suppress(ClientError):  # there is none
        before = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    policy: dict[str, Any] = json.loads(before) if before else {"Version": "2012-10-17", "Statement": []}
    policy["Statement"].append(
        {
            "Sid": "Outage",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": f"arn:aws:s3:::{bucket}/thumbnails/*",
        }
    )
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    try:
        yield
    finally:
        if before:
            s3.put_bucket_policy(Bucket=bucket, Policy=before)
        else:
            s3.delete_bucket_policy(Bucket=bucket)


def test_an_outage_fails_no_picture(target: Target) -> None:
    """S3 refuses the thumbnail: Lambda's tries are used up, and the record goes on waiting."""
    target.needs(Difference.BUCKET_POLICIES, Difference.NEVER_GIVES_UP)
    key = "originals/nobody takes it.jpg"
    s3, bucket = target.storage
    with no_thumbnails(target):
        ours = target.upload(picture())
        s3.put_object(Bucket=bucket, Key=key, Body=picture())
        both = (ours["id"], naming.record_id(key))
        eventually(lambda: all(target("GET", f"/{one}").ok for one in both), 60)
        time.sleep(10)
        for one in both:
            record = target("GET", f"/{one}").json()
            assert record["ready"] is False
            assert "error" not in record
            reply = target("GET", f"/{one}/download")
            assert reply.status_code == 409
    target.remove(*both)

    again = target.end_of(target.upload(picture())["id"])
    assert again["ready"] is True
    target.remove(again["id"])
