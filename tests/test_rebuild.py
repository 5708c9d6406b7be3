"""The rebuild: after Redis is lost, the records of what the bucket holds are as they were."""

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chalicelib import naming
from chalicelib.clients import s3_client
from chalicelib.objects.bucket import Bucket
from chalicelib.records.codec import as_json
from chalicelib.records.lifecycle import TOMBSTONE_SECONDS
from chalicelib.records.record import UNRESTRICTED, Record, RemovalScope, State
from chalicelib.work.audit import BUCKET_EVERY_MS
from chalicelib.work.process import Outcome, Processor
from chalicelib.work.remove import remove
from chalicelib.work.upload import Upload, Uploader
from tests.conftest import SettableClock, just_before, keys_in, picture
from tests.reconciler import CLIENTS_KEY, LATE, Reconciler, put, state_of, stored

if TYPE_CHECKING:
    import redis


def make_some(uploader: Uploader, processor: Processor, clock: SettableClock) -> list[Record]:
    """Pictures of every kind, each a moment after the other."""
    lasting = replace(uploader, retention=1000)
    records = [stored(uploader, name="é🌍.png"), stored(lasting), stored(uploader, picture()[:300])]
    records += [lasting.upload_idempotently(Upload("once.jpg", picture(seed=5)), "key")]
    for record in records:
        processor.process(record.object_key)
    put(uploader.bucket, CLIENTS_KEY, picture(seed=1))
    replace(processor, retention=2000).process(CLIENTS_KEY)
    clock.advance(ms=5)
    stored(uploader)
    return uploader.store.page(100, None, UNRESTRICTED).records


@pytest.mark.parametrize("keep_originals", [True, False])
def test_everything_is_as_it_was(
    reconciler: Reconciler,
    uploader: Uploader,
    processor: Processor,
    clock: SettableClock,
    redis_server: "redis.Redis",
    keep_originals: bool,
) -> None:
    processor = replace(processor, keep_originals=keep_originals)
    reconciler = replace(reconciler, processor=processor)
    before = make_some(uploader, processor, clock)
    assert len(before) == 6
    redis_server.flushall()
    counts, done = reconciler.rebuild()
    assert done
    assert counts["records restored"] == 6
    after = uploader.store.page(100, None, UNRESTRICTED).records
    assert [record.id for record in after] == [record.id for record in before]
    for was, now in zip(before, after, strict=True):
        if was.state is State.FAILED:
            assert now.state is State.PENDING, "it fails again when it is retried"
        else:
            assert as_json(now) == as_json(was)
            assert now.body_hash == was.body_hash
    clock.advance(**LATE)
    reconciler.sweep()
    shown = {record.id: as_json(record) for record in before}
    pending = next(record.id for record in before if record.state is State.PENDING)
    for record in uploader.store.page(100, None, UNRESTRICTED).records:
        if record.id != pending:
            assert as_json(record) == shown[record.id]
        else:
            assert record.state is State.READY
    # Ends are known again, too.
    clock.advance(seconds=3000)
    assert reconciler.sweep()["expired"] == 3


def test_it_goes_on_where_it_stopped_and_starts_again_when_it_is_done(
    reconciler: Reconciler,
    uploader: Uploader,
    redis_server: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chalicelib.objects.bucket.PAGE", 2)
    for _ in range(5):
        stored(uploader)
    redis_server.flushall()
    stopping = replace(reconciler, time_is_up=lambda: True)
    runs = [stopping.rebuild() for _ in range(5)]
    assert [counts["records restored"] for counts, _ in runs] == [2, 2, 1, 0, 0]
    assert [counts["records seen"] for counts, _ in runs] == [0, 0, 0, 5, 0]
    assert [done for _, done in runs] == [False, False, False, False, True]
    redis_server.flushall()
    assert reconciler.rebuild()[0]["records restored"] == 5


def test_one_that_began_before_today_starts_over(
    reconciler: Reconciler,
    uploader: Uploader,
    clock: SettableClock,
    redis_server: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chalicelib.objects.bucket.PAGE", 2)
    lost = [stored(uploader) for _ in range(5)]
    replace(reconciler, time_is_up=lambda: True).rebuild()
    clock.advance(ms=BUCKET_EVERY_MS)
    redis_server.delete(*(naming.record(record.id) for record in lost))
    assert reconciler.rebuild()[0]["records restored"] == 5


def test_new_records_come_and_go_while_it_runs(
    reconciler: Reconciler, uploader: Uploader, processor: Processor, redis_server: "redis.Redis"
) -> None:
    old = [stored(uploader) for _ in range(3)]
    for record in old:
        processor.process(record.object_key)
    redis_server.flushall()
    made: list[Record] = []

    def work() -> None:
        other = replace(uploader, bucket=Bucket(s3_client(timeout=30, attempts=1), uploader.bucket.name))
        made.extend(stored(other) for _ in range(2))
        processor.process(made[0].object_key)
        remove(uploader.store, other.bucket, made[1].id, RemovalScope.VISIBLE, UNRESTRICTED)

    just_before(uploader.bucket, "ListObjectsV2", work, skip=1)
    _, done = reconciler.rebuild()
    assert done
    assert {record.id for record in uploader.store.page(10, None, UNRESTRICTED).records} == {
        *(record.id for record in old),
        made[0].id,
    }


def test_a_picture_that_is_deleted_while_it_runs_stays_deleted(
    reconciler: Reconciler, uploader: Uploader, processor: Processor, redis_server: "redis.Redis"
) -> None:
    record = stored(uploader)
    processor.process(record.object_key)
    # The listing has been read, with the record there; then it is deleted, tombstone and all.
    other = Bucket(s3_client(timeout=30, attempts=1), uploader.bucket.name)
    just_before(
        uploader.bucket,
        "HeadObject",
        lambda: (
            uploader.store.claim_version(replace(record, etag="e", thumbnail="e-1")),
            remove(uploader.store, other, record.id, RemovalScope.VISIBLE, UNRESTRICTED),
        ),
    )
    redis_server.flushall()
    reconciler.rebuild()
    assert uploader.store.get(record.id, UNRESTRICTED) is None
    assert state_of(uploader.store, record.id) is State.TOMBSTONE
    assert redis_server.ttl(naming.record(record.id)) > TOMBSTONE_SECONDS - 60


def test_a_thumbnail_of_an_older_version_is_not_taken_for_the_new_one(
    reconciler: Reconciler,
    uploader: Uploader,
    processor: Processor,
    redis_server: "redis.Redis",
    clock: SettableClock,
) -> None:
    put(uploader.bucket, CLIENTS_KEY, picture())
    processor.process(CLIENTS_KEY)
    put(uploader.bucket, CLIENTS_KEY, picture(64, 64))
    redis_server.flushall()
    reconciler.rebuild()
    assert state_of(uploader.store, naming.record_id(CLIENTS_KEY)) is State.PENDING
    assert processor.process(CLIENTS_KEY) is Outcome.READY
    clock.advance(**LATE)
    assert reconciler.audit()["thumbnails removed"] == 1
    assert len(keys_in(uploader.bucket)) == 2


def test_a_checkpoint_that_was_lost_is_no_end(
    reconciler: Reconciler, uploader: Uploader, redis_server: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis loses everything again while a rebuild runs: what it has restored by then is lost, too."""
    monkeypatch.setattr("chalicelib.objects.bucket.PAGE", 2)
    records = [stored(uploader) for _ in range(5)]
    redis_server.flushall()
    just_before(uploader.bucket, "ListObjectsV2", redis_server.flushall, skip=2)
    done = False
    for _ in range(3):
        if not done:
            _, done = reconciler.rebuild()
    assert done
    assert {record.id for record in uploader.store.page(10, None, UNRESTRICTED).records} == {
        record.id for record in records
    }


def test_of_two_that_run_at_the_same_time_one_goes_on(
    reconciler: Reconciler, uploader: Uploader, redis_server: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chalicelib.objects.bucket.PAGE", 2)
    records = [stored(uploader) for _ in range(5)]
    redis_server.flushall()
    other = Bucket(s3_client(timeout=30, attempts=1), uploader.bucket.name)
    rival = replace(reconciler, processor=replace(reconciler.processor, bucket=other))
    ends: list[bool] = []
    just_before(reconciler.bucket, "ListObjectsV2", lambda: ends.append(rival.rebuild()[1]), skip=1)
    ends.append(reconciler.rebuild()[1])
    assert ends == [True, False]
    assert {record.id for record in uploader.store.page(10, None, UNRESTRICTED).records} == {
        record.id for record in records
    }
