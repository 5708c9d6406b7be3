"""Presigned URLs on an S3 that checks signatures, times and sessions: MiniStack, which moto does not."""

import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import boto3
import pytest
import requests
from botocore.credentials import Credentials

from chalicelib.clients import s3_client, s3_credentials
from chalicelib.clock import now_ms
from chalicelib.objects.bucket import Bucket
from deploy import UserError
from tests.e2e import ministack
from tests.inside import s3_of

pytestmark = pytest.mark.slow

KEY = "thumbnails/2301fc52-2c41-4a65-bde8-a1215771a3b9/0a1b-2c3d.jpg"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        running = ministack.server(tmp_path_factory.mktemp("signed-urls") / "log.txt")
        url = running.__enter__()
    except UserError as reason:
        pytest.skip(f"MiniStack cannot be installed here: {reason}")
    yield url
    running.__exit__(None, None, None)


@pytest.fixture
def strict(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket there, with one object in it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    client = s3_client(timeout=60, attempts=1)
    client.create_bucket(Bucket="pictures")
    client.put_object(Bucket="pictures", Key=KEY, Body=b"jpeg", ContentType="image/jpeg")
    return Bucket(client, "pictures", credentials=s3_credentials())


def sign(bucket: Bucket, *, seconds: int = 60) -> str:
    now = now_ms()
    return bucket.presign_get(KEY, now_ms=now, until_ms=now + seconds * 1000).url


def status(url: str) -> int:
    return requests.get(url, timeout=60).status_code


def test_it_shows_the_object(strict: Bucket) -> None:
    reply = requests.get(sign(strict), timeout=60)
    assert (reply.status_code, reply.content) == (200, b"jpeg")
    assert reply.headers["Content-Type"] == "image/jpeg"
    assert reply.headers["Cache-Control"] == "private, max-age=60"


def bit_of(part: str) -> Callable[[str], str]:
    def change(url: str) -> str:
        place = url.index(part) + len(part)
        return url[:place] + chr(ord(url[place]) ^ 1) + url[place + 1 :]

    return change


@pytest.mark.parametrize(
    "change",
    [
        bit_of("X-Amz-Signature="),
        bit_of("X-Amz-Expires="),
        bit_of("X-Amz-Credential="),
        bit_of("X-Amz-Date=2"),
        bit_of("/thumbnails/"),
        bit_of("max-age%3D"),
        lambda url: url.partition("?")[0],
        lambda url: url.replace("127.0.0.1", "localhost"),
    ],
    ids=["signature", "lifetime", "key id", "date", "object", "header", "unsigned", "host"],
)
def test_one_bit_changed_is_403(strict: Bucket, change: Callable[[str], str]) -> None:
    url = sign(strict)
    assert change(url) != url
    assert status(change(url)) == 403
    assert status(url) == 200


def test_it_lets_nobody_write(strict: Bucket) -> None:
    url = sign(strict)
    assert requests.put(url, data=b"other", timeout=60).status_code == 403
    assert requests.delete(url, timeout=60).status_code == 403
    assert requests.get(url, timeout=60).content == b"jpeg"


def test_after_its_end_it_is_403(strict: Bucket) -> None:
    now = now_ms()
    given = strict.presign_get(KEY, now_ms=now, until_ms=now + 2000)
    assert status(given.url) == 200
    time.sleep(max(0, given.expires_ms - now_ms()) / 1000 + 1.1)
    assert status(given.url) == 403


def test_after_the_object_it_shows_nothing(strict: Bucket) -> None:
    url = sign(strict)
    started = time.monotonic()
    strict.delete(KEY)
    assert status(url) in {403, 404}
    assert time.monotonic() - started < 1


def test_a_session_signs_with_its_token(strict: Bucket, endpoint: str) -> None:
    """As a role's does, on Lambda."""
    made = boto3.client("sts", endpoint_url=endpoint).get_session_token(DurationSeconds=900)["Credentials"]
    session = Credentials(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])
    url = sign(Bucket(s3_of(strict), strict.name, credentials=session))
    assert "X-Amz-Security-Token" in urlsplit(url).query
    assert status(url) == 200
    assert status(bit_of("X-Amz-Security-Token=")(url)) in {400, 403}
