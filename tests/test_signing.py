"""Presigned GETs: what is signed, for how long, at which host, and with whose credentials."""

import socket
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
import requests
from botocore.credentials import RefreshableCredentials

from chalicelib.clients import s3_client, s3_credentials
from chalicelib.clock import now_ms
from chalicelib.errors import BucketUnavailable
from chalicelib.objects.bucket import Bucket
from chalicelib.objects.signing import PresignedUrl
from tests.inside import s3_of
from tests.sigv4 import SECRETS, answer_of_s3

KEY = "thumbnails/2301fc52-2c41-4a65-bde8-a1215771a3b9/0a1b-2c3d.jpg"
OTHER_KEYS = ["thumbnails/a b+c/~ü%41&=?#.jpg", "thumbnails//x", "thumbnails/../x"]


@pytest.fixture
def signing(bucket: Bucket) -> Bucket:
    """A bucket whose URLs are signed."""
    return Bucket(s3_of(bucket), bucket.name, credentials=s3_credentials())


def sign(bucket: Bucket, key: str = KEY, *, seconds: float = 900) -> PresignedUrl:
    now = now_ms()
    return bucket.presign_get(key, now_ms=now, until_ms=now + int(seconds * 1000))


def query(url: str) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}


def moment(given: PresignedUrl) -> datetime:
    return datetime.fromtimestamp(given.expires_ms / 1000, UTC)


@pytest.mark.parametrize("key", [KEY, *OTHER_KEYS])
def test_s3_takes_what_was_signed_until_it_ends(signing: Bucket, key: str) -> None:
    given = sign(signing, key)
    assert answer_of_s3(given.url) == 200
    assert answer_of_s3(given.url, moment(given)) == 200
    assert answer_of_s3(given.url, moment(given) + timedelta(seconds=1)) == 403
    assert timedelta(seconds=895) < moment(given) - datetime.now(UTC) <= timedelta(seconds=900)


def test_the_sdk_signs_likewise(signing: Bucket) -> None:
    """Of the same second, its own URL is the same but for the header that it was not asked for."""
    params = {"Bucket": signing.name, "Key": KEY, "ResponseCacheControl": "private, max-age=900"}
    for _ in range(3):
        ours = sign(signing).url
        theirs = s3_of(signing).generate_presigned_url("get_object", Params=params, ExpiresIn=900)
        if query(ours)["X-Amz-Date"] == query(theirs)["X-Amz-Date"]:
            break
    assert urlsplit(ours)[:3] == urlsplit(theirs)[:3]
    assert query(ours) == query(theirs)


def test_any_bit_that_is_changed_is_noticed(signing: Bucket) -> None:
    url = sign(signing).url
    host = url.index("//") + 2
    for place in range(host, len(url)):
        changed = url[:place] + chr(ord(url[place]) ^ 1) + url[place + 1 :]
        assert answer_of_s3(changed) == 403, changed


@pytest.mark.parametrize("key", [KEY, *OTHER_KEYS[:1]])
def test_the_object_is_sent_inline_and_kept_by_browsers_alone(signing: Bucket, key: str) -> None:
    signing.put(key, b"jpeg", content_type="image/jpeg")
    reply = requests.get(sign(signing, key).url, timeout=60)
    assert (reply.status_code, reply.content) == (200, b"jpeg")
    assert reply.headers["Content-Type"] == "image/jpeg"
    assert "Content-Disposition" not in reply.headers
    assert reply.headers["Cache-Control"] == "private, max-age=900"


@pytest.mark.parametrize(("seconds", "signed"), [(900, 900), (59.9, 59), (0.4, 1), (-5, 1)])
def test_it_is_valid_for_whole_seconds_and_one_at_least(signing: Bucket, seconds: float, signed: int) -> None:
    given = sign(signing, seconds=seconds)
    assert query(given.url)["X-Amz-Expires"] == str(signed)
    assert given.expires_ms % 1000 == 0


@pytest.mark.parametrize(("left", "signed"), [(3000, 900), (600, 599), (10, 9)])
def test_it_ends_with_the_session_that_signs_it(
    signing: Bucket, left: int, signed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a role's session has left is known where the SDK renews it; asking for a new one has failed."""

    def fail() -> dict[str, str]:
        raise ConnectionError("no new session to be had")

    monkeypatch.setitem(SECRETS, "role", "secret")
    ends = datetime.now(UTC) + timedelta(seconds=left)
    session = RefreshableCredentials("role", "secret", "token", ends, fail, "test")
    # It would be renewed now; that is for the SDK, and another test's matter.
    monkeypatch.setattr(session, "_refresh", lambda: None)
    given = sign(Bucket(s3_of(signing), signing.name, credentials=session))
    assert abs(int(query(given.url)["X-Amz-Expires"]) - signed) <= 1
    assert moment(given) <= max(ends, datetime.now(UTC) + timedelta(seconds=1))
    assert query(given.url)["X-Amz-Security-Token"] == "token"
    assert answer_of_s3(given.url) == 200


def test_a_session_that_was_renewed_signs_with_its_new_secret(signing: Bucket) -> None:
    later = datetime.now(UTC) + timedelta(hours=6)
    new = {
        "access_key": "new",
        "secret_key": "new-secret",
        "token": "new-token",
        "expiry_time": later.isoformat(),
    }
    ending = datetime.now(UTC) + timedelta(seconds=30)
    session = RefreshableCredentials("old", "old-secret", "old-token", ending, lambda: new, "test")
    given = sign(Bucket(s3_of(signing), signing.name, credentials=session))
    assert query(given.url)["X-Amz-Credential"].startswith("new/")
    assert query(given.url)["X-Amz-Expires"] == "900"


def test_without_credentials_there_is_no_url(bucket: Bucket) -> None:
    with pytest.raises(BucketUnavailable):
        sign(bucket)


def test_signing_sends_nothing(signing: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("a connection is opened")

    monkeypatch.setattr(socket.socket, "connect", connect)
    s3_of(signing).meta.events.register("before-send", lambda **_: pytest.fail("a request is sent"))
    assert sign(signing).url


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "s3.amazonaws.com"),  # of this region alone, the host has no name of it
        ("eu-central-1", "s3.eu-central-1.amazonaws.com"),
        ("ap-east-1", "s3.ap-east-1.amazonaws.com"),
    ],
)
@pytest.mark.parametrize("name", ["pictures", "a.b"])
def test_urls_lead_to_the_buckets_own_region(
    monkeypatch: pytest.MonkeyPatch, region: str, host: str, name: str
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    far = Bucket(s3_client(timeout=1, attempts=1), name, credentials=s3_credentials())
    given = sign(far)
    # A certificate for *.s3... does not cover two names before it.
    base = f"https://{host}/{name}" if "." in name else f"https://{name}.{host}"
    assert far.public_url("thumbnails/") == f"{base}/thumbnails/"
    assert given.url.startswith(f"{base}/{KEY}?")
    assert f"/{region}/s3/aws4_request" in query(given.url)["X-Amz-Credential"]
    assert answer_of_s3(given.url) == 200


def test_the_host_that_is_signed_is_the_one_that_clients_reach(signing: Bucket, s3_endpoint: str) -> None:
    elsewhere = s3_endpoint.replace("127.0.0.1", "localhost")
    shown = Bucket(s3_of(signing), signing.name, public_url=elsewhere, credentials=s3_credentials())
    signing.put(KEY, b"jpeg", content_type="image/jpeg")
    given = sign(shown)
    assert given.url.startswith(f"{elsewhere}/{signing.name}/{KEY}?")
    assert answer_of_s3(given.url) == 200
    assert answer_of_s3(given.url.replace(elsewhere, s3_endpoint)) == 403
    assert requests.get(given.url, timeout=60).content == b"jpeg"
