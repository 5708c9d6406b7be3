"""The object key of what was put straight into the bucket: in its record, and as a way to find it."""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from chalicelib import naming, services
from tests.conftest import Api, assert_error, picture
from tests.inside import s3_calls
from tests.owned import Client, alice, bob, owned, upload

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

__all__ = ["alice", "bob", "owned"]

KEYS = [
    "originals/team1/photo.jpg",
    "originals/red+flower & leaf=1#2?.jpg",
    "originals/100%.jpg",
    "originals/%2B%20.jpg",
    "originals/a b.jpg",
    "originals/ünï/\u5199\u771f/\U0001f30d.jpg",
    "originals/e\u0301.jpg",
    "originals//../x.jpg",
    "originals/" + "k" * 1014,
    "originals/2301fc52-2c41-4a65-bde8-a1215771a3b9",
]


def put(api: Api, s3: "S3Client", key: str, content: bytes | None = None) -> None:
    s3.put_object(Bucket=api.bucket.name, Key=key, Body=content or picture())
    api.deliver()


def by_key(api: Api, key: str) -> list[dict[str, Any]]:
    reply = api("GET", "?key=" + quote(key, safe=""))
    assert reply.status_code == 200, reply.text
    assert "Link" not in reply.headers
    found: list[dict[str, Any]] = reply.json()
    return found


@pytest.mark.parametrize("key", KEYS)
def test_a_record_is_found_by_its_key(api: Api, s3: "S3Client", key: str) -> None:
    assert by_key(api, key) == []
    put(api, s3, key)
    put(api, s3, "originals/another.jpg")
    (record,) = by_key(api, key)
    assert (record["key"], record["id"], record["ready"]) == (key, naming.record_id(key), True)
    assert record == api("GET", f"/{record['id']}").json()
    assert record in api("GET").json()
    assert api("GET", params={"key": key}).json() == [record], "as the library of a client encodes it"
    if " " in key:
        assert api("GET", "?key=" + quote(key, safe="").replace("%20", "+")).json() == [record]
    assert api("DELETE", f"/{record['id']}").json() == record
    assert by_key(api, key) == []


def test_two_files_of_one_name_are_told_apart(api: Api, s3: "S3Client") -> None:
    for folder in ("team1", "team2"):
        put(api, s3, f"originals/{folder}/photo.jpg")
    listed = api("GET").json()
    assert {record["filename"] for record in listed} == {"photo.jpg"}
    assert {record["key"] for record in listed} == {"originals/team1/photo.jpg", "originals/team2/photo.jpg"}


def test_it_is_there_whatever_became_of_the_picture(api: Api, s3: "S3Client") -> None:
    put(api, s3, "originals/bad.jpg", picture()[:400])
    (record,) = by_key(api, "originals/bad.jpg")
    assert "error" in record
    assert record["key"] == "originals/bad.jpg"


def test_what_came_through_the_api_has_none(api: Api) -> None:
    record = api.upload()
    api.deliver()
    assert "key" not in api("GET", f"/{record['id']}").json()
    assert [found["id"] for found in by_key(api, naming.original(record["id"]))] == [record["id"]]
    presigned = api("POST", "/upload", json={"filename": "a.jpg"}).json()
    assert by_key(api, naming.original(presigned["id"])) == [], "nothing is there yet"


def test_an_upload_of_release_1(api: Api, s3: "S3Client", redis_server: "redis.Redis") -> None:
    """Its key lies where others write, and its id is in it."""
    record = api.upload()
    api.deliver()
    key = naming.ORIGINALS + record["id"]
    api.bucket.copy(naming.original(record["id"]), key)
    redis_server.hset(naming.record(record["id"]), "object_key", key)
    api.events()
    (found,) = by_key(api, key)
    assert found["id"] == record["id"]
    assert "key" not in found
    # A key of the same form that others have written.
    put(api, s3, KEYS[-1])
    (found,) = by_key(api, KEYS[-1])
    assert found["id"] == naming.record_id(KEYS[-1]) != KEYS[-1].rpartition("/")[2]


@pytest.mark.parametrize(
    "key", ["thumbnails/x/y.jpg", "state/heartbeat", "originals", "photo.jpg", "uploads/x"]
)
def test_what_is_no_original_has_no_record(api: Api, key: str) -> None:
    assert by_key(api, key) == []


def test_its_cost_is_the_same_whatever_is_stored(
    api: Api, s3: "S3Client", redis_server: "redis.Redis"
) -> None:
    asked = s3_calls(services.bucket())

    def calls(key: str) -> dict[str, int]:
        redis_server.config_resetstat()
        by_key(api, key)
        stats: Any = redis_server.info("commandstats")
        return {name: stat["calls"] for name, stat in stats.items() if "config" not in name}

    calls(KEYS[0])  # on a new connection
    before = calls(KEYS[0]), calls(KEYS[-1])
    assert before == ({"cmdstat_hgetall": 1}, {"cmdstat_hgetall": 2})
    for number in range(20):
        s3.put_object(Bucket=api.bucket.name, Key=f"originals/{number}.jpg", Body=picture(8, 8))
    put(api, s3, KEYS[0])
    assert (calls(KEYS[0]), calls(KEYS[-1])) == before
    assert asked == []


@pytest.mark.parametrize("key", ["", "k" * 1025, "é" * 513])
def test_what_can_be_no_key_is_refused(api: Api, key: str) -> None:
    sentence = assert_error(api("GET", params={"key": key}), 400)
    assert sentence == "key must be an object key, of 1 to 1024 bytes."


def test_together_with_other_parameters(api: Api, s3: "S3Client") -> None:
    put(api, s3, KEYS[0])
    put(api, s3, "originals/b.jpg")
    cursor = api("GET", "?limit=1").links["next"]["url"].partition("cursor=")[2]
    assert_error(api("GET", params={"key": KEYS[0], "cursor": cursor}), 400)
    assert_error(api("GET", params={"key": KEYS[0], "limit": "0"}), 400)
    (limited,) = api("GET", params={"key": KEYS[0], "limit": "1", "urls": "60"}).json()
    assert limited.pop("url").startswith("http")
    assert limited.pop("created").endswith("Z")
    assert [limited] == by_key(api, KEYS[0])


def test_owners_see_none_of_what_lies_in_the_bucket(
    owned: Api, alice: Client, bob: Client, s3: "S3Client"
) -> None:
    put(owned, s3, KEYS[0])
    mine = upload(alice)
    assert alice("GET", params={"key": KEYS[0]}).json() == []
    for ask, ids in ((alice, [mine["id"]]), (bob, [])):
        found = ask("GET", params={"key": naming.original(mine["id"])}).json()
        assert [record["id"] for record in found] == ids
