"""From the end of a record to who publishes it: the outbox in a real Redis."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import pytest

from chalicelib import naming
from chalicelib.clients import redis_client
from chalicelib.errors import EventBusUnavailable, RecordStoreUnavailable
from chalicelib.records.lifecycle import IN_FLIGHT_MS
from chalicelib.records.record import UNRESTRICTED, Failure, Finished, Record, RemovalScope
from chalicelib.records.store import RecordStore
from chalicelib.work.publish import publish
from chalicelib.work.relay import BATCH, TURN_MS, Waiting, relay
from chalicelib.work.sweep import UNREADABLE_MS
from tests.conftest import SettableClock, found
from tests.lifecycle_steps import KEPT_FOR_EVER, version

if TYPE_CHECKING:
    import redis


@pytest.fixture
def store(redis_url: str, redis_server: "redis.Redis", clock: SettableClock) -> RecordStore:
    return RecordStore(redis_client(redis_url, timeout=30), clock, publishes=True)


def finished(store: RecordStore, number: int = 0, result: Finished | Failure | None = None) -> Record:
    record_id = f"{number:08x}-0000-4000-8000-000000000000"
    fresh = replace(version(KEPT_FOR_EVER, "a", None), id=record_id, object_key=naming.original(record_id))
    claimed = store.claim_version(fresh)
    store.finish(claimed, result or Finished(3609))
    return found(store, record_id)


def remove(store: RecordStore, record: Record) -> None:
    removing = store.start_removal(record, RemovalScope.ANY, UNRESTRICTED)
    assert removing is not None
    assert store.finish_removal(removing, "t")


def kinds(waiting: Sequence[Waiting]) -> list[str]:
    return [one.event.kind.value for one in waiting]


# --- the outbox ---


def test_what_is_noted_is_handed_out_until_it_is_published(store: RecordStore) -> None:
    record = finished(store)
    (waiting,) = relay(store, "a", [])
    assert kinds([waiting]) == ["ready"]
    assert relay(store, "a", []) == [waiting], "until it is reported as published"
    assert relay(store, "a", [waiting.receipt]) == []
    assert found(store, record.id).outbox == ()
    assert store.outbox.due(10) == []
    assert relay(store, "a", [waiting.receipt]) == [], "which may be said twice"


def test_events_of_one_record_come_one_after_the_other(store: RecordStore) -> None:
    remove(store, finished(store))
    (ready,) = relay(store, "a", [])
    (deleted,) = relay(store, "a", [ready.receipt])
    assert kinds([ready, deleted]) == ["ready", "deleted"]
    assert relay(store, "a", [deleted.receipt]) == []


def test_an_event_that_is_noted_while_another_is_published_is_not_lost(
    store: RecordStore, clock: SettableClock
) -> None:
    record = finished(store)
    (ready,) = relay(store, "a", [])
    clock.advance(ms=1)
    remove(store, record)
    assert kinds(relay(store, "a", [ready.receipt])) == ["deleted"]


def test_one_publisher_at_a_time_gets_events(store: RecordStore, clock: SettableClock) -> None:
    finished(store)
    (waiting,) = relay(store, "a", [])
    assert relay(store, "b", []) == []
    assert relay(store, "a", []) == [waiting]
    clock.advance(ms=TURN_MS - 1000)
    assert relay(store, "b", []) == []
    clock.advance(ms=1000)
    assert relay(store, "b", []) == [waiting], "the first one has died"
    assert relay(store, "a", [waiting.receipt]) == [], "and if it has not, its word counts, and no more"
    assert relay(store, "b", []) == []


@pytest.mark.parametrize("last", [True, False])
def test_a_turn_ends_with_the_last_request_and_with_the_last_event(store: RecordStore, last: bool) -> None:
    finished(store)
    (waiting,) = relay(store, "a", [])
    assert relay(store, "a", [] if last else [waiting.receipt], last=last) == []
    if not last:
        finished(store, 1)
    assert len(relay(store, "b", [])) == 1


def test_a_turn_that_a_faster_clock_began_is_one(store: RecordStore, clock: SettableClock) -> None:
    finished(store)
    relay(store, "a", [])
    clock.advance(ms=-50)
    finished(store, 1)
    assert relay(store, "b", []) == []


def test_a_turn_of_the_future_is_none(store: RecordStore, clock: SettableClock) -> None:
    finished(store)
    clock.advance(ms=10 * TURN_MS)
    relay(store, "a", [])
    clock.advance(ms=-10 * TURN_MS)
    finished(store, 1)
    assert relay(store, "b", []) != []


def test_an_entry_without_an_event_is_removed_when_no_change_can_be_in_progress(
    store: RecordStore, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    entry = {"4f1c0c9e-3f0b-4d0e-8a54-0f3c1f6f9d10": clock()}
    redis_server.zadd(naming.OUTBOX, entry)
    assert relay(store, "a", []) == []
    assert redis_server.zcard(naming.OUTBOX) == 1
    clock.advance(ms=IN_FLIGHT_MS)
    assert relay(store, "a", []) == []
    assert redis_server.zcard(naming.OUTBOX) == 0


def test_entries_without_events_keep_no_others_waiting(
    store: RecordStore, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    redis_server.zadd(naming.OUTBOX, {naming.new_id(): clock() - 1000 for _ in range(2 * BATCH + 1)})
    finished(store)
    assert kinds(relay(store, "a", [])) == ["ready"]


def test_a_record_of_another_release_waits_for_it(
    store: RecordStore, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    record = finished(store)
    redis_server.hset(naming.record(record.id), "format", "3")
    assert relay(store, "a", []) == []
    redis_server.hset(naming.record(record.id), "format", "2")
    assert relay(store, "a", []) == []
    clock.advance(ms=UNREADABLE_MS + 1000)
    (waiting,) = relay(store, "a", [])
    redis_server.hset(naming.record(record.id), "format", "3")
    assert relay(store, "a", [waiting.receipt]) == []


def test_a_batch_is_bounded(store: RecordStore) -> None:
    for number in range(BATCH + 1):
        finished(store, number)
    first = relay(store, "a", [])
    assert len(first) == BATCH
    assert len(relay(store, "a", [one.receipt for one in first])) == 1


def test_without_events_nothing_is_noted(redis_url: str, redis_server: "redis.Redis") -> None:
    store = RecordStore(redis_client(redis_url, timeout=30))
    record = finished(store)
    remove(store, record)
    assert redis_server.keys(naming.OUTBOX) == []
    assert found(store, record.id).outbox == ()


def test_a_removal_that_is_published_is_forgotten_as_early_as_any(
    store: RecordStore, redis_server: "redis.Redis"
) -> None:
    record = finished(store)
    remove(store, record)
    key = naming.record(record.id)
    assert redis_server.ttl(key) > 24 * 3600
    (ready,) = relay(store, "a", [])
    (deleted,) = relay(store, "a", [ready.receipt])
    relay(store, "a", [deleted.receipt])
    assert redis_server.ttl(key) == pytest.approx(24 * 3600, abs=5), "it had an Idempotency-Key"
    assert "outbox" not in redis_server.hgetall(key)


def test_a_picture_that_is_put_again_does_not_lose_the_event_of_its_removal(store: RecordStore) -> None:
    record = finished(store)
    remove(store, record)
    again = replace(version(record, "b", None), outbox=())
    claimed = store.claim_version(again, revive=found(store, record.id).tombstone)
    store.finish(claimed, Finished(1))
    told: list[Waiting] = []
    while waiting := relay(store, "a", [one.receipt for one in told[-1:]]):
        told += waiting
    assert kinds(told) == ["ready", "deleted", "ready"]


# --- the loop ---


def test_what_the_bus_refuses_is_published_by_a_later_run(store: RecordStore) -> None:
    for number in range(3):
        finished(store, number)
    taken: list[str] = []

    def reads(name: str) -> Callable[..., list[Waiting]]:
        return lambda published, last=False: relay(store, name, [one.receipt for one in published], last=last)

    def put_two(events: Sequence[Waiting]) -> Sequence[Waiting]:
        taken.extend(one.receipt.record_id for one in events[1:])
        return events[1:]

    with pytest.raises(EventBusUnavailable):
        publish(reads("a"), put_two, lambda: False)
    assert len(taken) == 2
    (waiting,) = relay(store, "b", [], last=False)
    assert waiting.receipt.record_id not in taken
    relay(store, "b", [], last=True)

    def fail(_: Sequence[Waiting]) -> Sequence[Waiting]:
        raise RecordStoreUnavailable

    with pytest.raises(RecordStoreUnavailable):
        publish(reads("c"), fail, lambda: False)
    assert publish(reads("d"), lambda events: events, lambda: False) == 1
    assert publish(reads("e"), lambda events: events, lambda: False) == 0


@pytest.mark.parametrize("where", ["outbox", "bus"])
@pytest.mark.parametrize("error", [EventBusUnavailable(), ValueError("a bug")])
def test_a_publisher_that_fails_gives_up_its_turn(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    finished(store)

    def fails(*_: object, **__: object) -> NoReturn:
        raise error

    with monkeypatch.context() as patched:
        if where == "outbox":
            patched.setattr(store.outbox, "due", fails)
        with pytest.raises(type(error)):
            publish(partial(relay, store, "a"), fails, lambda: False)
    assert kinds(relay(store, "b", [])) == ["ready"]


def test_it_stops_when_its_time_is_up_and_gives_up_its_turn(store: RecordStore) -> None:
    for number in range(BATCH + 1):
        finished(store, number)

    def reads(published: Sequence[Waiting], last: bool = False) -> list[Waiting]:
        return relay(store, "a", [one.receipt for one in published], last=last)

    assert publish(reads, lambda events: events, lambda: True) == BATCH
    assert len(relay(store, "b", [])) == 1


def test_those_behind_one_that_is_always_refused_are_published(store: RecordStore) -> None:
    for number in range(BATCH + 20):
        finished(store, number)
    first = store.outbox.due(1)[0].record_id
    taken: list[str] = []

    def reads(published: Sequence[Waiting], last: bool = False) -> list[Waiting]:
        return relay(store, "a", [one.receipt for one in published], last=last)

    def put(events: Sequence[Waiting]) -> Sequence[Waiting]:
        good = [one for one in events if one.receipt.record_id != first]
        taken.extend(one.receipt.record_id for one in good)
        return good

    with pytest.raises(EventBusUnavailable):
        publish(reads, put, lambda: False)
    assert len(set(taken)) == len(taken) == BATCH + 19
