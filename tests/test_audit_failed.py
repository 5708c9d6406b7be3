"""What the weekly audit does with a record that failed: it goes with its original, and with nothing else."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib import naming
from chalicelib.clients import s3_client
from chalicelib.errors import BucketUnavailable, OutOfMemory, RetriesExhausted
from chalicelib.objects.bucket import Bucket
from chalicelib.records.codec import thumbnail_metadata
from chalicelib.records.record import UNRESTRICTED, Owner, Record, RemovalScope, State
from chalicelib.work.audit import RECORDS_EVERY_MS
from chalicelib.work.contradiction import repair_contradiction
from chalicelib.work.remove import remove
from chalicelib.work.upload import Uploader
from tests.conftest import SettableClock, found, just_before, keys_in, picture
from tests.reconciler import CLIENTS_KEY, Died, Reconciler, due, put, state_of, stored

if TYPE_CHECKING:
    import redis

BROKEN = picture()[:300]


@pytest.fixture(params=["an upload", "an owner's", "a client's key", "given up"])
def failed(request: pytest.FixtureRequest, reconciler: Reconciler, uploader: Uploader) -> Record:
    """A record that failed, of each kind."""
    processor = reconciler.processor
    if request.param == "a client's key":
        put(uploader.bucket, CLIENTS_KEY, BROKEN)
        processor.process(CLIENTS_KEY)
        return found(uploader.store, naming.record_id(CLIENTS_KEY))
    client = Owner("alice") if request.param == "an owner's" else UNRESTRICTED
    is_given_up = request.param == "given up"
    record = stored(replace(uploader, client=client), picture() if is_given_up else BROKEN)
    if is_given_up:
        processor.fail(record.object_key, None, RetriesExhausted())
    else:
        processor.process(record.object_key)
    return found(uploader.store, record.id)


def audited(reconciler: Reconciler, clock: SettableClock) -> dict[str, int]:
    """What an audit of everything does, but for what it only sees."""
    clock.advance(ms=RECORDS_EVERY_MS)
    return {what: often for what, often in reconciler.audit().items() if often and "seen" not in what}


def test_one_whose_original_is_there_stays_as_it_is(
    reconciler: Reconciler, failed: Record, clock: SettableClock, redis_server: "redis.Redis"
) -> None:
    """It can be read why it failed, and redriven, for as long as the picture is kept."""
    before: Any = redis_server.hgetall(naming.record(failed.id))
    objects = keys_in(reconciler.bucket)
    for _ in range(2):
        assert audited(reconciler, clock) == {}
    assert redis_server.hgetall(naming.record(failed.id)) == before
    assert keys_in(reconciler.bucket) == objects == [failed.object_key]
    assert [entry.record_id for entry in reconciler.processor.store.index.newest(9, None)] == [failed.id]
    assert set(due(redis_server)) <= {failed.id}


def test_one_whose_original_is_gone_goes_too(
    reconciler: Reconciler, failed: Record, clock: SettableClock
) -> None:
    reconciler.bucket.delete(failed.object_key)
    assert audited(reconciler, clock) == {"records removed": 1}
    store = reconciler.processor.store
    assert state_of(store, failed.id) is State.TOMBSTONE
    assert list(store.index.newest(9, None)) == []
    assert audited(reconciler, clock) == {}


def test_one_that_was_redriven_meanwhile_is_not_removed(
    reconciler: Reconciler, failed: Record, clock: SettableClock
) -> None:
    store = reconciler.processor.store
    reconciler.bucket.delete(failed.object_key)
    just_before(reconciler.bucket, "HeadObject", lambda: store.reopen(failed, None))
    assert audited(reconciler, clock) == {"changed meanwhile": 1}
    assert state_of(store, failed.id) is State.PENDING


def test_one_that_was_deleted_meanwhile_is_removed_once(
    reconciler: Reconciler, failed: Record, clock: SettableClock
) -> None:
    store = reconciler.processor.store
    other = Bucket(s3_client(timeout=30, attempts=1), reconciler.bucket.name)
    just_before(
        reconciler.bucket,
        "HeadObject",
        lambda: remove(store, other, failed.id, RemovalScope.ANY, UNRESTRICTED),
    )
    assert audited(reconciler, clock) == {"changed meanwhile": 1}
    assert state_of(store, failed.id) is State.TOMBSTONE


def test_when_s3_does_not_say_whether_the_original_is_there_nothing_is_removed(
    reconciler: Reconciler, failed: Record, clock: SettableClock
) -> None:
    just_before(reconciler.bucket, "HeadObject", Died(BucketUnavailable))
    with pytest.raises(BucketUnavailable):
        audited(reconciler, clock)
    store = reconciler.processor.store
    assert found(store, failed.id) == failed
    reconciler.bucket.delete(failed.object_key)
    assert reconciler.audit()["records removed"] == 1, "the walk goes on where it stopped"


def test_a_failure_that_lies_outside_of_the_picture_is_no_reason_to_remove_it(
    reconciler: Reconciler, uploader: Uploader, clock: SettableClock
) -> None:
    record = stored(uploader)
    reconciler.processor.fail(record.object_key, None, OutOfMemory())
    before = found(uploader.store, record.id)
    assert repair_contradiction(uploader.store, reconciler.bucket, before) is None
    assert found(uploader.store, record.id) == before


def test_a_thumbnail_that_stands_alone_makes_no_failed_record_ready(
    reconciler: Reconciler, uploader: Uploader, failed: Record, clock: SettableClock
) -> None:
    """It shows an older version: what the client put there last is what cannot be thumbnailed."""
    older = replace(failed, etag="e", version_ms=1)
    key = naming.thumbnail(failed.id, naming.new_thumbnail("e"))
    told = thumbnail_metadata(older, stands_alone=True)
    reconciler.bucket.put(key, picture(), content_type="image/jpeg", metadata=told)
    assert "thumbnails adopted" not in audited(reconciler, clock)
    assert found(uploader.store, failed.id) == failed
