"""The embedded S3 and SQS over HTTP: what its own server has to keep of each request."""

import http.client
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from botocore.exceptions import ClientError

from chalicelib.clients import s3_client
from chalicelib.objects.bucket import Bucket
from local.s3_server import Dispatcher, s3_server

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

NAME = "embedded"
KEYS = ["a b+c/ü%2F&=?.jpg", "a//b", "ends/", "~-_.!*'()"]
LARGE = 20 * 1024 * 1024


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = s3_server(0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield int(server.effective_port)
    server.task_dispatcher.shutdown()


@pytest.fixture
def s3(port: int, aws_environment: None) -> "S3Client":
    client: S3Client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    client.create_bucket(Bucket=NAME)
    return client


@pytest.mark.parametrize("key", KEYS)
def test_names_and_metadata_arrive_as_they_were_sent(s3: "S3Client", key: str) -> None:
    metadata = {"created": "1", "my_key": "2", "file-name": "caf=C3=A9, a"}
    s3.put_object(Bucket=NAME, Key=key, Body=b"12345", Metadata=metadata, ContentType="image/x")
    found = s3.head_object(Bucket=NAME, Key=key)
    assert (found["Metadata"], found["ContentLength"], found["ContentType"]) == (metadata, 5, "image/x")
    assert s3.get_object(Bucket=NAME, Key=key)["Body"].read() == b"12345"
    assert key in [item["Key"] for item in s3.list_objects_v2(Bucket=NAME)["Contents"]]
    s3.delete_objects(Bucket=NAME, Delete={"Objects": [{"Key": key}]})
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=NAME, Key=key)


def test_an_object_may_be_empty(s3: "S3Client") -> None:
    """Clients announce a body of no bytes with `Expect: 100-continue`."""
    s3.put_object(Bucket=NAME, Key="empty", Body=b"")
    assert s3.get_object(Bucket=NAME, Key="empty")["Body"].read() == b""


def test_what_is_larger_than_its_memory_for_a_request(s3: "S3Client") -> None:
    content = bytes(range(256)) * (LARGE // 256)
    s3.put_object(Bucket=NAME, Key="large", Body=content)
    assert s3.get_object(Bucket=NAME, Key="large")["Body"].read() == content
    part = s3.get_object(Bucket=NAME, Key="large", Range=f"bytes={LARGE - 3}-{LARGE}")["Body"].read()
    assert part == content[-3:]


def test_one_connection_serves_many_requests(port: int, s3: "S3Client") -> None:
    s3.put_object(Bucket=NAME, Key="kept", Body=b"x" * 300_000, ACL="public-read")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.connect()
    first = connection.sock
    wanted = [("GET", "kept", 200, 300_000), ("HEAD", "kept", 200, 0), ("GET", "none", 404, None)]
    for method, path, status, length in wanted * 3:
        connection.request(method, f"/{NAME}/{path}")
        reply = connection.getresponse()
        content = reply.read()
        assert reply.status == status
        assert length in {None, len(content)}
        assert connection.sock is first
    connection.close()


def test_a_form_of_a_presigned_upload_is_taken(port: int, s3: "S3Client") -> None:
    post = Bucket(s3, NAME).presign_post(
        "form", content_type="image/jpeg", metadata={"file_name": "a"}, max_bytes=1000, seconds=60
    )
    sent = requests.post(post.url, data=post.fields, files={"file": b"12345"}, timeout=5)
    assert sent.status_code == 204
    assert s3.head_object(Bucket=NAME, Key="form")["ContentLength"] == 5


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Origin": "https://good.example"}, 200),
        ({}, 200),
    ],
)
def test_pages_of_other_sites_are_refused(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], status: int
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://good.example")
    server = s3_server(0)
    threading.Thread(target=server.run, daemon=True).start()
    reply = requests.get(f"http://127.0.0.1:{server.effective_port}/", headers=headers, timeout=5)
    assert reply.status_code == status
    server.task_dispatcher.shutdown()


def test_a_service_is_looked_up_once_for_each_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []
    inner = Dispatcher.__mro__[1].get_backend_for_host  # type: ignore[attr-defined]

    def count(self: Dispatcher, host: str | None) -> object:
        asked.append(host)
        return inner(self, host)

    monkeypatch.setattr(Dispatcher.__mro__[1], "get_backend_for_host", count)
    dispatcher = Dispatcher()
    for _ in range(3):
        assert dispatcher.get_backend_for_host("s3.us-east-1.amazonaws.com") == "s3"
        assert dispatcher.get_backend_for_host("sqs.us-east-1.amazonaws.com") == "sqs"
    assert asked == ["s3.us-east-1.amazonaws.com", "sqs.us-east-1.amazonaws.com"]


def test_bodies_are_neither_hashed_twice_nor_sent_without_what_s3_demands(
    port: int, s3: "S3Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    """DeleteObjects needs a checksum (or Content-MD5); PutObject needs none, and GetObject checks none."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    client = s3_client(timeout=5, attempts=1)
    sent: dict[str, set[str]] = {}

    def look(request: Any, event_name: str, **_: object) -> None:
        sent[event_name.rpartition(".")[2]] = {name.lower() for name in request.headers}

    client.meta.events.register("before-send.s3", look)
    bucket = Bucket(client, NAME)
    bucket.put("a", b"12345", content_type="image/jpeg")
    stored = bucket.get("a")
    assert stored is not None
    with stored:
        assert stored.read() == b"12345"
    bucket.delete("a")
    assert bucket.head("a") is None
    checksums = {
        operation: any("checksum" in name or name == "content-md5" for name in names)
        for operation, names in sent.items()
    }
    assert checksums == {"PutObject": False, "GetObject": False, "DeleteObjects": True, "HeadObject": False}


def test_over_tls_no_hash_of_the_body_is_signed(
    monkeypatch: pytest.MonkeyPatch, aws_environment: None
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:9")
    client = s3_client(timeout=1, attempts=1)
    signed: list[str] = []

    def look(request: Any, **_: object) -> None:
        signed.append(request.headers["X-Amz-Content-SHA256"].decode())

    client.meta.events.register("before-send.s3.PutObject", look)
    with pytest.raises(Exception, match="connect"):
        client.put_object(Bucket=NAME, Key="a", Body=b"12345")
    assert signed == ["UNSIGNED-PAYLOAD"]
