"""Which pictures get the watermark of `WATERMARK_FOR`: the claim of the token that uploads decides."""

import base64
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

import jwt
import numpy
import pytest
import requests
from PIL import Image

from chalicelib import naming, services
from chalicelib.auth.tokens import Tokens
from chalicelib.settings import Algorithm, Claim
from local.gateway import authorizers
from local.owners import TRIAL
from tests.conftest import Api, SettableClock, found
from tests.inside import redis_of
from tests.issuing import SECRET, auth, claims
from tests.owned import one_that

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

GREEN = (0, 255, 0)


def png(colour: tuple[int, int, int]) -> bytes:
    out = BytesIO()
    Image.new("RGB", (200, 200), colour).save(out, "PNG")
    return out.getvalue()


PICTURE = png((0, 0, 255))


@pytest.fixture
def api_with_claim(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Api]:
    """The API of a deployment with owners whose free pictures have a watermark."""
    settings = {"WATERMARK": "assets/logo.png", "WATERMARK_FOR": "plan:free", "WATERMARK_SHARE": "100"}
    settings |= {"THUMBNAIL_SIZES": "card=60x40:watermark plain=60x40"}
    for name, value in (TRIAL | settings).items():
        monkeypatch.setenv(name, value)
    services.tokens.cache_clear()
    authorizers.forget()
    api: Api = request.getfixturevalue("api")
    yield api
    monkeypatch.undo()
    for made in (services.settings, services.tokens, services.processor):
        made.cache_clear()


@pytest.fixture
def served(api_with_claim: Api, s3: "S3Client") -> Api:
    s3.put_object(Bucket=api_with_claim.bucket.name, Key="assets/logo.png", Body=png(GREEN))
    return api_with_claim


def header(**given: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {one_that(**given)}"}


def multipart(api: Api, headers: dict[str, str]) -> str:
    reply = api("POST", files={"image": ("a.jpg", PICTURE)}, headers=headers)
    assert reply.status_code == 201, reply.text
    record_id: str = reply.json()["id"]
    return record_id


def idempotent(api: Api, headers: dict[str, str]) -> str:
    return multipart(api, headers | {"Idempotency-Key": "one"})


def presigned(api: Api, headers: dict[str, str]) -> str:
    body = json.dumps({"filename": "a.jpg", "content_type": "image/jpeg"})
    given = api("POST", "/upload", data=body, headers=headers | {"Content-Type": "application/json"}).json()
    sent = requests.post(given["url"], data=given["fields"], files={"file": PICTURE}, timeout=10)
    assert sent.status_code == 204, sent.text
    record_id: str = given["id"]
    return record_id


WAYS: dict[str, Callable[[Api, dict[str, str]], str]] = {
    "multipart": multipart,
    "idempotent": idempotent,
    "presigned": presigned,
}


def marked(api: Api, record_id: str, headers: dict[str, str]) -> set[str]:
    """On which thumbnails the watermark is."""
    seen = set()
    for size in ("", "card", "plain"):
        params = {"size": size} if size else {}
        reply = api("GET", f"/{record_id}/download", headers=headers, params=params)
        assert reply.status_code == 200, reply.text
        pixels = numpy.asarray(Image.open(BytesIO(reply.content)).convert("RGB")).astype(int)
        if abs(pixels - GREEN).max(axis=2).min() < 40:
            seen.add(size)
    return seen


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("is_free", [True, False])
@pytest.mark.parametrize("lost", [False, True], ids=["", "records are lost"])
def test_the_claim_of_the_token_decides(
    served: Api,
    clock: SettableClock,
    way: Callable[[Api, dict[str, str]], str],
    is_free: bool,
    lost: bool,
) -> None:
    headers = header(plan="free" if is_free else "paid")
    record_id = way(served, headers)
    if lost:
        redis_of(served.store).flushall()
    served.deliver()
    assert marked(served, record_id, headers) == ({"", "card"} if is_free else set())
    assert found(served.store, record_id).watermark is is_free
    shown = served("GET", f"/{record_id}", headers=headers).json()
    assert "watermark" not in shown


def test_no_client_says_it_itself(served: Api) -> None:
    """Neither a header nor a field of the presigned form changes it."""
    headers = header(plan="paid")
    told = headers | {"claimed": "yes", "x-amz-meta-watermark": "yes"}
    record_id = multipart(served, told)
    served.deliver()
    assert marked(served, record_id, headers) == set()
    body = json.dumps({"filename": "a.jpg", "content_type": "image/jpeg"})
    given = served(
        "POST", "/upload", data=body, headers=header(plan="free") | {"Content-Type": "application/json"}
    ).json()
    assert given["fields"]["x-amz-meta-watermark"] == "yes"
    policy = given["fields"]["policy"]
    assert {"x-amz-meta-watermark": "yes"} in json.loads(base64.b64decode(policy))["conditions"]


def test_a_repeated_upload_keeps_what_the_first_one_was(served: Api) -> None:
    free, paid = header(plan="free"), header(plan="paid")
    record_id = idempotent(served, free)
    assert idempotent(served, paid) == record_id
    served.deliver()
    assert marked(served, record_id, paid) == {"", "card"}


def test_uploads_are_taken_while_the_watermark_is_missing(
    served: Api, s3: "S3Client", caplog: pytest.LogCaptureFixture
) -> None:
    s3.delete_object(Bucket=served.bucket.name, Key="assets/logo.png")
    headers = header(plan="free")
    record_id = multipart(served, headers)
    events = served.events()
    with pytest.raises(Exception, match=r"assets/logo.png \(WATERMARK\)"):
        served.deliver(events)
    assert served("GET", f"/{record_id}/download", headers=headers).status_code == 409
    s3.put_object(Bucket=served.bucket.name, Key="assets/logo.png", Body=png(GREEN))
    served.deliver(events)
    assert marked(served, record_id, headers) == {"", "card"}


def test_the_watermark_itself_is_no_picture(served: Api, s3: "S3Client") -> None:
    served.events()
    s3.put_object(Bucket=served.bucket.name, Key="assets/other.png", Body=PICTURE)
    for event in served.events():
        served.deliver([event])
    assert served("GET", headers=header()).json() == []
    assert not naming.is_original("assets/logo.png")


@pytest.mark.parametrize(
    ("held", "claim", "is_claimed"),
    [
        ({"plan": "free"}, Claim("plan", "free"), True),
        ({"plan": "Free"}, Claim("plan", "free"), False),
        ({"plan": "freely"}, Claim("plan", "free"), False),
        ({"plan": ["trial", "free"]}, Claim("plan", "free"), True),
        ({"plan": ["freely", 1, None, {}]}, Claim("plan", "free"), False),
        ({"scope": "read free write"}, Claim("scope", "free"), True),
        ({"plan": {"free": True}}, Claim("plan", "free"), False),
        ({"plan": None}, Claim("plan", "free"), False),
        ({"plan": 1}, Claim("plan", "1"), False),
        ({}, Claim("plan", "free"), False),
        ({"https://a.b/plan": "free"}, Claim("https://a.b/plan", "free"), True),
        ({"plan": "free"}, None, False),
    ],
)
def test_a_claim_is_a_text_a_list_or_a_scope(
    held: dict[str, Any], claim: Claim | None, is_claimed: bool
) -> None:
    def fetch(_: str) -> bytes:
        raise OSError

    token = jwt.encode(claims(**held), SECRET, algorithm="HS256")
    who = Tokens(auth(Algorithm.HS256), fetch, SettableClock(), claim).identify(f"Bearer {token}")
    assert who.is_claimed is is_claimed
    assert who.context == ({"claimed": "yes"} if is_claimed else {})
