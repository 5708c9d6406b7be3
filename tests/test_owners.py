"""A deployment that knows owners: each sees what is theirs alone, on every route."""

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import requests

import app
from app import V1
from chalicelib import naming, services
from chalicelib.records.record import UNRESTRICTED
from chalicelib.records.store import RecordStore
from tests.conftest import Api, keys_in, picture
from tests.inside import s3_calls
from tests.owned import UNKNOWN, Client, alice, bob, client, owned, upload

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

__all__ = ["alice", "bob", "owned"]  # fixtures


def without_id(reply: requests.Response) -> tuple[int, str, dict[str, str]]:
    headers = {name: value for name, value in reply.headers.items() if name != "Date"}
    return reply.status_code, reply.text, headers


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("HEAD", ""), ("GET", "/download"), ("GET", "/url"), ("DELETE", "")]
)
@pytest.mark.parametrize("ready", [False, True])
def test_anothers_picture_is_as_one_that_is_not(
    owned: Api, alice: Client, bob: Client, method: str, path: str, ready: bool
) -> None:
    record = upload(alice)
    if ready:
        owned.deliver()
    before = alice("GET", f"/{record['id']}").json()
    theirs, none = bob(method, f"/{record['id']}{path}"), bob(method, f"/{UNKNOWN}{path}")
    assert without_id(theirs) == without_id(none)
    assert theirs.status_code == 404
    assert alice("GET", f"/{record['id']}").json() == before
    assert alice("GET").json() == [before]
    assert alice("DELETE", f"/{record['id']}").json() == before
    assert keys_in(owned.bucket) == []


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/download"), ("GET", "/url"), ("DELETE", "")]
)
def test_asking_for_anothers_costs_what_asking_for_none_does(
    owned: Api,
    alice: Client,
    bob: Client,
    redis_server: "redis.Redis",
    method: str,
    path: str,
) -> None:
    """The same calls of Redis and S3, and as many bytes from Redis: no clock can tell one from the other."""
    record = upload(alice)
    owned.deliver()
    asked_s3 = s3_calls(services.bucket())

    def calls(record_id: str) -> tuple[dict[str, int], list[str], int]:
        redis_server.config_resetstat()
        asked_s3.clear()
        assert bob(method, f"/{record_id}{path}").status_code == 404
        sent: Any = redis_server.info("stats")
        stats: Any = redis_server.info("commandstats")
        counts = {name: stat["calls"] for name, stat in stats.items() if "config" not in name}
        return counts, list(asked_s3), sent["total_net_output_bytes"]

    calls(UNKNOWN)  # scripts are loaded
    theirs, none = calls(record["id"]), calls(UNKNOWN)
    assert theirs == none
    assert sum(none[0].values()) >= 1
    assert none[2] < 50, "nothing of a record"


def test_lists_are_each_owners_own_page_by_page(owned: Api, alice: Client, bob: Client) -> None:
    ids: dict[Client, list[str]] = {alice: [], bob: []}
    for ask, seed in itertools.product((alice, bob), range(3)):
        ids[ask].append(upload(ask, seed)["id"])
    for ask, wanted in ids.items():
        assert [record["id"] for record in ask("GET").json()] == wanted[::-1]
        first = ask("GET", "?limit=2")
        path = first.links["next"]["url"].removeprefix(f"{V1}/thumbnail")
        assert [record["id"] for record in first.json() + ask("GET", path).json()] == wanted[::-1]
    # Another's cursor says where to go on, and shows nothing of theirs.
    path = alice("GET", "?limit=2").links["next"]["url"].removeprefix(f"{V1}/thumbnail")
    assert {record["id"] for record in bob("GET", path).json()} <= set(ids[bob])


def test_each_downloads_their_own(owned: Api, alice: Client, bob: Client) -> None:
    mine, theirs = upload(alice, 1), upload(bob, 2)
    owned.deliver()
    reply = alice("GET", f"/{mine['id']}/download")
    assert reply.status_code == 200
    assert "private" in reply.headers["Cache-Control"]
    etag = {"If-None-Match": reply.headers["ETag"]}
    assert alice("GET", f"/{mine['id']}/download", headers=etag).status_code == 304
    assert bob("GET", f"/{mine['id']}/download", headers=etag).status_code == 404
    assert alice("GET", f"/{theirs['id']}/download", headers={"If-None-Match": "*"}).status_code == 404


def test_idempotency_keys_are_each_owners_own(owned: Api, alice: Client, bob: Client) -> None:
    key = {"Idempotency-Key": "the-same"}
    mine, theirs = upload(alice, headers=key), upload(bob, headers=key)
    assert mine["id"] != theirs["id"]
    assert upload(alice, headers=key)["id"] == mine["id"]
    other = bob("POST", files={"image": ("photo.jpg", picture(seed=9))}, headers=key)
    assert other.status_code == 422
    assert alice("DELETE", f"/{mine['id']}").status_code == 200
    assert upload(bob, headers=key)["id"] == theirs["id"]


def test_presigned_uploads_are_each_owners_own(owned: Api, alice: Client, bob: Client) -> None:
    presigned = alice("POST", "/upload", json={"filename": "big.jpg"}).json()
    path = f"/{presigned['id']}"
    assert alice("GET", path).status_code == 200
    for method in ("GET", "DELETE"):
        assert bob(method, path).status_code == 404
    sent = requests.post(presigned["url"], data=presigned["fields"], files={"file": picture()}, timeout=60)
    assert sent.ok
    owned.deliver()
    assert bob("GET").json() == []
    assert bob("GET", path).status_code == 404
    assert [record["ready"] for record in alice("GET").json()] == [True]
    assert alice("DELETE", path).status_code == 200
    assert keys_in(owned.bucket) == []


def test_what_is_put_into_the_bucket_has_no_owner_and_is_seen_by_no_owner(
    owned: Api, alice: Client, s3: "S3Client", store: RecordStore
) -> None:
    s3.put_object(Bucket=owned.bucket.name, Key="originals/a.jpg", Body=picture())
    owned.deliver()
    record_id = naming.record_id("originals/a.jpg")
    found = store.get(record_id, UNRESTRICTED)
    assert found is not None
    assert (found.state, found.owner) == ("ready", None)
    assert alice("GET").json() == []
    for method, path in (("GET", ""), ("GET", "/download"), ("DELETE", "")):
        assert alice(method, f"/{record_id}{path}").status_code == 404


def test_what_was_uploaded_before_owners_were_on_is_seen_by_no_owner(
    api: Api, request: pytest.FixtureRequest
) -> None:
    record = api.upload()
    alice: Client = request.getfixturevalue("alice")
    assert alice("GET").json() == []
    assert alice("GET", f"/{record['id']}").status_code == 404


@pytest.mark.parametrize(
    "subject",
    ["a" * 255, "é" * 127, "auth0|5f7c8ec7c33c6c004bbafe82", "a:b*c?[d]\\ \0\n", "a" * 32, "records", "{x}"],
)
def test_any_subject_will_do(owned: Api, subject: str, alice: Client) -> None:
    ask = client(owned, subject)
    record = upload(ask)
    owned.deliver()
    assert [found["id"] for found in ask("GET").json()] == [record["id"]]
    assert alice("GET").json() == []
    assert ask("DELETE", f"/{record['id']}").status_code == 200


def test_owners_survive_the_loss_of_redis(
    owned: Api, alice: Client, bob: Client, redis_server: "redis.Redis"
) -> None:
    from chalice.local import LambdaContext

    mine = upload(alice)
    owned.deliver()
    before = alice("GET").json()
    redis_server.flushall()
    app.rebuild({}, LambdaContext("rebuild", 2048, 900_000))
    assert alice("GET").json() == before
    assert bob("GET").json() == []
    assert bob("GET", f"/{mine['id']}").status_code == 404
