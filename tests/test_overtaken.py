"""What a client does between a look of the service's and its act on it: nothing that is new is lost."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chalicelib import naming
from chalicelib.clients import s3_client
from chalicelib.errors import BucketUnavailable, OriginalEncrypted, RetriesExhausted
from chalicelib.objects.bucket import Bucket
from chalicelib.records.record import UNRESTRICTED, RemovalScope, State
from chalicelib.records.store import RecordStore
from chalicelib.work.audit import RECORDS_EVERY_MS
from chalicelib.work.objects_to_records import record_of_version
from chalicelib.work.process import Outcome, Processor, SeenVersion, ignore
from chalicelib.work.remove import remove
from chalicelib.work.retry import MOST_ATTEMPTS, retry_original
from chalicelib.work.upload import Uploader
from tests.conftest import SettableClock, found, just_before, keys_in, picture
from tests.reconciler import CLIENTS_KEY, LATE, Reconciler, put, state_of, stored

if TYPE_CHECKING:
    import redis

ID = naming.record_id(CLIENTS_KEY)
DAY = {"ms": 25 * 3600 * 1000}


@pytest.fixture
def client(bucket: Bucket) -> Bucket:
    """Somebody else's connection: what is forced on the service's own does not happen there."""
    return Bucket(s3_client(timeout=30, attempts=1), bucket.name)


def fail() -> None:
    raise BucketUnavailable


def test_a_key_that_lives_again_outlives_the_rest_of_its_removal(
    reconciler: Reconciler, client: Bucket, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, processor = reconciler.processor.store, reconciler.processor
    put(client, CLIENTS_KEY, picture(seed=1))
    assert processor.process(CLIENTS_KEY) is Outcome.READY
    just_before(reconciler.bucket, "DeleteObjects", fail)
    with pytest.raises(BucketUnavailable):
        remove(store, reconciler.bucket, ID, RemovalScope.VISIBLE, UNRESTRICTED)
    assert state_of(store, ID) is State.DELETING
    clock.advance(**LATE)
    read = store.find_all

    def overtaken(ids: list[str]) -> object:
        batch = read(ids)
        monkeypatch.undo()
        assert remove(store, client, ID, RemovalScope.VISIBLE, UNRESTRICTED)
        put(client, CLIENTS_KEY, picture(seed=2))
        assert processor.process(CLIENTS_KEY) is Outcome.READY
        return batch

    monkeypatch.setattr(store, "find_all", overtaken)
    assert reconciler.sweep()["changed meanwhile"] == 1
    assert state_of(store, ID) is State.READY
    assert CLIENTS_KEY in keys_in(client)


@pytest.mark.parametrize("way", ["the sweep", "the report of its event"])
def test_a_version_that_was_not_tried_is_not_failed_for_the_one_before(
    reconciler: Reconciler, client: Bucket, clock: SettableClock, way: str
) -> None:
    store = reconciler.processor.store
    put(client, CLIENTS_KEY, picture(seed=1))
    info = client.head(CLIENTS_KEY)
    assert info is not None
    store.claim_version(record_of_version(store, info, 0))
    for _ in range(MOST_ATTEMPTS):
        store.record_attempt(found(store, ID))
    put(client, CLIENTS_KEY, picture(seed=2))
    clock.advance(**LATE)
    if way == "the sweep":
        assert reconciler.sweep()["retried: ready"] == 1
    else:
        seen = SeenVersion(info.etag, info.size)
        retried = retry_original(
            reconciler.processor, CLIENTS_KEY, seen, ignore, RetriesExhausted(), most_attempts=MOST_ATTEMPTS
        )
        assert retried == (Outcome.READY, False)
    assert state_of(store, ID) is State.READY


def test_an_attempt_is_not_counted_on_another_version(store: RecordStore, client: Bucket) -> None:
    for seed in (1, 2):
        put(client, CLIENTS_KEY, picture(seed=seed))
        info = client.head(CLIENTS_KEY)
        assert info is not None
        claimed = store.claim_version(record_of_version(store, info, 0))
        if seed == 1:
            assert store.record_attempt(claimed) == 1
            first = found(store, ID)
    assert store.record_attempt(first) == 0
    assert found(store, ID).attempts == 0


@pytest.mark.parametrize("content", [b"not a picture", picture(seed=1)], ids=["failed", "ready"])
def test_what_is_put_back_while_its_record_is_removed_stays(
    reconciler: Reconciler, client: Bucket, clock: SettableClock, content: bytes
) -> None:
    put(client, CLIENTS_KEY, content)
    reconciler.processor.process(CLIENTS_KEY)
    client.delete(*keys_in(client))
    clock.advance(ms=RECORDS_EVERY_MS)
    # The service has seen that the original is not there, and lists the thumbnails that are to be removed.
    just_before(reconciler.bucket, "DeleteObjects", lambda: put(client, CLIENTS_KEY, picture(seed=2)), skip=0)
    assert reconciler.audit()["records removed"] == 1
    assert CLIENTS_KEY in keys_in(client)
    assert reconciler.processor.process(CLIENTS_KEY) is Outcome.READY


@pytest.mark.parametrize("keep", [True, False])
def test_the_same_bytes_with_another_focus_are_claimed_by_the_daily_walk(
    reconciler: Reconciler, client: Bucket, clock: SettableClock, s3_clock: SettableClock, keep: bool
) -> None:
    processor = replace(reconciler.processor, keep_originals=keep)
    reconciler = replace(reconciler, processor=processor)
    for focus in ("0.1,0.1", "0.9,0.9"):
        client.put(CLIENTS_KEY, picture(seed=1), content_type="image/jpeg", metadata={"focus": focus})
        if focus == "0.1,0.1":
            assert processor.process(CLIENTS_KEY) is Outcome.READY
        s3_clock.advance(ms=60_000)
        clock.advance(ms=60_000)
    clock.advance(**DAY)
    s3_clock.advance(**DAY)
    assert reconciler.audit()["originals claimed"] == 1
    clock.advance(**LATE)
    assert reconciler.sweep()["retried: ready"] == 1
    assert str(found(processor.store, ID).focus) == "0.9,0.9"
    assert (CLIENTS_KEY in keys_in(client)) is keep


def test_a_refused_object_that_was_deleted_meanwhile_stays_deleted(
    processor: Processor, client: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(client, CLIENTS_KEY, picture(seed=1))
    info = client.head(CLIENTS_KEY)
    assert info is not None
    seen = SeenVersion(info.etag, info.size)

    def refusing(then: Callable[[], object]) -> None:
        def get(_: object, key: str) -> object:
            then()
            raise OriginalEncrypted

        monkeypatch.setattr(Bucket, "get", get)

    refusing(lambda: None)
    assert processor.process(CLIENTS_KEY, seen=seen) is Outcome.FAILED
    refusing(lambda: remove(processor.store, client, ID, RemovalScope.VISIBLE, UNRESTRICTED))
    assert processor.process(CLIENTS_KEY, seen=seen) is Outcome.DELETED
    assert state_of(processor.store, ID) is State.TOMBSTONE
    # One that a client has put there since is told of.
    put(client, CLIENTS_KEY, picture(seed=2))
    refusing(lambda: None)
    assert processor.process(CLIENTS_KEY, seen=seen) is Outcome.FAILED


def test_a_clients_object_named_by_an_uploads_id_does_not_hide_the_upload(
    reconciler: Reconciler, uploader: Uploader, client: Bucket, redis_server: "redis.Redis"
) -> None:
    processor = replace(reconciler.processor, keep_originals=False)
    reconciler = replace(reconciler, processor=processor)
    record = stored(uploader)
    assert processor.process(record.object_key) is Outcome.READY
    put(client, naming.ORIGINALS + record.id, b"something else")
    redis_server.flushall()
    reconciler.rebuild()
    assert state_of(processor.store, record.id) is State.READY
