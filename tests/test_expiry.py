"""Pictures with an end: exact at the API, followed by the sweep, known again after a rebuild."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import naming, services
from chalicelib.records.record import expiry_of
from tests.conftest import Api, SettableClock, just_before, keys_in, picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis
    from types_boto3_s3 import S3Client

RETENTION = 600


def deployed(monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    """Run the app with other settings, as another deployment has them."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    forget_settings()
    services.processor()


def forget_settings() -> None:
    """Let what depends on the settings be made anew, when it is needed next."""
    services.settings.cache_clear()
    services.processor.cache_clear()


@pytest.fixture
def expiring(api: Api, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Api]":
    deployed(monkeypatch, RETENTION=str(RETENTION))
    yield api
    forget_settings()


def end_of(record: dict[str, Any]) -> int:
    """When a record says that it ends, in milliseconds since the epoch."""
    end = datetime.strptime(record["expires"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return int(end.timestamp() * 1000)


def test_without_retention_there_is_no_end(api: Api) -> None:
    assert "expires" not in api.upload()


@pytest.mark.parametrize(
    ("created_ms", "end_ms"), [(1_000, 11_000), (1_001, 12_000), (1_999, 12_000), (2_000, 12_000)]
)
def test_an_end_is_a_whole_second_and_never_early(created_ms: int, end_ms: int) -> None:
    assert expiry_of(created_ms, 10) == end_ms
    assert expiry_of(created_ms, 0) is None


@pytest.mark.parametrize("content", [picture(), picture()[:300], None], ids=["ready", "failed", "pending"])
def test_the_end_is_exact(expiring: Api, clock: SettableClock, content: bytes | None) -> None:
    api = expiring
    before = clock()
    record = api.upload(content)
    assert RETENTION * 1000 <= end_of(record) - before < RETENTION * 1000 + 6000
    if content is not None:
        api.deliver()
    path = f"/{record['id']}"
    shown = api("GET", path).json()
    assert shown["expires"] == record["expires"]
    clock.advance(ms=end_of(record) - clock() - 1000)
    assert api("GET", path).json() == shown
    assert api("GET").json() == [shown]
    clock.advance(ms=1000)
    for method, below in (("GET", ""), ("HEAD", ""), ("GET", "/download"), ("DELETE", "")):
        assert api(method, path + below).status_code == 404, (method, below)
    assert api("GET").json() == []
    assert keys_in(api.bucket) != [], "the sweep has not come yet"
    assert api.reconcile()["expired"] == 1
    assert keys_in(api.bucket) == []


def test_a_late_event_brings_nothing_back(expiring: Api, clock: SettableClock) -> None:
    record = expiring.upload()
    events = expiring.events()
    clock.advance(seconds=RETENTION + 2)
    for sweep in (False, True):
        if sweep:
            expiring.reconcile()
        expiring.deliver(events)
        assert expiring("GET", f"/{record['id']}").status_code == 404
        assert expiring("GET").json() == []
    expiring.reconcile()
    assert keys_in(expiring.bucket) == []


def test_an_object_put_into_the_bucket_lives_from_when_it_was_put(
    expiring: Api, s3: "S3Client", s3_clock: SettableClock
) -> None:
    api, key = expiring, "originals/mine.jpg"

    def put() -> dict[str, Any]:
        s3.put_object(Bucket=api.bucket.name, Key=key, Body=picture())
        api.deliver()
        record: dict[str, Any] = api("GET", f"/{naming.record_id(key)}").json()
        return record

    first = put()
    stored = s3.head_object(Bucket=api.bucket.name, Key=key)["LastModified"]
    assert end_of(first) == (int(stored.timestamp()) + RETENTION) * 1000
    s3_clock.advance(seconds=1)
    assert end_of(put()) == end_of(first) + 1000


def test_an_evicted_record_is_not_an_expired_one(
    expiring: Api, redis_server: "redis.Redis", clock: SettableClock
) -> None:
    record = expiring.upload()
    expiring.deliver()
    shown = expiring("GET", f"/{record['id']}").json()
    redis_server.flushall()
    expiring.reconcile()
    assert expiring("GET", f"/{record['id']}").json() == shown
    clock.advance(seconds=RETENTION + 1)
    assert expiring.reconcile()["expired"] == 1


def test_others_may_keep_a_thumbnail_until_its_end(expiring: Api, clock: SettableClock) -> None:
    record = expiring.upload()
    expiring.deliver()
    clock.advance(ms=end_of(record) - clock() - 60_000)
    header = expiring("GET", f"/{record['id']}/download").headers["Cache-Control"]
    seconds = int(header.partition("max-age=")[2].partition(",")[0])
    assert 50 <= seconds <= 60


class TestAfterTheDownload:
    @pytest.fixture
    def fading(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Api]":
        deployed(monkeypatch, RETENTION_AFTER_DOWNLOAD="60")
        yield api
        forget_settings()

    def test_it_can_be_repeated_for_a_while_and_then_the_picture_goes(
        self, fading: Api, clock: SettableClock
    ) -> None:
        record = fading.upload()
        fading.deliver()
        assert "expires" not in fading("GET", f"/{record['id']}").json()
        before = clock()
        first = fading("GET", f"/{record['id']}/download")
        assert first.headers["Cache-Control"] == "no-store"
        end = end_of(fading("GET", f"/{record['id']}").json())
        assert before + 60_000 <= end <= clock() + 61_000
        clock.advance(seconds=30)
        assert fading("GET", f"/{record['id']}/download").content == first.content
        assert end_of(fading("GET", f"/{record['id']}").json()) == end, "the first download counts"
        clock.advance(ms=end - clock())
        assert fading("GET", f"/{record['id']}/download").status_code == 404
        assert fading.reconcile()["expired"] == 1
        assert keys_in(fading.bucket) == []

    def test_at_once_if_so_wanted(
        self, fading: Api, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deployed(monkeypatch, RETENTION_AFTER_DOWNLOAD="0")
        record = fading.upload()
        fading.deliver()
        assert fading("GET", f"/{record['id']}/download").status_code == 200
        clock.advance(seconds=1)
        assert fading("GET", f"/{record['id']}").status_code == 404

    def test_what_hands_out_no_picture_ends_nothing(self, fading: Api) -> None:
        record = fading.upload()
        path = f"/{record['id']}/download"
        assert fading("GET", path).status_code == 409
        fading.deliver()
        etag = fading("HEAD", path).headers["ETag"]
        assert fading("GET", path, headers={"If-None-Match": etag}).status_code == 304
        assert "expires" not in fading("GET", f"/{record['id']}").json()

    def test_when_it_cannot_be_noted_nothing_is_handed_out_and_nothing_lost(
        self, fading: Api, redis_server: "redis.Redis"
    ) -> None:
        record = fading.upload()
        fading.deliver()
        # Redis takes the reads before, and refuses to write from then on.
        just_before(fading.bucket, "GetObject", lambda: redis_server.config_set("maxmemory", 1))
        try:
            assert fading("GET", f"/{record['id']}/download").status_code == 503
        finally:
            redis_server.config_set("maxmemory", 0)
        assert "expires" not in fading("GET", f"/{record['id']}").json()
        assert fading("GET", f"/{record['id']}/download").status_code == 200


def test_originals_that_are_not_kept(
    api: Api, monkeypatch: pytest.MonkeyPatch, redis_server: "redis.Redis"
) -> None:
    deployed(monkeypatch, KEEP_ORIGINALS="false")
    record = api.upload()
    api.deliver()
    shown = api("GET", f"/{record['id']}").json()
    assert (shown["ready"], shown["size"]["original"]) == (True, len(picture()))
    assert keys_in(api.bucket, naming.UPLOADS) == keys_in(api.bucket, naming.ORIGINALS) == []
    redis_server.flushall()
    api.reconcile()
    assert api("GET").json() == [shown]
    assert api("GET", f"/{record['id']}/download").status_code == 200
    assert api("DELETE", f"/{record['id']}").json() == shown
    assert keys_in(api.bucket) == []
    forget_settings()
