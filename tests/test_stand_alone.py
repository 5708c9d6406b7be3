"""Thumbnails that stand alone are the only copy of their picture: Redis that went back in time costs none.

Originals are not kept here. Redis goes back by putting back what it held at an earlier moment.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import naming
from chalicelib.clients import s3_client
from chalicelib.errors import ThumbnailNotReady
from chalicelib.objects.bucket import Bucket
from chalicelib.records.record import UNRESTRICTED, RemovalScope, State
from chalicelib.records.store import RecordStore
from chalicelib.work.audit import RECORDS_EVERY_MS
from chalicelib.work.download import Downloader
from chalicelib.work.process import Outcome, Processor
from chalicelib.work.remove import remove
from chalicelib.work.upload import Uploader
from tests.conftest import SettableClock, found, just_before, keys_in, picture
from tests.going_back import Snapshot
from tests.reconciler import CLIENTS_KEY, LATE, Reconciler, put, state_of, stored

if TYPE_CHECKING:
    import redis

A, B, C = picture(seed=1), picture(seed=2), picture(seed=3)
ID = naming.record_id(CLIENTS_KEY)


@pytest.fixture
def processor(processor: Processor) -> Processor:
    return replace(processor, keep_originals=False)


@pytest.fixture
def snapshot(redis_server: "redis.Redis") -> Callable[[], Snapshot]:
    return lambda: Snapshot(redis_server)


def made(processor: Processor, content: bytes) -> str:
    """Put a picture under the client's key, process it, and give its thumbnail's object key."""
    put(processor.bucket, CLIENTS_KEY, content)
    assert processor.process(CLIENTS_KEY) is Outcome.READY
    record = found(processor.store, ID)
    return naming.thumbnail(ID, str(record.thumbnail))


def go_back(reconciler: Reconciler, earlier: Snapshot) -> None:
    """Let Redis go back beyond the last run of the reconciler, which then notices it."""
    reconciler.recover()
    earlier.restore()


def heal(reconciler: Reconciler, clock: SettableClock) -> None:
    """Let the reconciler run as for ten days, each time on all that it may come to."""
    for _ in range(3):
        clock.advance(**LATE)
        reconciler.recover()
        reconciler.sweep()
        reconciler.audit()
    clock.advance(ms=RECORDS_EVERY_MS + 1000)
    reconciler.audit()
    clock.advance(**LATE)
    reconciler.sweep()


def assert_shown(reconciler: Reconciler, record_id: str, thumbnail: str) -> None:
    """The picture is ready, listed, and nothing else is in the bucket."""
    store = reconciler.processor.store
    record = found(store, record_id)
    assert record.state is State.READY
    assert naming.thumbnail(record_id, str(record.thumbnail)) == thumbnail
    assert [one.id for one in store.page(10, None, UNRESTRICTED).records] == [record_id]
    assert keys_in(reconciler.bucket) == [thumbnail]


@pytest.mark.parametrize("at", ["created", "claimed"])
def test_an_upload_whose_finish_is_lost_stays(
    reconciler: Reconciler,
    uploader: Uploader,
    clock: SettableClock,
    snapshot: Callable[[], Snapshot],
    at: str,
) -> None:
    reconciler.recover()
    record = stored(uploader)
    earlier = snapshot()
    if at == "claimed":
        # At the moment when the thumbnail is to be stored, the record names it.
        just_before(uploader.bucket, "PutObject", earlier.take)
    assert reconciler.processor.process(record.object_key) is Outcome.READY
    (thumbnail,) = keys_in(uploader.bucket)
    go_back(reconciler, earlier)
    assert state_of(uploader.store, record.id) is State.PENDING
    heal(reconciler, clock)
    assert_shown(reconciler, record.id, thumbnail)


@pytest.mark.parametrize("at", ["first version", "claim"])
def test_the_newer_version_of_a_clients_key_stays(
    reconciler: Reconciler, clock: SettableClock, snapshot: Callable[[], Snapshot], at: str
) -> None:
    reconciler.recover()
    made(reconciler.processor, A)
    earlier = snapshot()
    clock.advance(seconds=2)
    if at == "claim":
        just_before(reconciler.bucket, "PutObject", earlier.take, skip=1)
    newer = made(reconciler.processor, B)
    go_back(reconciler, earlier)
    heal(reconciler, clock)
    assert_shown(reconciler, ID, newer)


def test_of_two_losses_within_a_day_the_newest_thumbnail_counts(
    reconciler: Reconciler, s3_clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    """What the losses have left behind are three thumbnails, of which no record names one."""
    keys = []
    for content in (A, B, C):
        keys.append(made(reconciler.processor, content))
        redis_server.flushall()
        s3_clock.advance(seconds=1)
        for key in keys[:-1]:
            assert key in keys_in(reconciler.bucket), "no run deletes what it does not know"
    heal(reconciler, s3_clock)
    assert_shown(reconciler, ID, keys[-1])


def test_a_rebuild_takes_the_newest_thumbnail(
    reconciler: Reconciler, s3_clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    keys = []
    for content in (A, B):
        keys.append(made(reconciler.processor, content))
        redis_server.flushall()
        s3_clock.advance(seconds=1)
    _, done = reconciler.rebuild()
    assert done
    record = found(reconciler.processor.store, ID)
    assert naming.thumbnail(ID, str(record.thumbnail)) == keys[-1]


def test_an_event_that_comes_twice_while_redis_is_lost_deletes_nothing(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    record = stored(uploader)
    processor = reconciler.processor
    for _ in range(4):  # in each round of each run, before it can finish
        just_before(processor.bucket, "PutObject", redis_server.flushall)
    processor.process(record.object_key)
    redis_server.flushall()
    assert processor.process(record.object_key) in {Outcome.READY, Outcome.ABSENT}
    assert keys_in(uploader.bucket), "the thumbnail or the original is left"
    heal(reconciler, clock)
    (thumbnail,) = keys_in(uploader.bucket)
    assert_shown(reconciler, record.id, thumbnail)


def test_a_walk_that_read_the_record_before_it_was_overwritten_removes_nothing(
    reconciler: Reconciler, clock: SettableClock, store: RecordStore
) -> None:
    former = made(reconciler.processor, A)
    reconciler.bucket.delete(former)  # the record is wrong: the walk is going to remove it
    clock.advance(ms=RECORDS_EVERY_MS)
    other = replace(
        reconciler.processor, bucket=Bucket(s3_client(timeout=30, attempts=1), reconciler.bucket.name)
    )
    newer: list[str] = []
    just_before(reconciler.bucket, "HeadObject", lambda: newer.append(made(other, B)))
    reconciler.audit()
    assert newer
    assert_shown(reconciler, ID, newer[0])


def test_the_later_bytes_of_an_event_that_two_releases_process_are_told(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock
) -> None:
    downloader = Downloader(uploader.store, lambda: uploader.bucket, UNRESTRICTED, expires_after=None)
    record = stored(uploader)
    late = reconciler.processor
    spec = replace(late.spec, quality=30)
    early = replace(late, spec=spec, bucket=Bucket(s3_client(timeout=30, attempts=1), late.bucket.name))
    outcomes: list[Outcome] = []
    just_before(late.bucket, "PutObject", lambda: outcomes.append(early.process(record.object_key)))
    late.process(record.object_key)
    assert outcomes == [Outcome.READY]
    (thumbnail,) = keys_in(uploader.bucket)
    told = found(uploader.store, record.id)
    head = uploader.bucket.head(thumbnail)
    assert head is not None
    assert head.size != told.thumbnail_size, "both runs stored the same bytes"
    with pytest.raises(ThumbnailNotReady):
        downloader.read(told, is_download=True)
    assert len(downloader.read(downloader.find_ready(record.id), is_download=True)) == head.size
    heal(reconciler, clock)
    assert_shown(reconciler, record.id, thumbnail)


@pytest.mark.parametrize("is_upload", [True, False], ids=["upload", "client's key"])
def test_what_was_deleted_stays_deleted(
    reconciler: Reconciler,
    uploader: Uploader,
    clock: SettableClock,
    snapshot: Callable[[], Snapshot],
    store: RecordStore,
    is_upload: bool,
) -> None:
    """The removal is forgotten, but the objects are gone."""
    reconciler.recover()
    if is_upload:
        record = stored(uploader)
        reconciler.processor.process(record.object_key)
    else:
        made(reconciler.processor, A)
    record_id = record.id if is_upload else ID
    earlier = snapshot()
    assert remove(store, reconciler.bucket, record_id, RemovalScope.VISIBLE, UNRESTRICTED)
    go_back(reconciler, earlier)
    assert store.get(record_id, UNRESTRICTED) is not None
    clock.advance(**LATE)
    reconciler.recover()
    assert store.get(record_id, UNRESTRICTED) is None
    assert store.page(10, None, UNRESTRICTED).records == []
    assert keys_in(reconciler.bucket) == []


def test_a_removal_takes_thumbnails_that_its_record_does_not_name(
    reconciler: Reconciler, store: RecordStore, redis_server: "redis.Redis"
) -> None:
    """Each of them stands alone: a later rebuild would bring back what a client has deleted."""
    for content in (A, B):
        redis_server.flushall()
        made(reconciler.processor, content)
    assert len(keys_in(reconciler.bucket)) == 2
    assert remove(store, reconciler.bucket, ID, RemovalScope.VISIBLE, UNRESTRICTED)
    assert keys_in(reconciler.bucket) == []
    redis_server.flushall()
    reconciler.rebuild()
    assert store.find(ID) is None


def test_an_expired_thumbnail_that_redis_has_forgotten_goes_at_its_end(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    record = stored(replace(uploader, retention=3600))
    reconciler.processor.process(record.object_key)
    redis_server.flushall()
    clock.advance(seconds=3601)
    reconciler.audit()
    counts: Any = reconciler.sweep()
    assert counts["expired"] == 1
    assert keys_in(uploader.bucket) == []


@pytest.mark.parametrize("times", [1, 3])
def test_an_original_that_is_put_again_with_the_same_bytes_goes_too(
    reconciler: Reconciler, uploader: Uploader, times: int
) -> None:
    record = stored(uploader)
    processor = reconciler.processor
    processor.process(record.object_key)
    kept = keys_in(uploader.bucket)
    for _ in range(times):
        put(uploader.bucket, record.object_key, picture())
        assert processor.process(record.object_key) is Outcome.UNCHANGED
        assert keys_in(uploader.bucket) == kept
    assert state_of(uploader.store, record.id) is State.READY


@pytest.mark.parametrize("way", ["its event", "the daily walk"])
def test_a_rebuild_knows_how_long_what_was_put_again_is_kept(
    reconciler: Reconciler,
    clock: SettableClock,
    s3_clock: SettableClock,
    redis_server: "redis.Redis",
    way: str,
) -> None:
    hour = 3600
    processor = replace(reconciler.processor, retention=100 * hour)
    reconciler = replace(reconciler, processor=processor)

    def wait(hours: int) -> None:
        for one in (clock, s3_clock):
            one.advance(seconds=hours * hour)

    thumbnail = made(processor, A)
    wait(50)
    put(processor.bucket, CLIENTS_KEY, A)
    if way == "its event":
        assert processor.process(CLIENTS_KEY) is Outcome.UNCHANGED
    else:
        for _ in range(2):
            wait(13)
            reconciler.audit()
            wait(13)
    assert keys_in(processor.bucket) == [thumbnail]
    expires_ms = found(processor.store, ID).expires_ms
    redis_server.flushall()
    reconciler.rebuild()
    assert found(processor.store, ID).expires_ms == expires_ms
    image = processor.bucket.get(thumbnail)
    assert image is not None
    with image:
        assert image.info.metadata["stands-alone"]


@pytest.mark.parametrize("is_there", [True, False])
def test_an_original_stays_whose_thumbnail_is_no_copy_that_can_stand_alone(
    processor: Processor, is_there: bool
) -> None:
    """It was made while originals were kept: without its original, nothing could tell of the picture."""
    bucket = processor.bucket
    put(bucket, CLIENTS_KEY, A)
    assert replace(processor, keep_originals=True).process(CLIENTS_KEY) is Outcome.READY
    if not is_there:
        bucket.delete(*keys_in(bucket, naming.thumbnails(ID)))
    assert processor.process(CLIENTS_KEY) is Outcome.UNCHANGED
    assert bucket.exists(CLIENTS_KEY)
