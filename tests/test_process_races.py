"""Processing that meets uploads, removals, other runs and crashes, forced at the step where it hurts."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import naming
from chalicelib.clients import s3_client
from chalicelib.errors import OriginalChanging
from chalicelib.objects.bucket import Bucket
from chalicelib.records.codec import original_metadata
from chalicelib.records.record import UNRESTRICTED, Record, RemovalScope
from chalicelib.records.store import RecordStore
from chalicelib.work.process import Outcome, Processor
from tests.conftest import found, just_after, just_before, keys_in, picture
from tests.processing import CLIENTS_KEY, assert_nothing_left, assert_ready, remove, uploaded
from tests.reconciler import Died

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client


@pytest.fixture
def other(processor: Processor, store: RecordStore) -> Processor:
    """A second run of the same function, with an S3 client of its own."""
    bucket = Bucket(s3_client(timeout=30, attempts=1), processor.bucket.name)
    return Processor(store, bucket, processor.spec, processor.max_bytes, processor.max_pixels)


CHECK = "HeadObject"
"""Asks whether the original has changed: not of an upload through the API, so presigned ones stand in."""
STEPS = [("GetObject", just_before), ("GetObject", just_after), ("PutObject", just_before)]
STEPS += [("PutObject", just_after), (CHECK, just_before), (CHECK, just_after)]
STEP_NAMES = ["before read", "after read", "before store", "after store", "before check", "after check"]
Hook = Callable[[Bucket, str, Callable[[], object]], None]


def died(processor: Processor, store: RecordStore, bucket: Bucket, operation: str, hook: Hook) -> Record:
    """An upload whose first run has died at this step."""
    record = uploaded(store, bucket, presigned=operation == CHECK)
    hook(bucket, operation, die := Died())
    with pytest.raises(Died):
        processor.process(record.object_key)
    assert die.raised
    return record


@pytest.mark.parametrize(("operation", "hook"), STEPS, ids=STEP_NAMES)
class TestMeanwhile:
    """At each step of a run, something else happens."""

    @pytest.mark.parametrize("key", [None, CLIENTS_KEY], ids=["upload", "client's key"])
    @pytest.mark.parametrize("content", [picture(), picture()[:300]], ids=["good", "broken"])
    def test_it_is_deleted(
        self,
        processor: Processor,
        other: Processor,
        store: RecordStore,
        bucket: Bucket,
        s3: "S3Client",
        operation: str,
        hook: Hook,
        key: str | None,
        content: bytes,
    ) -> None:
        if key is None:
            key = uploaded(store, bucket, content, presigned=operation == CHECK).object_key
        else:
            s3.put_object(Bucket=bucket.name, Key=key, Body=content)
        record_id = naming.record_id(key)
        was_there: list[bool] = []
        hook(bucket, operation, lambda: was_there.append(remove(store, other.bucket, record_id)))
        processor.process(key)
        if was_there != [True]:
            # Before a client's object has been read, there is no record that could be deleted; and a
            # broken picture has no store step.
            assert key == CLIENTS_KEY or content != picture()
            assert remove(store, bucket, record_id)
        for _ in range(2):  # and the event comes again, late
            assert processor.process(key) in {Outcome.DELETED, Outcome.ABSENT}
            assert_nothing_left(store, bucket, record_id)

    def test_the_same_event_is_handled_as_well(
        self,
        processor: Processor,
        other: Processor,
        store: RecordStore,
        bucket: Bucket,
        operation: str,
        hook: Hook,
    ) -> None:
        record = uploaded(store, bucket, presigned=operation == CHECK)
        hook(bucket, operation, lambda: other.process(record.object_key))
        assert processor.process(record.object_key) in {Outcome.READY, Outcome.UNCHANGED}
        assert_ready(store, bucket, record.id)

    def test_the_object_is_replaced(
        self,
        processor: Processor,
        store: RecordStore,
        bucket: Bucket,
        s3: "S3Client",
        operation: str,
        hook: Hook,
    ) -> None:
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture())
        newer = picture(500, 100)
        hook(bucket, operation, lambda: s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=newer))
        processor.process(CLIENTS_KEY)
        if (operation, hook) == (CHECK, just_after):
            processor.process(CLIENTS_KEY)  # too late for this run; the replacement has an event of its own
        assert assert_ready(store, bucket, naming.record_id(CLIENTS_KEY)).original_size == len(newer)

    def test_the_object_is_replaced_and_the_newer_event_overtakes(
        self,
        processor: Processor,
        other: Processor,
        store: RecordStore,
        bucket: Bucket,
        s3: "S3Client",
        operation: str,
        hook: Hook,
    ) -> None:
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture())
        newer = picture(500, 100)

        def overtake() -> None:
            s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=newer)
            other.process(CLIENTS_KEY)

        hook(bucket, operation, overtake)
        processor.process(CLIENTS_KEY)
        assert assert_ready(store, bucket, naming.record_id(CLIENTS_KEY)).original_size == len(newer)

    def test_it_is_deleted_and_put_again(
        self,
        processor: Processor,
        other: Processor,
        store: RecordStore,
        bucket: Bucket,
        s3: "S3Client",
        operation: str,
        hook: Hook,
    ) -> None:
        newer = picture(500, 100)
        record_id = naming.record_id(CLIENTS_KEY)
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture())
        processor.process(CLIENTS_KEY)
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(200, 100))

        def swap() -> None:
            assert remove(store, other.bucket, record_id)
            s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=newer)

        hook(bucket, operation, swap)
        processor.process(CLIENTS_KEY)
        processor.process(CLIENTS_KEY)  # the event of the object that was put again
        assert assert_ready(store, bucket, record_id).original_size == len(newer)

    def test_redis_forgets_everything(
        self,
        processor: Processor,
        store: RecordStore,
        bucket: Bucket,
        redis_server: "redis.Redis",
        operation: str,
        hook: Hook,
    ) -> None:
        record = uploaded(store, bucket, presigned=operation == CHECK)
        hook(bucket, operation, redis_server.flushall)
        processor.process(record.object_key)
        if operation == CHECK:
            assert store.find(record.id) is None  # the run had ended: this is for a rebuild to repair
            processor.process(record.object_key)
        # The record of before named its thumbnail; without it the audit finds that thumbnail.
        repaired = assert_ready(store, bucket, record.id, abandoned=1)
        assert (repaired.filename, repaired.created_ms) == (record.filename, record.created_ms)

    def test_it_dies_there_and_the_event_comes_again(
        self, processor: Processor, store: RecordStore, bucket: Bucket, operation: str, hook: Hook
    ) -> None:
        record = died(processor, store, bucket, operation, hook)
        assert processor.process(record.object_key) in {Outcome.READY, Outcome.UNCHANGED}
        assert_ready(store, bucket, record.id)

    def test_it_dies_there_and_is_deleted_before_the_event_comes_again(
        self, processor: Processor, store: RecordStore, bucket: Bucket, operation: str, hook: Hook
    ) -> None:
        record = died(processor, store, bucket, operation, hook)
        assert remove(store, bucket, record.id)
        processor.process(record.object_key)
        assert_nothing_left(store, bucket, record.id)


def test_a_stored_thumbnail_of_a_deleted_record_goes_with_the_repeated_event(
    processor: Processor, store: RecordStore, bucket: Bucket
) -> None:
    """Deleted while the thumbnail was on its way, and the run died before it could notice."""
    record = uploaded(store, bucket)

    def die() -> None:
        raise KeyboardInterrupt

    just_before(bucket, "PutObject", lambda: remove(store, bucket, record.id))
    just_after(bucket, "PutObject", die)
    with pytest.raises(KeyboardInterrupt):
        processor.process(record.object_key)
    assert keys_in(bucket) != []
    assert processor.process(record.object_key) is Outcome.DELETED
    assert_nothing_left(store, bucket, record.id)


@pytest.mark.parametrize("first", [True, False], ids=["over a ready one", "over a pending one"])
@pytest.mark.parametrize("operation", ["DeleteObjects", "PutObject"])
def test_an_earlier_version_that_comes_back_keeps_its_thumbnail(
    processor: Processor,
    other: Processor,
    store: RecordStore,
    bucket: Bucket,
    s3: "S3Client",
    operation: str,
    first: bool,
) -> None:
    """A slow run must not take away what belongs to the same content, put again."""
    versions = [picture(seed=1), picture(seed=2)]

    def put(number: int) -> None:
        s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=versions[number])

    def put_and_process(number: int) -> None:
        put(number)
        other.process(CLIENTS_KEY)

    put(0)
    if first:
        processor.process(CLIENTS_KEY)
        put(1)
        just_before(bucket, operation, lambda: put_and_process(0))
    else:
        just_before(bucket, "PutObject", lambda: put_and_process(1))
        just_before(bucket, "DeleteObjects", lambda: put_and_process(0))
    processor.process(CLIENTS_KEY)
    assert_ready(store, bucket, naming.record_id(CLIENTS_KEY))


def test_a_version_that_came_while_another_was_half_stored(
    processor: Processor, store: RecordStore, bucket: Bucket, s3: "S3Client"
) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(seed=1))
    just_after(bucket, "PutObject", die)
    with pytest.raises(KeyboardInterrupt):
        processor.process(CLIENTS_KEY)
    s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(seed=2))
    assert processor.process(CLIENTS_KEY) is Outcome.READY
    record_id = naming.record_id(CLIENTS_KEY)
    assert_ready(store, bucket, record_id)
    assert remove(store, bucket, record_id)
    assert_nothing_left(store, bucket, record_id)


def test_a_clients_object_that_came_after_a_removal_that_stopped_half_way_is_kept(
    processor: Processor, store: RecordStore, bucket: Bucket, s3: "S3Client"
) -> None:
    record_id = naming.record_id(CLIENTS_KEY)
    s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(seed=1))
    processor.process(CLIENTS_KEY)
    half_removed = store.start_removal(found(store, record_id), RemovalScope.ANY, UNRESTRICTED)
    assert half_removed is not None
    s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(seed=2))
    with pytest.raises(OriginalChanging):
        processor.process(CLIENTS_KEY)
    assert keys_in(bucket, "originals/") == [CLIENTS_KEY]
    assert store.finish_removal(half_removed, "tombstone")
    assert processor.process(CLIENTS_KEY) is Outcome.READY
    assert_ready(store, bucket, record_id, abandoned=1)


def test_an_index_entry_that_came_after_the_removal_goes(
    processor: Processor, store: RecordStore, bucket: Bucket, redis_server: "redis.Redis"
) -> None:
    """A run indexes its record again, in case the upload died before that; a removal may come between."""
    record = uploaded(store, bucket)
    entries: Any = redis_server.zrange(naming.INDEX, 0, -1)

    def remove_and_list_again() -> None:
        assert remove(store, bucket, record.id)
        redis_server.zadd(naming.INDEX, dict.fromkeys(entries, 0))

    just_before(bucket, "PutObject", remove_and_list_again)
    processor.process(record.object_key)
    assert redis_server.zcard(naming.INDEX) == 0
    assert_nothing_left(store, bucket, record.id)


def test_a_removal_that_stopped_half_way_is_finished_by_the_event(
    processor: Processor, store: RecordStore, bucket: Bucket
) -> None:
    record = uploaded(store, bucket)
    processor.process(record.object_key)
    store.start_removal(found(store, record.id), RemovalScope.ANY, UNRESTRICTED)
    assert processor.process(record.object_key) is Outcome.DELETED
    assert_nothing_left(store, bucket, record.id)
    assert remove(store, bucket, record.id), "the client may still finish its own removal"


def test_an_upload_comes_back_by_no_event_however_often_it_is_put(
    processor: Processor, store: RecordStore, bucket: Bucket
) -> None:
    record = uploaded(store, bucket)
    assert remove(store, bucket, record.id)
    bucket.put(record.object_key, picture(), content_type="x/x", metadata=original_metadata(record))
    assert processor.process(record.object_key) is Outcome.DELETED
    assert_nothing_left(store, bucket, record.id)
