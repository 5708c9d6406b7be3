"""The audit: what it repairs between bucket, records and index, and that it goes on where it stopped."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import naming
from chalicelib.records.codec import original_metadata
from chalicelib.records.record import UNRESTRICTED, RemovalScope, State
from chalicelib.records.store import RecordStore
from chalicelib.work.audit import BUCKET_EVERY_MS, RECORDS_EVERY_MS
from chalicelib.work.process import Outcome, Processor
from chalicelib.work.remove import remove
from chalicelib.work.upload import Uploader
from tests.conftest import SettableClock, just_before, keys_in, picture
from tests.inside import small_pages
from tests.reconciler import CLIENTS_KEY, LATE, Died, Reconciler, due, put, state_of, stored

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client


def test_an_object_whose_event_was_lost_gets_its_record(
    reconciler: Reconciler, clock: SettableClock, store: RecordStore
) -> None:
    put(reconciler.bucket, CLIENTS_KEY, picture())
    assert reconciler.audit()["records restored"] == 1
    assert state_of(store, naming.record_id(CLIENTS_KEY)) is State.PENDING
    clock.advance(**LATE)
    assert reconciler.sweep() == {"retried: ready": 1}


def test_a_new_version_whose_event_was_lost_is_claimed(
    reconciler: Reconciler, clock: SettableClock, store: RecordStore, processor: Processor
) -> None:
    put(reconciler.bucket, CLIENTS_KEY, picture())
    processor.process(CLIENTS_KEY)
    put(reconciler.bucket, CLIENTS_KEY, picture(64, 64))
    clock.advance(**LATE)
    assert reconciler.audit()["originals claimed"] == 1
    clock.advance(**LATE)
    assert reconciler.sweep() == {"retried: ready": 1}
    record = store.get(naming.record_id(CLIENTS_KEY), UNRESTRICTED)
    assert record is not None
    assert record.original_size == len(picture(64, 64))
    assert len(keys_in(reconciler.bucket)) == 2


def test_a_clients_key_that_came_back_after_its_removal_is_claimed(
    reconciler: Reconciler, clock: SettableClock, store: RecordStore, processor: Processor
) -> None:
    put(reconciler.bucket, CLIENTS_KEY, picture())
    processor.process(CLIENTS_KEY)
    remove(store, reconciler.bucket, naming.record_id(CLIENTS_KEY), RemovalScope.VISIBLE, UNRESTRICTED)
    put(reconciler.bucket, CLIENTS_KEY, picture())
    clock.advance(**LATE)
    assert reconciler.audit()["originals claimed"] == 1
    clock.advance(**LATE)
    reconciler.sweep()
    assert state_of(store, naming.record_id(CLIENTS_KEY)) is State.READY


def test_an_upload_that_landed_after_its_removal_goes(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock
) -> None:
    record = stored(uploader)
    remove(uploader.store, uploader.bucket, record.id, RemovalScope.VISIBLE, UNRESTRICTED)
    uploader.bucket.put(record.object_key, picture(), content_type="x/x", metadata=original_metadata(record))
    assert reconciler.audit()["originals removed"] == 0
    clock.advance(ms=RECORDS_EVERY_MS)
    assert reconciler.audit()["originals removed"] == 1
    assert keys_in(uploader.bucket) == []
    assert state_of(uploader.store, record.id) is State.TOMBSTONE


def test_thumbnails_that_no_record_names_go_when_they_are_old(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, processor: Processor
) -> None:
    record = stored(uploader)
    processor.process(record.object_key)
    lost = naming.thumbnail(record.id, naming.new_thumbnail("of-another-version"))
    unnamed = naming.thumbnail(naming.new_id(), naming.new_thumbnail("e"))
    others = "thumbnails/readme.txt"
    for key in (lost, unnamed, others):
        put(uploader.bucket, key, b"x")
    before = keys_in(uploader.bucket)
    counts = reconciler.audit()
    assert (counts["thumbnails removed"], counts["in flight"]) == (0, 2)
    assert keys_in(uploader.bucket) == before
    clock.advance(ms=RECORDS_EVERY_MS)
    assert reconciler.audit()["thumbnails removed"] == 2
    assert keys_in(uploader.bucket) == sorted(set(before) - {lost, unnamed})


@pytest.mark.parametrize("content", [picture(), picture()[:300]], ids=["ready", "failed"])
def test_a_record_of_which_nothing_is_left_goes(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, content: bytes
) -> None:
    record = stored(uploader, content)
    reconciler.processor.process(record.object_key)
    uploader.bucket.delete(*keys_in(uploader.bucket))
    assert reconciler.audit()["records removed"] == 0
    clock.advance(ms=RECORDS_EVERY_MS)
    assert reconciler.audit()["records removed"] == 1
    assert uploader.store.page(10, None, UNRESTRICTED).records == []


def test_a_lost_thumbnail_is_made_again(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, processor: Processor
) -> None:
    record = stored(uploader)
    processor.process(record.object_key)
    before = uploader.store.get(record.id, UNRESTRICTED)
    assert before is not None
    uploader.bucket.delete(*keys_in(uploader.bucket, "thumbnails/"))
    clock.advance(**LATE)
    assert reconciler.audit()["thumbnails to be made again"] == 1
    assert reconciler.sweep() == {"retried: ready": 1}
    after = uploader.store.get(record.id, UNRESTRICTED)
    assert after is not None
    assert replace(after, revision=before.revision) == before


def test_a_picture_that_is_whole_stays_as_it_is(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    record = stored(uploader)
    reconciler.processor.process(record.object_key)
    clock.advance(**LATE)
    reconciler.sweep()
    before, objects = redis_server.hgetall(naming.record(record.id)), keys_in(uploader.bucket)
    seen = {"originals seen": 1, "thumbnails seen": 1, "records seen": 1}
    assert reconciler.audit() == seen
    assert redis_server.hgetall(naming.record(record.id)) == before
    assert keys_in(uploader.bucket) == objects
    assert due(redis_server) == {}


def test_index_entries_and_checks_that_redis_has_lost_are_added_again(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    """In a cluster each of the two is a key of its own, on a node of its own."""
    ready, pending = stored(uploader), stored(uploader)
    reconciler.processor.process(ready.object_key)
    expected = uploader.store.page(10, None, UNRESTRICTED)
    redis_server.delete(naming.INDEX, naming.DUE)
    reconciler.audit()
    assert uploader.store.page(10, None, UNRESTRICTED) == expected
    assert set(due(redis_server)) == {pending.id}


def test_index_entries_without_a_record_go_when_they_are_old(
    reconciler: Reconciler, store: RecordStore, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    redis_server.zadd(naming.INDEX, {f"{clock():013d}:{naming.new_id()}": 0})
    assert reconciler.audit()["index entries removed"] == 0
    clock.advance(ms=RECORDS_EVERY_MS)
    assert reconciler.audit()["index entries removed"] == 1
    assert redis_server.zcard(naming.INDEX) == 0


def test_it_walks_when_it_is_time_and_goes_on_where_it_stopped(
    reconciler: Reconciler,
    uploader: Uploader,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chalicelib.objects.bucket.PAGE", 2)
    small_pages(monkeypatch, "walk", 2)
    for _ in range(5):
        stored(uploader)
    stopping = replace(reconciler, time_is_up=lambda: True)
    seen = [stopping.audit() for _ in range(8)]
    assert [counts["originals seen"] for counts in seen] == [2, 2, 1, 0, 0, 0, 0, 0]
    assert [counts["records seen"] for counts in seen] == [0, 0, 0, 0, 2, 2, 1, 0]
    assert reconciler.audit() == {}, "the walks are done"
    clock.advance(ms=BUCKET_EVERY_MS)
    day = reconciler.audit()
    assert (day["originals seen"], day["records seen"]) == (5, 0)
    clock.advance(ms=RECORDS_EVERY_MS)
    week = reconciler.audit()
    assert (week["originals seen"], week["records seen"]) == (5, 5)


def test_the_index_is_walked_once_where_a_page_is_full(
    reconciler: Reconciler, uploader: Uploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pages(monkeypatch, "walk", 2)
    for _ in range(4):
        stored(uploader)
    assert reconciler.audit()["records seen"] == 4


def test_a_record_that_another_release_has_written_is_counted_and_left_alone(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    """Its object, thumbnail and index entry stay, though nothing here knows whose they are."""
    records = [stored(uploader) for _ in range(2)]
    for record in records:
        reconciler.processor.process(record.object_key)
    redis_server.hset(naming.record(records[0].id), "colour", "red")
    uploader.bucket.delete(*keys_in(uploader.bucket, f"thumbnails/{records[1].id}/"))
    before = redis_server.hgetall(naming.record(records[0].id))
    objects = keys_in(uploader.bucket)
    clock.advance(ms=RECORDS_EVERY_MS)
    counts = reconciler.audit()
    assert counts["unreadable"] == 3, "of its original, its thumbnail and its index entry"
    assert counts["thumbnails to be made again"] == 1, "the others are repaired"
    assert redis_server.hgetall(naming.record(records[0].id)) == before
    assert keys_in(uploader.bucket) == objects
    assert redis_server.zcard(naming.INDEX) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"part": "shelves"},
        {"since_ms": "soon"},
        {"since_ms": str(2**53)},
        {"walk": "originals", "since": "1"},
    ],
    ids=["part", "time", "future", "fields"],
)
def test_a_checkpoint_that_another_release_has_written_starts_the_walk_over(
    reconciler: Reconciler, uploader: Uploader, redis_server: "redis.Redis", fields: dict[Any, Any]
) -> None:
    stored(uploader)
    reconciler.audit()
    assert reconciler.audit() == {}
    for name in ("bucket", "records"):
        if "walk" in fields:
            redis_server.delete(naming.checkpoint(name))
        redis_server.hset(naming.checkpoint(name), mapping=fields)
    counts = reconciler.audit()
    assert (counts["originals seen"], counts["records seen"]) == (1, 1)
    assert reconciler.audit() == {}


class TestOriginalsAreNotKept:
    @pytest.fixture
    def processor(self, processor: Processor) -> Processor:
        return replace(processor, keep_originals=False)

    def test_the_original_goes_last(self, uploader: Uploader, processor: Processor) -> None:
        record = stored(uploader)
        assert processor.process(record.object_key) is Outcome.READY
        (left,) = keys_in(uploader.bucket)
        assert left.startswith("thumbnails/")
        assert processor.process(record.object_key) is Outcome.ABSENT
        assert state_of(uploader.store, record.id) is State.READY
        assert (
            remove(uploader.store, uploader.bucket, record.id, RemovalScope.VISIBLE, UNRESTRICTED) is not None
        )
        assert keys_in(uploader.bucket) == []

    def test_that_of_a_picture_that_failed_stays(self, uploader: Uploader, processor: Processor) -> None:
        record = stored(uploader, picture()[:300])
        assert processor.process(record.object_key) is Outcome.FAILED
        assert keys_in(uploader.bucket) == [record.object_key]

    def test_a_version_that_came_meanwhile_is_not_removed_unseen(
        self, processor: Processor, s3: "S3Client", store: RecordStore
    ) -> None:
        put(processor.bucket, CLIENTS_KEY, picture())
        newer = picture(64, 64)
        just_before(
            processor.bucket,
            "DeleteObject",
            lambda: s3.put_object(Bucket=processor.bucket.name, Key=CLIENTS_KEY, Body=newer),
        )
        assert processor.process(CLIENTS_KEY) is Outcome.READY
        record = store.get(naming.record_id(CLIENTS_KEY), UNRESTRICTED)
        assert record is not None
        assert record.original_size == len(newer)
        assert len(keys_in(processor.bucket)) == 1

    def test_one_that_was_left_by_a_run_that_died_goes_with_the_audit(
        self, reconciler: Reconciler, uploader: Uploader, processor: Processor, clock: SettableClock
    ) -> None:
        record = stored(uploader)
        just_before(processor.bucket, "DeleteObject", Died())
        with pytest.raises(Died):
            processor.process(record.object_key)
        clock.advance(**LATE)
        assert reconciler.audit()["originals removed"] == 1
        assert state_of(uploader.store, record.id) is State.READY

    def test_originals_of_before_the_change_stay(
        self, reconciler: Reconciler, uploader: Uploader, processor: Processor, clock: SettableClock
    ) -> None:
        """Their thumbnails do not say that they stand alone, so that a rebuild would delete them."""
        record = stored(uploader)
        replace(processor, keep_originals=True).process(record.object_key)
        clock.advance(**LATE)
        assert reconciler.audit()["originals removed"] == 0
        assert len(keys_in(uploader.bucket)) == 2
