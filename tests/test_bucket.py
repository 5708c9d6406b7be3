"""Objects in an S3 over HTTP."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import boto3
import pytest
import requests

from chalicelib.clients import s3_client
from chalicelib.errors import BucketUnavailable
from chalicelib.objects.bucket import Bucket
from tests.inside import s3_of

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def test_an_object_reads_back_as_written(bucket: Bucket) -> None:
    bucket.put("originals/ü +&?#%.jpg", b"bytes", content_type="image/x", metadata={"a": "1"})
    stored = bucket.get("originals/ü +&?#%.jpg")
    assert stored is not None
    with stored:
        assert (stored.info.size, stored.info.metadata, stored.read()) == (5, {"a": "1"}, b"bytes")
        assert stored.info == bucket.head("originals/ü +&?#%.jpg")
        assert '"' not in stored.info.etag
        assert stored.info.modified_ms % 1000 == 0


def test_what_is_not_there(bucket: Bucket) -> None:
    assert bucket.get("nothing") is None
    assert bucket.head("nothing") is None
    bucket.delete("nothing", "nothing either")
    bucket.delete()


def test_delete_removes_all_it_is_told(bucket: Bucket) -> None:
    for key in "abc":
        bucket.put(key, b"x", content_type="x/x")
    bucket.delete("a", "c")
    assert [key for key in "abc" if bucket.head(key)] == ["b"]


def test_an_object_that_is_refused_removal_is_reported(bucket: Bucket, s3: "S3Client") -> None:
    def refuse(parsed: dict[str, object], **_: object) -> None:
        parsed["Errors"] = [{"Key": "a", "Code": "InternalError"}]

    s3_of(bucket).meta.events.register("after-call.s3.DeleteObjects", refuse)
    with pytest.raises(BucketUnavailable):
        bucket.delete("a")


def test_an_unread_object_gives_its_connection_back(bucket: Bucket) -> None:
    bucket.put("big", bytes(1_000_000), content_type="x/x")
    for _ in range(100):
        stored = bucket.get("big")
        assert stored is not None
        with stored:
            pass
    assert bucket.head("big")


@pytest.mark.parametrize("call", ["ping", "get", "head", "put", "delete", "delete_version", "pages"])
@pytest.mark.parametrize("fault", ["no bucket", "no server"])
def test_every_call_says_so_when_the_bucket_cannot_be_used(
    call: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "no server":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    bucket = Bucket(s3_client(timeout=1, attempts=1), "no-such-bucket")
    calls: dict[str, Callable[[], object]] = {
        "ping": bucket.ping,
        "get": lambda: bucket.get("k"),
        "head": lambda: bucket.head("k"),
        "put": lambda: bucket.put("k", b"", content_type="x/x"),
        "delete": lambda: bucket.delete("k"),
        "delete_version": lambda: bucket.delete_version("k", "e"),
        "pages": lambda: list(bucket.pages("k")),
    }
    if (call, fault) == ("head", "no bucket"):
        # A HEAD reply has no body that would tell a missing bucket from a missing object.
        assert bucket.head("k") is None
        return
    with pytest.raises(BucketUnavailable):
        calls[call]()


@pytest.mark.parametrize("region", ["eu-central-1", "ap-east-1"])
def test_forms_go_to_the_buckets_own_region(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    far = Bucket(s3_client(timeout=1, attempts=1), "pictures")
    assert far.post_url() == f"https://pictures.s3.{region}.amazonaws.com/"


def test_every_form_goes_to_one_url(bucket: Bucket) -> None:
    post = bucket.presign_post("originals/a", content_type="image/jpeg", metadata={}, max_bytes=1, seconds=1)
    assert post.url == bucket.post_url()


def test_clients_may_reach_s3_elsewhere(bucket: Bucket, s3: "S3Client", s3_endpoint: str) -> None:
    """The form that is signed names no host, so S3 takes it under any of its names."""
    elsewhere = s3_endpoint.replace("127.0.0.1", "localhost")
    assert elsewhere != s3_endpoint
    shown = Bucket(s3, bucket.name, public_url=elsewhere)
    post = shown.presign_post("originals/a", content_type="image/jpeg", metadata={}, max_bytes=9, seconds=60)
    assert post.url == shown.post_url() == f"{elsewhere}/{bucket.name}"
    sent = requests.post(post.url, data=post.fields, files={"file": ("a.jpg", b"picture")}, timeout=60)
    assert sent.ok, sent.text
    assert bucket.head("originals/a") is not None
