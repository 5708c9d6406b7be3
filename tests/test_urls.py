"""URLs of thumbnails: who gets one, what it shows to whom, and for how long.

Moto checks no signature and no time: tests/reliability/test_signed_urls.py tries them on an S3 that does.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests

from chalicelib import naming, services
from chalicelib.http.parameters import URL_SECONDS
from tests.conftest import Api, SettableClock, assert_error, keys_in, picture
from tests.inside import s3_calls
from tests.owned import UNKNOWN, Client, alice, bob, owned, upload
from tests.sigv4 import answer_of_s3

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client

__all__ = ["alice", "bob", "owned"]

BAD_SECONDS = ["", "59", "3601", "-60", "1e3", "60.5", "٦٠", " 60", "ten", "9" * 400]


@pytest.fixture
def ready(api: Api) -> dict[str, Any]:
    record = api.upload()
    api.deliver()
    return dict(api("GET", f"/{record['id']}").json())


def url_of(api: Api, record: dict[str, Any], query: str = "") -> dict[str, Any]:
    reply = api("GET", f"/{record['id']}/url{query}")
    assert reply.status_code == 200, reply.text
    assert reply.headers["Cache-Control"] == "no-store"
    given: dict[str, Any] = reply.json()
    assert given.keys() == {"url", "expires"}
    return given


def without(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def end(given: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(given["expires"])


def test_it_shows_the_thumbnail_to_who_has_it(api: Api, ready: dict[str, Any]) -> None:
    """As an `<img>` of another origin asks: without a header of its own."""
    given = url_of(api, ready)
    shown = requests.get(given["url"], timeout=10)
    assert shown.content == api("GET", f"/{ready['id']}/download").content
    assert shown.headers["Content-Type"] == "image/jpeg"
    assert not shown.headers.get("Content-Disposition", "").startswith("attachment")
    assert answer_of_s3(given["url"]) == 200


@pytest.mark.parametrize("seconds", [*URL_SECONDS, None])
def test_it_is_valid_as_long_as_it_is_asked_for(api: Api, ready: dict[str, Any], seconds: int | None) -> None:
    before = datetime.now(UTC)
    given = url_of(api, ready, "" if seconds is None else f"?seconds={seconds}")
    valid = timedelta(seconds=seconds or 900)
    assert before - timedelta(seconds=1) < end(given) - valid <= datetime.now(UTC)
    assert answer_of_s3(given["url"], end(given)) == 200
    assert answer_of_s3(given["url"], end(given) + timedelta(seconds=1)) == 403


@pytest.mark.parametrize("text", BAD_SECONDS)
def test_other_times_are_refused(api: Api, ready: dict[str, Any], text: str) -> None:
    for path, query in ((f"/{ready['id']}/url", "seconds"), (f"/{ready['id']}", "urls"), ("", "urls")):
        sentence = assert_error(api("GET", path, params={query: text}), 400)
        assert sentence == f"{query} must be a whole number from 60 to 3600."


def test_it_ends_with_the_picture(api: Api, monkeypatch: pytest.MonkeyPatch, clock: SettableClock) -> None:
    monkeypatch.setenv("RETENTION", "300")
    services.settings.cache_clear()
    record = api.upload()
    api.deliver()
    assert end(url_of(api, record)) <= datetime.fromisoformat(record["expires"])
    clock.advance(seconds=200)
    left = (end(url_of(api, record)) - datetime.now(UTC)).total_seconds()
    assert 90 < left <= 101, "the clock of the test is ahead of the one by which it is signed"
    clock.advance(seconds=101)
    assert_error(api("GET", f"/{record['id']}/url"), 404)


def test_before_there_is_a_thumbnail(api: Api) -> None:
    record = api.upload()
    reply = api("GET", f"/{record['id']}/url")
    assert_error(reply, 409)
    assert int(reply.headers["Retry-After"]) >= 1
    presigned = api("POST", "/upload", json={"filename": "a.jpg"}).json()
    assert_error(api("GET", f"/{presigned['id']}/url"), 409)


def test_where_there_will_be_none(api: Api) -> None:
    record = api.upload(picture()[:400])
    api.deliver()
    failed = api("GET", f"/{record['id']}").json()
    assert assert_error(api("GET", f"/{record['id']}/url"), 422) == failed["error"]
    shown = api("GET", f"/{record['id']}?urls=60").json()
    assert datetime.now(UTC) - datetime.fromisoformat(shown.pop("created")) < timedelta(seconds=20)
    assert shown == failed


@pytest.mark.parametrize("record_id", [UNKNOWN, "1", "%2e%2e"])
def test_without_a_record(api: Api, record_id: str) -> None:
    assert_error(api("GET", f"/{record_id}/url"), 404)


def test_after_its_deletion_it_shows_nothing(api: Api, ready: dict[str, Any]) -> None:
    given = url_of(api, ready)
    assert requests.get(given["url"], timeout=10).status_code == 200
    assert api("DELETE", f"/{ready['id']}").status_code == 200
    assert requests.get(given["url"], timeout=10).status_code in {403, 404}
    assert_error(api("GET", f"/{ready['id']}/url"), 404)
    assert keys_in(api.bucket) == []


def test_after_another_version_it_is_of_that_one(api: Api, s3: "S3Client") -> None:
    shown = []
    for size in ((40, 30), (30, 40)):
        s3.put_object(Bucket=api.bucket.name, Key="originals/a.jpg", Body=picture(*size))
        api.deliver()
        shown.append(url_of(api, {"id": naming.record_id("originals/a.jpg")})["url"])
    assert [requests.get(url, timeout=10).status_code for url in shown] == [404, 200]


# --- in records ---


def test_ready_records_have_one_if_it_is_asked_for(api: Api, s3: "S3Client") -> None:
    s3.put_object(Bucket=api.bucket.name, Key="originals/a.jpg", Body=picture())
    for content in (picture(), picture()[:400]):
        api.upload(content)
    api.deliver()
    api.upload()
    plain, shown = api("GET").json(), api("GET", "?urls=900").json()
    assert [without(record, "url", "created") for record in shown] == plain
    created = [record["created"] for record in shown]
    assert created == sorted(created, reverse=True)
    assert [("url" in record) for record in shown] == [record["ready"] for record in plain]
    assert sum("url" in record for record in shown) == 2
    for record in shown:
        assert api("GET", f"/{record['id']}?urls=900").json().keys() == record.keys()
        if "url" in record:
            assert answer_of_s3(record["url"]) == 200
            assert len(requests.get(record["url"], timeout=10).content) == record["size"]["thumbnail"]


def test_the_next_page_has_them_too(api: Api) -> None:
    for seed in range(3):
        api.upload(picture(seed=seed))
    api.deliver()
    url: str | None = "?limit=2&urls=60"
    found = []
    while url is not None:
        page = api("GET", url)
        found += [record["url"] for record in page.json()]
        url = page.links["next"]["url"].partition("thumbnail")[2] if page.links else None
    assert len(set(found)) == 3


def test_a_list_with_urls_costs_what_a_list_costs(api: Api, redis_server: "redis.Redis") -> None:
    for seed in range(5):
        api.upload(picture(seed=seed))
    api.deliver()
    asked = s3_calls(services.bucket())

    def calls(query: str) -> dict[str, int]:
        redis_server.config_resetstat()
        assert len(api("GET", query).json()) == 5
        stats: Any = redis_server.info("commandstats")
        return {name: stat["calls"] for name, stat in stats.items() if "config" not in name}

    assert calls("?urls=900") == calls("")
    assert asked == [], "signing sends no request"


# --- sizes ---


def test_each_size_has_one_of_its_own(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBNAIL_SIZES", "card=40x30:contain 2x=20x20:webp")
    for made in (services.settings, services.processor):
        made.cache_clear()
    record = api.upload()
    assert_error(api("GET", f"/{record['id']}/url?size=card"), 409)
    api.deliver()
    shown = api("GET", f"/{record['id']}").json()["sizes"]
    assert shown.keys() == {"card", "2x"}
    given = {name: url_of(api, record, f"?size={name}")["url"] for name in shown}
    for name, url in given.items():
        reply = requests.get(url, timeout=10)
        assert reply.headers["Content-Type"] == {"card": "image/jpeg", "2x": "image/webp"}[name]
        assert len(reply.content) == shown[name]["bytes"]
        assert answer_of_s3(url) == 200
        assert answer_of_s3(url.replace(name, "x")) == 403, "a size that was not signed"
    assert "the sizes are card, 2x" in assert_error(api("GET", f"/{record['id']}/url?size=hero"), 404)
    assert api("DELETE", f"/{record['id']}").status_code == 200
    assert {requests.get(url, timeout=10).status_code for url in given.values()} == {404}


# --- where a download ends a picture ---


@pytest.fixture
def ending(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("RETENTION_AFTER_DOWNLOAD", "60")
    services.settings.cache_clear()
    yield api
    monkeypatch.undo()
    services.settings.cache_clear()


@pytest.mark.parametrize("made", [False, True])
def test_where_a_download_ends_a_picture_it_has_no_url(ending: Api, made: bool) -> None:
    record = ending.upload()
    if made:
        ending.deliver()
    for path in (f"/{record['id']}/url", f"/{record['id']}?urls=60", "?urls=60"):
        reply = ending("GET", path)
        assert "download" in assert_error(reply, 409)
        assert "Retry-After" not in reply.headers, "it will be so for ever"
    assert "expires" not in ending("GET", f"/{record['id']}").json()


# --- owners ---


def test_each_owner_gets_urls_of_their_own(owned: Api, alice: Client, bob: Client) -> None:
    record = upload(alice)
    owned.deliver()
    theirs, none = bob("GET", f"/{record['id']}/url"), bob("GET", f"/{UNKNOWN}/url")
    assert theirs.content == none.content
    assert_error(theirs, 404)
    assert bob("GET", "?urls=60").json() == []
    given = alice("GET", f"/{record['id']}/url").json()["url"]
    (listed,) = alice("GET", "?urls=60").json()
    for url in (given, listed["url"]):
        shown = requests.get(url, timeout=10)
        assert shown.ok, "without a token"
        assert shown.headers["Cache-Control"].startswith("private"), "no cache between may keep it"
