"""What a Redis that was lost means for events: no storm, and nothing recent is forgotten."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from chalicelib import naming
from chalicelib.clients import redis_client
from chalicelib.objects.bucket import Bucket
from chalicelib.records.events import RESTORED_MS
from chalicelib.records.record import UNRESTRICTED, EventKind
from chalicelib.records.store import RecordStore
from chalicelib.work.process import Processor
from chalicelib.work.relay import Waiting, relay
from tests.conftest import SettableClock, picture
from tests.processing import uploaded
from tests.reconciler import LATE, Reconciler, put

if TYPE_CHECKING:
    import redis


@pytest.fixture
def store(redis_url: str, redis_server: "redis.Redis", clock: SettableClock) -> RecordStore:
    return RecordStore(redis_client(redis_url, timeout=30), clock, publishes=True)


@pytest.fixture
def published(store: RecordStore) -> Callable[[], list[Waiting]]:
    def publish() -> list[Waiting]:
        told: list[Waiting] = []
        batch: list[Waiting] = []
        while batch := relay(store, "publisher", [one.receipt for one in batch]):
            told += batch
        return told

    return publish


def test_a_rebuild_publishes_nothing_again_but_what_is_recent_or_was_tried_again(
    store: RecordStore,
    bucket: Bucket,
    processor: Processor,
    reconciler: Reconciler,
    clock: SettableClock,
    redis_server: "redis.Redis",
    published: Callable[[], list[Waiting]],
) -> None:
    for number in range(5):
        put(bucket, f"originals/{number}.jpg", picture(seed=number))
        processor.process(f"originals/{number}.jpg")
    broken = uploaded(store, bucket, picture()[:300])
    processor.process(broken.object_key)
    before = {one.event.event_id for one in published()}
    assert len(before) == 6
    redis_server.flushall()
    clock.advance(ms=RESTORED_MS + LATE["ms"])
    while not reconciler.rebuild()[1]:
        pass
    reconciler.sweep()
    assert len(store.page(10, None, UNRESTRICTED).records) == 6
    (again,) = published()
    assert (again.receipt.record_id, again.event.kind) == (broken.id, EventKind.FAILED)
    assert again.event.event_id in before


def test_what_had_just_ended_is_published_when_its_record_is_made_again(
    store: RecordStore,
    reconciler: Reconciler,
    redis_server: "redis.Redis",
    published: Callable[[], list[Waiting]],
) -> None:
    put(reconciler.bucket, "originals/a.jpg", picture())
    reconciler.processor.process("originals/a.jpg")
    (first,) = relay(store, "publisher", [])
    redis_server.flushall()
    assert published() == []
    while not reconciler.rebuild()[1]:
        pass
    (again,) = published()
    assert again.receipt.record_id == naming.record_id("originals/a.jpg")
    assert again.event == first.event._replace(time_ms=again.event.time_ms)


def test_an_outbox_that_a_cluster_has_lost_without_the_records_is_filled_again(
    store: RecordStore,
    reconciler: Reconciler,
    redis_server: "redis.Redis",
    published: Callable[[], list[Waiting]],
) -> None:
    reconciler.processor.process(uploaded(store, reconciler.bucket).object_key)
    redis_server.delete(naming.OUTBOX)
    assert published() == []
    reconciler.audit()
    assert [one.event.kind for one in published()] == [EventKind.READY]


def test_old_entries_are_found_when_the_number_of_partitions_changes(
    store: RecordStore, redis_url: str, clock: SettableClock
) -> None:
    from tests.test_publishing import finished

    divided = RecordStore(redis_client(redis_url, timeout=30), clock, 4, publishes=True)
    for number in range(8):
        finished(divided if number % 2 else store, number)
    batch = relay(store, "publisher", [])
    assert len(batch) == 8
    assert relay(store, "publisher", [one.receipt for one in batch]) == []
    assert store.outbox.due(100) == []
