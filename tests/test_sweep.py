"""The sweep: what it retries, finishes and removes, and what it leaves alone."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import naming
from chalicelib.errors import BucketUnavailable, RetriesExhausted
from chalicelib.records.record import UNRESTRICTED, RemovalScope, State
from chalicelib.records.schedule import ScheduledCheck
from chalicelib.records.store import RecordStore
from chalicelib.work.process import Outcome, Processor
from chalicelib.work.remove import remove
from chalicelib.work.retry import MOST_ATTEMPTS
from chalicelib.work.sweep import UNREADABLE_MS
from chalicelib.work.upload import Uploader
from tests.conftest import SettableClock, just_before, keys_in, picture
from tests.reconciler import CLIENTS_KEY, LATE, Died, Reconciler, due, put, state_of, stored

if TYPE_CHECKING:
    import redis
    from types_boto3_s3 import S3Client


def test_a_record_whose_event_was_lost_is_retried(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    record = stored(uploader)
    assert reconciler.sweep() == {}, "it may still be in flight"
    clock.advance(**LATE)
    assert reconciler.sweep() == {"retried: ready": 1}
    assert state_of(uploader.store, record.id) is State.READY
    clock.advance(**LATE)
    assert reconciler.sweep() == {}
    assert due(redis_server) == {}


def test_a_poison_record_fails_for_good(
    reconciler: Reconciler,
    uploader: Uploader,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    poison, good = stored(uploader), stored(uploader)
    tries = 0
    clock.advance(**LATE)
    with monkeypatch.context() as patch:
        patch.setattr("chalicelib.work.look.make_thumbnail", die)
        while state_of(uploader.store, poison.id) is State.PENDING:
            for _ in range(2):
                try:
                    reconciler.sweep()
                except Killed:
                    tries += 1
            clock.advance(**LATE)
    assert tries == 2 * MOST_ATTEMPTS
    for record in (poison, good):
        failed = uploader.store.get(record.id, UNRESTRICTED)
        assert failed is not None
        assert failed.error == str(RetriesExhausted())


def test_a_poison_record_does_not_keep_others_waiting(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock
) -> None:
    poison = stored(uploader)
    clock.advance(ms=10)
    good = stored(uploader)
    clock.advance(**LATE)

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    just_before(reconciler.bucket, "GetObject", die)
    with pytest.raises(Killed):
        reconciler.sweep()
    assert reconciler.sweep() == {"retried: ready": 1}
    assert state_of(uploader.store, good.id) is State.READY
    assert state_of(uploader.store, poison.id) is State.PENDING


def test_an_upload_that_died_before_its_original_came_is_discarded(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    just_before(uploader.bucket, "PutObject", die := Died())
    with pytest.raises(Died):
        stored(uploader)
    assert die.raised
    clock.advance(**LATE)
    assert reconciler.sweep() == {"abandoned uploads discarded": 1}
    assert uploader.store.page(10, None, UNRESTRICTED).records == []
    clock.advance(**LATE)
    reconciler.sweep()
    assert redis_server.keys() == []


def test_a_removal_that_stopped_half_way_is_finished(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, processor: Processor
) -> None:
    record = stored(uploader)
    processor.process(record.object_key)
    just_before(uploader.bucket, "DeleteObjects", Died())
    with pytest.raises(Died):
        remove(uploader.store, uploader.bucket, record.id, RemovalScope.VISIBLE, UNRESTRICTED)
    assert reconciler.sweep() == {}, "the request may still be running"
    clock.advance(**LATE)
    assert reconciler.sweep() == {"removals finished": 1}
    assert keys_in(uploader.bucket) == []
    assert state_of(uploader.store, record.id) is State.TOMBSTONE


@pytest.mark.parametrize("content", [picture(), picture()[:300], None], ids=["ready", "failed", "pending"])
def test_an_expired_picture_is_removed(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, content: bytes | None
) -> None:
    record = stored(replace(uploader, retention=100), content)
    if content is not None:
        reconciler.processor.process(record.object_key)
    assert record.expires_ms is not None
    clock.advance(ms=record.expires_ms - clock() - 500)
    assert uploader.store.get(record.id, UNRESTRICTED) is not None
    assert reconciler.sweep() == {}
    clock.advance(ms=500)
    assert uploader.store.get(record.id, UNRESTRICTED) is None
    assert reconciler.sweep() == {"expired": 1}
    assert keys_in(uploader.bucket) == []
    assert reconciler.processor.process(record.object_key) is Outcome.DELETED, "a late event changes nothing"


def test_a_ready_record_is_scheduled_for_its_expiry(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    record = stored(replace(uploader, retention=100_000))
    reconciler.processor.process(record.object_key)
    clock.advance(**LATE)
    reconciler.sweep()
    assert due(redis_server) == {record.id: record.expires_ms}


def test_a_clients_new_object_outlives_the_end_of_the_old_one(
    reconciler: Reconciler, clock: SettableClock, processor: Processor, s3: "S3Client"
) -> None:
    short = replace(processor, retention=1)
    reconciler = replace(reconciler, processor=short)
    put(processor.bucket, CLIENTS_KEY, picture())
    short.process(CLIENTS_KEY)
    clock.advance(seconds=10)
    other = picture(64, 64)
    just_before(
        processor.bucket,
        "DeleteObject",
        lambda: s3.put_object(Bucket=processor.bucket.name, Key=CLIENTS_KEY, Body=other),
    )
    assert reconciler.sweep() == {"expired": 1}
    assert keys_in(processor.bucket) == [CLIENTS_KEY]
    assert replace(processor, retention=1000).process(CLIENTS_KEY) is Outcome.READY


def test_a_check_that_a_writer_has_moved_meanwhile_stays(
    store: RecordStore, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    redis_server.zadd(naming.DUE, {"a": 1, "b": 2})
    seen = store.schedule.due(10)
    assert seen == [ScheduledCheck("a", 1), ScheduledCheck("b", 2)]
    redis_server.zadd(naming.DUE, {"a": 5})
    store.schedule.reschedule([(seen[0], None), (seen[1], 7)])
    assert due(redis_server) == {"a": 5, "b": 7}


def test_many_checks_are_worked_on_in_one_run(
    reconciler: Reconciler, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    redis_server.zadd(naming.DUE, {naming.new_id(): number for number in range(1, 2000)})
    reconciler.sweep()
    assert due(redis_server) == {}


def test_it_stops_when_its_time_is_up(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock
) -> None:
    for _ in range(3):
        stored(uploader)
    clock.advance(**LATE)
    asked: Iterator[bool] = iter([False, False, True, True, True])
    assert replace(reconciler, time_is_up=lambda: next(asked)).sweep() == {"retried: ready": 1}
    assert reconciler.sweep() == {"retried: ready": 2}


def test_one_object_that_s3_refuses_holds_up_nothing(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock
) -> None:
    for _ in range(3):
        stored(uploader)
    clock.advance(**LATE)
    just_before(reconciler.bucket, "GetObject", Died(BucketUnavailable))
    assert reconciler.sweep() == {"postponed": 1, "retried: ready": 2}
    clock.advance(**LATE)
    assert reconciler.sweep() == {"retried: ready": 1}


def test_when_s3_is_down_it_stops_early_and_loses_nothing(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock
) -> None:
    records = [stored(uploader) for _ in range(8)]
    clock.advance(**LATE)
    for _ in range(6):
        just_before(reconciler.bucket, "HeadObject", Died(BucketUnavailable))
    with pytest.raises(BucketUnavailable):
        reconciler.sweep()
    clock.advance(**LATE)
    for _ in range(2):
        reconciler.sweep()
        clock.advance(**LATE)
    assert {state_of(uploader.store, record.id) for record in records} == {State.READY}


def test_a_record_that_another_release_has_written_is_left_alone_for_an_hour(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    odd, good = stored(uploader), stored(uploader)
    redis_server.hset(naming.record(odd.id), "state", "archived")
    as_stored = redis_server.hgetall(naming.record(odd.id))
    clock.advance(**LATE)
    before = clock()
    assert reconciler.sweep() == {"unreadable": 1, "retried: ready": 1}
    assert state_of(uploader.store, good.id) is State.READY
    again = due(redis_server)[odd.id]
    assert before + UNREADABLE_MS <= again <= clock() + UNREADABLE_MS
    assert reconciler.sweep() == {}
    assert redis_server.hgetall(naming.record(odd.id)) == as_stored
    assert odd.object_key in keys_in(uploader.bucket)
    redis_server.hset(naming.record(odd.id), "state", "pending")
    clock.advance(ms=UNREADABLE_MS)
    assert reconciler.sweep() == {"retried: ready": 1}, "the release that knows it is back"


def test_a_record_that_becomes_unreadable_while_it_is_worked_on_is_postponed(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    odd = stored(uploader)
    clock.advance(**LATE)
    newer: dict[Any, Any] = {"format": "3", "revision": "another"}
    just_before(
        reconciler.bucket, "HeadObject", lambda: redis_server.hset(naming.record(odd.id), mapping=newer)
    )
    assert reconciler.sweep() == {"postponed": 1}
    assert odd.object_key in keys_in(uploader.bucket)
