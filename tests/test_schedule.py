"""When a change moves the check of its record: to an earlier time if it needs one, and never to a later."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chalicelib import naming
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import UNRESTRICTED, Failure, Finished, Record, RemovalScope, State
from chalicelib.records.schedule import ScheduledCheck
from chalicelib.records.store import RecordStore
from chalicelib.work.audit import RECORDS_EVERY_MS
from chalicelib.work.process import Processor
from chalicelib.work.upload import Uploader
from tests.conftest import STANDING_MS, SettableClock, found
from tests.reconciler import Reconciler, due, stored

if TYPE_CHECKING:
    import redis

NOW = STANDING_MS
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
FAILURE = Failure("undecodable", "It is damaged.")


def a_record(state: State = State.READY, expires_ms: int | None = None) -> Record:
    record_id = naming.new_id()
    return Record(
        id=record_id,
        object_key=naming.original(record_id),
        filename="a.jpg",
        created_ms=NOW - HOUR_MS,
        original_size=5,
        state=state,
        etag="v1",
        thumbnail="v1-run",
        thumbnail_size=9 if state is State.READY else None,
        error="It is damaged." if state is State.FAILED else None,
        error_code="archived" if state is State.FAILED else None,
        expires_ms=expires_ms,
    )


def remove(store: RecordStore, record: Record) -> object:
    return store.start_removal(record, RemovalScope.ANY, UNRESTRICTED)


def download(store: RecordStore, record: Record) -> object:
    store.expire_after_download(record, 60)
    return None


def finish(store: RecordStore, record: Record) -> object:
    return store.finish(record, Finished(9))


def fail(store: RecordStore, record: Record) -> object:
    return store.finish(record, FAILURE)


def attempt(store: RecordStore, record: Record) -> object:
    return store.record_attempt(record)


def lose_thumbnail(store: RecordStore, record: Record) -> object:
    return store.mark_thumbnail_lost(record)


def reopen(store: RecordStore, record: Record) -> object:
    return store.reopen(record, None)


Act = Callable[[RecordStore, Record], object]


@pytest.mark.parametrize(
    ("act", "state", "expires_in_ms", "check_in_ms"),
    [
        (remove, State.READY, None, IN_FLIGHT_MS),
        (remove, State.READY, HOUR_MS, IN_FLIGHT_MS),
        (remove, State.READY, MINUTE_MS, MINUTE_MS),
        (download, State.READY, None, MINUTE_MS),
        (download, State.READY, HOUR_MS, MINUTE_MS),
        (download, State.READY, MINUTE_MS // 2, MINUTE_MS // 2),
        (finish, State.PENDING, None, IN_FLIGHT_MS),
        (finish, State.PENDING, HOUR_MS, IN_FLIGHT_MS),
        (finish, State.PENDING, MINUTE_MS, MINUTE_MS),
        (fail, State.PENDING, HOUR_MS, IN_FLIGHT_MS),
        (attempt, State.PENDING, MINUTE_MS, MINUTE_MS),
        (lose_thumbnail, State.READY, HOUR_MS, 0),
        (lose_thumbnail, State.READY, None, 0),
        (reopen, State.FAILED, HOUR_MS, 0),
        (reopen, State.FAILED, None, 0),
    ],
)
@pytest.mark.usefixtures("s3_clock")
def test_a_change_leaves_the_earliest_check_that_is_needed(
    store: RecordStore,
    redis_server: "redis.Redis",
    act: Act,
    state: State,
    expires_in_ms: int | None,
    check_in_ms: int,
) -> None:
    record = a_record(state, None if expires_in_ms is None else NOW + expires_in_ms)
    store.create(record)
    before = due(redis_server).get(record.id)
    assert act(store, found(store, record.id)) is not False
    after = due(redis_server)[record.id]
    assert after == NOW + check_in_ms
    assert before is None or after <= before


@pytest.mark.parametrize(
    ("scheduled", "at_ms", "expected"),
    [(None, 5, 5), (9, 5, 5), (5, 5, 5), (5, 9, 5), (0, 9, 0)],
    ids=["none", "a later one", "the same", "an earlier one", "one that is overdue"],
)
def test_a_check_is_added_or_moved_forward_and_never_back(
    store: RecordStore, redis_server: "redis.Redis", scheduled: int | None, at_ms: int, expected: int
) -> None:
    if scheduled is not None:
        redis_server.zadd(naming.DUE, {"a": scheduled})
    redis_server.zadd(naming.DUE, {"other": 7})
    store.schedule.set_if_earlier([ScheduledCheck("a", at_ms)])
    assert due(redis_server) == {"a": expected, "other": 7}


@pytest.mark.usefixtures("s3_clock")
def test_a_restored_record_keeps_the_check_that_it_has(
    store: RecordStore, redis_server: "redis.Redis"
) -> None:
    pending, other = a_record(State.PENDING), a_record(State.PENDING)
    redis_server.zadd(naming.DUE, {pending.id: 1, other.id: NOW + HOUR_MS})
    assert store.restore([pending, other]) == 2
    assert due(redis_server) == {pending.id: 1, other.id: other.created_ms + IN_FLIGHT_MS}


@pytest.mark.parametrize("walk", ["audit", "rebuild"])
def test_a_walk_puts_off_no_check(
    reconciler: Reconciler,
    uploader: Uploader,
    processor: Processor,
    clock: SettableClock,
    redis_server: "redis.Redis",
    walk: str,
) -> None:
    """A pending record that is overdue stays so, and one that expires is checked by then."""
    pending = stored(uploader)
    ready = stored(replace(uploader, retention=1000))
    processor.process(ready.object_key)
    redis_server.zadd(naming.DUE, {pending.id: 1, ready.id: 2})
    clock.advance(ms=RECORDS_EVERY_MS)
    getattr(reconciler, walk)()
    assert due(redis_server) == {pending.id: 1, ready.id: 2}


@pytest.mark.parametrize(
    ("state", "checked"),
    [(State.PENDING, IN_FLIGHT_MS), (State.READY, HOUR_MS), (State.FAILED, HOUR_MS)],
)
def test_a_walk_adds_the_check_that_redis_has_lost(
    reconciler: Reconciler,
    uploader: Uploader,
    redis_server: "redis.Redis",
    state: State,
    checked: int,
) -> None:
    record = stored(replace(uploader, retention=HOUR_MS // 1000))
    if state is not State.PENDING:
        reconciler.processor.process(record.object_key)
    redis_server.delete(naming.DUE)
    reconciler.audit()
    version_ms = found(uploader.store, record.id).version_ms
    since = record.created_ms if version_ms is None else version_ms
    assert record.expires_ms is not None
    expected = since + checked if state is State.PENDING else record.expires_ms
    assert due(redis_server) == {record.id: expected}


def test_a_check_that_was_set_again_to_the_same_time_is_not_removed(store: RecordStore) -> None:
    """As when a record ends twice in one millisecond while its first event is being published."""
    check = ScheduledCheck(naming.new_id(), store.now_ms() - MINUTE_MS)
    store.schedule.set(check)
    read = store.schedule.due(10)
    assert read == [check]
    store.schedule.set(check)
    store.schedule.reschedule([(check, None) for check in read])
    assert store.schedule.due(10) == [check._replace(at_ms=check.at_ms + 1)]
