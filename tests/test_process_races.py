"""Processing that meets uploads, removals, other runs and crashes, forced at the step where it hurts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import naming
from chalicelib.clients import s3_client
from chalicelib.errors import OriginalChanging
from chalicelib.objects.bucket import Bucket
from chalicelib.records.codec import original_metadata
from chalicelib.records.record import Record
from chalicelib.records.store import RecordStore
from chalicelib.work.process import Outcome, Processor
from tests.conftest import SettableClock, found, just_after, just_before, keys_in, picture
from tests.processing import (
    CLIENTS_KEY,
    assert_nothing_left,
    assert_ready,
    remove,
    remove_and_die,
    uploaded,
)
from tests.reconciler import LATE, Died, Reconciler

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


@dataclass(frozen=True)
class Step:
    """A call of S3 by a run, and what it runs on."""

    operation: str
    hook: Hook
    processor: Processor
    other: Processor
    s3: "S3Client"

    @property
    def store(self) -> RecordStore:
        return self.processor.store

    @property
    def bucket(self) -> Bucket:
        return self.processor.bucket

    def meanwhile(self, action: Callable[[], object]) -> None:
        """Let something happen at this step of the next run."""
        self.hook(self.bucket, self.operation, action)


@pytest.fixture(params=STEPS, ids=STEP_NAMES)
def step(request: pytest.FixtureRequest, processor: Processor, other: Processor, s3: "S3Client") -> Step:
    operation, hook = request.param
    return Step(operation, hook, processor, other, s3)


def died(step: Step) -> Record:
    """An upload whose first run has died at this step."""
    record = uploaded(step.store, step.bucket, presigned=step.operation == CHECK)
    step.meanwhile(die := Died())
    with pytest.raises(Died):
        step.processor.process(record.object_key)
    assert die.raised
    return record


class TestMeanwhile:
    """At each step of a run, something else happens."""

    @pytest.mark.parametrize("key", [None, CLIENTS_KEY], ids=["upload", "client's key"])
    @pytest.mark.parametrize("content", [picture(), picture()[:300]], ids=["good", "broken"])
    def test_it_is_deleted(self, step: Step, key: str | None, content: bytes) -> None:
        if key is None:
            key = uploaded(step.store, step.bucket, content, presigned=step.operation == CHECK).object_key
        else:
            step.s3.put_object(Bucket=step.bucket.name, Key=key, Body=content)
        record_id = naming.record_id(key)
        was_there: list[bool] = []
        step.meanwhile(lambda: was_there.append(remove(step.store, step.other.bucket, record_id)))
        step.processor.process(key)
        if was_there != [True]:
            # Before a client's object has been read, there is no record that could be deleted; and a
            # broken picture has no store step.
            assert key == CLIENTS_KEY or content != picture()
            assert remove(step.store, step.bucket, record_id)
        for _ in range(2):  # and the event comes again, late
            assert step.processor.process(key) in {Outcome.DELETED, Outcome.ABSENT}
            assert_nothing_left(step.store, step.bucket, record_id)

    def test_the_same_event_is_handled_as_well(self, step: Step) -> None:
        record = uploaded(step.store, step.bucket, presigned=step.operation == CHECK)
        step.meanwhile(lambda: step.other.process(record.object_key))
        assert step.processor.process(record.object_key) in {Outcome.READY, Outcome.UNCHANGED}
        assert_ready(step.store, step.bucket, record.id)

    def test_the_object_is_replaced(self, step: Step) -> None:
        step.s3.put_object(Bucket=step.bucket.name, Key=CLIENTS_KEY, Body=picture())
        newer = picture(500, 100)
        step.meanwhile(lambda: step.s3.put_object(Bucket=step.bucket.name, Key=CLIENTS_KEY, Body=newer))
        step.processor.process(CLIENTS_KEY)
        if (step.operation, step.hook) == (CHECK, just_after):
            # Too late for this run; the replacement has an event of its own.
            step.processor.process(CLIENTS_KEY)
        record_id = naming.record_id(CLIENTS_KEY)
        assert assert_ready(step.store, step.bucket, record_id).original_size == len(newer)

    def test_the_object_is_replaced_and_the_newer_event_overtakes(self, step: Step) -> None:
        step.s3.put_object(Bucket=step.bucket.name, Key=CLIENTS_KEY, Body=picture())
        newer = picture(500, 100)

        def overtake() -> None:
            step.s3.put_object(Bucket=step.bucket.name, Key=CLIENTS_KEY, Body=newer)
            step.other.process(CLIENTS_KEY)

        step.meanwhile(overtake)
        step.processor.process(CLIENTS_KEY)
        record_id = naming.record_id(CLIENTS_KEY)
        assert assert_ready(step.store, step.bucket, record_id).original_size == len(newer)

    def test_it_is_deleted_and_put_again(self, step: Step) -> None:
        newer = picture(500, 100)
        record_id = naming.record_id(CLIENTS_KEY)
        step.s3.put_object(Bucket=step.bucket.name, Key=CLIENTS_KEY, Body=picture())
        step.processor.process(CLIENTS_KEY)
        step.s3.put_object(Bucket=step.bucket.name, Key=CLIENTS_KEY, Body=picture(200, 100))

        def swap() -> None:
            assert remove(step.store, step.other.bucket, record_id)
            step.s3.put_object(Bucket=step.bucket.name, Key=CLIENTS_KEY, Body=newer)

        step.meanwhile(swap)
        step.processor.process(CLIENTS_KEY)
        step.processor.process(CLIENTS_KEY)  # the event of the object that was put again
        assert assert_ready(step.store, step.bucket, record_id).original_size == len(newer)

    def test_redis_forgets_everything(self, step: Step, redis_server: "redis.Redis") -> None:
        record = uploaded(step.store, step.bucket, presigned=step.operation == CHECK)
        step.meanwhile(redis_server.flushall)
        step.processor.process(record.object_key)
        if step.operation == CHECK:
            assert step.store.find(record.id) is None  # the run had ended: this is for a rebuild to repair
            step.processor.process(record.object_key)
        # The record of before named its thumbnail; without it the audit finds that thumbnail.
        repaired = assert_ready(step.store, step.bucket, record.id, abandoned=1)
        assert (repaired.filename, repaired.created_ms) == (record.filename, record.created_ms)

    def test_it_dies_there_and_the_event_comes_again(self, step: Step) -> None:
        record = died(step)
        assert step.processor.process(record.object_key) in {Outcome.READY, Outcome.UNCHANGED}
        assert_ready(step.store, step.bucket, record.id)

    def test_it_dies_there_and_is_deleted_before_the_event_comes_again(self, step: Step) -> None:
        record = died(step)
        assert remove(step.store, step.bucket, record.id)
        step.processor.process(record.object_key)
        assert_nothing_left(step.store, step.bucket, record.id)


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


def test_a_later_version_that_is_there_no_more_gives_way_to_what_is(
    processor: Processor, store: RecordStore, bucket: Bucket, s3: "S3Client"
) -> None:
    """As in a bucket with versions, whose last one has been deleted for good."""
    s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture())
    record_id = naming.record_id(CLIENTS_KEY)
    assert processor.process(CLIENTS_KEY) is Outcome.READY
    before = found(store, record_id)
    assert before.version_ms is not None
    later = replace(before, etag="later", version_ms=before.version_ms + 60_000, thumbnail="later-run")
    assert store.claim_version(later).etag == "later"
    assert processor.process(CLIENTS_KEY) is Outcome.READY
    assert found(store, record_id).etag == before.etag
    assert_ready(store, bucket, record_id)


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
    processor: Processor,
    store: RecordStore,
    bucket: Bucket,
    s3: "S3Client",
    reconciler: Reconciler,
    s3_clock: SettableClock,
) -> None:
    record_id = naming.record_id(CLIENTS_KEY)
    s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(seed=1))
    processor.process(CLIENTS_KEY)
    remove_and_die(store, bucket, record_id)
    s3_clock.advance(seconds=1)
    s3.put_object(Bucket=bucket.name, Key=CLIENTS_KEY, Body=picture(seed=2))
    with pytest.raises(OriginalChanging):
        processor.process(CLIENTS_KEY)
    assert keys_in(bucket, "originals/") == [CLIENTS_KEY]
    s3_clock.advance(**LATE)
    assert reconciler.sweep() == {"removals finished": 1}
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
    remove_and_die(store, bucket, record.id)
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
